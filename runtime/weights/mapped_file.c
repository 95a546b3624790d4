/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * mapped_file.c - a path -> a private, read-only mapping of the whole file.
 */
#include "runtime/weights/mapped_file.h"

#include "runtime/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static moec_status file_error(const moec_mapped_file *file, const char *what) {
  char reason[128];
  if (strerror_r(errno, reason, sizeof(reason)) != 0)
    snprintf(reason, sizeof(reason), "error %d", errno);
  return moec_error(MOEC_FILE, "%s: %s: %s", file->path, what, reason);
}

moec_status moec_map_file(const char *path, moec_mapped_file *file) {
  struct stat info;
  memset(file, 0, sizeof(*file));
  snprintf(file->path, sizeof(file->path), "%s", path);
  file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->descriptor < 0)
    return file_error(file, "cannot be opened");
  if (fstat(file->descriptor, &info) != 0)
    return file_error(file, "cannot be read");
  if (!S_ISREG(info.st_mode))
    return moec_error(MOEC_FILE, "%s: not a regular file", file->path);
  file->bytes = (uint64_t)info.st_size;
  if (!file->bytes)
    return MOEC_OK;
  void *map = mmap(NULL, (size_t)file->bytes, PROT_READ, MAP_PRIVATE, file->descriptor, 0);
  if (map == MAP_FAILED)
    return file_error(file, "cannot be mapped");
  file->map = map;
  return MOEC_OK;
}

void moec_unmap_file(moec_mapped_file *file) {
  if (file->map)
    munmap((void *)(uintptr_t)file->map, (size_t)file->bytes);
  if (file->descriptor >= 0)
    close(file->descriptor);
  file->map = NULL;
  file->descriptor = -1;
}

moec_status moec_check_mapped(const moec_mapped_file *file) {
  struct stat info;
  if (fstat(file->descriptor, &info) != 0)
    return file_error(file, "cannot be read");
  if ((uint64_t)info.st_size < file->bytes)
    return moec_error(MOEC_FILE, "%s: became shorter while it was read", file->path);
  return MOEC_OK;
}
