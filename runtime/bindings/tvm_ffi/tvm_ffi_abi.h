/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * tvm_ffi_abi.h - the part of the stable C ABI of tvm-ffi 0.1 that a package speaks: values of 16 bytes, DLPack
 * tensors, and the functions of libtvm_ffi that it uses where that library is loaded. Layouts of 64-bit machines.
 *
 * A package exports functions __tvm_ffi_NAME of the type moec_ffi_function. They return 0 with *result set (it is None
 * before), or -1 with an error raised.
 */
#ifndef MOEC_BINDINGS_TVM_FFI_ABI_H
#define MOEC_BINDINGS_TVM_FFI_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  MOEC_FFI_NONE = 0,
  MOEC_FFI_INT = 1,
  MOEC_FFI_BOOL = 2,
  MOEC_FFI_FLOAT = 3,
  MOEC_FFI_POINTER = 4,
  MOEC_FFI_DEVICE = 6,
  MOEC_FFI_TENSOR_POINTER = 7, /* a moec_ffi_tensor                                         */
  MOEC_FFI_C_STRING = 8,       /* const char *, arguments only                              */
  MOEC_FFI_BYTES_POINTER = 9,  /* a moec_ffi_bytes                                          */
  MOEC_FFI_SMALL_STRING = 11,  /* at most 7 bytes inside the value                          */
  MOEC_FFI_SMALL_BYTES = 12,
  MOEC_FFI_STRING = 65, /* an object: header, then moec_ffi_bytes                           */
  MOEC_FFI_BYTES = 66,
  MOEC_FFI_FUNCTION = 68,
  MOEC_FFI_TENSOR = 70 /* an object: header, then moec_ffi_tensor                           */
};

enum { MOEC_FFI_CPU = 1, MOEC_FFI_CUDA = 2, MOEC_FFI_CUDA_HOST = 3, MOEC_FFI_CUDA_MANAGED = 13 };
enum {
  MOEC_FFI_CODE_INT = 0,
  MOEC_FFI_CODE_UINT = 1,
  MOEC_FFI_CODE_FLOAT = 2,
  MOEC_FFI_CODE_BFLOAT = 4,
  MOEC_FFI_CODE_BOOL = 6
};

typedef struct moec_ffi_device {
  int32_t type, id;
} moec_ffi_device;

typedef struct moec_ffi_dtype {
  uint8_t code, bits;
  uint16_t lanes;
} moec_ffi_dtype;

typedef struct moec_ffi_tensor {
  void *data;
  moec_ffi_device device;
  int32_t rank;
  moec_ffi_dtype dtype;
  int64_t *shape, *strides; /* strides in elements; NULL = row-major without gaps */
  uint64_t byte_offset;
} moec_ffi_tensor;

typedef struct moec_ffi_bytes {
  const char *data;
  size_t size;
} moec_ffi_bytes;

/* What every object begins with. */
typedef struct moec_ffi_object {
  uint64_t references; /* strong ones in the low half, weak ones in the high half */
  int32_t type;
  uint32_t padding;
  void (*destroy)(void *self, int flags); /* flags: 1 = no strong reference is left, 2 = no weak one */
} moec_ffi_object;

typedef struct moec_ffi_value {
  int32_t type;
  uint32_t small_length; /* of a small string, otherwise 0 */
  union {
    int64_t integer;
    double real;
    void *pointer;
    moec_ffi_device device;
    char small[8];
  } as;
} moec_ffi_value;

#ifndef __cplusplus
_Static_assert(sizeof(moec_ffi_value) == 16 && sizeof(moec_ffi_tensor) == 48 && sizeof(moec_ffi_object) == 24,
               "the ABI has these sizes");
#endif

typedef int moec_ffi_function(void *self, const moec_ffi_value *args, int32_t count, moec_ffi_value *result);
/* A function object; `destroy` is called with `self` when it goes. */
typedef int moec_ffi_make_function(void *self, moec_ffi_function *function, void (*destroy)(void *self),
                                   void **out_function);
/* Allocates a tensor of the prototype's dtype, shape and device from the allocator of the calling framework. */
typedef int moec_ffi_allocate(moec_ffi_tensor *prototype, void **out_tensor);
typedef void *moec_ffi_stream_of(int32_t device_type, int32_t device_id);
typedef void moec_ffi_raise(const char *kind, const char *message);
typedef int moec_ffi_release(void *object);

/* NULL in programs without libtvm_ffi. */
__attribute__((weak)) moec_ffi_raise TVMFFIErrorSetRaisedFromCStr;
__attribute__((weak)) moec_ffi_stream_of TVMFFIEnvGetStream;
__attribute__((weak)) moec_ffi_allocate TVMFFIEnvTensorAlloc;
__attribute__((weak)) moec_ffi_release TVMFFIObjectDecRef;
__attribute__((weak)) moec_ffi_make_function TVMFFIFunctionCreate;

#ifdef __cplusplus
}
#endif
#endif
