#!/bin/sh
# Whose kernels a program runs: prints for each file of kernels the one that it was linked from, by the
# symbols of the objects. Refuses what the linker would not, or would not say in a sentence: a kernel that is
# missing, or that two files have, of which it would take either.
#
#   make/port_kernels.sh PORT BUILD KERNELS OBJECTS...
#
# KERNELS: the names that a port may take. OBJECTS: all that is linked, those of the port in BUILD/port/NAME.
set -eu
port=$1 build=$2 kernels=$3
shift 3
command -v nm > /dev/null || { echo "nm is missing, which shows whose kernels are linked: install binutils" >&2; exit 2; }
# A line is "file.o:", "address KIND symbol" or "U symbol"; with one object alone nm would print no file's name.
nm -C "$@" /dev/null 2> /dev/null | awk -v port="$port" -v build="$build" -v kernels="$kernels" '
    # build/port/NAME/norm.cu.o is of port/norm.cu, build/src/cpu/norm.o and build/oracle/src/cpu/norm.o of src/cpu/norm.cpp
    function source(object) {
        object = substr(object, length(build) + 2)
        if (sub(/^port\/[^\/]*\//, "", object)) { sub(/\.o$/, "", object); return port "/" object }
        sub(/^oracle\//, "", object)
        sub(/\.o$/, ".cpp", object)
        return object
    }
    # "void peri::relu_forward<float>(float*, ...)" is relu_forward<float>; "" is no function of the project
    function function_of(symbol) {
        if (!match(symbol, /peri::[A-Za-z0-9_]+(<[^()<>]*>)?(\[abi:[a-z0-9]*\])?\(/)) return ""
        symbol = substr(symbol, RSTART + 6, RLENGTH - 7)
        gsub(/peri::|\[.*\]/, "", symbol)
        return symbol
    }
    function stem_of(path) { sub(/.*\//, "", path); sub(/\.[^.]*$/, "", path); return path }
    function listed(list, word) { return list == "" ? word : index(", " list ", ", ", " word ", ") ? list : list ", " word }
    function refuse(sentence) { print sentence > "/dev/stderr"; failed = 1 }

    /:$/ && !/ / { file = source(substr($0, 1, length($0) - 1)); next }
    $1 == "U" { symbol = $0; sub(/^ *U /, "", symbol); if (function_of(symbol) != "") needed[symbol]; next }
    $2 ~ /^[TWV]$/ {
        symbol = $0
        sub(/^[^ ]* . /, "", symbol)
        if ((name = function_of(symbol)) == "") next
        found = 1
        has[symbol] = listed(has[symbol], file)
        # a kernel is where its double is
        if (sub(/<double>/, "", name) && file ~ /^src\/cpu\//) home[name] = file
    }
    END {
        if (!found) { refuse("nm finds no function in the objects: build a port without -flto"); exit 2 }
        for (symbol in needed) {
            if (symbol ~ /<double>/) { if (has[symbol] ~ /, /) twice[has[symbol]] = function_of(symbol); continue }
            name = function_of(symbol)
            sub(/<.*/, "", name)
            # what is no template is of the device, whose double has no such function
            place = name in home ? home[name] : symbol ~ /</ ? "" : "src/cpu/device.cpp"
            stem = stem_of(place)
            if (!(symbol in has)) { if (index(" " kernels " ", " " stem " ")) lacks[stem] = listed(lacks[stem], function_of(symbol)) }
            else if (has[symbol] ~ /, /) twice[has[symbol]] = function_of(symbol)
            else if (name in home) from[stem] = listed(from[stem], has[symbol])
        }
        for (stem in lacks)
            refuse("PORT=" port ": its " stem " takes the place of src/cpu/" stem ".cpp and lacks " lacks[stem] ": define what src/kernels.h and src/device.h declare, with their parameters")
        for (files in twice) {
            split(files, two, ", ")
            refuse("PORT=" port ": " twice[files] " is in " files ", and the linker would take either: " \
                   (stem_of(two[1]) == stem_of(two[2]) ? "the CPU keeps it, take it out of " two[2] : "a kernel stands in the file that is called as the CPU has it, and in no other"))
        }
        if (failed) exit 2
        n = split(kernels, all, " ")
        for (i = 1; i <= n; i++) print all[i], from[all[i]]
    }'
