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

static moec_status find_buffer(const moec_ffi_value *args, int32_t count, packed_buffer *out) {
  const moec_ffi_tensor *tensor = count > 0 ? moec_ffi_tensor_of(&args[0]) : NULL;
  moec_ffi_device device;
  if (!tensor) {
    char found[192] = "nothing";
    if (count > 0)
      moec_ffi_describe(&args[0], found, sizeof(found));
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

static moec_status pack_tensors(const packed_buffer *buffer, const moec_ffi_value *args, size_t count,
                                moec_tensor *tensors, char **roles) {
  moec_status status = MOEC_OK;
  for (size_t i = 0; i < count && status == MOEC_OK; ++i) {
    status = moec_ffi_copy_text("role", &args[2 * i], &roles[i]);
    if (status == MOEC_OK)
      status = read_tensor(buffer->layer, roles[i], &args[2 * i + 1], &tensors[i]);
  }
  moec_weights *handle = NULL;
  if (status == MOEC_OK)
    status = moec_weights_pack(buffer->layer->layer, tensors, count, buffer->data, buffer->bytes, &handle);
  if (status == MOEC_OK)
    moec_ffi_keep_weights(buffer->layer, buffer->data, handle);
  return status;
}

moec_status moec_ffi_pack(const moec_ffi_value *args, int32_t count) {
  packed_buffer buffer;
  moec_status status = find_buffer(args, count, &buffer);
  if (status != MOEC_OK)
    return status;
  if (count % 2 == 0)
    return moec_error(MOEC_INVALID_ARGUMENT, "%d arguments follow the buffer, expected a role before each tensor",
                      (int)count - 1);
  size_t pairs = (size_t)count / 2;
  moec_tensor *tensors = calloc(pairs + 1, sizeof(*tensors));
  char **roles = calloc(pairs + 1, sizeof(*roles));
  if (tensors && roles)
    status = pack_tensors(&buffer, args + 1, pairs, tensors, roles);
  else
    status = moec_error(MOEC_OUT_OF_MEMORY, "no memory for %zu tensors", pairs);
  for (size_t i = 0; roles && i < pairs; ++i)
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
  moec_status status = find_buffer(args, count, &buffer);
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
