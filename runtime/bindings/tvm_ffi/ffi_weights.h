/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_weights.h - a tensor of packed weights -> the handle that one call uses.
 *
 * On the CPU every call maps the buffer anew and so looks at its header: a buffer that was freed, reused or packed for
 * another layer is found. On CUDA that would be a copy from the device in each call, which waits and cannot be captured
 * into a graph. A mapping there depends only on the buffer's address, so it is made when an address is first seen, or
 * packed by this library, and kept; other packed weights of the layer at the same address need no new one.
 */
#ifndef MOEC_BINDINGS_FFI_WEIGHTS_H
#define MOEC_BINDINGS_FFI_WEIGHTS_H

#include "runtime/bindings/tvm_ffi/ffi_layer.h"

typedef struct moec_ffi_weights {
  moec_weights *handle;
  struct moec_ffi_mapping *mapping; /* NULL: the handle is this call's own */
} moec_ffi_weights;

/* Checks that `tensor` is u8, on the layer's device, large enough and aligned, and gives its address and size. */
moec_status moec_ffi_packed_buffer(const char *name, const moec_ffi_layer *layer, const moec_ffi_tensor *tensor,
                                   void **out_data, size_t *out_bytes);

/* The handle of a checked buffer; moec_ffi_release_weights ends its use. Errors of moec_weights_map. */
moec_status moec_ffi_use_weights(moec_ffi_layer *layer, const void *data, size_t bytes, moec_ffi_weights *out_weights);
void moec_ffi_release_weights(moec_ffi_layer *layer, moec_ffi_weights *weights);

/* Takes the handle of weights that were just packed into `data`: kept on CUDA, destroyed on the CPU. */
void moec_ffi_keep_weights(moec_ffi_layer *layer, const void *data, moec_weights *handle);

#endif
