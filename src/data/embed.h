// Files of data/ inside the program.
#pragma once

#ifndef DATA_DIRECTORY
#error "DATA_DIRECTORY must be the absolute path of data/, as a string literal"
#endif

// Constants' section; and a Mac's linker may move what follows a symbol unless it belongs to another.
#ifdef __APPLE__
#define EMBED_SECTION "__TEXT,__const"
#define EMBED_WITHIN(SYMBOL) ".alt_entry " SYMBOL "\n"
#else
#define EMBED_SECTION ".rodata"
#define EMBED_WITHIN(SYMBOL)
#endif

// At file scope: has the assembler put the text of data/FILE between NAME_begin and NAME_end. (The
// symbols are named in full: a Mac's have an underscore more otherwise.)
// clang-format off
#define EMBED(NAME, FILE)                                         \
    asm(".pushsection " EMBED_SECTION "\n"                        \
        ".globl " #NAME "_begin, " #NAME "_end\n"                 \
        EMBED_WITHIN(#NAME "_end")                                \
        #NAME "_begin: .incbin \"" DATA_DIRECTORY "/" FILE "\"\n" \
        #NAME "_end: .byte 0\n"                                   \
        ".popsection\n");                                         \
    extern "C" const char NAME##_begin[] asm(#NAME "_begin");     \
    extern "C" const char NAME##_end[] asm(#NAME "_end")
// clang-format on
