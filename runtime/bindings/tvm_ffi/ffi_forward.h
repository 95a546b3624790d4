/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_forward.h - the tensors of one call, by role -> the layer run on them.
 */
#ifndef MOEC_BINDINGS_FFI_FORWARD_H
#define MOEC_BINDINGS_FFI_FORWARD_H

#include "runtime/bindings/tvm_ffi/ffi_layer.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"

typedef struct moec_ffi_call {
  const moec_ffi_tensor *tensors[MOEC_NUM_FORWARD_ROLES]; /* NULL: not passed */
  const moec_ffi_tensor *weights, *workspace, *saved;     /* the last two may be NULL */
  int64_t tokens_per_sequence;
  int has_stream; /* otherwise the framework's current one */
  void *stream;
} moec_ffi_call;

/* Checks every tensor and runs moec_layer_forward on x's device. Without tokens the outputs
 * that do not depend on T are zeros. An error leaves outputs untouched. */
moec_status moec_ffi_forward(const moec_ffi_call *call);

/* What the tensor of a role must be; the layer has it. tokens_per_sequence is the caller's. */
moec_ffi_wanted moec_ffi_wanted_of(const moec_ffi_layer *layer, uint32_t role, int64_t num_tokens,
                                   int64_t tokens_per_sequence);

/* T of x: all its dimensions but the last. */
moec_status moec_ffi_count_tokens(const moec_ffi_layer *layer, const moec_ffi_tensor *x, int64_t *out_tokens);

/* The stream of a call: the framework's current one, or the named one. */
moec_status moec_ffi_choose_stream(const moec_ffi_layer *layer, const moec_ffi_call *call, void **out_stream);

#endif
