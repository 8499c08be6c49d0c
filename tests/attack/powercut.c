/* Logs what a power cut may undo: the bytes before each write and truncation of a file, and each sync. Loaded before the
 * C library (LD_PRELOAD), on Linux. `drop_unsynced` in attacks.py reads the log and says what its lines are.
 *
 * POWERCUT_LOG is the log, POWERCUT_UNDER a part of the paths that are logged. A line is one write(2) with O_APPEND, made
 * before the call that it describes: a kill between the two leaves a line without its write, which changes nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longest write whose bytes are kept: more than a page of the database or a frame of its log. */
enum { MOST = 1 << 17 };

static ssize_t (*real_write)(int, const void *, size_t);
static int log_fd = -1;

__attribute__((constructor)) static void start(void)
{
	real_write = dlsym(RTLD_NEXT, "write");
	const char *path = getenv("POWERCUT_LOG");
	if (path)
		log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Returns 1 and the file's path and size if its changes are logged. */
static int is_logged(int fd, char *path, off_t *size)
{
	char link[64];
	struct stat about;
	const char *under = getenv("POWERCUT_UNDER");
	if (log_fd < 0 || !under || fstat(fd, &about) || !S_ISREG(about.st_mode))
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, PATH_MAX - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	*size = about.st_size;
	return strstr(path, under) && !strstr(path, " (deleted)");
}

/* Appends a line with the bytes of the file from `from` to `to`, which are about to be lost. */
static void note(int fd, char kind, const char *path, off_t offset, off_t size, off_t from, off_t to)
{
	static const char digits[] = "0123456789abcdef";
	size_t most = to > from ? to - from : 0;
	char *line = malloc(PATH_MAX + 64 + 2 * most), *old = malloc(most + 1);
	if (!line || !old)
		abort();
	ssize_t got = most ? pread(fd, old, most, from) : 0;
	int at = kind == 'w' ? sprintf(line, "w\t%s\t%lld\t%lld\t", path, (long long)offset, (long long)size)
			     : sprintf(line, "t\t%s\t%lld\t", path, (long long)size);
	for (ssize_t i = 0; i < got; i++) {
		line[at++] = digits[(unsigned char)old[i] >> 4];
		line[at++] = digits[old[i] & 15];
	}
	line[at++] = '\n';
	if (real_write(log_fd, line, at) != at)
		abort();
	free(line);
	free(old);
}

static void before_write(int fd, off_t offset, size_t count)
{
	char path[PATH_MAX];
	off_t size;
	if (!is_logged(fd, path, &size))
		return;
	if (count > MOST)
		abort();
	off_t end = offset + (off_t)count;
	note(fd, 'w', path, offset, size, offset, end < size ? end : size);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
	if (fd != log_fd && log_fd >= 0) {
		int flags = fcntl(fd, F_GETFL);
		struct stat about;
		if (flags >= 0 && !fstat(fd, &about) && S_ISREG(about.st_mode)) {
			off_t offset = flags & O_APPEND ? about.st_size : lseek(fd, 0, SEEK_CUR);
			before_write(fd, offset, count);
		}
	}
	return real_write(fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
	static ssize_t (*real)(int, const void *, size_t, off64_t);
	if (!real)
		real = dlsym(RTLD_NEXT, "pwrite64");
	before_write(fd, offset, count);
	return real(fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
	return pwrite64(fd, bytes, count, offset);
}

static void before_truncate(int fd, off_t length)
{
	char path[PATH_MAX];
	off_t size;
	if (is_logged(fd, path, &size) && length < size)
		note(fd, 't', path, 0, size, length, size);
}

int ftruncate64(int fd, off64_t length)
{
	static int (*real)(int, off64_t);
	if (!real)
		real = dlsym(RTLD_NEXT, "ftruncate64");
	before_truncate(fd, length);
	return real(fd, length);
}

int ftruncate(int fd, off_t length)
{
	return ftruncate64(fd, length);
}

static void after_sync(int fd)
{
	char path[PATH_MAX], line[PATH_MAX + 8];
	off_t size;
	if (!is_logged(fd, path, &size))
		return;
	int length = snprintf(line, sizeof line, "s\t%s\n", path);
	if (real_write(log_fd, line, length) != length)
		abort();
}

int fsync(int fd)
{
	static int (*real)(int);
	if (!real)
		real = dlsym(RTLD_NEXT, "fsync");
	int outcome = real(fd);
	if (!outcome)
		after_sync(fd);
	return outcome;
}

int fdatasync(int fd)
{
	static int (*real)(int);
	if (!real)
		real = dlsym(RTLD_NEXT, "fdatasync");
	int outcome = real(fd);
	if (!outcome)
		after_sync(fd);
	return outcome;
}
