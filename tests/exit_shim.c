/* Ends the process without a word before its EXIT_BEFORE-th write to a file, fsync or rename: a power
   cut at each place where a checkpoint is being written. To be preloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static void count(void) {
    static long calls = 0, last = -1;
    if (last < 0) {
        const char* text = getenv("EXIT_BEFORE");
        last = text ? atol(text) : 0;
    }
    if (++calls == last) _exit(99);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void* data, size_t bytes) {
    if (file > 2) count();
    return NEXT(write)(file, data, bytes);
}
ssize_t writev(int file, const struct iovec* parts, int n) {
    if (file > 2) count();
    return NEXT(writev)(file, parts, n);
}
ssize_t pwrite(int file, const void* data, size_t bytes, off_t offset) {
    count();
    return NEXT(pwrite)(file, data, bytes, offset);
}
ssize_t pwrite64(int file, const void* data, size_t bytes, off64_t offset) {
    count();
    return NEXT(pwrite64)(file, data, bytes, offset);
}
int fsync(int file) {
    count();
    return NEXT(fsync)(file);
}
int rename(const char* from, const char* to) {
    count();
    return NEXT(rename)(from, to);
}
