/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * stored_role.c - a role -> how a checkpoint stores it.
 */
#include "runtime/weights/stored_role.h"

#include "runtime/weights/weight_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The matrix [out', in] of one expert at `first`, whose rows are `out_pitch` elements apart. */
static void set_strides(moec_stored_role *s, const moec_role *role, int64_t out, int64_t out_pitch, int64_t in_pitch) {
  int64_t step = role->part == MOEC_PART_EVEN || role->part == MOEC_PART_ODD ? 2 : 1;
  s->out_stride = out_pitch * step;
  s->in_stride = in_pitch;
  s->first = role->part == MOEC_PART_SECOND_HALF ? out * out_pitch : role->part == MOEC_PART_ODD ? out_pitch : 0;
}

moec_stored_role moec_storage_of(const moec_plan *plan, const moec_role *role) {
  moec_role_extent extent = moec_extent_of_role(role);
  moec_stored_role s = {.tensors = 1, .expert_axis = -1, .integers = !role->matrix};
  s.only_integers = s.integers && moec_holds_ids(plan, role);
  s.half_vector =
      !role->matrix && role->rank == 1 && (role->part == MOEC_PART_FIRST_HALF || role->part == MOEC_PART_SECOND_HALF);
  int64_t out = role->part == MOEC_PART_ALL ? extent.out : 2 * extent.out, in = extent.in, experts = extent.experts;
  int swapped = role->matrix && role->axes == MOEC_AXES_IN_OUT;
  if (role->stack == MOEC_STACK_INTERLEAVED_COLUMNS) {
    s.rank = 2;
    s.dims[swapped] = out;
    s.dims[!swapped] = in * experts;
    s.expert_axis = !swapped;
    s.expert_stride = swapped ? out : 1;
    set_strides(&s, role, extent.out, swapped ? 1 : in * experts, swapped ? out * experts : experts);
    return s;
  }
  s.expert_stride = out * in;
  set_strides(&s, role, extent.out, swapped ? 1 : in, swapped ? out : 1);
  if (role->expert_axis && role->stack == MOEC_STACK_PER_EXPERT) {
    s.tensors = experts;
  } else if (role->expert_axis) {
    s.expert_axis = 0;
    s.dims[s.rank++] = experts;
  }
  if (role->rank > role->expert_axis)
    s.dims[s.rank++] = swapped ? in : out;
  if (role->matrix)
    s.dims[s.rank++] = swapped ? out : in;
  if (role->stack == MOEC_STACK_FLAT_ROWS && s.rank > 1) {
    s.dims[0] *= s.dims[1];
    s.dims[1] = s.dims[2];
    --s.rank;
  }
  return s;
}

int moec_shape_agrees(const moec_stored_role *stored, const moec_file_tensor *tensor) {
  int32_t extra = tensor->rank - stored->rank;
  if (extra < 0 || tensor->rank > MOEC_FILE_MAX_RANK)
    return 0;
  if (stored->half_vector && tensor->rank == 2 && tensor->dims[0] == 2 && 2 * tensor->dims[1] == stored->dims[0])
    return 1;
  for (int32_t i = 0; i < extra; ++i)
    if (tensor->dims[i] != 1)
      return 0;
  return memcmp(tensor->dims + extra, stored->dims, (size_t)stored->rank * sizeof(int64_t)) == 0;
}

int64_t moec_experts_in(const moec_stored_role *stored, const moec_role *role, const moec_file_tensor *tensor) {
  if (stored->expert_axis < 0 || tensor->rank != stored->rank)
    return 0;
  for (int32_t i = 0; i < stored->rank; ++i)
    if (i != stored->expert_axis && tensor->dims[i] != stored->dims[i])
      return 0;
  int64_t each = stored->dims[stored->expert_axis] / role->dims[0], have = tensor->dims[stored->expert_axis];
  return have % each ? 0 : have / each;
}

static const char *pattern_of(const moec_plan *plan, const moec_role *role) {
  return plan->strings + (plan->strings[role->tensor] ? role->tensor : role->name);
}

int moec_tensor_name(const moec_plan *plan, const moec_role *role, int64_t expert, char name[MOEC_NAME_ROOM]) {
  const char *pattern = pattern_of(plan, role);
  size_t used = 0;
  while (*pattern && used < MOEC_NAME_ROOM) {
    const char *mark = role->stack == MOEC_STACK_PER_EXPERT ? strstr(pattern, "{e}") : NULL;
    size_t plain = mark ? (size_t)(mark - pattern) : strlen(pattern);
    used += (size_t)snprintf(name + used, MOEC_NAME_ROOM - used, "%.*s", (int)plain, pattern);
    if (mark && used < MOEC_NAME_ROOM)
      used += (size_t)snprintf(name + used, MOEC_NAME_ROOM - used, "%" PRId64, expert);
    pattern += plain + (mark ? 3 : 0);
  }
  return used < MOEC_NAME_ROOM;
}

/* The place of the last number `expert` in the tensor's name of a role that is one expert's own, "experts.gate.7" of 8
 * experts; NULL for other roles. */
static const char *own_number(const moec_plan *plan, const moec_role *role, const char *tensor, const char *number) {
  const char *name = plan->strings + role->name, *dot = strrchr(name, '.'), *found = NULL;
  size_t length = strlen(number);
  int apart = !!(plan->header->features & MOEC_FEATURE_ROLE_PER_GROUP);
  if (!apart || role->expert_axis || !dot || strcmp(dot + 1, number) != 0)
    return NULL;
  while (*tensor) {
    size_t digits = strspn(tensor, "0123456789");
    if (digits == length && memcmp(tensor, number, length) == 0)
      found = tensor;
    tensor += digits ? digits : 1;
  }
  return found;
}

int moec_name_beyond(const moec_plan *plan, const moec_role *role, int64_t expert, char name[MOEC_NAME_ROOM]) {
  const char *tensor = pattern_of(plan, role);
  if (role->stack == MOEC_STACK_PER_EXPERT)
    return strstr(tensor, "{e}") && moec_tensor_name(plan, role, expert, name);
  char number[24];
  snprintf(number, sizeof(number), "%" PRId64, (int64_t)plan->header->num_experts - 1);
  const char *at = own_number(plan, role, tensor, number);
  if (!at)
    return 0;
  int length =
      snprintf(name, MOEC_NAME_ROOM, "%.*s%" PRId64 "%s", (int)(at - tensor), tensor, expert, at + strlen(number));
  return length >= 0 && length < MOEC_NAME_ROOM;
}

int moec_takes_tensor(const moec_plan *plan, const char *name) {
  char taken[MOEC_NAME_ROOM];
  for (uint32_t i = 0; i < plan->header->roles.count; ++i) {
    const moec_role *role = &plan->roles[i];
    int64_t tensors = role->stack == MOEC_STACK_PER_EXPERT ? role->dims[0] : 1;
    for (int64_t e = 0; e < tensors; ++e)
      if (moec_tensor_name(plan, role, e, taken) && strcmp(taken, name) == 0)
        return 1;
  }
  return 0;
}
