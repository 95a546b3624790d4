/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_pack.c - weights into the caller's buffer, whose device decides which layer packs.
 */
#include "runtime/bindings/tvm_ffi/ffi_pack.h"

#include "runtime/bindings/tvm_ffi/ffi_layer.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"
#include "runtime/bindings/tvm_ffi/ffi_value.h"
#include "runtime/bindings/tvm_ffi/ffi_weights.h"

#include "runtime/status.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_RANK = 4, NAME_BYTES = 80 };

/* Where weights go. */
typedef struct packed_buffer {
  moec_ffi_layer *layer;
  void *data;
  size_t bytes;
} packed_buffer;

/* `value` may be NULL: the argument is missing. */
static moec_status find_buffer(const moec_ffi_value *value, packed_buffer *out) {
  const moec_ffi_tensor *tensor = value ? moec_ffi_tensor_of(value) : NULL;
  moec_ffi_device device;
  if (!tensor) {
    char found[192] = "nothing";
    if (value)
      moec_ffi_describe(value, found, sizeof(found));
    return moec_error(MOEC_DTYPE, "buffer is %s, expected a tensor of u8 with weights_bytes() elements", found);
  }
  moec_status status = moec_ffi_device_of("buffer", tensor, &device);
  if (status == MOEC_OK)
    status = moec_ffi_layer_on(device, &out->layer);
  return status == MOEC_OK ? moec_ffi_packed_buffer("buffer", out->layer, tensor, &out->data, &out->bytes) : status;
}

static moec_status read_tensor(const moec_ffi_layer *layer, const char *role, const moec_ffi_value *value,
                               moec_tensor *out) {
  const moec_ffi_tensor *tensor = moec_ffi_tensor_of(value);
  moec_ffi_device device;
  char name[NAME_BYTES], found[192];
  int64_t elements;
  snprintf(name, sizeof(name), "%s", role);
  moec_ffi_describe(value, found, sizeof(found));
  if (!tensor)
    return moec_error(MOEC_DTYPE, "%s is %s, expected a tensor", name, found);
  if (!moec_ffi_dtype_of(tensor, &out->dtype))
    return moec_error(MOEC_DTYPE, "%s is %s, expected f32, bf16, f16, i32 or i64", name, found);
  if (tensor->rank < 1 || tensor->rank > MAX_RANK)
    return moec_error(MOEC_SHAPE, "%s is %s, expected 1 to %d dimensions", name, found, MAX_RANK);
  moec_status status = moec_ffi_elements_of(name, tensor, &elements);
  if (status == MOEC_OK)
    status = moec_ffi_check_strides(name, tensor);
  if (status == MOEC_OK)
    status = moec_ffi_device_of(name, tensor, &device);
  /* a GPU packs from its own memory or the host's */
  if (status == MOEC_OK && device.type == MOEC_FFI_CUDA)
    status = moec_ffi_check_device(name, tensor, layer->device);
  out->role = role;
  out->data = moec_ffi_data_of(tensor, elements);
  out->rank = tensor->rank;
  for (int32_t i = 0; i < tensor->rank; ++i)
    out->dims[i] = tensor->shape[i];
  return status;
}

/* The arguments of pack, in one of its two orders. */
typedef struct packing {
  const moec_ffi_value *buffer; /* NULL: missing */
  const moec_ffi_value *first;  /* role, tensor, role, tensor, ...; tensors alone with `named` */
  size_t pairs;
  int named;
  moec_ffi_bytes names; /* "role,role", one for each tensor */
} packing;

static moec_status read_order(const moec_ffi_value *args, int32_t count, packing *out) {
  *out = (packing){.buffer = count > 0 ? &args[0] : NULL, .first = args + 1, .pairs = (size_t)count / 2};
  if (count > 1 && moec_ffi_text_of(&args[0], &out->names)) {
    size_t roles = 0;
    for (moec_ffi_bytes rest = out->names; rest.size; ++roles)
      moec_ffi_next_name(&rest);
    out->buffer = &args[count - 1];
    out->pairs = roles;
    out->named = 1;
    return (size_t)count - 2 == roles
               ? MOEC_OK
               : moec_error(MOEC_INVALID_ARGUMENT, "%d tensors follow %zu roles, before the buffer", (int)count - 2,
                            roles);
  }
  return count % 2 || !count
             ? MOEC_OK
             : moec_error(MOEC_INVALID_ARGUMENT, "%d arguments follow the buffer, expected a role before each tensor",
                          (int)count - 1);
}

static moec_status pack_tensors(const packed_buffer *buffer, packing *from, moec_tensor *tensors, char **roles) {
  moec_status status = MOEC_OK;
  for (size_t i = 0; i < from->pairs && status == MOEC_OK; ++i) {
    const moec_ffi_value *tensor = from->named ? &from->first[i] : &from->first[2 * i + 1];
    status = from->named ? moec_ffi_copy_bytes("role", moec_ffi_next_name(&from->names), &roles[i])
                         : moec_ffi_copy_text("role", &from->first[2 * i], &roles[i]);
    if (status == MOEC_OK)
      status = read_tensor(buffer->layer, roles[i], tensor, &tensors[i]);
  }
  moec_weights *handle = NULL;
  if (status == MOEC_OK)
    status = moec_weights_pack(buffer->layer->layer, tensors, from->pairs, buffer->data, buffer->bytes, &handle);
  if (status == MOEC_OK)
    moec_ffi_keep_weights(buffer->layer, buffer->data, handle);
  return status;
}

moec_status moec_ffi_pack(const moec_ffi_value *args, int32_t count) {
  packed_buffer buffer;
  packing from;
  moec_status status = read_order(args, count, &from);
  if (status == MOEC_OK)
    status = find_buffer(from.buffer, &buffer);
  if (status != MOEC_OK)
    return status;
  moec_tensor *tensors = calloc(from.pairs + 1, sizeof(*tensors));
  char **roles = calloc(from.pairs + 1, sizeof(*roles));
  if (tensors && roles)
    status = pack_tensors(&buffer, &from, tensors, roles);
  else
    status = moec_error(MOEC_OUT_OF_MEMORY, "no memory for %zu tensors", from.pairs);
  for (size_t i = 0; roles && i < from.pairs; ++i)
    free(roles[i]);
  free(roles);
  free(tensors);
  return status;
}

moec_status moec_ffi_load(const moec_ffi_value *args, int32_t count) {
  packed_buffer buffer;
  char *path = NULL, *prefix = NULL;
  moec_weights *handle = NULL;
  if (count != 2 && count != 3)
    return moec_error(MOEC_INVALID_ARGUMENT, "%d arguments, expected buffer, path and, if wanted, prefix", (int)count);
  moec_status status = find_buffer(&args[0], &buffer);
  if (status == MOEC_OK)
    status = moec_ffi_copy_text("path", &args[1], &path);
  if (status == MOEC_OK && count == 3 && args[2].type != MOEC_FFI_NONE)
    status = moec_ffi_copy_text("prefix", &args[2], &prefix);
  if (status == MOEC_OK)
    status = moec_weights_load(buffer.layer->layer, path, prefix, buffer.data, buffer.bytes, &handle);
  if (status == MOEC_OK)
    moec_ffi_keep_weights(buffer.layer, buffer.data, handle);
  free(path);
  free(prefix);
  return status;
}
