/* A slow disk for a program that knows nothing of it: every write to a segment of the log takes SLOW_DISK_MS longer.
 * Loaded by scripts/audit_acceptance (LD_PRELOAD); the rest of the program is not touched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536

static volatile unsigned char is_segment[MOST];

int open64(const char *path, int flags, ...) {
    static int (*next)(const char *, int, ...);
    if (!next) next = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    va_list arguments;
    va_start(arguments, flags);
    int mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    int fd = next(path, flags, mode);
    if (fd >= 0 && fd < MOST) is_segment[fd] = (flags & O_APPEND) && strstr(path, "/audit-") && strstr(path, ".ndjson");
    return fd;
}

int close(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < MOST) is_segment[fd] = 0;
    return next(fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (fd >= 0 && fd < MOST && is_segment[fd]) {
        const char *given = getenv("SLOW_DISK_MS");
        long ms = given ? atol(given) : 0;
        struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&wait, NULL);
    }
    return next(fd, bytes, length);
}
