// Files of data/ inside the program.
#pragma once

#ifndef DATA_DIRECTORY
#error "DATA_DIRECTORY must be the absolute path of data/, as a string literal"
#endif

// At file scope: has the assembler put the text of data/FILE between NAME_begin and NAME_end.
// clang-format off
#define EMBED(NAME, FILE)                                         \
    asm(".pushsection .rodata\n"                                  \
        ".global " #NAME "_begin, " #NAME "_end\n"                \
        #NAME "_begin: .incbin \"" DATA_DIRECTORY "/" FILE "\"\n" \
        #NAME "_end: .byte 0\n"                                   \
        ".popsection\n");                                         \
    extern "C" const char NAME##_begin[], NAME##_end[]
// clang-format on
