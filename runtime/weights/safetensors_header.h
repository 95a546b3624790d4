/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * safetensors_header.h - the JSON header's bytes in -> its tensors in file order out.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_SAFETENSORS_HEADER_H
#define MOEC_RUNTIME_WEIGHTS_SAFETENSORS_HEADER_H

#include "runtime/weights/safetensors.h"

typedef struct moec_file_table {
  moec_file_tensor *tensors; /* malloc'd */
  size_t count, capacity;
  char *strings; /* malloc'd storage of names and types */
} moec_file_table;

/* Parses the grammar of a safetensors header: {"__metadata__": {string: string, ...} or null, NAME: {"dtype": string,
 * "shape": [n, ...], "data_offsets": [begin, end]}, ...}. A tensor's keys may be in any order, each once; other keys of
 * a tensor may hold any value, which is skipped. The caller frees the table, also after an error. */
moec_status moec_parse_file_header(const char *path, const char *text, size_t bytes, moec_file_table *table);

#endif
