/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_info.c - the JSON of one layer. Names in it are identifiers and roles, which need no escapes.
 */
#include "runtime/bindings/tvm_ffi/ffi_info.h"

#include "runtime/bindings/tvm_ffi/ffi_tensor.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A text that grows; `failed` once there is no memory for it. */
typedef struct growing_text {
  char *data;
  size_t length, capacity;
  int failed;
} growing_text;

__attribute__((format(printf, 2, 3))) static void add(growing_text *text, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int length = vsnprintf(NULL, 0, format, list);
  va_end(list);
  if (text->failed || length < 0)
    return;
  if (text->length + (size_t)length + 1 > text->capacity) {
    size_t capacity = 2 * (text->length + (size_t)length + 512);
    char *data = realloc(text->data, capacity);
    if (!data) {
      text->failed = 1;
      return;
    }
    text->data = data;
    text->capacity = capacity;
  }
  va_start(list, format);
  vsnprintf(text->data + text->length, text->capacity - text->length, format, list);
  va_end(list);
  text->length += (size_t)length;
}

static void add_arguments(growing_text *text, const moec_ffi_layer *layer, const char *key, int inputs) {
  const char *separator = "";
  add(text, ",\n  \"%s\": [", key);
  for (uint32_t role = MOEC_ROLE_X; role < MOEC_NUM_FORWARD_ROLES; ++role) {
    const moec_ffi_buffer *buffer = &layer->buffers[role];
    if (!buffer->exists || buffer->is_input != inputs)
      continue;
    add(text, "%s\n    {\"name\": \"%s\", \"dtype\": \"%s\", \"shape\": [", separator, moec_ffi_role_name(role),
        moec_ffi_dtype_name(buffer->dtype));
    if (buffer->rows_per_sequence)
      add(text, "\"B\", %" PRId64 ", %" PRId64 "]", buffer->rows_per_sequence, buffer->columns);
    else if (buffer->rows)
      add(text, "%" PRId64 ", %" PRId64 "]", buffer->rows, buffer->columns);
    else if (buffer->columns)
      add(text, "\"T\", %" PRId64 "]", buffer->columns);
    else
      add(text, "%" PRId64 "]", buffer->count);
    add(text, ", \"optional\": %s}", inputs || role == MOEC_ROLE_Y ? "false" : "true");
    separator = ",";
  }
  add(text, "\n  ]");
}

static void add_roles(growing_text *text, const moec_ffi_layer *layer) {
  add(text, ",\n  \"roles\": [");
  for (int32_t i = 0; i < layer->info.num_roles; ++i) {
    const char *name;
    int32_t rank;
    int64_t dims[4];
    if (moec_layer_role(layer->layer, i, &name, &rank, dims) != MOEC_OK)
      continue;
    add(text, "%s\n    {\"name\": \"%s\", \"shape\": [", i ? "," : "", name);
    for (int32_t d = 0; d < rank; ++d)
      add(text, "%s%" PRId64, d ? ", " : "", dims[d]);
    int32_t gradient = MOEC_GRADIENT_NONE;
    moec_layer_role_gradient(layer->layer, i, &gradient);
    add(text, "], \"gradient\": %s}", gradient ? "true" : "false");
  }
  add(text, "\n  ]");
}

moec_status moec_ffi_info_text(const moec_ffi_layer *layer, char **out_text, size_t *out_length) {
  growing_text text = {NULL, 0, 0, 0};
  const moec_layer_info *info = &layer->info;
  char device[32];
  moec_ffi_device_text(layer->device, device);
  add(&text, "{\n  \"name\": \"%s\",\n  \"moec\": \"%s\",\n  \"spec_sha256\": \"", info->name, moec_version());
  for (int i = 0; i < 32; ++i)
    add(&text, "%02x", layer->plan->spec_hash[i]);
  add(&text,
      "\",\n  \"device\": \"%s\",\n  \"isa\": \"%s\",\n  \"threads\": %d,\n  \"hidden\": %" PRId64
      ",\n  \"num_experts\": %" PRId64 ",\n  \"top_k\": %" PRId64 ",\n  \"max_tokens\": %" PRId64
      ",\n  \"determinism\": %d,\n  \"weights_bytes\": %zu,\n  \"trains\": %s",
      device, info->isa_name, (int)info->max_threads, info->hidden, info->num_experts, info->top_k, info->max_tokens,
      (int)info->determinism, layer->weights_bytes, info->trains ? "true" : "false");
  add_arguments(&text, layer, "inputs", 1);
  add_arguments(&text, layer, "outputs", 0);
  add_roles(&text, layer);
  add(&text, "\n}\n");
  if (text.failed) {
    free(text.data);
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a text of %zu bytes", text.capacity);
  }
  *out_text = text.data;
  *out_length = text.length;
  return MOEC_OK;
}
