#!/bin/sh
# Installs what tests/machines.sh wants: Debian's names, and only what Debian 12 has.
#
#   tests/machines_deps.sh compilers|cross ROOT
#
# What would drive out packages that are installed (another clang's OpenMP, this machine's oneDNN) is
# only unpacked, below ROOT.
set -eu
what=$1 root=$2
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
command -v apt-get > /dev/null || { echo "make deps-$what knows apt alone" >&2; exit 2; }

unpack() {
    to=$root/$1
    shift
    mkdir -p "$to"
    debs=$(mktemp -d)
    (cd "$debs" && apt-get download "$@")
    for deb in "$debs"/*.deb; do dpkg -x "$deb" "$to"; done
    rm -r "$debs"
}

case $what in
compilers)
    $sudo apt-get update
    $sudo apt-get install -y --no-install-recommends g++-11 g++-12 clang-22
    unpack llvm libomp-22-dev libomp5-19 libc++-22-dev libc++abi-22-dev
    ;;
cross)
    $sudo dpkg --add-architecture arm64
    $sudo apt-get update
    $sudo apt-get install -y --no-install-recommends g++-aarch64-linux-gnu libgfortran5-arm64-cross qemu-user-static
    unpack arm64 libopenblas0-openmp:arm64 libopenblas-openmp-dev:arm64 libdnnl2:arm64 libdnnl-dev:arm64 \
        zlib1g:arm64 zlib1g-dev:arm64 libcxxopts-dev nlohmann-json3-dev catch2
    ;;
esac
