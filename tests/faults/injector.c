/* Makes chosen system calls fail or take long, or kills the process at them.
 *
 * It is preloaded into a program (LD_PRELOAD), and stands between the program and the C library.
 * It counts two sorts of calls, in all threads and forked processes together: calls of the given
 * kinds that concern one folder and everything below it, and calls that start a thread or a
 * process. Environment variables say what happens at which call:
 *
 *   FAULTS_UNDER  the folder, as the kernel names it
 *   FAULTS_CALLS  names of calls with a comma before, between and after: ",unlinkat,fsync,"
 *   FAULTS_FIRST  the number of the call at which it happens first, from 1; 0 for never
 *   FAULTS_LAST   the number of the call at which it happens last
 *   FAULTS_ERRNO  the error with which the call fails; or
 *   FAULTS_KILL   who gets SIGKILL just before the call: "process" or "group"
 *   FAULTS_LOG    a file that gets a line for each call that was counted
 *   FAULTS_COUNT  a file of eight zero bytes: the counter that all processes share
 *
 * Apart from that, it makes opens and stats slow, as a file system far away does:
 *
 *   LATENCY_UNDER  the folder, as the kernel names it
 *   LATENCY_US     how many microseconds each open and each stat takes longer
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *under, *calls, *whom;
static long first, last, number;
static atomic_long *count;
static int journal = -1;
static const char *far_away;
static struct timespec latency;

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

/* A process that has forked without settings calls it again when it has some. */
__attribute__((constructor)) void set_up_faults(void)
{
    long microseconds = atol(setting("LATENCY_US"));
    far_away = setting("LATENCY_UNDER");
    latency.tv_sec = microseconds / 1000000;
    latency.tv_nsec = microseconds % 1000000 * 1000;
    int counter = REAL(open)(setting("FAULTS_COUNT"), O_RDWR | O_CLOEXEC);
    if (counter < 0)
        return;
    journal = REAL(open)(setting("FAULTS_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    under = setting("FAULTS_UNDER");
    calls = setting("FAULTS_CALLS");
    whom = setting("FAULTS_KILL");
    first = atol(setting("FAULTS_FIRST"));
    last = atol(setting("FAULTS_LAST"));
    number = atol(setting("FAULTS_ERRNO"));
    void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, counter, 0);
    close(counter);
    if (shared != MAP_FAILED)
        count = shared;
}

/* The path of a call: a name in an open folder, or an open file if there is no name. */
static void path_of(char *path, size_t room, int descriptor, const char *name)
{
    char link[64];
    ssize_t length = 0;
    path[0] = 0;
    if (name && (name[0] == '/' || descriptor == AT_FDCWD)) {
        snprintf(path, room, "%s", name);
        return;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, room - 1);
    path[length > 0 ? length : 0] = 0;
    if (name)
        snprintf(path + strlen(path), room - strlen(path), "/%s", name);
}

/* Whether a path is a folder, or lies in it. */
static int lies_in(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && (!path[length] || path[length] == '/');
}

/* Waits as for a file system that is far away, if that is where the call goes. */
static void wait_for(const char *call, int descriptor, const char *name)
{
    char path[2 * PATH_MAX];
    int before = errno;
    if (!latency.tv_sec && !latency.tv_nsec)
        return;
    if (strcmp(call, "open") && strcmp(call, "stat") && strcmp(call, "fstat"))
        return;
    path_of(path, sizeof path, descriptor, name);
    if (lies_in(path, far_away))
        REAL(clock_nanosleep)(CLOCK_MONOTONIC, 0, &latency, NULL);
    errno = before;
}

/* Counts a call; says whether it has to fail, with errno set. */
static int struck(const char *call, int descriptor, const char *name)
{
    char key[32], path[2 * PATH_MAX], line[2 * PATH_MAX + 64];
    int before = errno;
    wait_for(call, descriptor, name);
    if (!count)
        return 0;
    snprintf(key, sizeof key, ",%s,", call);
    if (!strstr(calls, key))
        return 0;
    path_of(path, sizeof path, descriptor, name);
    size_t length = strlen(under);
    if (!lies_in(path, under)) {
        errno = before;
        return 0;
    }
    long now = atomic_fetch_add(count, 1) + 1;
    int size = snprintf(line, sizeof line, "%s %s\n", call, path + length + (path[length] == '/'));
    if (journal >= 0 && write(journal, line, size) < 0)
        _exit(99);
    errno = before;
    if (!first || now < first || now > last)
        return 0;
    if (whom[0]) {
        kill(whom[0] == 'g' ? 0 : getpid(), SIGKILL);
        for (;;)
            pause();
    }
    errno = (int)number;
    return 1;
}

static int mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0;
}

/* "noatime" are those calls that ask for access times to be left alone. */
static int struck_open(int folder, const char *path, int flags)
{
    return struck("open", folder, path) || (flags & O_NOATIME && struck("noatime", folder, path));
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        int mode = mode_of(flags, rest); \
        va_end(rest); \
        return struck_open(AT_FDCWD, path, flags) ? -1 : REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        int mode = mode_of(flags, rest); \
        va_end(rest); \
        return struck_open(folder, path, flags) ? -1 : REAL(name)(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t read(int file, void *buffer, size_t size)
{
    return struck("read", file, NULL) ? -1 : REAL(read)(file, buffer, size);
}

#define PREADV2(name, offset_type) \
    ssize_t name(int file, const struct iovec *parts, int n, offset_type at, int flags) \
    { \
        return struck("preadv", file, NULL) ? -1 : REAL(name)(file, parts, n, at, flags); \
    }
PREADV2(preadv2, off_t)
PREADV2(preadv64v2, off64_t)

#define PREADV(name, offset_type) \
    ssize_t name(int file, const struct iovec *parts, int n, offset_type at) \
    { \
        return struck("preadv", file, NULL) ? -1 : REAL(name)(file, parts, n, at); \
    }
PREADV(preadv, off_t)
PREADV(preadv64, off64_t)

/* Unlike the others, it returns the number of the error. */
#define FADVISE(name, offset_type) \
    int name(int file, offset_type at, offset_type size, int advice) \
    { \
        return struck("fadvise", file, NULL) ? errno : REAL(name)(file, at, size, advice); \
    }
FADVISE(posix_fadvise, off_t)
FADVISE(posix_fadvise64, off64_t)

#define READDIR(name, entry) \
    struct entry *name(DIR *folder) \
    { \
        return struck("readdir", dirfd(folder), NULL) ? NULL : REAL(name)(folder); \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

#define FSTAT(name, status) \
    int name(int file, struct status *into) \
    { \
        return struck("fstat", file, NULL) ? -1 : REAL(name)(file, into); \
    }
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

#define FSTATAT(name, status) \
    int name(int folder, const char *path, struct status *into, int flags) \
    { \
        return struck("stat", folder, path) ? -1 : REAL(name)(folder, path, into, flags); \
    }
FSTATAT(fstatat, stat)
FSTATAT(fstatat64, stat64)

#define STAT(name, status) \
    int name(const char *path, struct status *into) \
    { \
        return struck("stat", AT_FDCWD, path) ? -1 : REAL(name)(path, into); \
    }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict at)
{
    return struck("stat", folder, path) ? -1 : REAL(statx)(folder, path, flags, mask, at);
}

int unlinkat(int folder, const char *path, int flags)
{
    const char *call = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    return struck(call, folder, path) ? -1 : REAL(unlinkat)(folder, path, flags);
}

int renameat(int from, const char *old, int to, const char *new)
{
    return struck("rename", from, old) ? -1 : REAL(renameat)(from, old, to, new);
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    return struck("link", from, old) ? -1 : REAL(linkat)(from, old, to, new, flags);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    return struck("mkdir", folder, path) ? -1 : REAL(mkdirat)(folder, path, mode);
}

int fsync(int file)
{
    return struck("fsync", file, NULL) ? -1 : REAL(fsync)(file);
}

int flock(int file, int operation)
{
    return struck("flock", file, NULL) ? -1 : REAL(flock)(file, operation);
}

/* The program waits only for others to change something, and here nobody does. */
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    return count ? 0 : REAL(clock_nanosleep)(clock, flags, time, left);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*what)(void *), void *with)
{
    return struck("thread", AT_FDCWD, under) ? errno : REAL(pthread_create)(thread, how, what, with);
}

pid_t fork(void)
{
    return struck("fork", AT_FDCWD, under) ? -1 : REAL(fork)();
}

/* A function that returns can't call vfork for its caller. fork does the same, but slower. */
pid_t vfork(void)
{
    return fork();
}
