/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_tensor.c - one tensor in, compared with what it should be.
 */
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <stdio.h>

enum { TEXT_BYTES = 192 };

/* Appends to a text that ends where its buffer does. */
#define APPEND(buffer, n, used, ...)                                                                                   \
  do {                                                                                                                 \
    if ((used) < (n))                                                                                                  \
      (used) += (size_t)snprintf((buffer) + (used), (n) - (used), __VA_ARGS__);                                        \
  } while (0)

const char *moec_ffi_dtype_name(uint32_t dtype) {
  static const char *const names[] = {[MOEC_F32] = "f32", [MOEC_BF16] = "bf16", [MOEC_F16] = "f16", [MOEC_I32] = "i32",
                                      [MOEC_U8] = "u8",   [MOEC_I64] = "i64",   [MOEC_F64] = "f64", [MOEC_I8] = "i8"};
  return dtype < sizeof(names) / sizeof(names[0]) && names[dtype] ? names[dtype] : "another type";
}

int moec_ffi_dtype_of(const moec_ffi_tensor *tensor, moec_dtype *out_dtype) {
  static const struct {
    uint8_t code, bits;
    moec_dtype dtype;
  } types[] = {{MOEC_FFI_CODE_FLOAT, 32, MOEC_F32}, {MOEC_FFI_CODE_BFLOAT, 16, MOEC_BF16},
               {MOEC_FFI_CODE_FLOAT, 16, MOEC_F16}, {MOEC_FFI_CODE_INT, 32, MOEC_I32},
               {MOEC_FFI_CODE_INT, 64, MOEC_I64},   {MOEC_FFI_CODE_UINT, 8, MOEC_U8},
               {MOEC_FFI_CODE_INT, 8, MOEC_I8},     {MOEC_FFI_CODE_FLOAT, 64, MOEC_F64}};
  for (size_t i = 0; tensor->dtype.lanes == 1 && i < sizeof(types) / sizeof(types[0]); ++i)
    if (types[i].code == tensor->dtype.code && types[i].bits == tensor->dtype.bits) {
      *out_dtype = types[i].dtype;
      return 1;
    }
  return 0;
}

void moec_ffi_device_text(moec_ffi_device device, char text[32]) {
  switch (device.type) {
  case MOEC_FFI_CPU:
  case MOEC_FFI_CUDA_HOST:
    snprintf(text, 32, "cpu");
    break;
  case MOEC_FFI_CUDA:
  case MOEC_FFI_CUDA_MANAGED:
    snprintf(text, 32, "cuda:%d", (int)device.id);
    break;
  default:
    snprintf(text, 32, "DLPack device %d:%d", (int)device.type, (int)device.id);
  }
}

static void numbers_text(const int64_t *numbers, int32_t count, char *buffer, size_t n) {
  size_t used = 0;
  APPEND(buffer, n, used, "[");
  for (int32_t i = 0; i < count; ++i)
    APPEND(buffer, n, used, "%s%" PRId64, i ? ", " : "", numbers[i]);
  APPEND(buffer, n, used, "]");
}

/* "bf16", "u16", "bool", "f32x4" */
static void type_text(moec_ffi_dtype type, char *buffer, size_t n) {
  static const char *const kinds[] = {[MOEC_FFI_CODE_INT] = "i",
                                      [MOEC_FFI_CODE_UINT] = "u",
                                      [MOEC_FFI_CODE_FLOAT] = "f",
                                      [MOEC_FFI_CODE_BFLOAT] = "bf"};
  size_t used = 0;
  if (type.code == MOEC_FFI_CODE_BOOL)
    APPEND(buffer, n, used, "bool");
  else if (type.code < sizeof(kinds) / sizeof(kinds[0]) && kinds[type.code])
    APPEND(buffer, n, used, "%s%d", kinds[type.code], (int)type.bits);
  else
    APPEND(buffer, n, used, "DLPack type %d of %d bits", (int)type.code, (int)type.bits);
  if (type.lanes != 1)
    APPEND(buffer, n, used, "x%d", (int)type.lanes);
}

void moec_ffi_describe_tensor(const moec_ffi_tensor *tensor, char *buffer, size_t n) {
  char shape[96], device[32], type[32];
  numbers_text(tensor->shape, tensor->rank, shape, sizeof(shape));
  moec_ffi_device_text(tensor->device, device);
  type_text(tensor->dtype, type, sizeof(type));
  snprintf(buffer, n, "%s %s on %s", type, shape, device);
}

moec_status moec_ffi_elements_of(const char *name, const moec_ffi_tensor *tensor, int64_t *out_elements) {
  const int64_t most = INT64_C(1) << 59; /* of at most 8 bytes */
  int64_t elements = 1;
  int empty = 0;
  for (int32_t i = 0; i < tensor->rank; ++i)
    empty |= tensor->shape[i] == 0;
  for (int32_t i = 0; i < tensor->rank; ++i) {
    if (tensor->shape[i] < 0 || (!empty && tensor->shape[i] > most / elements)) {
      char found[TEXT_BYTES];
      moec_ffi_describe_tensor(tensor, found, sizeof(found));
      return moec_error(MOEC_SHAPE, "%s is %s, which is no shape of a tensor", name, found);
    }
    elements *= empty ? 1 : tensor->shape[i];
  }
  *out_elements = empty ? 0 : elements;
  return MOEC_OK;
}

moec_status moec_ffi_check_strides(const char *name, const moec_ffi_tensor *tensor) {
  int64_t expected = 1;
  if (!tensor->strides)
    return MOEC_OK;
  for (int32_t i = 0; i < tensor->rank; ++i)
    if (tensor->shape[i] == 0)
      return MOEC_OK;
  for (int32_t i = tensor->rank - 1; i >= 0; --i) {
    if (tensor->shape[i] != 1 && tensor->strides[i] != expected) {
      char found[TEXT_BYTES], strides[96];
      moec_ffi_describe_tensor(tensor, found, sizeof(found));
      numbers_text(tensor->strides, tensor->rank, strides, sizeof(strides));
      return moec_error(MOEC_STRIDE, "%s is %s with strides %s, expected rows without gaps: pass a contiguous tensor",
                        name, found, strides);
    }
    expected *= tensor->shape[i];
  }
  return MOEC_OK;
}

moec_status moec_ffi_device_of(const char *name, const moec_ffi_tensor *tensor, moec_ffi_device *out_device) {
  switch (tensor->device.type) {
  case MOEC_FFI_CPU:
  case MOEC_FFI_CUDA_HOST:
    *out_device = (moec_ffi_device){MOEC_FFI_CPU, 0};
    return MOEC_OK;
  case MOEC_FFI_CUDA:
  case MOEC_FFI_CUDA_MANAGED:
    *out_device = (moec_ffi_device){MOEC_FFI_CUDA, tensor->device.id};
    return MOEC_OK;
  default: {
    char found[32];
    moec_ffi_device_text(tensor->device, found);
    return moec_error(MOEC_UNSUPPORTED_DEVICE, "%s is on %s, expected cpu or cuda", name, found);
  }
  }
}

moec_status moec_ffi_check_device(const char *name, const moec_ffi_tensor *tensor, moec_ffi_device expected) {
  moec_ffi_device device;
  moec_status status = moec_ffi_device_of(name, tensor, &device);
  if (status != MOEC_OK || (device.type == expected.type && device.id == expected.id))
    return status;
  char found[32], want[32];
  moec_ffi_device_text(device, found);
  moec_ffi_device_text(expected, want);
  return moec_error(MOEC_INVALID_ARGUMENT, "%s is on %s, expected %s, where the first tensor of the call is", name,
                    found, want);
}

void *moec_ffi_data_of(const moec_ffi_tensor *tensor, int64_t elements) {
  return elements && tensor->data ? (char *)tensor->data + tensor->byte_offset : NULL;
}

static void wanted_text(const moec_ffi_wanted *wanted, char *buffer, size_t n) {
  size_t used = 0;
  APPEND(buffer, n, used, "%s [", moec_ffi_dtype_name(wanted->dtype));
  if (wanted->rows >= 0)
    APPEND(buffer, n, used, "%" PRId64 ", ", wanted->rows);
  APPEND(buffer, n, used, "%" PRId64 "]", wanted->columns);
}

/* u16 is taken as the bits of a type of 16 bits, because NumPy has arrays of bf16 that it does not share. */
static int has_type(const moec_ffi_wanted *wanted, const moec_ffi_tensor *tensor) {
  moec_dtype dtype;
  moec_ffi_dtype type = tensor->dtype;
  if (type.code == MOEC_FFI_CODE_UINT && type.bits == 16 && type.lanes == 1)
    return wanted->dtype == MOEC_BF16 || wanted->dtype == MOEC_F16;
  return moec_ffi_dtype_of(tensor, &dtype) && dtype == wanted->dtype;
}

static int has_shape(const moec_ffi_wanted *wanted, const moec_ffi_tensor *tensor, int64_t elements) {
  int64_t rows = wanted->rows < 0 ? 1 : wanted->rows;
  int64_t last = tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
  return elements == rows * wanted->columns && (wanted->columns == 1 || last == wanted->columns);
}

moec_status moec_ffi_check_tensor(const moec_ffi_wanted *wanted, const moec_ffi_tensor *tensor, moec_ffi_device device,
                                  void **out_data) {
  int64_t elements;
  moec_status status = moec_ffi_elements_of(wanted->name, tensor, &elements);
  if (status != MOEC_OK)
    return status;
  int right_type = has_type(wanted, tensor);
  if (!right_type || !has_shape(wanted, tensor, elements)) {
    char found[TEXT_BYTES], want[TEXT_BYTES];
    moec_ffi_describe_tensor(tensor, found, sizeof(found));
    wanted_text(wanted, want, sizeof(want));
    return moec_error(right_type ? MOEC_SHAPE : MOEC_DTYPE, "%s is %s, expected %s", wanted->name, found, want);
  }
  status = moec_ffi_check_device(wanted->name, tensor, device);
  if (status == MOEC_OK)
    status = moec_ffi_check_strides(wanted->name, tensor);
  if (status != MOEC_OK)
    return status;
  void *data = moec_ffi_data_of(tensor, elements);
  if (elements && !data)
    return moec_error(MOEC_NULL_POINTER, "%s has %" PRId64 " elements and no memory", wanted->name, elements);
  if ((uintptr_t)data % wanted->align)
    return moec_error(MOEC_ALIGNMENT, "%s begins %u bytes after a multiple of %u, expected a multiple: pass a copy",
                      wanted->name, (unsigned)((uintptr_t)data % wanted->align), (unsigned)wanted->align);
  *out_data = data;
  return MOEC_OK;
}
