/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * gradients.h - values of a whole backward call in -> the caller's gradients of parameters out.
 */
#ifndef MOEC_RUNTIME_LAYER_GRADIENTS_H
#define MOEC_RUNTIME_LAYER_GRADIENTS_H

#include "runtime/plan/plan_view.h"

/* gradient = values, or gradient += values if args->accumulate, for every role of `gradient` that has a buffer.
 *
 * `values` are f32: of the role's shape, or of a class of experts [G, ...], whose members may be smaller: member g is
 * the first part of every axis. Gradients of matrices have args->grad_dtype, others f32. */
void moec_store_gradient(const moec_plan *plan, const moec_buffer *shape, const float *values,
                         const moec_buffer *gradient, const moec_backward_args *args);

#endif
