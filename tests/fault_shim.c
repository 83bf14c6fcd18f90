/* Makes one call of a process fail, to be preloaded: the FAULT_AT-th that touches a file under the directory
   FAULT_UNDER (calls on all other files, such as a library's own, are neither counted nor touched).
     FAULT_KIND   ENOSPC, EIO, EINTR, EACCES, EMFILE  the call fails so, once
                  full    it and all later ones that need space fail with ENOSPC
                  short   it reads or writes half of what it was asked to, at least a byte
                  exit    the process ends before it without a word
                  new     counts operator new in place of calls on files, which throws std::bad_alloc
     FAULT_LIST   file that gets a line a counted call: number, name, path; with `new` at the end how many
                  there were
     FAULT_LOG    file that gets what changed under the directory, in order, data too (power_loss.py) */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum { files = 4096, cut_short = -1 };
static char* opened[files]; /* path of each descriptor of a file under the directory */

/* ---- what is asked for ---------------------------------------------------------------------- */

static long calls = 0, at = 0;
static int error = 0, full = 0, leave = 0, news = 0, list = -1, logged = -1;
static const char* under = "";

static int output(const char* variable) {
    const char* const path = getenv(variable);
    if (!path) return -1;
    const int low = NEXT(open)(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    const int high = fcntl(low, F_DUPFD_CLOEXEC, 1000); /* the program's own keep their numbers */
    NEXT(close)(low);
    return high;
}

__attribute__((constructor)) static void start(void) {
    static const struct {
        const char* name;
        int error;
    } kinds[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},     {"EINTR", EINTR},    {"EACCES", EACCES},
                 {"EMFILE", EMFILE}, {"full", ENOSPC}, {"short", cut_short}};
    const char* const kind = getenv("FAULT_KIND") ? getenv("FAULT_KIND") : "";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kind, kinds[i].name)) error = kinds[i].error;
    full = !strcmp(kind, "full");
    leave = !strcmp(kind, "exit");
    news = !strcmp(kind, "new");
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    under = getenv("FAULT_UNDER") ? getenv("FAULT_UNDER") : "";
    list = output("FAULT_LIST");
    logged = output("FAULT_LOG");
}

/* The absolute path of `path`, in `all`; NULL where it is not under the directory. */
static const char* place(int directory, const char* path, char all[PATH_MAX]) {
    char here[PATH_MAX] = "";
    if (!*under || !path) return NULL;
    if (path[0] != '/') {
        if (directory == AT_FDCWD && !getcwd(here, sizeof here)) return NULL;
        if (directory != AT_FDCWD) {
            if (directory < 0 || directory >= files || !opened[directory]) return NULL;
            strcpy(here, opened[directory]);
        }
    }
    if (snprintf(all, PATH_MAX, "%s%s%s", here, *here ? "/" : "", path) >= PATH_MAX) return NULL;
    const size_t length = strlen(under);
    return !strncmp(all, under, length) && (all[length] == '/' || !all[length]) ? all : NULL;
}

static const char* path_of(int file) { return file >= 0 && file < files ? opened[file] : NULL; }

static void remember(int file, const char* path) {
    if (file < 0 || file >= files) return;
    free(opened[file]);
    opened[file] = path ? strdup(path) : NULL;
}

static void say(int file, const char* format, ...) {
    char line[2 * PATH_MAX + 64];
    if (file < 0) return;
    const int before = errno;
    va_list parts;
    va_start(parts, format);
    const int bytes = vsnprintf(line, sizeof line, format, parts);
    va_end(parts);
    if (NEXT(write)(file, line, bytes) != bytes) abort();
    errno = before;
}

/* Counts a call; what it has to fail with, 0: it shall not. */
static int fault(const char* call, const char* path) {
    if (!path || news) return 0;
    say(list, "%ld %s %s\n", ++calls, call, path);
    const int space = !strcmp(call, "create") || !strcmp(call, "write") || !strcmp(call, "mkdir");
    if (at <= 0 || (calls != at && !(full && calls > at && space))) return 0;
    if (leave) _exit(99);
    if (error > 0) errno = error;
    return error;
}

/* ---- opening and closing ---------------------------------------------------------------------- */

static void log_opened(const char* path, int flags, int was_there) {
    if (!was_there) say(logged, "create %s\n", path);
    if (was_there && flags & O_TRUNC) say(logged, "truncate %s\n", path);
}

/* Calls `open_it`, whose value is a descriptor. */
#define OPEN(directory, path, flags, open_it)                                 \
    char all[PATH_MAX];                                                       \
    const char* const known = place(directory, path, all);                    \
    if (fault((flags)&O_CREAT ? "create" : "open", known) > 0) return -1;     \
    const int was_there = !known || access(known, F_OK) == 0, file = open_it; \
    remember(file, known);                                                    \
    if (known && file >= 0) log_opened(known, flags, was_there);              \
    return file

#define MODE                      \
    mode_t mode = 0;              \
    if (flags & O_CREAT) {        \
        va_list rest;             \
        va_start(rest, flags);    \
        mode = va_arg(rest, int); \
        va_end(rest);             \
    }

int open(const char* path, int flags, ...) {
    MODE;
    OPEN(AT_FDCWD, path, flags, NEXT(open)(path, flags, mode));
}
int open64(const char* path, int flags, ...) {
    MODE;
    OPEN(AT_FDCWD, path, flags, NEXT(open64)(path, flags, mode));
}
int openat(int directory, const char* path, int flags, ...) {
    MODE;
    OPEN(directory, path, flags, NEXT(openat)(directory, path, flags, mode));
}
int openat64(int directory, const char* path, int flags, ...) {
    MODE;
    OPEN(directory, path, flags, NEXT(openat64)(directory, path, flags, mode));
}

/* std::fstream opens so, then reads and writes the descriptor. */
FILE* fopen64(const char* path, const char* mode) {
    char all[PATH_MAX];
    const char* const known = place(AT_FDCWD, path, all);
    const int flags = mode[0] == 'r' ? 0 : mode[0] == 'w' ? O_CREAT | O_TRUNC : O_CREAT;
    if (fault(flags ? "create" : "open", known) > 0) return NULL;
    const int was_there = !known || access(known, F_OK) == 0;
    FILE* const file = NEXT(fopen64)(path, mode);
    if (!file) return NULL;
    remember(fileno(file), known);
    if (known) log_opened(known, flags, was_there);
    return file;
}
FILE* fopen(const char* path, const char* mode) { return fopen64(path, mode); }

/* One that fails has closed the descriptor all the same, as on Linux. */
int close(int file) {
    const int failure = fault("close", path_of(file));
    remember(file, NULL);
    const int result = NEXT(close)(file);
    if (failure > 0) errno = failure;
    return failure > 0 ? -1 : result;
}
int fclose(FILE* stream) {
    const int file = fileno(stream), failure = fault("close", path_of(file));
    remember(file, NULL);
    const int result = NEXT(fclose)(stream);
    if (failure > 0) errno = failure;
    return failure > 0 ? EOF : result;
}
int closedir(DIR* directory) {
    remember(dirfd(directory), NULL);
    return NEXT(closedir)(directory);
}

/* ---- reading ---------------------------------------------------------------------------------- */

static size_t half(size_t bytes) { return (bytes + 1) / 2; }

ssize_t read(int file, void* data, size_t bytes) {
    const int failure = fault("read", path_of(file));
    return failure > 0 ? -1 : NEXT(read)(file, data, failure ? half(bytes) : bytes);
}
#define PREAD(name, Offset)                                                                      \
    ssize_t name(int file, void* data, size_t bytes, Offset offset) {                            \
        const int failure = fault("read", path_of(file));                                        \
        return failure > 0 ? -1 : NEXT(name)(file, data, failure ? half(bytes) : bytes, offset); \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

struct dirent* readdir(DIR* directory) {
    return fault("readdir", path_of(dirfd(directory))) > 0 ? NULL : NEXT(readdir)(directory);
}
#define SEEK(name, Offset)                                                               \
    Offset name(int file, Offset offset, int whence) {                                   \
        return fault("seek", path_of(file)) > 0 ? -1 : NEXT(name)(file, offset, whence); \
    }
SEEK(lseek, off_t)
SEEK(lseek64, off64_t)

#define STAT(name, About)                                                                    \
    int name(const char* path, struct About* about) {                                        \
        char all[PATH_MAX];                                                                  \
        return fault("stat", place(AT_FDCWD, path, all)) > 0 ? -1 : NEXT(name)(path, about); \
    }
#define FSTAT(name, About)                                                      \
    int name(int file, struct About* about) {                                   \
        return fault("stat", path_of(file)) > 0 ? -1 : NEXT(name)(file, about); \
    }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

void* mmap(void* where, size_t bytes, int protection, int flags, int file, off_t offset) {
    if (fault("mmap", path_of(file)) > 0) return MAP_FAILED;
    return NEXT(mmap)(where, bytes, protection, flags, file, offset);
}

/* ---- writing ---------------------------------------------------------------------------------- */

/* Where the next write of a file goes. */
static off_t position(int file) {
    struct stat about;
    if (!(fcntl(file, F_GETFL) & O_APPEND)) return NEXT(lseek)(file, 0, SEEK_CUR);
    return NEXT(fstat)(file, &about) ? -1 : about.st_size;
}

static ssize_t log_written(int file, off_t offset, const void* data, ssize_t bytes) {
    if (logged < 0 || !path_of(file) || bytes <= 0) return bytes;
    say(logged, "write %s %lld %zd\n", path_of(file), (long long)offset, bytes);
    if (NEXT(write)(logged, data, bytes) != bytes) abort();
    return bytes;
}

ssize_t write(int file, const void* data, size_t bytes) {
    const int failure = fault("write", path_of(file));
    if (failure > 0) return -1;
    const off_t offset = logged >= 0 && path_of(file) ? position(file) : 0;
    return log_written(file, offset, data, NEXT(write)(file, data, failure ? half(bytes) : bytes));
}
ssize_t writev(int file, const struct iovec* parts, int n) {
    if (!path_of(file)) return NEXT(writev)(file, parts, n);
    size_t bytes = 0;
    for (int i = 0; i < n; i++) bytes += parts[i].iov_len;
    char* const all = malloc(bytes + 1);
    bytes = 0;
    for (int i = 0; i < n; i++) {
        memcpy(all + bytes, parts[i].iov_base, parts[i].iov_len);
        bytes += parts[i].iov_len;
    }
    const ssize_t result = write(file, all, bytes);
    free(all);
    return result;
}
#define PWRITE(name, Offset)                                                               \
    ssize_t name(int file, const void* data, size_t bytes, Offset offset) {                \
        const int failure = fault("write", path_of(file));                                 \
        if (failure > 0) return -1;                                                        \
        return log_written(file, offset, data,                                             \
                           NEXT(name)(file, data, failure ? half(bytes) : bytes, offset)); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Logged where it has been done. */
static int done(int result, const char* what, const char* path) {
    if (path && result == 0) say(logged, "%s %s\n", what, path);
    return result;
}

int fsync(int file) {
    if (fault("fsync", path_of(file)) > 0) return -1;
    return done(NEXT(fsync)(file), "fsync", path_of(file));
}
int fdatasync(int file) {
    if (fault("fsync", path_of(file)) > 0) return -1;
    return done(NEXT(fdatasync)(file), "fsync", path_of(file));
}
int flock(int file, int operation) {
    return fault("flock", path_of(file)) > 0 ? -1 : NEXT(flock)(file, operation);
}

#define TRUNCATE(name, Offset, Named, known)                                       \
    int name(Named, Offset bytes) {                                                \
        char all[PATH_MAX];                                                        \
        const char* const path = known;                                            \
        if (fault("truncate", path) > 0) return -1;                                \
        const int result = NEXT(name)(what, bytes);                                \
        if (path && !result) say(logged, "cut %s %lld\n", path, (long long)bytes); \
        return result;                                                             \
    }
TRUNCATE(ftruncate, off_t, int what, ((void)all, path_of(what)))
TRUNCATE(ftruncate64, off64_t, int what, ((void)all, path_of(what)))
TRUNCATE(truncate, off_t, const char* what, place(AT_FDCWD, what, all))
TRUNCATE(truncate64, off64_t, const char* what, place(AT_FDCWD, what, all))

/* ---- names ------------------------------------------------------------------------------------ */

int rename(const char* from, const char* to) {
    char all[PATH_MAX], target[PATH_MAX];
    const char *const known = place(AT_FDCWD, from, all), *const new_name =
                                                              place(AT_FDCWD, to, target);
    if (fault("rename", known) > 0) return -1;
    const int result = NEXT(rename)(from, to);
    if (known && new_name && !result) say(logged, "rename %s %s\n", known, new_name);
    return result;
}
int mkdir(const char* path, mode_t mode) {
    char all[PATH_MAX];
    const char* const known = place(AT_FDCWD, path, all);
    return fault("mkdir", known) > 0 ? -1 : done(NEXT(mkdir)(path, mode), "mkdir", known);
}

#define REMOVE(name, directory, arguments, ...)                                               \
    int name(__VA_ARGS__) {                                                                   \
        char all[PATH_MAX];                                                                   \
        const char* const known = place(directory, path, all);                                \
        return fault("remove", known) > 0 ? -1 : done(NEXT(name) arguments, "remove", known); \
    }
REMOVE(unlink, AT_FDCWD, (path), const char* path)
REMOVE(rmdir, AT_FDCWD, (path), const char* path)
REMOVE(remove, AT_FDCWD, (path), const char* path)
REMOVE(unlinkat, directory, (directory, path, flags), int directory, const char* path, int flags)

/* ---- memory ----------------------------------------------------------------------------------- */

/* Counted from main on: nothing can catch what is thrown before it. */
static int in_main = 0;
static int (*program)(int, char**, char**);
static int counted_main(int argc, char** argv, char** environment) {
    in_main = 1;
    const int result = program(argc, argv, environment);
    in_main = 0;
    if (news && !at) say(list, "%ld\n", calls);
    return result;
}
typedef int Start(int (*)(int, char**, char**), int, char**, void (*)(void), void (*)(void),
                  void (*)(void), void*);
int __libc_start_main(int (*run)(int, char**, char**), int argc, char** argv, void (*init)(void),
                      void (*fini)(void), void (*loader)(void), void* stack) {
    program = run;
    return ((Start*)dlsym(RTLD_NEXT, "__libc_start_main"))(counted_main, argc, argv, init, fini,
                                                           loader, stack);
}

/* std::__throw_bad_alloc(), std::get_new_handler() */
__attribute__((weak)) void _ZSt17__throw_bad_allocv(void);
__attribute__((weak)) void (*_ZSt15get_new_handlerv(void))(void);

static void* allocated(void* memory) {
    const int this_one = news && in_main && __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == at;
    if (!memory || this_one) {
        free(memory);
        if (_ZSt15get_new_handlerv()) _ZSt15get_new_handlerv()();
        _ZSt17__throw_bad_allocv();
    }
    return memory;
}

/* operator new(size_t), and with an alignment */
void* _Znwm(size_t bytes) { return allocated(malloc(bytes ? bytes : 1)); }
void* _ZnwmSt11align_val_t(size_t bytes, size_t alignment) {
    return allocated(aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment));
}
