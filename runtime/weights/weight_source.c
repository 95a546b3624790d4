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
  if (!weight->role_per_group) {
    out.view = moec_view_of(&sources[weight->role[part]], group);
    return out;
  }
  int64_t index = weight->role[part] + group;
  moec_role_extent extent = moec_extent_of_role(&plan->roles[index]);
  out.view = moec_view_of(&sources[index], 0);
  out.weight.n = (uint32_t)extent.out;
  out.weight.k = (uint32_t)extent.in;
  return out;
}

static int32_t role_index(const moec_plan *plan, const char *name) {
  for (uint32_t i = 0; i < plan->header->roles.count; ++i)
    if (strcmp(plan->strings + plan->roles[i].name, name) == 0)
      return (int32_t)i;
  return -1;
}

static int same_shape(const moec_tensor *tensor, const moec_role *role) {
  if (tensor->rank != role->rank)
    return 0;
  return memcmp(tensor->dims, role->dims, (size_t)role->rank * sizeof(int64_t)) == 0;
}

/* Checks one tensor against its role and points the role's source into it. */
static moec_status take_tensor(const moec_plan *plan, const moec_tensor *tensor, size_t index, const void *buffer,
                               uint64_t packed_bytes, moec_role_source *sources) {
  if (!tensor->role || !tensor->data)
    return moec_error(MOEC_NULL_POINTER, "tensors[%zu]: %s is NULL", index, tensor->role ? "data" : "role");
  int32_t found = role_index(plan, tensor->role);
  if (found < 0)
    return moec_error(MOEC_INVALID_ARGUMENT, "tensors[%zu]: package %.64s has no role \"%.64s\"", index,
                      plan->strings + plan->header->name, tensor->role);
  const moec_role *role = &plan->roles[found];
  moec_role_source *source = &sources[found];
  if (source->data[0])
    return moec_error(MOEC_INVALID_ARGUMENT, "tensors[%zu]: role %s is given twice", index, tensor->role);
  int integer = !role->matrix && (tensor->dtype == MOEC_I32 || tensor->dtype == MOEC_I64);
  if (tensor->dtype != MOEC_F32 && tensor->dtype != MOEC_BF16 && tensor->dtype != MOEC_F16 && !integer)
    return moec_error(MOEC_DTYPE, "%s: dtype is %d, expected f32 (0), bf16 (1) or f16 (2)", tensor->role,
                      (int)tensor->dtype);
  if (tensor->rank < 0 || tensor->rank > 4)
    return moec_error(MOEC_SHAPE, "%s: rank is %d, expected %d", tensor->role, (int)tensor->rank, role->rank);
  if (!same_shape(tensor, role)) {
    char have[MOEC_SHAPE_TEXT], want[MOEC_SHAPE_TEXT];
    return moec_error(MOEC_SHAPE, "%s: shape is %s, expected %s", tensor->role,
                      moec_shape_text(tensor->dims, tensor->rank, have), moec_shape_text(role->dims, role->rank, want));
  }
  moec_role_extent extent = moec_extent_of_role(role);
  int64_t expert_bytes = extent.out * extent.in * moec_dtype_bytes((uint32_t)tensor->dtype);
  uintptr_t start = (uintptr_t)tensor->data, packed = (uintptr_t)buffer;
  if (start < packed + packed_bytes && packed < start + (uintptr_t)(expert_bytes * extent.experts))
    return moec_error(MOEC_OVERLAP, "%s and buffer share bytes", tensor->role);
  source->dtype = tensor->dtype;
  source->out_stride = extent.in;
  source->in_stride = 1;
  for (int64_t e = 0; e < extent.experts; ++e)
    source->data[e] = (const char *)tensor->data + e * expert_bytes;
  return MOEC_OK;
}

moec_status moec_sources_from_tensors(const moec_plan *plan, const moec_tensor *tensors, size_t count,
                                      const void *buffer, uint64_t packed_bytes, moec_role_source *sources) {
  moec_status status = MOEC_OK;
  for (size_t i = 0; status == MOEC_OK && i < count; ++i)
    status = take_tensor(plan, &tensors[i], i, buffer, packed_bytes, sources);
  for (uint32_t i = 0; status == MOEC_OK && i < plan->header->roles.count; ++i)
    if (!sources[i].data[0])
      status = moec_error(MOEC_MISSING_WEIGHT, "no tensor for role %s", plan->strings + plan->roles[i].name);
  return status;
}
