/* Preloaded with LD_PRELOAD. Simulates a network file system or a full disk, as FAULTY_DISK selects. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

static int fault_is(const char *fault) {
    const char *selected = getenv("FAULTY_DISK");
    return selected && strcmp(selected, fault) == 0;
}

int statfs(const char *path, struct statfs *found) {
    int (*real)(const char *, struct statfs *) = dlsym(RTLD_NEXT, "statfs");
    int result = real(path, found);
    if (fault_is("network")) found->f_type = 0x6969; /* NFS */
    return result;
}

int statfs64(const char *path, struct statfs64 *found) {
    int (*real)(const char *, struct statfs64 *) = dlsym(RTLD_NEXT, "statfs64");
    int result = real(path, found);
    if (fault_is("network")) found->f_type = 0x6969;
    return result;
}

/* Returns whether a write to this file fails with ENOSPC. Writes to SQLite's journal do. */
static int is_full(int file) {
    char link[64], path[4096];
    if (!fault_is("full")) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "locks.db-journal") != NULL;
}

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (is_full(file)) { errno = ENOSPC; return -1; }
    return real(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (is_full(file)) { errno = ENOSPC; return -1; }
    return real(file, bytes, count, at);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    if (is_full(file)) { errno = ENOSPC; return -1; }
    return real(file, bytes, count, at);
}
