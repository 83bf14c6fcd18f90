#!/bin/sh
# What this compiler takes and which libraries are here: prints variables for the Makefile, which
# includes them. Kept in a file of its own, since it is shell and the Makefile would hide it in quotes.
#
#   CXX=g++ MARCH=native OPENMP= BLAS_DIR= PROBE_FLAGS= make/probe.sh ANSWERS
#
# ANSWERS is the file to write. It is asked anew when the question (below), this script or the
# presence of a library has changed, and always where something that is needed was missing.
set -u
answers=$1
question="# $CXX | $MARCH | $OPENMP | $BLAS_DIR | $PROBE_FLAGS | $(ls -d /usr/include/dnnl.h /usr/local/include/dnnl.h \
    /usr/include/cblas.h /usr/include/openblas /usr/lib/*/openblas-openmp /usr/include/catch2/* 2> /dev/null | tr '\n' ' ')"
if [ "$answers" -nt "$0" ] && read -r asked < "$answers" && [ "$asked" = "${question% }" ]; then exit; fi

command -v "${CXX%% *}" > /dev/null || { rm -f "$answers"; exit; }  # the first compilation will say so
try=$(mktemp -d) || exit 1
trap 'rm -rf "$try"' EXIT
# what is compiled, and flags: quietly true when the compiler makes a program, or an object file, of it
links() { program=$1; shift; echo "$program" | $CXX -std=c++20 $PROBE_FLAGS -x c++ - -o "$try/out" "$@" > /dev/null 2>&1; }
takes() { echo 'int main() {}' | $CXX -Werror "$@" -x c++ -c - -o "$try/out" > /dev/null 2>&1; }

prefix=$(brew --prefix 2> /dev/null)  # Homebrew's, which Apple's compiler does not search
paths=${prefix:+-I$prefix/include -L$prefix/lib}

# a MARCH by name is the user's word: the compiler says so where it does not know it
arch=${MARCH:+-march=$MARCH}
if [ "$MARCH" = native ]; then
    takes -march=native || { takes -mcpu=native && arch=-mcpu=native; } || arch=
fi
for flag in -fno-math-errno -fno-trapping-math; do takes $flag && arch="$arch $flag"; done

threads=-lpthread openmp=
if [ "$OPENMP" != no ]; then
    omp="#include <omp.h>
        int main() { return omp_get_max_threads() < 1; }"
    brewed=${prefix:+-I$prefix/opt/libomp/include} brewed_lib=${prefix:+-L$prefix/opt/libomp/lib}
    if links "$omp" -fopenmp; then
        openmp=-fopenmp threads=-fopenmp
    elif links "$omp" -Xclang -fopenmp $brewed $brewed_lib -lomp; then  # Apple's clang
        openmp="-Xclang -fopenmp $brewed" threads="$brewed_lib -lomp"
    fi
fi
# loops marked simd become vector code without OpenMP as well
simd=
if [ -z "$openmp" ]; then
    takes -fopenmp-simd && simd=-fopenmp-simd
    simd="$simd -Wno-unknown-pragmas"
fi

# clang's word on loops that it could not vectorise as they are marked; GCC's on how vectors were passed
# by compilers before it
warnings=
takes -Wpass-failed && warnings=-Wno-pass-failed
case $($CXX -dumpmachine) in aarch64*) takes -Wpsabi && warnings="$warnings -Wno-psabi" ;; esac

# OpenBLAS built with OpenMP where there is one, by its own path: the machine's default BLAS may be
# another. Debian's, Fedora's, any, Homebrew's.
cblas="#include <cblas.h>
    int main() { openblas_set_num_threads(1); }"
# Debian's name of the machine that is compiled for; a compiler that does not tell it names a vendor in between
multiarch=$($CXX -print-multiarch 2> /dev/null)
[ -n "$multiarch" ] || multiarch=$($CXX -dumpmachine | sed 's/-[^-]*-linux/-linux/')
[ -n "$BLAS_DIR" ] || [ ! -d "/usr/lib/$multiarch/openblas-openmp" ] || BLAS_DIR=/usr/lib/$multiarch/openblas-openmp
blas_flags= blas_libs= blas=
for found in "${BLAS_DIR:+-I$(echo "$BLAS_DIR" | sed 's|/usr/lib|/usr/include|')} : ${BLAS_DIR:+-L$BLAS_DIR -Wl,-rpath,$BLAS_DIR} -lopenblas" \
    "-I/usr/include/openblas : -lopenblaso" ": -lopenblas" "-I/usr/include/openblas : -lopenblas" \
    "${prefix:+-I$prefix/opt/openblas/include} : ${prefix:+-L$prefix/opt/openblas/lib} -lopenblas"; do
    if links "$cblas" ${found%%:*} ${found#*:}; then
        blas_flags=${found%%:*} blas_libs=${found#*:}
        where=$(echo "$blas_libs" | sed -n 's/.*-L\([^ ]*\).*/ (\1)/p')
        blas=OpenBLAS$where
        break
    fi
done
accelerate="#define ACCELERATE_NEW_LAPACK
    #include <Accelerate/Accelerate.h>
    int main() { return CblasNoTrans == CblasTrans; }"
if [ -z "$blas" ] && links "$accelerate" -framework Accelerate; then
    blas=Accelerate blas_flags=-DUSE_ACCELERATE blas_libs="-framework Accelerate"
fi

# oneDNN: matmul.cpp uses it for the shapes it is faster for
dnnl="#include <dnnl.h>
    int main() { return dnnl_version() == nullptr; }"
onednn= version=
links "$dnnl" $paths -ldnnl && onednn=-ldnnl
[ -z "$onednn" ] || version=$(printf '#include <dnnl.h>\nDNNL_VERSION_MAJOR DNNL_VERSION_MINOR' |
    $CXX $PROBE_FLAGS $paths -x c++ -E - 2> /dev/null | tail -1 | tr ' ' .)

# Catch2 3 has a library, Catch2 2 is a header
catch=
echo '#include <catch2/catch_all.hpp>' | $CXX -std=c++20 $PROBE_FLAGS $paths -x c++ -E - > /dev/null 2>&1 && catch=-lCatch2

compiler="$(basename "${CXX%% *}") $($CXX -dumpfullversion 2> /dev/null || $CXX -dumpversion)"
[ -n "$openmp" ] && with="$compiler, OpenMP" lacks= || with="$compiler" lacks="OpenMP, "
with="$with${blas:+, $blas}"
[ -n "$onednn" ] && with="$with, oneDNN $version" || lacks="${lacks}oneDNN, "
[ -n "$blas" ] || question="# BLAS is missing"

mkdir -p "$(dirname "$answers")"
cat > "$answers" << END
${question% }
PROBED_FLAGS := $arch
OPENMP_FLAGS := $openmp$simd
WARNING_FLAGS := $warnings
BLAS_FLAGS := $blas_flags
PATH_FLAGS := ${prefix:+-I$prefix/include}
PROBED_LIBS := ${prefix:+-L$prefix/lib} $blas_libs $onednn
THREAD_LIBS := $threads
ONEDNN := $onednn
CATCH := $catch
BUILT_WITH := $with
BUILT_WITHOUT := ${lacks}CUDA (make train_cuda)
END
