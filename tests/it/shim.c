// Makes system calls fail on a test's request: accepting, reading and writing, syncing, and the clock.
//
// It is loaded before the C library (LD_PRELOAD, ld.so(8)) and is independent of the program. The test writes the
// requested failures to a file of 64-bit numbers, named by IAID_FAULTS and mapped here, while the program runs. shim.rs
// has the same order of numbers.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { ACCEPT, INTERRUPT, WRITE, SYNC, KINDS };

static struct page {
    // Each `every`th call of a kind fails with `error`; none if `every` is 0.
    struct { int64_t error, every, calls, failed; } of[KINDS];
    // Syncs block while this is not 0.
    int64_t syncs_held;
    // Each sync takes up to this time, and at least a tenth of it.
    int64_t sync_ms;
    // How far the wall clock is ahead of the machine's.
    int64_t clock_ahead_s;
    // The process is killed before this write to the database file, counted down; never if 0. Commits go to the
    // write-ahead log, so it is killed in a checkpoint.
    int64_t kill_at_write;
} quiet, *page = &quiet;

#define LOAD(number) __atomic_load_n(&(number), __ATOMIC_SEQ_CST)
#define NEXT(number) __atomic_add_fetch(&(number), 1, __ATOMIC_SEQ_CST)
#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void start(void) {
    const char *name = getenv("IAID_FAULTS");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof quiet, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) page = mapped;
    close(fd);
}

static int strikes(enum kind kind) {
    int64_t every = LOAD(page->of[kind].every);
    if (every == 0 || NEXT(page->of[kind].calls) % every != 0) return 0;
    NEXT(page->of[kind].failed);
    errno = (int)LOAD(page->of[kind].error);
    return 1;
}

static mode_t type(int fd) {
    int before = errno;
    struct stat about;
    mode_t is = fstat(fd, &about) == 0 ? about.st_mode & S_IFMT : 0;
    errno = before;
    return is;
}

// Simulates a signal during a call on a socket or a regular file.
static int interrupted(int fd) {
    if (LOAD(page->of[INTERRUPT].every) == 0) return 0;
    mode_t is = type(fd);
    return (is == S_IFSOCK || is == S_IFREG) && strikes(INTERRUPT);
}

// Simulates a failing disk. Standard error, the log, is exempt.
static int unwritten(int fd) {
    return LOAD(page->of[WRITE].every) != 0 && fd != STDERR_FILENO && type(fd) == S_IFREG && strikes(WRITE);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags) {
    REAL(accept4);
    return strikes(ACCEPT) || interrupted(fd) ? -1 : real(fd, address, length, flags);
}

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout) {
    REAL(epoll_wait);
    return strikes(INTERRUPT) ? -1 : real(fd, events, most, timeout);
}

ssize_t read(int fd, void *bytes, size_t count) {
    REAL(read);
    return interrupted(fd) ? -1 : real(fd, bytes, count);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t at) {
    REAL(pread64);
    return interrupted(fd) ? -1 : real(fd, bytes, count, at);
}

ssize_t recv(int fd, void *bytes, size_t count, int flags) {
    REAL(recv);
    return interrupted(fd) ? -1 : real(fd, bytes, count, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    REAL(recvmsg);
    return interrupted(fd) ? -1 : real(fd, message, flags);
}

ssize_t send(int fd, const void *bytes, size_t count, int flags) {
    REAL(send);
    // Exempts the signal handler's write of one byte, which cannot block and so cannot be interrupted.
    return count > 1 && interrupted(fd) ? -1 : real(fd, bytes, count, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    return interrupted(fd) ? -1 : real(fd, message, flags);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    return unwritten(fd) || interrupted(fd) ? -1 : real(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *spans, int count) {
    REAL(writev);
    return unwritten(fd) || interrupted(fd) ? -1 : real(fd, spans, count);
}

static void kill_in_checkpoint(int fd) {
    if (LOAD(page->kill_at_write) <= 0) return;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    static const char name[] = "/memory.db";
    ssize_t at = length - (ssize_t)sizeof name + 1;
    if (at < 0 || memcmp(path + at, name, sizeof name - 1) != 0) return;
    if (__atomic_sub_fetch(&page->kill_at_write, 1, __ATOMIC_SEQ_CST) == 0) kill(getpid(), SIGKILL);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    kill_in_checkpoint(fd);
    return unwritten(fd) || interrupted(fd) ? -1 : real(fd, bytes, count, at);
}

static void wait_ms(int64_t ms) {
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

int fsync(int fd) {
    REAL(fsync);
    while (LOAD(page->syncs_held) != 0) wait_ms(1);
    int64_t most = LOAD(page->sync_ms);
    if (most > 0) wait_ms(most / 10 + NEXT(page->of[SYNC].calls) * 7919 % (most - most / 10));
    return strikes(SYNC) ? -1 : real(fd);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int outcome = real(clock, time);
    if (outcome == 0 && clock == CLOCK_REALTIME) time->tv_sec += LOAD(page->clock_ahead_s);
    return outcome;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    REAL(gettimeofday);
    int outcome = real(time, zone);
    if (outcome == 0) time->tv_sec += LOAD(page->clock_ahead_s);
    return outcome;
}
