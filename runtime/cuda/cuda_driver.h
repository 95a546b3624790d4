/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_driver.h - a machine's libcuda.so.1 in -> a table of the driver's functions the runtime calls out.
 *
 * This header repeats the parts of the CUDA driver API that the runtime uses, so that building needs no CUDA header or
 * library and one binary also starts on machines without a GPU. Values are those of CUDA 12.0 and later. Handles
 * (context, module, function, stream) are opaque pointers; devices are int; every function returns a CUresult as int.
 */
#ifndef MOEC_RUNTIME_CUDA_CUDA_DRIVER_H
#define MOEC_RUNTIME_CUDA_CUDA_DRIVER_H

#include "runtime/moec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned long long moec_cuda_pointer; /* CUdeviceptr */

enum {
  MOEC_CUDA_SUCCESS = 0,
  MOEC_CUDA_INVALID_VALUE = 1,
  MOEC_CUDA_OUT_OF_MEMORY = 2,
  MOEC_CUDA_NO_DEVICE = 100,
  MOEC_CUDA_INVALID_IMAGE = 200,
  MOEC_CUDA_NO_BINARY = 209,
  MOEC_CUDA_NOT_FOUND = 500,
  MOEC_CUDA_LAUNCH_FAILED = 719
};

enum { /* CUdevice_attribute */
       MOEC_CUDA_MULTIPROCESSORS = 16,
       MOEC_CUDA_CAPABILITY_MAJOR = 75,
       MOEC_CUDA_CAPABILITY_MINOR = 76,
       MOEC_CUDA_MAX_SHARED_OPTIN = 97
};

enum { /* CUfunction_attribute */
       MOEC_CUDA_MAX_THREADS_PER_BLOCK = 0,
       MOEC_CUDA_LOCAL_BYTES = 3,
       MOEC_CUDA_NUM_REGISTERS = 4,
       MOEC_CUDA_MAX_DYNAMIC_SHARED = 8
};

enum { MOEC_CUDA_POINTER_MEMORY_TYPE = 2 };                                             /* CUpointer_attribute */
enum { MOEC_CUDA_MEMORY_HOST = 1, MOEC_CUDA_MEMORY_DEVICE = 2 };                        /* CUmemorytype */
enum { MOEC_CUDA_JIT_ERROR_LOG = 5, MOEC_CUDA_JIT_ERROR_LOG_BYTES = 6 };                /* CUjit_option */
enum { MOEC_CUDA_TENSOR_F16 = 6, MOEC_CUDA_TENSOR_F32 = 7, MOEC_CUDA_TENSOR_BF16 = 9 }; /* CUtensorMapDataType */
enum { MOEC_CUDA_L2_256B = 3 };                                                         /* CUtensorMapL2promotion */
enum { MOEC_CUDA_MAP_BYTES = 128, MOEC_CUDA_MAP_ALIGN = 128 };

/* CUlaunchAttribute and the one kind that is used: 1 lets a kernel start before its predecessor in the stream ended. */
enum { MOEC_CUDA_PROGRAMMATIC_SERIALIZATION = 6 };
typedef struct moec_cuda_launch_attribute {
  int id;
  char padding[4];
  union {
    char bytes[64];
    int allowed;
  } value;
} moec_cuda_launch_attribute;

typedef struct moec_cuda_launch_config { /* CUlaunchConfig */
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z;
  unsigned shared_bytes;
  void *stream;
  moec_cuda_launch_attribute *attributes;
  unsigned num_attributes;
} moec_cuda_launch_config;

typedef struct moec_cuda_copy_2d { /* CUDA_MEMCPY2D; x, width and pitch in bytes */
  size_t src_x, src_y;
  int src_type; /* MOEC_CUDA_MEMORY_*: which of the two addresses counts */
  const void *src_host;
  moec_cuda_pointer src_device;
  void *src_array;
  size_t src_pitch;
  size_t dst_x, dst_y;
  int dst_type;
  void *dst_host;
  moec_cuda_pointer dst_device;
  void *dst_array;
  size_t dst_pitch;
  size_t width, height;
} moec_cuda_copy_2d;

/* FIELD(name, exported symbol, parameters), one per function of the table.
 *
 * NOTE: an exported name carries the version of its signature (cuMemAlloc_v2), so looking it up gives the very function
 * declared here, whatever the driver's age. */
#define MOEC_CUDA_FUNCTIONS(FIELD)                                                                                     \
  FIELD(init, cuInit, (unsigned flags))                                                                                \
  FIELD(driver_get_version, cuDriverGetVersion, (int *version))                                                        \
  FIELD(get_error_name, cuGetErrorName, (int result, const char **text))                                               \
  FIELD(get_error_string, cuGetErrorString, (int result, const char **text))                                           \
  FIELD(device_get_count, cuDeviceGetCount, (int *count))                                                              \
  FIELD(device_get, cuDeviceGet, (int *device, int ordinal))                                                           \
  FIELD(device_get_name, cuDeviceGetName, (char *name, int bytes, int device))                                         \
  FIELD(device_get_attribute, cuDeviceGetAttribute, (int *value, int attribute, int device))                           \
  FIELD(primary_ctx_retain, cuDevicePrimaryCtxRetain, (void **context, int device))                                    \
  FIELD(primary_ctx_release, cuDevicePrimaryCtxRelease_v2, (int device))                                               \
  FIELD(ctx_get_current, cuCtxGetCurrent, (void **context))                                                            \
  FIELD(ctx_get_device, cuCtxGetDevice, (int *device))                                                                 \
  FIELD(ctx_push_current, cuCtxPushCurrent_v2, (void *context))                                                        \
  FIELD(ctx_pop_current, cuCtxPopCurrent_v2, (void **context))                                                         \
  FIELD(module_load_data_ex, cuModuleLoadDataEx,                                                                       \
        (void **module, const void *image, unsigned num_options, int *options, void **values))                         \
  FIELD(module_unload, cuModuleUnload, (void *module))                                                                 \
  FIELD(module_get_function, cuModuleGetFunction, (void **function, void *module, const char *name))                   \
  FIELD(func_get_attribute, cuFuncGetAttribute, (int *value, int attribute, void *function))                           \
  FIELD(func_set_attribute, cuFuncSetAttribute, (void *function, int attribute, int value))                            \
  FIELD(launch_kernel_ex, cuLaunchKernelEx,                                                                            \
        (const moec_cuda_launch_config *config, void *function, void **params, void **extra))                          \
  FIELD(mem_alloc, cuMemAlloc_v2, (moec_cuda_pointer * pointer, size_t bytes))                                         \
  FIELD(mem_free, cuMemFree_v2, (moec_cuda_pointer pointer))                                                           \
  FIELD(memcpy_htod, cuMemcpyHtoD_v2, (moec_cuda_pointer to, const void *from, size_t bytes))                          \
  FIELD(memcpy_dtoh, cuMemcpyDtoH_v2, (void *to, moec_cuda_pointer from, size_t bytes))                                \
  FIELD(memcpy_2d, cuMemcpy2DUnaligned_v2, (const moec_cuda_copy_2d *copy))                                            \
  FIELD(memcpy_htod_async, cuMemcpyHtoDAsync_v2, (moec_cuda_pointer to, const void *from, size_t bytes, void *stream)) \
  FIELD(memcpy_dtoh_async, cuMemcpyDtoHAsync_v2, (void *to, moec_cuda_pointer from, size_t bytes, void *stream))       \
  FIELD(memcpy_2d_async, cuMemcpy2DAsync_v2, (const moec_cuda_copy_2d *copy, void *stream))                            \
  FIELD(memset_d8, cuMemsetD8_v2, (moec_cuda_pointer to, unsigned char value, size_t bytes))                           \
  FIELD(memset_d8_async, cuMemsetD8Async, (moec_cuda_pointer to, unsigned char value, size_t bytes, void *stream))     \
  FIELD(stream_create, cuStreamCreate, (void **stream, unsigned flags))                                                \
  FIELD(stream_synchronize, cuStreamSynchronize, (void *stream))                                                       \
  FIELD(stream_destroy, cuStreamDestroy_v2, (void *stream))                                                            \
  FIELD(pointer_get_attribute, cuPointerGetAttribute, (void *value, int attribute, moec_cuda_pointer pointer))         \
  FIELD(tensor_map_encode_tiled, cuTensorMapEncodeTiled,                                                               \
        (void *map, int type, uint32_t rank, void *address, const uint64_t *dims, const uint64_t *strides,             \
         const uint32_t *box, const uint32_t *element_strides, int interleave, int swizzle, int l2, int outside))

typedef struct moec_cuda_driver {
  size_t struct_size; /* sizeof(moec_cuda_driver) */
#define MOEC_CUDA_FIELD(name, symbol, parameters) int(*name) parameters;
  MOEC_CUDA_FUNCTIONS(MOEC_CUDA_FIELD)
#undef MOEC_CUDA_FIELD
} moec_cuda_driver;

/* This machine's driver, opened by the first call and kept for the process; any thread. MOEC_UNSUPPORTED_DEVICE with a
 * text if there is no driver or it lacks a function. Does not initialise CUDA. */
moec_status moec_cuda_driver_get(const moec_cuda_driver **out_driver);

/* Fills `out_driver` from `library`, as moec_cuda_driver_get does from libcuda.so.1. The library stays open. */
moec_status moec_cuda_driver_open(const char *library, moec_cuda_driver *out_driver);

/* Checks a table passed through moec_layer_options: its size must match and no entry may be NULL. */
moec_status moec_cuda_driver_check(const moec_cuda_driver *driver);

/* Keeps "TEXT: CUDA_ERROR_NAME (the driver's words)" and returns MOEC_DEVICE_ERROR, or MOEC_OUT_OF_MEMORY for result
 * 2. */
moec_status moec_cuda_error(const moec_cuda_driver *driver, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
