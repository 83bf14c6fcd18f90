#!/bin/sh
# Installs what the Makefile needs, by the package manager that is here. Of these, apt alone has been
# run (Debian 12); the others' package names have not been tried.
#
#   make/deps.sh "what to install, in words" [mpi | hip | opencl]
set -eu
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
has() { command -v "$1" > /dev/null; }

if [ "${2:-}" = mpi ]; then
    if has apt-get; then
        dpkg -s openmpi-bin libopenmpi-dev procps > /dev/null 2>&1 ||
            { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends openmpi-bin libopenmpi-dev procps; }
    elif has brew; then brew install open-mpi
    elif has dnf; then $sudo dnf install -y openmpi-devel
    elif has pacman; then $sudo pacman -S --needed --noconfirm openmpi
    elif has apk; then $sudo apk add openmpi-dev
    else
        echo "make deps-mpi knows apt, dnf, pacman, apk and brew, none of which is here: $1" >&2
        exit 2
    fi
elif [ -n "${2:-}" ]; then
    case $2 in
        hip) packages="hipcc libamdhip64-dev rocm-device-libs" ;;
        opencl) packages="pocl-opencl-icd ocl-icd-opencl-dev opencl-headers libclblast-dev" ;;
    esac
    if has apt-get; then
        dpkg -s $packages > /dev/null 2>&1 ||
            { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends $packages; }
    else
        echo "make deps-$2 knows apt alone, which is not here: $1" >&2
        exit 2
    fi
elif has apt-get; then
    packages="g++ make cmake libopenblas-openmp-dev libdnnl-dev libcxxopts-dev nlohmann-json3-dev zlib1g-dev catch2 dict-gcide"
    dpkg -s $packages > /dev/null 2>&1 ||
        { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends $packages; }
elif has brew; then  # before dnf and pacman, which a Mac may have too; Accelerate would do for OpenBLAS
    brew install cmake libomp openblas onednn cxxopts nlohmann-json catch2
elif has dnf; then
    $sudo dnf install -y gcc-c++ make cmake openblas-devel onednn-devel cxxopts-devel json-devel zlib-devel catch-devel
elif has pacman; then
    $sudo pacman -S --needed --noconfirm gcc make cmake openblas onednn cxxopts nlohmann-json zlib catch2
elif has apk; then
    $sudo apk add g++ make cmake bash openblas-dev onednn-dev cxxopts-dev nlohmann-json zlib-dev catch2
else
    echo "make deps knows apt, dnf, pacman, apk and brew, none of which is here: $1" >&2
    exit 2
fi
