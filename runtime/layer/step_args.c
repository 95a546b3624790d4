/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * step_args.c - a checked call in -> the address of each of the plan's buffers, which optional steps it asks for, and
 * what steps are called.
 */
#include "runtime/layer/layer.h"

const char *moec_argument_name(uint32_t role) {
  static const char *const names[MOEC_NUM_FORWARD_ROLES] = {[MOEC_ROLE_X] = "x",
                                                            [MOEC_ROLE_Y] = "y",
                                                            [MOEC_ROLE_RESIDUAL] = "residual",
                                                            [MOEC_ROLE_NOISE] = "noise",
                                                            [MOEC_ROLE_UNIFORM] = "uniform",
                                                            [MOEC_ROLE_TOKEN_IDS] = "token_ids",
                                                            [MOEC_ROLE_EXPERT_IDS] = "expert_ids",
                                                            [MOEC_ROLE_EXPERT_WEIGHTS] = "expert_weights",
                                                            [MOEC_ROLE_GROUP_IDS] = "group_ids",
                                                            [MOEC_ROLE_PRIORITY] = "priority",
                                                            [MOEC_ROLE_CAPACITY] = "capacity",
                                                            [MOEC_ROLE_TOP_K] = "top_k",
                                                            [MOEC_ROLE_JITTER] = "jitter",
                                                            [MOEC_ROLE_REPLACE] = "replace",
                                                            [MOEC_ROLE_REPLACE_IDS] = "replace_ids",
                                                            [MOEC_ROLE_HIDDEN_MASK] = "hidden_mask",
                                                            [MOEC_ROLE_OUTPUT_MASK] = "output_mask",
                                                            [MOEC_ROLE_EXPERT_MASK] = "expert_mask",
                                                            [MOEC_ROLE_MIDPOINT_MASK] = "midpoint_mask",
#define NAME(ROLE, name, DTYPE, SHAPE, NEEDS, text) [MOEC_ROLE_##ROLE] = "out_" #name,
                                                            MOEC_OUTPUTS(NAME)
#undef NAME
  };
  return role < MOEC_NUM_FORWARD_ROLES && names[role] ? names[role] : "";
}

void *moec_caller_buffer(const moec_forward_args *args, uint32_t role) {
  switch (role) {
  case MOEC_ROLE_X:
    return (void *)(uintptr_t)args->x;
  case MOEC_ROLE_Y:
    return args->y;
  case MOEC_ROLE_RESIDUAL:
    return (void *)(uintptr_t)args->residual;
  case MOEC_ROLE_NOISE:
    return (void *)(uintptr_t)args->noise;
  case MOEC_ROLE_UNIFORM:
    return (void *)(uintptr_t)args->uniform;
  case MOEC_ROLE_TOKEN_IDS:
    return (void *)(uintptr_t)args->token_ids;
  case MOEC_ROLE_EXPERT_IDS:
    return (void *)(uintptr_t)args->expert_ids;
  case MOEC_ROLE_EXPERT_WEIGHTS:
    return (void *)(uintptr_t)args->expert_weights;
  case MOEC_ROLE_GROUP_IDS:
    return (void *)(uintptr_t)args->group_ids;
  case MOEC_ROLE_PRIORITY:
    return (void *)(uintptr_t)args->priority;
  case MOEC_ROLE_CAPACITY:
    return (void *)(uintptr_t)args->capacity;
  case MOEC_ROLE_TOP_K:
    return (void *)(uintptr_t)args->top_k;
  case MOEC_ROLE_JITTER:
    return (void *)(uintptr_t)args->jitter;
  case MOEC_ROLE_REPLACE:
    return (void *)(uintptr_t)args->replace;
  case MOEC_ROLE_REPLACE_IDS:
    return (void *)(uintptr_t)args->replace_ids;
  case MOEC_ROLE_HIDDEN_MASK:
    return (void *)(uintptr_t)args->hidden_mask;
  case MOEC_ROLE_OUTPUT_MASK:
    return (void *)(uintptr_t)args->output_mask;
  case MOEC_ROLE_EXPERT_MASK:
    return (void *)(uintptr_t)args->expert_mask;
  case MOEC_ROLE_MIDPOINT_MASK:
    return (void *)(uintptr_t)args->midpoint_mask;
#define FIELD(ROLE, name, DTYPE, SHAPE, NEEDS, text)                                                                   \
  case MOEC_ROLE_##ROLE:                                                                                               \
    return args->out_##name;
    MOEC_OUTPUTS(FIELD)
#undef FIELD
  default:
    return NULL;
  }
}

void *moec_gradient_buffer(const moec_backward_args *args, uint32_t role) {
  switch (role) {
  case MOEC_ROLE_GRAD_Y:
    return (void *)(uintptr_t)args->grad_y;
  case MOEC_ROLE_GRAD_LOSSES:
    return (void *)(uintptr_t)args->grad_losses;
  case MOEC_ROLE_GRAD_X:
    return args->grad_x;
  case MOEC_ROLE_GRAD_RESIDUAL:
    return args->grad_residual;
  case MOEC_ROLE_GRAD_EXPERT_WEIGHTS:
    return args->grad_expert_weights;
  default:
    return NULL;
  }
}

/* The caller's buffer of any role; NULL if it gave none. */
static void *asked_buffer(const moec_pass_args *pass, const moec_workspace_map *map, uint32_t role) {
  if (role < MOEC_NUM_FORWARD_ROLES)
    return moec_caller_buffer(pass->args, role);
  if (role < MOEC_ROLE_SAVED)
    return pass->backward ? moec_gradient_buffer(pass->backward, role) : NULL;
  const char *saved = pass->backward ? pass->backward->saved : pass->args->saved;
  return saved ? (void *)(uintptr_t)(saved + map->saved[role - MOEC_ROLE_SAVED]) : NULL;
}

void *moec_buffer_address(const moec_layer *layer, const moec_weights *weights, const moec_pass_args *pass,
                          const moec_workspace_map *map, uint32_t index) {
  const moec_plan *plan = &layer->plan;
  const moec_buffer *buffer = &plan->buffers[index];
  char *workspace = pass->args->workspace;
  void *asked = asked_buffer(pass, map, buffer->role);
  if (buffer->kind == MOEC_BUFFER_GRADIENT)
    return pass->backward->grad_parameters ? pass->backward->grad_parameters[buffer->slot] : NULL;
  if (buffer->kind == MOEC_BUFFER_INPUT)
    return asked;
  if (buffer->kind == MOEC_BUFFER_WEIGHT)
    return (void *)(uintptr_t)(weights->base + moec_weight_set_of(layer)->weights[buffer->slot].offset);
  if (buffer->kind == MOEC_BUFFER_ROUTE)
    return workspace + map->route[plan->route_of_step[buffer->route]][buffer->slot];
  return asked ? asked : workspace + map->slot[buffer->slot];
}

const char *moec_step_kind_name(const moec_step *step) {
  static const char *const names[] = {
      [MOEC_STEP_ROWS] = "rows",         [MOEC_STEP_MATMUL] = "matmul",     [MOEC_STEP_DISPATCH] = "dispatch",
      [MOEC_STEP_COUNTS] = "counts",     [MOEC_STEP_CAPACITY] = "capacity", [MOEC_STEP_TOP_TOKENS] = "top_tokens",
      [MOEC_STEP_SLOTS] = "slots",       [MOEC_STEP_COLUMNS] = "columns",   [MOEC_STEP_GROUPS] = "groups",
      [MOEC_STEP_GRADIENT] = "gradient", [MOEC_STEP_COPY] = "copy"};
  return step->kind < sizeof(names) / sizeof(names[0]) ? names[step->kind] : "unknown";
}

int moec_asks_reports(const moec_forward_args *args) {
  for (uint32_t role = MOEC_FIRST_REPORT; role < MOEC_END_REPORTS; ++role)
    if (moec_caller_buffer(args, role))
      return 1;
  return 0;
}

int moec_step_is_asked(const moec_forward_args *args, const moec_step *step) {
  for (uint32_t role = MOEC_ROLE_X; role < MOEC_END_REPORTS; ++role)
    if (step->asked >> role & 1 && moec_caller_buffer(args, role))
      return 1;
  return !step->asked;
}
