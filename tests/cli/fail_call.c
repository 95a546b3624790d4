/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * fail_call.so, for LD_PRELOAD: one function of the C library fails, or is slow.
 *
 *   FAIL_CALL   malloc (then mmap too), mmap, open, write, fsync, mkdir, renameat2, fork, pthread_create
 *   FAIL_AT     the first call, from 1, that fails; all later ones fail too
 *   FAIL_SLEEP  seconds: instead of failing, the call is done and its caller then waits
 *
 * Calls are counted per process; a forked one goes on counting. Writes to stdout and stderr never fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;
static atomic_int no_memory;

/* Without memory of its own: malloc asks too. */
static int is_chosen(const char *name) {
  const char *chosen = getenv("FAIL_CALL");
  return chosen && strcmp(chosen, name) == 0;
}

static int fails(const char *name) {
  const char *at = getenv("FAIL_AT");
  return is_chosen(name) && at && atomic_fetch_add(&calls, 1) + 1 >= atol(at);
}

static void linger(const char *name) {
  const char *seconds = getenv("FAIL_SLEEP");
  if (is_chosen(name) && seconds)
    usleep((useconds_t)(atof(seconds) * 1e6));
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void *malloc(size_t size) {
  static void *(*real)(size_t);
  if (!real)
    real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
  if (!fails("malloc"))
    return real(size);
  atomic_store(&no_memory, 1);
  errno = ENOMEM;
  return NULL;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
  REAL(mmap);
  if (!atomic_load(&no_memory) && !fails("mmap"))
    return real(address, size, protection, flags, fd, offset);
  errno = ENOMEM;
  return MAP_FAILED;
}

static int open_one(const char *name, const char *path, int flags, mode_t mode) {
  int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
  if (!fails("open"))
    return real(path, flags, mode);
  errno = EMFILE;
  return -1;
}

static mode_t mode_of(int flags, va_list list) { return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(list, int) : 0; }

int open(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = mode_of(flags, list);
  va_end(list);
  return open_one("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = mode_of(flags, list);
  va_end(list);
  return open_one("open64", path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t size) {
  REAL(write);
  if (fd <= 2 || !fails("write"))
    return real(fd, bytes, size);
  errno = ENOSPC;
  return -1;
}

int fsync(int fd) {
  REAL(fsync);
  if (fails("fsync")) {
    errno = EIO;
    return -1;
  }
  int result = real(fd);
  linger("fsync");
  return result;
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  if (!fails("mkdir"))
    return real(path, mode);
  errno = ENOSPC;
  return -1;
}

int renameat2(int from, const char *old, int to, const char *path, unsigned flags) {
  REAL(renameat2);
  if (fails("renameat2")) {
    errno = EIO;
    return -1;
  }
  int result = real(from, old, to, path, flags), number = errno;
  linger("renameat2");
  errno = number;
  return result;
}

pid_t fork(void) {
  REAL(fork);
  if (!fails("fork"))
    return real();
  errno = EAGAIN;
  return -1;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
  REAL(pthread_create);
  return fails("pthread_create") ? EAGAIN : real(thread, attributes, start, argument);
}
