/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * safetensors.c - a path in -> a mapped file whose header has been proved to describe it out.
 */
#include "runtime/weights/safetensors.h"

#include "runtime/status.h"
#include "runtime/weights/file_kind.h"
#include "runtime/weights/mapped_file.h"
#include "runtime/weights/safetensors_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct moec_file {
  moec_mapped_file mapped;
  uint64_t data_begin;
  moec_file_table table; /* sorted by name once open */
};

typedef struct type_row {
  const char *name;
  int32_t dtype;
  int64_t bits;
} type_row;

/* Types of the format. */
static const type_row types[] = {
    {"F64", MOEC_F64, 64},
    {"F32", MOEC_F32, 32},
    {"F16", MOEC_F16, 16},
    {"BF16", MOEC_BF16, 16},
    {"I64", MOEC_I64, 64},
    {"I32", MOEC_I32, 32},
    {"I8", MOEC_I8, 8},
    {"U8", MOEC_U8, 8},
    {"I16", -1, 16},
    {"U16", -1, 16},
    {"U32", -1, 32},
    {"U64", -1, 64},
    {"BOOL", -1, 8},
    {"F8_E4M3", MOEC_FP8E4M3, 8},
    {"F8_E5M2", MOEC_FP8E5M2, 8},
    {"F8_E8M0", -1, 8},
    {"F8_E4M3FNUZ", -1, 8},
    {"F8_E5M2FNUZ", -1, 8},
    {"F6_E2M3", -1, 6},
    {"F6_E3M2", -1, 6},
    {"F4", -1, 4},
    {"C64", -1, 64},
};

static int by_begin(const void *left, const void *right) {
  const moec_file_tensor *a = left, *b = right;
  if (a->begin != b->begin)
    return a->begin < b->begin ? -1 : 1;
  return a->end < b->end ? -1 : a->end > b->end;
}

static int by_name(const void *left, const void *right) {
  return strcmp(((const moec_file_tensor *)left)->name, ((const moec_file_tensor *)right)->name);
}

/* Sets dtype; where the type is known, elements times their size must be end - begin. */
static moec_status check_tensor(const moec_file *file, moec_file_tensor *tensor) {
  const type_row *type = NULL;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]) && !type; ++i)
    if (strcmp(types[i].name, tensor->type) == 0)
      type = &types[i];
  tensor->dtype = type ? type->dtype : -1;
  if (!type)
    return MOEC_OK;
  int64_t bits;
  if (tensor->elements < 0 || __builtin_mul_overflow(tensor->elements, type->bits, &bits))
    return moec_error(MOEC_FILE_FORMAT, "%s: tensor \"%.128s\": its shape is too large", file->mapped.path,
                      tensor->name);
  if (bits % 8)
    return moec_error(MOEC_FILE_FORMAT, "%s: tensor \"%.128s\": %s of its shape is not a whole number of bytes",
                      file->mapped.path, tensor->name, tensor->type);
  if ((uint64_t)(bits / 8) != tensor->end - tensor->begin)
    return moec_error(MOEC_FILE_FORMAT,
                      "%s: tensor \"%.128s\": %s of its shape has %" PRId64 " bytes, data_offsets say %" PRIu64,
                      file->mapped.path, tensor->name, tensor->type, bits / 8, tensor->end - tensor->begin);
  return MOEC_OK;
}

static moec_status check_table(moec_file *file) {
  moec_file_table *table = &file->table;
  uint64_t at = 0, data_bytes = file->mapped.bytes - file->data_begin;
  if (table->count)
    qsort(table->tensors, table->count, sizeof(*table->tensors), by_begin);
  for (size_t i = 0; i < table->count; ++i) {
    moec_file_tensor *tensor = &table->tensors[i];
    moec_status status = check_tensor(file, tensor);
    if (status != MOEC_OK)
      return status;
    if (tensor->begin != at)
      return moec_error(MOEC_FILE_FORMAT, "%s: tensor \"%.128s\" begins at data byte %" PRIu64 ", expected %" PRIu64,
                        file->mapped.path, tensor->name, tensor->begin, at);
    at = tensor->end;
  }
  if (at != data_bytes)
    return moec_error(MOEC_FILE_FORMAT, "%s: tensors end at data byte %" PRIu64 ", the file has %" PRIu64,
                      file->mapped.path, at, data_bytes);
  if (table->count)
    qsort(table->tensors, table->count, sizeof(*table->tensors), by_name);
  for (size_t i = 1; i < table->count; ++i)
    if (by_name(&table->tensors[i - 1], &table->tensors[i]) == 0)
      return moec_error(MOEC_FILE_FORMAT, "%s: tensor \"%.128s\" is named twice", file->mapped.path,
                        table->tensors[i].name);
  return MOEC_OK;
}

static moec_status read_file(moec_file *file) {
  const moec_mapped_file *mapped = &file->mapped;
  uint64_t header_bytes = 0;
  if (mapped->bytes < 8)
    return moec_error(MOEC_FILE_FORMAT, "%s: %" PRIu64 " bytes, a safetensors file has at least 10", mapped->path,
                      mapped->bytes);
  for (int i = 0; i < 8; ++i)
    header_bytes |= (uint64_t)(unsigned char)mapped->map[i] << (8 * i);
  int fits = header_bytes <= MOEC_FILE_MAX_HEADER && header_bytes <= mapped->bytes - 8;
  const char *kind = moec_file_kind(mapped->map, (size_t)mapped->bytes);
  if (kind && (!fits || mapped->map[8] != '{'))
    return moec_error(MOEC_FILE_FORMAT, "%s: %s", mapped->path, kind);
  if (!fits)
    return moec_error(MOEC_FILE_FORMAT,
                      "%s: the header claims %" PRIu64 " bytes, the file has %" PRIu64 " and the limit is %d",
                      mapped->path, header_bytes, mapped->bytes - 8, MOEC_FILE_MAX_HEADER);
  file->data_begin = 8 + header_bytes;
  moec_status status = moec_parse_file_header(mapped->path, mapped->map + 8, (size_t)header_bytes, &file->table);
  return status == MOEC_OK ? check_table(file) : status;
}

moec_status moec_file_open(const char *path, moec_file **out_file) {
  moec_file *file = calloc(1, sizeof(*file));
  if (!file)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory to open a file");
  moec_status status = moec_map_file(path, &file->mapped);
  if (status == MOEC_OK)
    status = read_file(file);
  if (status == MOEC_OK)
    *out_file = file;
  else
    moec_file_close(file);
  return status;
}

size_t moec_file_count(const moec_file *file) { return file->table.count; }

const moec_file_tensor *moec_file_at(const moec_file *file, size_t index) { return &file->table.tensors[index]; }

void moec_file_close(moec_file *file) {
  if (!file)
    return;
  moec_unmap_file(&file->mapped);
  free(file->table.tensors);
  free(file->table.strings);
  free(file);
}

const moec_file_tensor *moec_file_find(const moec_file *file, const char *name) {
  moec_file_tensor key = {.name = name};
  if (!file->table.count)
    return NULL;
  return bsearch(&key, file->table.tensors, file->table.count, sizeof(key), by_name);
}

moec_status moec_file_data(const moec_file *file, const moec_file_tensor *tensor, const void **out_data) {
  moec_status status = moec_check_mapped(&file->mapped);
  if (status == MOEC_OK)
    *out_data = file->mapped.map + file->data_begin + tensor->begin;
  return status;
}
