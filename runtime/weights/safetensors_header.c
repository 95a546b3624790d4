/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * safetensors_header.c - the grammar of a header over the pieces of json_reader.h.
 */
#include "runtime/weights/safetensors_header.h"

#include "runtime/status.h"
#include "runtime/weights/json_reader.h"

#include <stdlib.h>
#include <string.h>

typedef struct reader {
  moec_json json;
  moec_file_table *table;
  char *strings_end; /* free part of table->strings */
} reader;

/* Decodes a string into the table's storage. */
static int keep_string(reader *r, const char **out_text) {
  return moec_json_keep(&r->json, &r->strings_end, MOEC_FILE_MAX_NAME, out_text);
}

/* [n, ...]: the first MOEC_FILE_MAX_RANK numbers, how many there are, and their product. */
static int read_shape(reader *r, moec_file_tensor *tensor) {
  int has_more;
  tensor->elements = 1;
  if (!moec_json_open(&r->json, '[', &has_more))
    return 0;
  while (has_more) {
    int64_t dim;
    if (!moec_json_integer(&r->json, &dim) || !moec_json_more(&r->json, ']', &has_more))
      return 0;
    if (tensor->rank < MOEC_FILE_MAX_RANK)
      tensor->dims[tensor->rank] = dim;
    ++tensor->rank;
    if (tensor->elements < 0 || __builtin_mul_overflow(tensor->elements, dim, &tensor->elements))
      tensor->elements = -1;
  }
  return 1;
}

/* [begin, end] */
static int read_offsets(reader *r, moec_file_tensor *tensor) {
  int64_t offsets[2] = {0, 0};
  int has_more, count = 0;
  if (!moec_json_open(&r->json, '[', &has_more))
    return 0;
  for (; has_more; ++count) {
    if (count == 2)
      return moec_json_fail(&r->json, "fewer numbers");
    if (!moec_json_integer(&r->json, &offsets[count]) || !moec_json_more(&r->json, ']', &has_more))
      return 0;
  }
  if (count != 2 || offsets[0] > offsets[1])
    return moec_json_fail(&r->json, "data_offsets [begin, end] with begin <= end");
  tensor->begin = (uint64_t)offsets[0];
  tensor->end = (uint64_t)offsets[1];
  return 1;
}

static int read_metadata(moec_json *json) {
  int has_more;
  if (moec_json_null(json))
    return 1;
  if (!moec_json_open(json, '{', &has_more))
    return 0;
  while (has_more)
    if (!moec_json_skip_string(json) || !moec_json_take(json, ':', "':'") || !moec_json_skip_string(json) ||
        !moec_json_more(json, '}', &has_more))
      return 0;
  return 1;
}

/* One of a tensor's three entries, or one that another version of the format adds; `seen` has a bit for each of the
 * three. */
static int read_entry(reader *r, moec_file_tensor *tensor, unsigned *seen) {
  static const char *const keys[] = {"dtype", "shape", "data_offsets"};
  char key[16];
  unsigned which = 0;
  if (!moec_json_key(&r->json, key, sizeof(key) - 1))
    return 0;
  while (which < 3 && strcmp(key, keys[which]) != 0)
    ++which;
  if (which == 3)
    return moec_json_skip(&r->json);
  if (*seen >> which & 1)
    return moec_json_fail(&r->json, "dtype, shape and data_offsets, each once");
  *seen |= 1u << which;
  if (which == 0)
    return keep_string(r, &tensor->type);
  return which == 1 ? read_shape(r, tensor) : read_offsets(r, tensor);
}

static int append(reader *r, const moec_file_tensor *tensor) {
  moec_file_table *table = r->table;
  if (table->count == table->capacity) {
    size_t capacity = table->capacity ? table->capacity * 2 : 64;
    moec_file_tensor *grown = realloc(table->tensors, capacity * sizeof(*grown));
    if (!grown) {
      r->json.status = moec_error(MOEC_OUT_OF_MEMORY, "%.256s: no memory for %zu tensors", r->json.path, capacity);
      return 0;
    }
    table->tensors = grown;
    table->capacity = capacity;
  }
  table->tensors[table->count++] = *tensor;
  return 1;
}

static int read_tensor(reader *r, const char *name) {
  moec_file_tensor tensor;
  unsigned seen = 0;
  int has_more;
  memset(&tensor, 0, sizeof(tensor));
  tensor.name = name;
  if (!moec_json_open(&r->json, '{', &has_more))
    return 0;
  while (has_more)
    if (!read_entry(r, &tensor, &seen) || !moec_json_more(&r->json, '}', &has_more))
      return 0;
  if (seen != 7)
    return moec_json_fail(&r->json, "dtype, shape and data_offsets, each once");
  return append(r, &tensor);
}

static int read_header(reader *r) {
  int has_more, has_metadata = 0;
  if (!moec_json_open(&r->json, '{', &has_more))
    return 0;
  while (has_more) {
    const char *name;
    if (!keep_string(r, &name) || !moec_json_take(&r->json, ':', "':'"))
      return 0;
    if (strcmp(name, "__metadata__") != 0) {
      if (!read_tensor(r, name))
        return 0;
    } else if (has_metadata++) {
      return moec_json_fail(&r->json, "__metadata__ once");
    } else if (!read_metadata(&r->json)) {
      return 0;
    }
    if (!moec_json_more(&r->json, '}', &has_more))
      return 0;
  }
  return moec_json_end(&r->json);
}

moec_status moec_parse_file_header(const char *path, const char *text, size_t bytes, moec_file_table *table) {
  /* NOTE: a decoded string and its NUL are never longer than the quoted string it was read from, so all of them fit.
   * The slack is for a string that is refused after it was decoded. */
  table->strings = malloc(bytes + MOEC_FILE_MAX_NAME + 1);
  if (!table->strings)
    return moec_error(MOEC_OUT_OF_MEMORY, "%.256s: no memory for the names of a header of %zu bytes", path, bytes);
  reader r = {{path, "header", text, bytes, 0, MOEC_OK}, table, table->strings};
  read_header(&r);
  return r.json.status;
}
