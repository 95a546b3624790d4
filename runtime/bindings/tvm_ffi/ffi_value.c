/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_value.c - values of the ABI read and made.
 */
#include "runtime/bindings/tvm_ffi/ffi_value.h"

#include "runtime/bindings/tvm_ffi/ffi_host.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"

#include "runtime/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const moec_ffi_tensor *moec_ffi_tensor_of(const moec_ffi_value *value) {
  if (value->type == MOEC_FFI_TENSOR_POINTER)
    return value->as.pointer;
  if (value->type == MOEC_FFI_TENSOR && value->as.pointer)
    return (const moec_ffi_tensor *)((const moec_ffi_object *)value->as.pointer + 1);
  return NULL;
}

int moec_ffi_text_of(const moec_ffi_value *value, moec_ffi_bytes *out_text) {
  switch (value->type) {
  case MOEC_FFI_C_STRING:
    *out_text = (moec_ffi_bytes){value->as.pointer, strlen(value->as.pointer)};
    return 1;
  case MOEC_FFI_BYTES_POINTER:
    *out_text = *(const moec_ffi_bytes *)value->as.pointer;
    return 1;
  case MOEC_FFI_SMALL_STRING:
  case MOEC_FFI_SMALL_BYTES:
    *out_text = (moec_ffi_bytes){value->as.small, value->small_length < 8 ? value->small_length : 0};
    return 1;
  case MOEC_FFI_STRING:
  case MOEC_FFI_BYTES:
    *out_text = *(const moec_ffi_bytes *)((const moec_ffi_object *)value->as.pointer + 1);
    return 1;
  default:
    return 0;
  }
}

int moec_ffi_integer_of(const moec_ffi_value *value, int64_t *out_number) {
  if (value->type == MOEC_FFI_POINTER)
    *out_number = (int64_t)(intptr_t)value->as.pointer;
  else if (value->type == MOEC_FFI_INT || value->type == MOEC_FFI_BOOL)
    *out_number = value->as.integer;
  else
    return 0;
  return 1;
}

moec_status moec_ffi_copy_text(const char *name, const moec_ffi_value *value, char **out_text) {
  moec_ffi_bytes text;
  char found[160];
  if (moec_ffi_text_of(value, &text))
    return moec_ffi_copy_bytes(name, text, out_text);
  moec_ffi_describe(value, found, sizeof(found));
  return moec_error(MOEC_DTYPE, "%s is %s, expected a string", name, found);
}

moec_status moec_ffi_copy_bytes(const char *name, moec_ffi_bytes text, char **out_text) {
  if (memchr(text.data, 0, text.size))
    return moec_error(MOEC_INVALID_ARGUMENT, "%s holds a NUL byte", name);
  char *copy = malloc(text.size + 1);
  if (!copy)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for %zu bytes of %s", text.size + 1, name);
  memcpy(copy, text.data, text.size);
  copy[text.size] = '\0';
  *out_text = copy;
  return MOEC_OK;
}

moec_ffi_bytes moec_ffi_next_name(moec_ffi_bytes *rest) {
  const char *comma = memchr(rest->data, ',', rest->size);
  moec_ffi_bytes name = {rest->data, comma ? (size_t)(comma - rest->data) : rest->size};
  size_t used = name.size + (comma ? 1 : 0);
  *rest = (moec_ffi_bytes){rest->data + used, rest->size - used};
  while (name.size && name.data[0] == ' ')
    name = (moec_ffi_bytes){name.data + 1, name.size - 1};
  while (name.size && name.data[name.size - 1] == ' ')
    --name.size;
  return name;
}

void moec_ffi_describe(const moec_ffi_value *value, char *buffer, size_t n) {
  const moec_ffi_tensor *tensor = moec_ffi_tensor_of(value);
  moec_ffi_bytes text;
  if (tensor)
    moec_ffi_describe_tensor(tensor, buffer, n);
  else if (value->type == MOEC_FFI_NONE)
    snprintf(buffer, n, "None");
  else if (moec_ffi_text_of(value, &text))
    snprintf(buffer, n, "a string");
  else if (value->type == MOEC_FFI_INT || value->type == MOEC_FFI_BOOL)
    snprintf(buffer, n, "the number %lld", (long long)value->as.integer);
  else if (value->type == MOEC_FFI_FLOAT)
    snprintf(buffer, n, "the number %g", value->as.real);
  else if (value->type == MOEC_FFI_DEVICE)
    snprintf(buffer, n, "a device");
  else
    snprintf(buffer, n, "a value of tvm-ffi type %d", (int)value->type);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

typedef struct owned_string {
  moec_ffi_object header;
  moec_ffi_bytes bytes;
  char text[];
} owned_string;

static void destroy_string(void *self, int flags) {
  if (flags & 2)
    free(self);
}

moec_status moec_ffi_return_text(const char *text, size_t length, moec_ffi_value *result) {
  owned_string *string = malloc(sizeof(*string) + length + 1);
  if (!string)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a text of %zu bytes", length);
  string->header = (moec_ffi_object){UINT64_C(1) << 32 | 1, MOEC_FFI_STRING, 0, destroy_string};
  string->bytes = (moec_ffi_bytes){string->text, length};
  memcpy(string->text, text, length);
  string->text[length] = '\0';
  moec_ffi_stay_loaded(); /* destroy_string must be there when the text goes */
  *result = (moec_ffi_value){.type = MOEC_FFI_STRING, .as.pointer = string};
  return MOEC_OK;
}

void moec_ffi_return_integer(int64_t number, moec_ffi_value *result) {
  *result = (moec_ffi_value){.type = MOEC_FFI_INT, .as.integer = number};
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static const char *kind_of(moec_status status) {
  switch (status) {
  case MOEC_DTYPE:
    return "TypeError";
  case MOEC_OUT_OF_MEMORY:
    return "MemoryError";
  case MOEC_INVALID_ARGUMENT:
  case MOEC_NULL_POINTER:
  case MOEC_SHAPE:
  case MOEC_ALIGNMENT:
  case MOEC_OVERLAP:
  case MOEC_STRIDE:
  case MOEC_WORKSPACE_TOO_SMALL:
  case MOEC_TOKENS_OUT_OF_RANGE:
  case MOEC_MISSING_WEIGHT:
  case MOEC_VERSION_MISMATCH:
  case MOEC_FILE_FORMAT:
    return "ValueError";
  default:
    return "RuntimeError";
  }
}

int moec_ffi_finish(const char *function, moec_status status) {
  char text[1200];
  if (status == MOEC_OK)
    return 0;
  int used = snprintf(text, sizeof(text), "%s: ", function);
  moec_last_error(text + used, sizeof(text) - (size_t)used);
  moec_ffi_host host = moec_ffi_find_host();
  if (host.raise)
    host.raise(kind_of(status), text);
  return -1;
}
