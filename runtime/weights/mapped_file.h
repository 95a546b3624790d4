/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * mapped_file.h - a path in -> a regular file's bytes in memory out.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_MAPPED_FILE_H
#define MOEC_RUNTIME_WEIGHTS_MAPPED_FILE_H

#include "runtime/moec.h"

typedef struct moec_mapped_file {
  char path[257];  /* for messages; longer paths are cut */
  int descriptor;  /* -1: not open                       */
  const char *map; /* NULL if `bytes` is 0              */
  uint64_t bytes;
} moec_mapped_file;

/* MOEC_FILE if `path` cannot be opened or mapped, or is not a regular file. Unmap it also after an error. */
moec_status moec_map_file(const char *path, moec_mapped_file *file);
void moec_unmap_file(moec_mapped_file *file);

/* MOEC_FILE if the file is shorter now than when it was mapped. */
moec_status moec_check_mapped(const moec_mapped_file *file);

#endif
