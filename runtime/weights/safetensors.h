/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * safetensors.h - a safetensors file of unknown origin in -> named, bounds-checked tensors in mapped memory out.
 *
 *   | u64 header bytes | JSON header | data |
 *
 * Limits: header at most 100 MB and inside the file; names and types at most 1023 bytes; no name twice; data offsets
 * cover the data without holes or overlaps, to the file's last byte; shape times type is the tensor's bytes. Metadata
 * of any length, tensors of any rank, and tensors of types that moec does not know are read; only a layer that needs
 * such a tensor is refused.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_SAFETENSORS_H
#define MOEC_RUNTIME_WEIGHTS_SAFETENSORS_H

#include "runtime/moec.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MOEC_FILE_MAX_RANK = 8, MOEC_FILE_MAX_NAME = 1023, MOEC_FILE_MAX_HEADER = 100000000 };

typedef struct moec_file_tensor {
  const char *name; /* NUL-terminated, the file object's storage                                */
  const char *type; /* as written: "BF16"; the file object's storage                            */
  int32_t dtype;    /* moec_dtype, -1 for types moec cannot convert                             */
  int32_t rank;     /* of the shape; above MOEC_FILE_MAX_RANK only the first dims are kept      */
  int64_t dims[MOEC_FILE_MAX_RANK];
  int64_t elements;    /* product of all dims, -1 if it is above 2^63-1                            */
  uint64_t begin, end; /* bytes from the start of the data; not checked for types moec does not know */
} moec_file_tensor;

typedef struct moec_file moec_file;

/* MOEC_FILE if `path` cannot be opened or mapped, MOEC_FILE_FORMAT if it is not a safetensors file,
 * MOEC_OUT_OF_MEMORY. The text names path and byte. */
moec_status moec_file_open(const char *path, moec_file **out_file);
void moec_file_close(moec_file *file);

/* The tensor called `name`, NULL if there is none. O(log n). */
const moec_file_tensor *moec_file_find(const moec_file *file, const char *name);

/* All tensors, sorted by name. */
size_t moec_file_count(const moec_file *file);
const moec_file_tensor *moec_file_at(const moec_file *file, size_t index);

/* First byte of a tensor, any alignment. Checks that the file has not become shorter since it was opened: MOEC_FILE. */
moec_status moec_file_data(const moec_file *file, const moec_file_tensor *tensor, const void **out_data);

#ifdef __cplusplus
}
#endif
#endif
