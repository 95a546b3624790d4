/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * backward.c - a backward call's arguments in -> gradients, or a status with the caller's memory untouched.
 */
#include "runtime/cpu_features.h"
#include "runtime/layer/layer.h"
#include "runtime/status.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_PAIRED_ROLES = 256, NUM_GRADIENT_ROLES = MOEC_ROLE_GRAD_EXPERT_WEIGHTS - MOEC_ROLE_GRAD_Y + 1 };

moec_status moec_check_trains(const moec_layer *layer) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK || layer->backward)
    return status;
  return moec_error(MOEC_INVALID_ARGUMENT,
                    "package %.64s has no backward pass; compile it with \"passes\": [\"forward\", \"backward\"]",
                    layer->plan.strings + layer->plan.header->name);
}

/* The buffer of the backward plan that holds the gradient of role `index`; -1: there is none. */
static int32_t gradient_of(const moec_plan *backward, uint32_t index) {
  for (uint32_t i = 0; i < backward->header->buffers.count; ++i) {
    const moec_buffer *buffer = &backward->buffers[i];
    if (buffer->kind == MOEC_BUFFER_GRADIENT && index >= buffer->slot &&
        index < (uint32_t)buffer->slot + (buffer->route ? buffer->route : 1))
      return (int32_t)i;
  }
  return -1;
}

moec_status moec_layer_role_gradient(const moec_layer *layer, int32_t index, int32_t *out_kind) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  if (!out_kind)
    return moec_error(MOEC_NULL_POINTER, "out_kind is NULL");
  if (index < 0 || (uint32_t)index >= layer->plan.header->roles.count)
    return moec_error(MOEC_INVALID_ARGUMENT, "role %d, the layer has %d", (int)index,
                      (int)layer->plan.header->roles.count);
  int has = layer->backward && gradient_of(&layer->backward->plan, (uint32_t)index) >= 0;
  *out_kind = !has ? MOEC_GRADIENT_NONE : layer->plan.roles[index].matrix ? MOEC_GRADIENT_MATRIX : MOEC_GRADIENT_VECTOR;
  return MOEC_OK;
}

static const char *gradient_name(uint32_t role) {
  static const char *const names[NUM_GRADIENT_ROLES] = {"grad_y", "grad_losses", "grad_x", "grad_residual",
                                                        "grad_expert_weights"};
  return names[role - MOEC_ROLE_GRAD_Y];
}

/* The inputs of a forward call that backward reads again, and what both calls have. */
static moec_forward_args inputs_of(const moec_backward_args *args) {
  return (moec_forward_args){.struct_size = sizeof(moec_forward_args),
                             .num_tokens = args->num_tokens,
                             .tokens_per_sequence = args->tokens_per_sequence,
                             .x = args->x,
                             .workspace = args->workspace,
                             .workspace_bytes = args->workspace_bytes,
                             .stream = args->stream,
                             .residual = args->residual,
                             .noise = args->noise,
                             .uniform = args->uniform,
                             .token_ids = args->token_ids,
                             .expert_ids = args->expert_ids,
                             .expert_weights = args->expert_weights,
                             .group_ids = args->group_ids,
                             .priority = args->priority,
                             .capacity = args->capacity,
                             .top_k = args->top_k,
                             .probe = args->probe,
                             .jitter = args->jitter,
                             .replace = args->replace,
                             .replace_ids = args->replace_ids,
                             .hidden_mask = args->hidden_mask,
                             .output_mask = args->output_mask,
                             .expert_mask = args->expert_mask,
                             .midpoint_mask = args->midpoint_mask};
}

static moec_status check_dtype(const moec_layer *layer, const moec_backward_args *args) {
  const moec_weight_set *set = moec_weight_set_of(layer);
  int known = args->grad_dtype == MOEC_F32;
  for (uint32_t i = 0; i < set->count; ++i)
    known |= set->weights[i].layout != MOEC_LAYOUT_VECTOR && (int32_t)set->weights[i].dtype == args->grad_dtype;
  if (!known)
    return moec_error(MOEC_DTYPE, "grad_dtype is %d, expected MOEC_F32 (0) or the weights' type",
                      (int)args->grad_dtype);
  if (args->accumulate != 0 && args->accumulate != 1)
    return moec_error(MOEC_INVALID_ARGUMENT, "accumulate is %d, expected 0 or 1", (int)args->accumulate);
  return MOEC_OK;
}

/* What the plan does not read or make may not be given, what it reads must be. */
static moec_status check_presence(const moec_layer *layer, const moec_backward_args *args,
                                  const moec_forward_args *inputs) {
  const moec_plan *forward = &layer->plan, *backward = &layer->backward->plan;
  const char *package = forward->strings + forward->header->name;
  int any = args->num_tokens > 0;
  if (!args->workspace || (any && (!args->x || !args->grad_y || !args->saved)))
    return moec_error(MOEC_NULL_POINTER, "%s is NULL",
                      !args->workspace ? "workspace"
                      : !args->x       ? "x"
                      : !args->grad_y  ? "grad_y"
                                       : "saved");
  for (uint32_t role = MOEC_ROLE_RESIDUAL; role < MOEC_NUM_FORWARD_ROLES; ++role) {
    void *pointer = moec_caller_buffer(inputs, role);
    if (any && !pointer && backward->buffer_of_role[role] >= 0)
      return moec_error(MOEC_NULL_POINTER, "%s is NULL, package %.64s reads it", moec_argument_name(role), package);
    if (pointer && forward->buffer_of_role[role] < 0)
      return moec_error(MOEC_INVALID_ARGUMENT, "%s: package %.64s does not have this input, expected NULL",
                        moec_argument_name(role), package);
  }
  for (uint32_t role = MOEC_ROLE_GRAD_X; role <= MOEC_ROLE_GRAD_EXPERT_WEIGHTS; ++role)
    if (moec_gradient_buffer(args, role) && backward->buffer_of_role[role] < 0)
      return moec_error(MOEC_INVALID_ARGUMENT, "%s: package %.64s does not have this gradient, expected NULL",
                        gradient_name(role), package);
  for (uint32_t i = 0; args->grad_parameters && i < forward->header->roles.count; ++i)
    if (args->grad_parameters[i] && gradient_of(backward, i) < 0)
      return moec_error(MOEC_INVALID_ARGUMENT,
                        "grad_parameters[%" PRIu32 "]: role %.64s of package %.64s has no gradient, expected NULL", i,
                        forward->strings + forward->roles[i].name, package);
  return MOEC_OK;
}

/* The caller's gradient of role `index`. */
static moec_caller_range parameter_range(const moec_layer *layer, const moec_backward_args *args, uint32_t index) {
  const moec_plan *plan = &layer->plan;
  const moec_role *role = &plan->roles[index];
  int64_t elements = 1;
  for (int i = 0; i < role->rank; ++i)
    elements *= role->dims[i];
  int64_t size = role->matrix ? moec_dtype_bytes((uint32_t)args->grad_dtype) : 4;
  return (moec_caller_range){plan->strings + role->name, (uintptr_t)args->grad_parameters[index],
                             (uint64_t)(elements * size), 16, 1};
}

static moec_status check_parameter(const moec_layer *layer, const moec_backward_args *args, uint32_t index,
                                   const moec_caller_range *others, int num_others) {
  moec_caller_range pair[2] = {parameter_range(layer, args, index)};
  moec_status status = MOEC_OK;
  for (int i = 0; status == MOEC_OK && i < num_others; ++i) {
    pair[1] = others[i];
    status = moec_check_ranges(pair, 2);
  }
  return status;
}

/* Gradients of parameters among each other. NOTE: not of thousands of experts' parts, whose pairs would take longer
 * than a call. */
static moec_status check_pairs(const moec_layer *layer, const moec_backward_args *args) {
  uint32_t count = args->grad_parameters ? layer->plan.header->roles.count : 0;
  moec_status status = MOEC_OK;
  for (uint32_t i = 0; i < count && count <= MAX_PAIRED_ROLES; ++i)
    for (uint32_t j = 0; status == MOEC_OK && j < i; ++j)
      if (args->grad_parameters[i] && args->grad_parameters[j]) {
        moec_caller_range pair[2] = {parameter_range(layer, args, j), parameter_range(layer, args, i)};
        status = moec_check_ranges(pair, 2);
      }
  return status;
}

static moec_status check_memory(const moec_layer *layer, const moec_weights *weights, const moec_backward_args *args,
                                const moec_forward_args *inputs) {
  const moec_plan *backward = &layer->backward->plan;
  size_t workspace_bytes, saved_bytes;
  moec_status status =
      moec_layer_backward_workspace_bytes(layer, args->num_tokens, args->tokens_per_sequence, &workspace_bytes);
  if (status == MOEC_OK)
    status = moec_layer_saved_bytes(layer, args->num_tokens, args->tokens_per_sequence, &saved_bytes);
  if (status != MOEC_OK)
    return status;
  if (args->workspace_bytes < workspace_bytes)
    return moec_error(MOEC_WORKSPACE_TOO_SMALL, "workspace has %zu bytes, backward of %" PRId64 " tokens needs %zu",
                      args->workspace_bytes, args->num_tokens, workspace_bytes);
  if (args->saved_bytes < saved_bytes)
    return moec_error(MOEC_WORKSPACE_TOO_SMALL, "saved has %zu bytes, %" PRId64 " tokens need %zu", args->saved_bytes,
                      args->num_tokens, saved_bytes);
  moec_caller_range ranges[MOEC_NUM_FORWARD_ROLES + NUM_GRADIENT_ROLES + 3];
  int64_t sequences = moec_caller_sequences(args->num_tokens, args->tokens_per_sequence);
  int count = 0;
  for (uint32_t role = MOEC_ROLE_X; role <= MOEC_ROLE_GRAD_EXPERT_WEIGHTS; ++role) {
    void *pointer = role < MOEC_NUM_FORWARD_ROLES ? moec_caller_buffer(inputs, role) : moec_gradient_buffer(args, role);
    int32_t buffer = backward->buffer_of_role[role];
    if (!pointer || buffer < 0)
      continue;
    int wide = role == MOEC_ROLE_X || role == MOEC_ROLE_RESIDUAL || role == MOEC_ROLE_GRAD_Y ||
               role == MOEC_ROLE_GRAD_X || role == MOEC_ROLE_GRAD_RESIDUAL;
    ranges[count++] = (moec_caller_range){
        role < MOEC_NUM_FORWARD_ROLES ? moec_argument_name(role) : gradient_name(role), (uintptr_t)pointer,
        (uint64_t)moec_extent_at(backward->buffers[buffer].bytes, args->num_tokens, sequences), wide ? 16 : 4,
        role >= MOEC_ROLE_GRAD_X};
  }
  ranges[count++] = (moec_caller_range){"saved", (uintptr_t)args->saved, saved_bytes, MOEC_WORKSPACE_ALIGN, 0};
  ranges[count++] =
      (moec_caller_range){"workspace", (uintptr_t)args->workspace, workspace_bytes, MOEC_WORKSPACE_ALIGN, 1};
  ranges[count++] =
      (moec_caller_range){"weights", (uintptr_t)weights->base, moec_weight_set_of(layer)->packed_bytes, 1, 0};
  status = moec_check_ranges(ranges, count);
  for (uint32_t i = 0; status == MOEC_OK && args->grad_parameters && i < layer->plan.header->roles.count; ++i)
    if (args->grad_parameters[i])
      status = check_parameter(layer, args, i, ranges, count);
  return status == MOEC_OK ? check_pairs(layer, args) : status;
}

moec_status moec_check_backward(const moec_layer *layer, const moec_weights *weights, const moec_backward_args *caller,
                                moec_forward_args *out_inputs, moec_backward_args *out_args, moec_pass_args *out_pass) {
  moec_status status = moec_check_trains(layer);
  if (status != MOEC_OK)
    return status;
  if (!caller)
    return moec_error(MOEC_NULL_POINTER, "args is NULL");
  if (caller->struct_size != sizeof(*caller))
    return moec_error(caller->struct_size > sizeof(*caller) ? MOEC_VERSION_MISMATCH : MOEC_INVALID_ARGUMENT,
                      "args: struct_size is %zu, expected %zu", caller->struct_size, sizeof(*caller));
  *out_args = *caller;
  *out_inputs = inputs_of(caller);
  *out_pass = (moec_pass_args){out_inputs, out_args};
  status = moec_check_call(layer, weights, out_inputs);
  if (status == MOEC_OK)
    status = check_dtype(layer, out_args);
  if (status == MOEC_OK)
    status = check_presence(layer, out_args, out_inputs);
  return status == MOEC_OK ? check_memory(layer, weights, out_args, out_inputs) : status;
}

moec_status moec_layer_backward(const moec_layer *layer, const moec_weights *weights, const moec_backward_args *args) {
  moec_forward_args inputs;
  moec_backward_args checked;
  moec_pass_args pass;
  moec_status status = moec_check_backward(layer, weights, args, &inputs, &checked, &pass);
  if (status != MOEC_OK)
    return status;
  if (layer->cuda)
    return moec_cuda_walk(layer->backward, weights->backward, &pass);
  uint32_t mode = moec_fp_mode_enter();
  status = moec_plan_walk(layer->backward, weights->backward, &pass, 0);
  moec_fp_mode_leave(mode);
  return status;
}
