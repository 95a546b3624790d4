/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checkpoint.c - a path -> one file, or an index and those of its shards that are needed.
 */
#include "runtime/weights/checkpoint.h"

#include "runtime/status.h"
#include "runtime/weights/checkpoint_folder.h"
#include "runtime/weights/mapped_file.h"
#include "runtime/weights/shard_index.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct moec_checkpoint {
  char *path;             /* malloc'd: of the file or the index               */
  moec_file *single;      /* NULL: `index` says where tensors are             */
  moec_shard_index index; /* of shards in path's folder                       */
  moec_file **shards;     /* malloc'd [index.shards], NULL: not open          */
};

/* Whether the file begins as JSON does and cannot be safetensors, whose first 8 bytes are a length. */
static int is_json(const moec_mapped_file *file) {
  uint64_t length = 0;
  for (int i = 0; i < 8 && (uint64_t)i < file->bytes; ++i)
    length |= (uint64_t)(unsigned char)file->map[i] << (8 * i);
  return file->bytes && file->map[0] == '{' && (file->bytes < 8 || length > MOEC_FILE_MAX_HEADER);
}

/* Reads the index if the file is JSON. */
static moec_status read_index(moec_checkpoint *checkpoint, int *out_is_index) {
  moec_mapped_file file;
  moec_status status = moec_map_file(checkpoint->path, &file);
  *out_is_index = status == MOEC_OK && is_json(&file);
  if (*out_is_index)
    status = moec_parse_index(checkpoint->path, file.map, (size_t)file.bytes, &checkpoint->index);
  moec_unmap_file(&file);
  if (status != MOEC_OK || !*out_is_index)
    return status;
  checkpoint->shards = calloc(checkpoint->index.shards + 1, sizeof(*checkpoint->shards));
  return checkpoint->shards ? MOEC_OK
                            : moec_error(MOEC_OUT_OF_MEMORY, "no memory for %zu shards", checkpoint->index.shards);
}

static moec_status open_at(moec_checkpoint *checkpoint, const char *path) {
  struct stat info;
  int is_index = 0;
  moec_status status = MOEC_OK;
  if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
    status = moec_file_of_folder(path, &checkpoint->path);
  else if (!(checkpoint->path = moec_join_path("", 0, path)))
    status = moec_error(MOEC_OUT_OF_MEMORY, "no memory for a path");
  if (status == MOEC_OK)
    status = read_index(checkpoint, &is_index);
  if (status == MOEC_OK && !is_index)
    status = moec_file_open(checkpoint->path, &checkpoint->single);
  return status;
}

moec_status moec_checkpoint_open(const char *path, moec_checkpoint **out_checkpoint) {
  moec_checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));
  if (!checkpoint)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory to open a checkpoint");
  moec_status status = open_at(checkpoint, path);
  if (status == MOEC_OK)
    *out_checkpoint = checkpoint;
  else
    moec_checkpoint_close(checkpoint);
  return status;
}

void moec_checkpoint_close(moec_checkpoint *checkpoint) {
  if (!checkpoint)
    return;
  for (size_t i = 0; checkpoint->shards && i < checkpoint->index.shards; ++i)
    moec_file_close(checkpoint->shards[i]);
  free(checkpoint->shards);
  moec_free_index(&checkpoint->index);
  moec_file_close(checkpoint->single);
  free(checkpoint->path);
  free(checkpoint);
}

const char *moec_checkpoint_path(const moec_checkpoint *checkpoint) { return checkpoint->path; }

int moec_checkpoint_has(const moec_checkpoint *checkpoint, const char *name) {
  if (checkpoint->single)
    return moec_file_find(checkpoint->single, name) != NULL;
  return moec_index_find(&checkpoint->index, name) != NULL;
}

static moec_status open_shard(moec_checkpoint *checkpoint, const moec_index_entry *entry) {
  moec_file **shard = &checkpoint->shards[entry->number];
  if (*shard)
    return MOEC_OK;
  const char *slash = strrchr(checkpoint->path, '/');
  char *path = moec_join_path(checkpoint->path, slash ? (size_t)(slash - checkpoint->path) + 1 : 0, entry->shard);
  if (!path)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a path");
  moec_status status = moec_file_open(path, shard);
  free(path);
  if (status == MOEC_OK)
    return MOEC_OK;
  char reason[512];
  moec_last_error(reason, sizeof(reason));
  return moec_error(status, "tensor \"%.128s\" of %.256s: %s", entry->tensor, checkpoint->path, reason);
}

moec_status moec_checkpoint_find(moec_checkpoint *checkpoint, const char *name, const moec_file **out_file,
                                 const moec_file_tensor **out_tensor) {
  *out_tensor = NULL;
  if (checkpoint->single) {
    *out_file = checkpoint->single;
    *out_tensor = moec_file_find(checkpoint->single, name);
    return MOEC_OK;
  }
  moec_index_entry *entry = moec_index_find(&checkpoint->index, name);
  if (!entry)
    return MOEC_OK;
  moec_status status = open_shard(checkpoint, entry);
  if (status != MOEC_OK)
    return status;
  entry->used = 1;
  *out_file = checkpoint->shards[entry->number];
  *out_tensor = moec_file_find(*out_file, name);
  if (!*out_tensor)
    return moec_error(MOEC_MISSING_WEIGHT, "tensor \"%.128s\" is not in \"%.128s\", the shard that %.256s names", name,
                      entry->shard, checkpoint->path);
  return MOEC_OK;
}

void moec_checkpoint_names(const moec_checkpoint *checkpoint,
                           void (*visit)(void *context, const char *name, const moec_file_tensor *tensor),
                           void *context) {
  for (size_t i = 0; checkpoint->single && i < moec_file_count(checkpoint->single); ++i) {
    const moec_file_tensor *tensor = moec_file_at(checkpoint->single, i);
    visit(context, tensor->name, tensor);
  }
  for (size_t i = 0; !checkpoint->single && i < checkpoint->index.count; ++i) {
    const moec_index_entry *entry = &checkpoint->index.entries[i];
    const moec_file *shard = checkpoint->shards[entry->number];
    visit(context, entry->tensor, shard ? moec_file_find(shard, entry->tensor) : NULL);
  }
}

/* The name of a shard by its number. */
static const char *shard_name(const moec_checkpoint *checkpoint, size_t number) {
  for (size_t i = 0; i < checkpoint->index.count; ++i)
    if (checkpoint->index.entries[i].number == number)
      return checkpoint->index.entries[i].shard;
  return "";
}

moec_status moec_checkpoint_check(const moec_checkpoint *checkpoint) {
  const moec_shard_index *index = &checkpoint->index;
  for (size_t s = 0; s < index->shards; ++s)
    for (size_t i = 0; checkpoint->shards[s] && i < index->count; ++i) {
      const moec_index_entry *entry = &index->entries[i];
      if (entry->used && entry->number != s && moec_file_find(checkpoint->shards[s], entry->tensor))
        return moec_error(MOEC_FILE_FORMAT, "%.256s: tensor \"%.128s\" is in two shards, \"%.128s\" and \"%.128s\"",
                          checkpoint->path, entry->tensor, entry->shard, shard_name(checkpoint, s));
    }
  return MOEC_OK;
}
