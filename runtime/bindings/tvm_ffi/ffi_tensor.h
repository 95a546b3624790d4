/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_tensor.h - a DLPack tensor and what a call expects -> its address, or a status whose text says which argument,
 * what was found and what is expected.
 */
#ifndef MOEC_BINDINGS_FFI_TENSOR_H
#define MOEC_BINDINGS_FFI_TENSOR_H

#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

#include "runtime/moec.h"

/* What an argument must be. */
typedef struct moec_ffi_wanted {
  const char *name;
  uint32_t dtype;        /* moec_dtype                                                                    */
  int64_t rows, columns; /* elements are [rows, columns]; rows -1: a vector [columns], whatever the call's
                          * tokens                                                                        */
  uint32_t align;        /* of its first byte                                                             */
} moec_ffi_wanted;

const char *moec_ffi_dtype_name(uint32_t dtype); /* "bf16"; "another type" of what moec does not have */

/* "bf16 [4, 64] on cpu" */
void moec_ffi_describe_tensor(const moec_ffi_tensor *tensor, char *buffer, size_t n);

/* 1 and the moec_dtype of the elements; 0: a type that moec does not have. */
int moec_ffi_dtype_of(const moec_ffi_tensor *tensor, moec_dtype *out_dtype);

/* Number of elements. MOEC_SHAPE: a negative extent, or more than 2^62 bytes. */
moec_status moec_ffi_elements_of(const char *name, const moec_ffi_tensor *tensor, int64_t *out_elements);

/* MOEC_STRIDE unless the elements are row-major without gaps. */
moec_status moec_ffi_check_strides(const char *name, const moec_ffi_tensor *tensor);

/* CPU or CUDA with its ordinal: pinned host memory is the CPU's, managed memory the device's. MOEC_UNSUPPORTED_DEVICE:
 * another kind of device. */
moec_status moec_ffi_device_of(const char *name, const moec_ffi_tensor *tensor, moec_ffi_device *out_device);
moec_status moec_ffi_check_device(const char *name, const moec_ffi_tensor *tensor, moec_ffi_device expected);

/* The tensor may be u16 where 16 bits of bf16 or f16 are wanted. It may have more dimensions than two, or fewer, if its
 * last one is `columns` and the others make up `rows`. An empty tensor has no address: *out_data is NULL then. */
moec_status moec_ffi_check_tensor(const moec_ffi_wanted *wanted, const moec_ffi_tensor *tensor, moec_ffi_device device,
                                  void **out_data);

/* Address of its first element; NULL for an empty tensor. */
void *moec_ffi_data_of(const moec_ffi_tensor *tensor, int64_t elements);

/* "cpu", "cuda:1" */
void moec_ffi_device_text(moec_ffi_device device, char text[32]);

#endif
