/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_backward.h - names and tensors of a backward call -> the gradients written.
 */
#ifndef MOEC_BINDINGS_FFI_BACKWARD_H
#define MOEC_BINDINGS_FFI_BACKWARD_H

#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

#include "runtime/moec.h"

/* Names separated by commas, and a value for each: the arguments of the forward call that `saved` comes from, grad_y,
 * grad_losses, grad_x, grad_residual, grad_expert_weights, roles for the gradients of parameters, and the integer
 * accumulate. Gradients of matrices are f32 or of the weights' type, all the same. Errors leave tensors untouched. */
moec_status moec_ffi_backward(moec_ffi_bytes names, const moec_ffi_value *values, int32_t count);

#endif
