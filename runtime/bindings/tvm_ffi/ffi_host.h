/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_host.h - the functions of libtvm_ffi -> where this program has them. That library may be loaded before or after
 * the package, linked or opened; they are NULL as long as the program does not have it.
 */
#ifndef MOEC_BINDINGS_FFI_HOST_H
#define MOEC_BINDINGS_FFI_HOST_H

#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

typedef struct moec_ffi_host {
  moec_ffi_raise *raise;
  moec_ffi_stream_of *stream_of;
  moec_ffi_allocate *allocate;
  moec_ffi_release *release;
  moec_ffi_make_function *make_function;
} moec_ffi_host;

moec_ffi_host moec_ffi_find_host(void);

/* Keeps this library in memory until the process ends: threads of layers, memory of threads and functions that a
 * framework holds may outlive a dlclose. */
void moec_ffi_stay_loaded(void);

#endif
