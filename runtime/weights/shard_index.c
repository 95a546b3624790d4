/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * shard_index.c - the grammar of an index over the pieces of json_reader.h, then its tensors in order.
 */
#include "runtime/weights/shard_index.h"

#include "runtime/status.h"
#include "runtime/weights/json_reader.h"
#include "runtime/weights/safetensors.h"

#include <stdlib.h>
#include <string.h>

typedef struct reader {
  moec_json json;
  moec_shard_index *index;
  char *strings_end; /* free part of index->strings */
} reader;

/* Whether the path leads nowhere but below the folder that it is relative to; symbolic links are the folder's own. */
static int stays_below(const char *shard) {
  for (;;) {
    size_t length = strcspn(shard, "/");
    int dots = (length == 1 || length == 2) && memcmp(shard, "..", length) == 0;
    if (length == 0 || dots)
      return 0;
    if (!shard[length])
      return 1;
    shard += length + 1;
  }
}

/* Decodes a string into the index's storage. */
static int keep_string(reader *r, const char **out_text) {
  return moec_json_keep(&r->json, &r->strings_end, MOEC_FILE_MAX_NAME, out_text);
}

static moec_index_entry *append(reader *r) {
  moec_shard_index *index = r->index;
  if (index->count == index->capacity) {
    size_t capacity = index->capacity ? index->capacity * 2 : 256;
    moec_index_entry *grown = realloc(index->entries, capacity * sizeof(*grown));
    if (!grown) {
      r->json.status = moec_error(MOEC_OUT_OF_MEMORY, "%.256s: no memory for %zu tensors", r->json.path, capacity);
      return NULL;
    }
    index->entries = grown;
    index->capacity = capacity;
  }
  moec_index_entry *entry = &index->entries[index->count++];
  memset(entry, 0, sizeof(*entry));
  return entry;
}

static int read_weight_map(reader *r) {
  int has_more;
  if (!moec_json_open(&r->json, '{', &has_more))
    return 0;
  while (has_more) {
    moec_index_entry *entry = append(r);
    if (!entry || !keep_string(r, &entry->tensor) || !moec_json_take(&r->json, ':', "':'") ||
        !keep_string(r, &entry->shard))
      return 0;
    if (!stays_below(entry->shard)) {
      r->json.status = moec_error(MOEC_FILE_FORMAT,
                                  "%.256s: index byte %zu: tensor \"%.128s\" is in \"%.128s\", expected a file in the "
                                  "index's folder",
                                  r->json.path, r->json.at, entry->tensor, entry->shard);
      return 0;
    }
    if (!moec_json_more(&r->json, '}', &has_more))
      return 0;
  }
  return 1;
}

static int read_index(reader *r) {
  int has_more, maps = 0;
  char key[16];
  if (!moec_json_open(&r->json, '{', &has_more))
    return 0;
  while (has_more) {
    if (!moec_json_key(&r->json, key, sizeof(key) - 1))
      return 0;
    if (strcmp(key, "weight_map") != 0) {
      if (!moec_json_skip(&r->json))
        return 0;
    } else if (maps++) {
      return moec_json_fail(&r->json, "weight_map once");
    } else if (!read_weight_map(r)) {
      return 0;
    }
    if (!moec_json_more(&r->json, '}', &has_more))
      return 0;
  }
  if (!maps)
    return moec_json_fail(&r->json, "an index of safetensors files, with weight_map");
  return moec_json_end(&r->json);
}

static int by_shard(const void *left, const void *right) {
  return strcmp(((const moec_index_entry *)left)->shard, ((const moec_index_entry *)right)->shard);
}

static int by_tensor(const void *left, const void *right) {
  int order = strcmp(((const moec_index_entry *)left)->tensor, ((const moec_index_entry *)right)->tensor);
  return order ? order : by_shard(left, right);
}

/* Numbers the shards and sorts the tensors. */
static moec_status arrange(const char *path, moec_shard_index *index) {
  moec_index_entry *entries = index->entries;
  if (!index->count)
    return MOEC_OK;
  qsort(entries, index->count, sizeof(*entries), by_shard);
  for (size_t i = 0; i < index->count; ++i) {
    index->shards += i == 0 || by_shard(&entries[i - 1], &entries[i]) != 0;
    entries[i].number = index->shards - 1;
  }
  qsort(entries, index->count, sizeof(*entries), by_tensor);
  for (size_t i = 1; i < index->count; ++i)
    if (strcmp(entries[i - 1].tensor, entries[i].tensor) == 0) {
      if (entries[i - 1].number == entries[i].number)
        return moec_error(MOEC_FILE_FORMAT, "%.256s: tensor \"%.128s\" is named twice", path, entries[i].tensor);
      return moec_error(MOEC_FILE_FORMAT, "%.256s: tensor \"%.128s\" is in two shards, \"%.128s\" and \"%.128s\"", path,
                        entries[i].tensor, entries[i - 1].shard, entries[i].shard);
    }
  return MOEC_OK;
}

moec_status moec_parse_index(const char *path, const char *text, size_t bytes, moec_shard_index *index) {
  if (bytes > MOEC_FILE_MAX_HEADER)
    return moec_error(MOEC_FILE_FORMAT, "%.256s: an index of %zu bytes, the limit is %d", path, bytes,
                      MOEC_FILE_MAX_HEADER);
  /* NOTE: decoded strings fit, as in a header: see moec_parse_file_header. */
  index->strings = malloc(bytes + MOEC_FILE_MAX_NAME + 1);
  if (!index->strings)
    return moec_error(MOEC_OUT_OF_MEMORY, "%.256s: no memory for the names of an index of %zu bytes", path, bytes);
  reader r = {{path, "index", text, bytes, 0, MOEC_OK}, index, index->strings};
  read_index(&r);
  return r.json.status == MOEC_OK ? arrange(path, index) : r.json.status;
}

void moec_free_index(moec_shard_index *index) {
  free(index->entries);
  free(index->strings);
  memset(index, 0, sizeof(*index));
}

static int by_name(const void *name, const void *entry) {
  return strcmp(name, ((const moec_index_entry *)entry)->tensor);
}

moec_index_entry *moec_index_find(const moec_shard_index *index, const char *name) {
  if (!index->count)
    return NULL;
  return bsearch(name, index->entries, index->count, sizeof(*index->entries), by_name);
}
