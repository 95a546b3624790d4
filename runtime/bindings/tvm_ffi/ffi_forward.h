/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_forward.h - the tensors of one call, by role -> the layer run on them.
 */
#ifndef MOEC_BINDINGS_FFI_FORWARD_H
#define MOEC_BINDINGS_FFI_FORWARD_H

#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

#include "runtime/moec.h"
#include "runtime/moec_outputs.h"

typedef struct moec_ffi_call {
  const moec_ffi_tensor *tensors[MOEC_NUM_FORWARD_ROLES]; /* NULL: not passed */
  const moec_ffi_tensor *weights, *workspace;             /* workspace may be NULL */
  int64_t tokens_per_sequence;
  int has_stream; /* otherwise the framework's current one */
  void *stream;
} moec_ffi_call;

/* Checks every tensor and runs moec_layer_forward on x's device. Without tokens the outputs
 * that do not depend on T are zeros. An error leaves outputs untouched. */
moec_status moec_ffi_forward(const moec_ffi_call *call);

/* The argument called `name`: 1 and its role, or MOEC_ROLE_NONE and one of the other words of moec_ffi_call_word. 0: no
 * such argument. */
enum moec_ffi_call_word { MOEC_FFI_WEIGHTS, MOEC_FFI_WORKSPACE, MOEC_FFI_SEQUENCE, MOEC_FFI_STREAM };
int moec_ffi_find_argument(moec_ffi_bytes name, uint32_t *out_role, enum moec_ffi_call_word *out_word);

#endif
