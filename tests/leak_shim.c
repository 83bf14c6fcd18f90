/* Plants what a soak (tests/soak.py) must find. With each row of a table, LEAK=memory loses 64 KiB, LEAK=files
   leaves a file open, and LEAK=time takes longer each time. To be preloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void leak(const char* what) {
    static volatile long spent, rows;
    if (!strcmp(what, "memory")) memset(malloc(1 << 16), 1, 1 << 16);
    if (!strcmp(what, "files")) (void)!dup(2);
    if (!strcmp(what, "time"))
        for (long i = 0, n = 10000 * ++rows; i < n; i++) spent += i;
}

ssize_t write(int file, const void* data, size_t bytes) {
    static ssize_t (*next)(int, const void*, size_t);
    if (!next) next = (__typeof__(next))dlsym(RTLD_NEXT, "write");
    if (file > 2 && getenv("LEAK")) leak(getenv("LEAK"));
    return next(file, data, bytes);
}
