#!/bin/sh
# Refuses a PORT that is none, and a file in it that would stand idle while the CPU's kernel ran; else keeps
# the stamp, which changes when anything does that all objects of the port are made of.
#
#   PORT=DIR ASKED=FLAGS CXX=g++ PORT_CC=hipcc make/port_files.sh STAMP KERNELS SOURCES READ
#
# KERNELS: the names that a port may take. SOURCES: its files that are compiled, READ: those that they read.
set -eu
stamp=$1 kernels=$2 sources=$3 read=$4
refuse() { echo "PORT=$PORT: $*" >&2; exit 2; }

[ -n "$PORT" ] || refuse "give the directory of your kernels, such as PORT=port (gpu/PORTING.md)"
[ -d "$PORT" ] || refuse "there is no such directory: make it, or correct its name"
case $PORT in *[[:space:]]*) refuse "make cannot take a name with blanks: rename it" ;; esac
for source in $sources; do
    [ "$(dirname "$source")" -ef "$PORT" ] || continue  # a helper
    name=$(basename "$source")
    case " $kernels " in *" ${name%.*} "*) ;; *)
        refuse "$source takes no file's place, as the kernels' files are called" \
            "$(echo "$kernels" | sed 's/ /, /g'): rename it, or put it into a folder of $PORT if it is a helper" ;;
    esac
done

mkdir -p "$(dirname "$stamp")"
{
    echo "$ASKED"
    $CXX --version
    $PORT_CC --version || true
    [ -z "$read" ] || cksum $read
} > "$stamp.new" 2>&1
cmp -s "$stamp.new" "$stamp" || cp "$stamp.new" "$stamp"
