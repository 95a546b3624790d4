/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_layer.h - a device -> the package's layer there, made by the first call that needs it and kept until the process
 * ends. Any number of threads may ask at the same time, also in a forked child.
 */
#ifndef MOEC_BINDINGS_FFI_LAYER_H
#define MOEC_BINDINGS_FFI_LAYER_H

#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

#include "runtime/moec.h"
#include "runtime/moec_abi.h"
#include "runtime/moec_outputs.h"

/* The package of this library: its linker binds the name to NAME_package. */
const moec_package *moec_bound_package(void);

/* A tensor that calls may pass, by its role. */
typedef struct moec_ffi_buffer {
  int exists, is_input; /* is_input: calls must pass it                      */
  uint32_t dtype;
  int64_t columns, count; /* [T, columns], or [count] where columns is 0       */
  /* masks of slots: [sequences * rows_per_sequence + rows, columns]; otherwise both are 0 */
  int64_t rows, rows_per_sequence;
} moec_ffi_buffer;

struct moec_ffi_mapping;

typedef struct moec_ffi_layer {
  moec_layer *layer;
  moec_layer_info info;
  moec_ffi_device device;
  size_t weights_bytes;
  const moec_plan_header *plan;
  moec_ffi_buffer buffers[MOEC_NUM_FORWARD_ROLES];
  struct moec_ffi_mapping *mappings; /* CUDA: buffers of packed weights that calls have used (ffi_weights.h) */
} moec_ffi_layer;

/* Errors of moec_layer_create. */
moec_status moec_ffi_layer_on(moec_ffi_device device, moec_ffi_layer **out_layer);

/* Where calls that name no device ask: the CPU if the package has kernels for it, otherwise CUDA device 0. */
moec_ffi_device moec_ffi_default_device(void);

/* Sets "threads", "spin_us", "when_busy" or "cuda_driver" for layers that are made later: see moec_pool_options and
 * moec_layer_options. MOEC_INVALID_ARGUMENT: an unknown name; MOEC_INVALID_HANDLE: the layer exists already. */
moec_status moec_ffi_set_option(moec_ffi_bytes name, int64_t value);

/* The name of a role as calls spell it: "x", "noise", "ids", "out_weights". */
const char *moec_ffi_role_name(uint32_t role);

#endif
