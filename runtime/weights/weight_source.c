/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weight_source.c - a plan's roles, and tensors by role, in -> the address of every role's elements out.
 */
#include "runtime/weights/weight_source.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *moec_shape_text(const int64_t *dims, int32_t rank, char text[MOEC_SHAPE_TEXT]) {
  size_t used = (size_t)snprintf(text, MOEC_SHAPE_TEXT, "[");
  for (int32_t i = 0; i < rank && i < MOEC_FILE_MAX_RANK; ++i)
    used += (size_t)snprintf(text + used, MOEC_SHAPE_TEXT - used, i ? ", %" PRId64 : "%" PRId64, dims[i]);
  snprintf(text + used, MOEC_SHAPE_TEXT - used, rank > MOEC_FILE_MAX_RANK ? ", ...]" : "]");
  return text;
}

moec_role_extent moec_extent_of_role(const moec_role *role) {
  moec_role_extent extent = {1, 1, 1};
  int axis = 0;
  if (role->expert_axis)
    extent.experts = role->dims[axis++];
  if (axis < role->rank)
    extent.out = role->dims[axis++];
  if (axis < role->rank)
    extent.in = role->dims[axis];
  return extent;
}

int moec_holds_ids(const moec_plan *plan, const moec_role *role) {
  return !role->matrix && strcmp(plan->strings + role->name, "router.table") == 0;
}

moec_role_source *moec_sources_create(const moec_plan *plan) {
  uint32_t count = plan->header->roles.count;
  moec_role_source *sources = calloc(count ? count : 1, sizeof(*sources));
  for (uint32_t i = 0; sources && i < count; ++i) {
    sources[i].experts = moec_extent_of_role(&plan->roles[i]).experts;
    sources[i].data = calloc((size_t)sources[i].experts, sizeof(*sources[i].data));
    if (!sources[i].data) {
      moec_sources_destroy(plan, sources);
      return NULL;
    }
  }
  return sources;
}

void moec_sources_destroy(const moec_plan *plan, moec_role_source *sources) {
  if (!sources)
    return;
  for (uint32_t i = 0; i < plan->header->roles.count; ++i)
    free(sources[i].data);
  free(sources);
}

moec_view moec_view_of(const moec_role_source *source, int64_t expert) {
  return (moec_view){source->data[expert], source->dtype, source->out_stride, source->in_stride};
}

moec_group_source moec_source_of_group(const moec_plan *plan, const moec_role_source *sources,
                                       const moec_weight *weight, int64_t part, int64_t group) {
  moec_group_source out = {.weight = *weight};
  if (weight->role_per_group) {
    int64_t index = weight->role[part] + group;
    moec_role_extent extent = moec_extent_of_role(&plan->roles[index]);
    out.view = moec_view_of(&sources[index], 0);
    out.weight.n = (uint32_t)(weight->transposed ? extent.in : extent.out);
    out.weight.k = (uint32_t)(weight->transposed ? extent.out : extent.in);
  } else {
    out.view = moec_view_of(&sources[weight->role[part]], group);
  }
  if (weight->transposed) {
    int64_t out_stride = out.view.out_stride;
    out.view.out_stride = out.view.in_stride;
    out.view.in_stride = out_stride;
  }
  return out;
}

static int32_t role_index(const moec_plan *plan, const char *name, size_t length) {
  for (uint32_t i = 0; i < plan->header->roles.count; ++i) {
    const char *role = plan->strings + plan->roles[i].name;
    if (strncmp(role, name, length) == 0 && !role[length])
      return (int32_t)i;
  }
  return -1;
}

/* Which part of the parameters a name means. */
typedef struct role_part {
  int32_t role;   /* -1: none                                */
  int64_t expert; /* "experts.gate.3" of a role with experts; -1: all of the role */
} role_part;

/* Digits without leading zeros, or -1. */
static int64_t number_of(const char *text) {
  int64_t number = 0;
  size_t digits = strspn(text, "0123456789");
  if (digits == 0 || digits > 9 || text[digits] || (digits > 1 && text[0] == '0'))
    return -1;
  for (; *text; ++text)
    number = 10 * number + (*text - '0');
  return number;
}

static role_part part_of(const moec_plan *plan, const char *name) {
  role_part part = {role_index(plan, name, strlen(name)), -1};
  const char *dot = strrchr(name, '.');
  int64_t number = dot ? number_of(dot + 1) : -1;
  if (part.role >= 0 || number < 0)
    return part;
  int32_t base = role_index(plan, name, (size_t)(dot - name));
  return base >= 0 && plan->roles[base].expert_axis ? (role_part){base, number} : part;
}

/* Checks a tensor's type, rank and dims against its part of the role. */
static moec_status check_form(const moec_plan *plan, const moec_role *role, const role_part *part,
                              const moec_tensor *tensor, const moec_role_source *source) {
  int skipped = part->expert >= 0; /* the expert axis */
  int32_t rank = role->rank - skipped;
  char found[MOEC_DTYPE_TEXT], before[MOEC_DTYPE_TEXT];
  int integer = !role->matrix && (tensor->dtype == MOEC_I32 || tensor->dtype == MOEC_I64);
  if (tensor->dtype != MOEC_F32 && tensor->dtype != MOEC_BF16 && tensor->dtype != MOEC_F16 && !integer)
    return moec_error(MOEC_DTYPE, "%.64s: dtype is %s, expected f32, bf16 or f16", tensor->role,
                      moec_dtype_text(tensor->dtype, found));
  if (moec_holds_ids(plan, role) && !integer && tensor->dtype != MOEC_F32)
    return moec_error(MOEC_DTYPE, "%.64s: dtype is %s, expected i32, i64 or f32: ids of experts", tensor->role,
                      moec_dtype_text(tensor->dtype, found));
  if (source->given && tensor->dtype != source->dtype)
    return moec_error(MOEC_DTYPE, "%.64s: dtype is %s, experts before it have %s", tensor->role,
                      moec_dtype_text(tensor->dtype, found), moec_dtype_text(source->dtype, before));
  if (tensor->rank < 0 || tensor->rank > 4)
    return moec_error(MOEC_SHAPE, "%.64s: rank is %d, expected %d", tensor->role, (int)tensor->rank, rank);
  if (tensor->rank != rank || memcmp(tensor->dims, role->dims + skipped, (size_t)rank * sizeof(int64_t)) != 0) {
    char have[MOEC_SHAPE_TEXT], want[MOEC_SHAPE_TEXT];
    return moec_error(MOEC_SHAPE, "%.64s: shape is %s, expected %s", tensor->role,
                      moec_shape_text(tensor->dims, tensor->rank, have),
                      moec_shape_text(role->dims + skipped, rank, want));
  }
  return MOEC_OK;
}

/* Checks one tensor against its role and points the role's source into it. */
static moec_status take_tensor(const moec_plan *plan, const moec_tensor *tensor, size_t index, const void *buffer,
                               uint64_t packed_bytes, moec_role_source *sources) {
  if (!tensor->role || !tensor->data)
    return moec_error(MOEC_NULL_POINTER, "tensors[%zu]: %s is NULL", index, tensor->role ? "data" : "role");
  role_part part = part_of(plan, tensor->role);
  if (part.role < 0)
    return moec_error(MOEC_INVALID_ARGUMENT, "tensors[%zu]: package %.64s has no role \"%.64s\"", index,
                      plan->strings + plan->header->name, tensor->role);
  const moec_role *role = &plan->roles[part.role];
  moec_role_source *source = &sources[part.role];
  moec_role_extent extent = moec_extent_of_role(role);
  if (part.expert >= extent.experts)
    return moec_error(MOEC_INVALID_ARGUMENT, "tensors[%zu]: role \"%.64s\", but package %.64s has %" PRId64 " of them",
                      index, tensor->role, plan->strings + plan->header->name, extent.experts);
  if (part.expert < 0 ? source->given > 0 : source->data[part.expert] != NULL)
    return moec_error(MOEC_INVALID_ARGUMENT, "tensors[%zu]: role %.64s is given twice", index, tensor->role);
  moec_status status = check_form(plan, role, &part, tensor, source);
  if (status != MOEC_OK)
    return status;
  int64_t first = part.expert < 0 ? 0 : part.expert, count = part.expert < 0 ? extent.experts : 1;
  int64_t expert_bytes = extent.out * extent.in * moec_dtype_bytes((uint32_t)tensor->dtype);
  uintptr_t start = (uintptr_t)tensor->data, packed = (uintptr_t)buffer;
  if (start < packed + packed_bytes && packed < start + (uintptr_t)(expert_bytes * count))
    return moec_error(MOEC_OVERLAP, "%.64s and buffer share bytes", tensor->role);
  source->dtype = tensor->dtype;
  source->out_stride = extent.in;
  source->in_stride = 1;
  source->given += count;
  for (int64_t e = 0; e < count; ++e)
    source->data[first + e] = (const char *)tensor->data + e * expert_bytes;
  return MOEC_OK;
}

static moec_status check_given(const moec_plan *plan, uint32_t index, const moec_role_source *source) {
  const char *name = plan->strings + plan->roles[index].name;
  if (!source->given)
    return moec_error(MOEC_MISSING_WEIGHT, "no tensor for role %.64s", name);
  for (int64_t e = 0; source->given < source->experts && e < source->experts; ++e)
    if (!source->data[e])
      return moec_error(MOEC_MISSING_WEIGHT, "no tensor for role %.64s.%" PRId64, name, e);
  return MOEC_OK;
}

moec_status moec_sources_from_tensors(const moec_plan *plan, const moec_tensor *tensors, size_t count,
                                      const void *buffer, uint64_t packed_bytes, moec_role_source *sources) {
  moec_status status = MOEC_OK;
  for (size_t i = 0; status == MOEC_OK && i < count; ++i)
    status = take_tensor(plan, &tensors[i], i, buffer, packed_bytes, sources);
  for (uint32_t i = 0; status == MOEC_OK && i < plan->header->roles.count; ++i)
    status = check_given(plan, i, &sources[i]);
  return status;
}
