/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_workspace.h - bytes that a call needs -> memory for them: of the calling thread on the CPU, which it keeps for
 * its next calls and frees when it ends; of the framework's allocator on CUDA, in the order of the stream.
 */
#ifndef MOEC_BINDINGS_FFI_WORKSPACE_H
#define MOEC_BINDINGS_FFI_WORKSPACE_H

#include "runtime/bindings/tvm_ffi/ffi_layer.h"

typedef struct moec_ffi_workspace {
  void *data;   /* 256-byte aligned */
  size_t bytes; /* at least those asked for */
  void *owned;  /* memory or a tensor that ends with the call */
} moec_ffi_workspace;

/* MOEC_OUT_OF_MEMORY; on CUDA also if the framework has no allocator: the text says how to pass a workspace. */
moec_status moec_ffi_take_workspace(const moec_ffi_layer *layer, size_t bytes, moec_ffi_workspace *out_workspace);
/* After the call's kernels are on the stream. */
void moec_ffi_return_workspace(const moec_ffi_layer *layer, moec_ffi_workspace *workspace);

/* A caller's tensor of u8, of any alignment: the part of it that is aligned. */
moec_status moec_ffi_given_memory(const char *name, const moec_ffi_layer *layer, const moec_ffi_tensor *tensor,
                                  moec_ffi_workspace *out_workspace);

/* A caller's tensor for what a forward call saves (written: 1), or what one saved. On the CPU its last byte says where
 * the values begin: MOEC_ALIGNMENT if it was moved since, to memory that is aligned otherwise. */
moec_status moec_ffi_given_saved(const moec_ffi_layer *layer, const moec_ffi_tensor *tensor, int written,
                                 moec_ffi_workspace *out_saved);

#endif
