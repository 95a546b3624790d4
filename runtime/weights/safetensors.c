/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * safetensors.c - a path in -> a mapped file whose header has been proved to describe it out.
 */
#include "runtime/weights/safetensors.h"

#include "runtime/status.h"
#include "runtime/weights/safetensors_header.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct moec_file {
  char path[257];
  int descriptor;
  const char *map;
  uint64_t bytes, data_begin;
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
    return moec_error(MOEC_FILE_FORMAT, "%s: tensor \"%.128s\": its shape is too large", file->path, tensor->name);
  if (bits % 8)
    return moec_error(MOEC_FILE_FORMAT, "%s: tensor \"%.128s\": %s of its shape is not a whole number of bytes",
                      file->path, tensor->name, tensor->type);
  if ((uint64_t)(bits / 8) != tensor->end - tensor->begin)
    return moec_error(MOEC_FILE_FORMAT,
                      "%s: tensor \"%.128s\": %s of its shape has %" PRId64 " bytes, data_offsets say %" PRIu64,
                      file->path, tensor->name, tensor->type, bits / 8, tensor->end - tensor->begin);
  return MOEC_OK;
}

static moec_status check_table(moec_file *file) {
  moec_file_table *table = &file->table;
  uint64_t at = 0, data_bytes = file->bytes - file->data_begin;
  if (table->count)
    qsort(table->tensors, table->count, sizeof(*table->tensors), by_begin);
  for (size_t i = 0; i < table->count; ++i) {
    moec_file_tensor *tensor = &table->tensors[i];
    moec_status status = check_tensor(file, tensor);
    if (status != MOEC_OK)
      return status;
    if (tensor->begin != at)
      return moec_error(MOEC_FILE_FORMAT, "%s: tensor \"%.128s\" begins at data byte %" PRIu64 ", expected %" PRIu64,
                        file->path, tensor->name, tensor->begin, at);
    at = tensor->end;
  }
  if (at != data_bytes)
    return moec_error(MOEC_FILE_FORMAT, "%s: tensors end at data byte %" PRIu64 ", the file has %" PRIu64, file->path,
                      at, data_bytes);
  if (table->count)
    qsort(table->tensors, table->count, sizeof(*table->tensors), by_name);
  for (size_t i = 1; i < table->count; ++i)
    if (by_name(&table->tensors[i - 1], &table->tensors[i]) == 0)
      return moec_error(MOEC_FILE_FORMAT, "%s: tensor \"%.128s\" is named twice", file->path, table->tensors[i].name);
  return MOEC_OK;
}

static moec_status file_error(const moec_file *file, const char *what) {
  char reason[128];
  if (strerror_r(errno, reason, sizeof(reason)) != 0)
    snprintf(reason, sizeof(reason), "error %d", errno);
  return moec_error(MOEC_FILE, "%s: %s: %s", file->path, what, reason);
}

static moec_status map_file(moec_file *file, const char *path) {
  struct stat info;
  file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->descriptor < 0)
    return file_error(file, "cannot be opened");
  if (fstat(file->descriptor, &info) != 0)
    return file_error(file, "cannot be read");
  if (!S_ISREG(info.st_mode))
    return moec_error(MOEC_FILE, "%s: not a regular file", file->path);
  file->bytes = (uint64_t)info.st_size;
  if (file->bytes < 8)
    return moec_error(MOEC_FILE_FORMAT, "%s: %" PRIu64 " bytes, a safetensors file has at least 10", file->path,
                      file->bytes);
  void *map = mmap(NULL, (size_t)file->bytes, PROT_READ, MAP_PRIVATE, file->descriptor, 0);
  if (map == MAP_FAILED)
    return file_error(file, "cannot be mapped");
  file->map = map;
  return MOEC_OK;
}

static moec_status read_file(moec_file *file) {
  uint64_t header_bytes = 0;
  for (int i = 0; i < 8; ++i)
    header_bytes |= (uint64_t)(unsigned char)file->map[i] << (8 * i);
  if (header_bytes > MOEC_FILE_MAX_HEADER || header_bytes > file->bytes - 8)
    return moec_error(MOEC_FILE_FORMAT,
                      "%s: the header claims %" PRIu64 " bytes, the file has %" PRIu64 " and the limit is %d",
                      file->path, header_bytes, file->bytes - 8, MOEC_FILE_MAX_HEADER);
  file->data_begin = 8 + header_bytes;
  moec_status status = moec_parse_file_header(file->path, file->map + 8, (size_t)header_bytes, &file->table);
  return status == MOEC_OK ? check_table(file) : status;
}

moec_status moec_file_open(const char *path, moec_file **out_file) {
  moec_file *file = calloc(1, sizeof(*file));
  if (!file)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory to open a file");
  file->descriptor = -1;
  snprintf(file->path, sizeof(file->path), "%s", path);
  moec_status status = map_file(file, path);
  if (status == MOEC_OK)
    status = read_file(file);
  if (status == MOEC_OK)
    *out_file = file;
  else
    moec_file_close(file);
  return status;
}

void moec_file_close(moec_file *file) {
  if (!file)
    return;
  if (file->map)
    munmap((void *)(uintptr_t)file->map, (size_t)file->bytes);
  if (file->descriptor >= 0)
    close(file->descriptor);
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
  struct stat info;
  if (fstat(file->descriptor, &info) != 0)
    return file_error(file, "cannot be read");
  if ((uint64_t)info.st_size < file->bytes)
    return moec_error(MOEC_FILE, "%s: became shorter while it was read", file->path);
  *out_data = file->map + file->data_begin + tensor->begin;
  return MOEC_OK;
}
