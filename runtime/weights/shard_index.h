/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * shard_index.h - the bytes of a model.safetensors.index.json of unknown origin in -> the shard of every tensor out.
 *
 *   {"metadata": anything, "weight_map": {TENSOR: SHARD, ...}}     other keys are skipped
 *
 * Limits: at most 100 MB; names at most 1023 bytes; no tensor twice; a shard lies in the index's folder or below it:
 * its name is relative, without empty parts, "." and "..".
 */
#ifndef MOEC_RUNTIME_WEIGHTS_SHARD_INDEX_H
#define MOEC_RUNTIME_WEIGHTS_SHARD_INDEX_H

#include "runtime/moec.h"

typedef struct moec_index_entry {
  const char *tensor, *shard; /* NUL-terminated, the index's storage       */
  size_t number;              /* of the shard, 0 .. shards-1               */
  int used;                   /* free for the caller; 0 after parsing      */
} moec_index_entry;

typedef struct moec_shard_index {
  moec_index_entry *entries; /* malloc'd, sorted by tensor                */
  size_t count, capacity;
  size_t shards; /* different ones                            */
  char *strings; /* malloc'd storage of the names             */
} moec_shard_index;

/* MOEC_FILE_FORMAT, MOEC_OUT_OF_MEMORY; the text names path and byte. Free the index also after an error. */
moec_status moec_parse_index(const char *path, const char *text, size_t bytes, moec_shard_index *index);
void moec_free_index(moec_shard_index *index);

/* The entry of the tensor called `name`, NULL if there is none. O(log n). */
moec_index_entry *moec_index_find(const moec_shard_index *index, const char *name);

#endif
