/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weight_check.c - roles and weight regions of a plan in -> proof that packing stays inside both, or a status.
 */
#include "runtime/plan/plan_check.h"

#include "runtime/moec_cuda_abi.h"
#include "runtime/plan/weight_layout.h"

#include <inttypes.h>

#define CHECK_ROLE(condition, format, ...)                                                                             \
  MOEC_CHECK_PLAN(condition, "plan: role %" PRIu32 " (%.64s): " format, index, plan->strings + role->name, __VA_ARGS__)
#define CHECK_WEIGHT(condition, format, ...)                                                                           \
  MOEC_CHECK_PLAN(condition, "%s: weight %" PRIu32 ": " format, set->blob, index, __VA_ARGS__)

/* What moec_check_weight_set was given. */
typedef struct checked_set {
  const moec_plan *plan;
  const moec_weight *weights;
  uint64_t packed_bytes;
  int matrix_layout;
  const char *blob;
} checked_set;

static moec_status check_role(const moec_plan *plan, uint32_t index) {
  const moec_role *role = &plan->roles[index];
  uint32_t strings = plan->header->strings.count;
  MOEC_CHECK_PLAN(role->name < strings && role->tensor < strings, "plan: role %" PRIu32 ": name is outside the strings",
                  index);
  CHECK_ROLE(role->rank >= 1 && role->rank <= 3, "rank is %d", role->rank);
  CHECK_ROLE(role->expert_axis <= 1 && role->matrix <= 1 && role->rank >= role->expert_axis + 2 * role->matrix,
             "rank %d with expert_axis %d and matrix %d", role->rank, role->expert_axis, role->matrix);
  CHECK_ROLE(role->rank <= role->expert_axis + 1 + role->matrix, "rank %d with expert_axis %d and matrix %d",
             role->rank, role->expert_axis, role->matrix);
  CHECK_ROLE(role->stack <= MOEC_STACK_INTERLEAVED_COLUMNS && role->axes <= MOEC_AXES_IN_OUT &&
                 role->part <= MOEC_PART_ODD,
             "stack %d, axes %d, part %d", role->stack, role->axes, role->part);
  CHECK_ROLE(role->stack == MOEC_STACK_SINGLE || role->expert_axis, "stack %d without an expert axis", role->stack);
  CHECK_ROLE(role->stack != MOEC_STACK_INTERLEAVED_COLUMNS || role->matrix, "stack %d of a vector", role->stack);
  CHECK_ROLE(role->part == MOEC_PART_ALL || role->rank > role->expert_axis, "part %d of a single number", role->part);
  CHECK_ROLE(!role->expert_axis || role->dims[0] <= 1 << 20, "%" PRId64 " experts", role->dims[0]);
  int64_t elements = 1;
  for (int i = 0; i < role->rank; ++i) {
    CHECK_ROLE(role->dims[i] >= 1 && role->dims[i] <= INT32_MAX, "dim %d is %" PRId64, i, role->dims[i]);
    CHECK_ROLE(!__builtin_mul_overflow(elements, role->dims[i], &elements) && elements <= MOEC_PLAN_LIMIT / 8,
               "dim %d makes it too large", i);
  }
  return MOEC_OK;
}

/* Every group of a part has a role of its own, no larger than the group. */
static int members_fit(const moec_plan *plan, const moec_weight *weight, int part) {
  int64_t count = plan->header->roles.count, rank = weight->layout == MOEC_LAYOUT_VECTOR ? 1 : 2;
  if (weight->derived == MOEC_DERIVED_SQUARES || weight->role[part] + (int64_t)weight->groups > count)
    return 0;
  for (const moec_role *role = &plan->roles[weight->role[part]], *end = role + weight->groups; role < end; ++role)
    if (role->expert_axis || role->rank != rank || role->matrix != (rank == 2) ||
        role->dims[0] > (weight->transposed ? weight->k : weight->n) ||
        (rank == 2 && role->dims[1] > (weight->transposed ? weight->n : weight->k)))
      return 0;
  return 1;
}

/* Every part is a role of the region's shape: groups x [n, k], or groups * n elements of a vector. */
static int part_fits(const moec_plan *plan, const moec_weight *weight, int part) {
  if (weight->role_per_group)
    return members_fit(plan, weight, part);
  if (weight->role[part] >= plan->header->roles.count)
    return 0;
  const moec_role *role = &plan->roles[weight->role[part]];
  int64_t groups = role->expert_axis ? role->dims[0] : 1;
  int64_t out = weight->transposed ? weight->k : weight->n, in = weight->transposed ? weight->n : weight->k;
  if (weight->layout != MOEC_LAYOUT_VECTOR)
    return role->matrix && groups == weight->groups && role->dims[role->rank - 2] == out &&
           role->dims[role->rank - 1] == in;
  int64_t elements = 1;
  if (weight->derived == MOEC_DERIVED_SQUARES)
    return role->matrix && groups == weight->groups && role->dims[role->rank - 2] == weight->n;
  for (int i = 0; i < role->rank; ++i)
    elements *= role->dims[i];
  return !role->matrix && elements == (int64_t)weight->groups * weight->n &&
         (weight->groups == 1 || weight->groups == groups);
}

static moec_status check_panels(const checked_set *set, uint32_t index, int64_t *out_group_bytes) {
  const moec_weight *weight = &set->weights[index];
  uint32_t columns = MOEC_PANEL_COLUMNS / weight->parts;
  CHECK_WEIGHT(weight->panels == (weight->n - 1) / columns + 1, "%" PRIu32 " panels for %" PRIu32 " columns",
               weight->panels, weight->n);
  CHECK_WEIGHT(weight->k_padded >= weight->k && (weight->dtype == MOEC_F32 || weight->k_padded % MOEC_BLOCK_K == 0),
               "k_padded %" PRIu32 " for k %" PRIu32, weight->k_padded, weight->k);
  int64_t panel_bytes = (int64_t)weight->k_padded * MOEC_PANEL_COLUMNS * moec_dtype_bytes(weight->dtype);
  CHECK_WEIGHT(!__builtin_mul_overflow(panel_bytes, (int64_t)weight->panels, out_group_bytes),
               "%" PRIu32 " panels are too many", weight->panels);
  return MOEC_OK;
}

/* Rows of MOEC_LAYOUT_ROWS are whole multiples of 16 bytes. */
static moec_status check_rows(const checked_set *set, uint32_t index, int64_t *out_group_bytes) {
  const moec_weight *weight = &set->weights[index];
  int64_t row_bytes = (int64_t)weight->k_padded * moec_dtype_bytes(weight->dtype);
  CHECK_WEIGHT(weight->k_padded >= weight->k && row_bytes % 16 == 0, "k_padded %" PRIu32 " for k %" PRIu32,
               weight->k_padded, weight->k);
  int shared = weight->derived == MOEC_DERIVED_SHARED;
  CHECK_WEIGHT(shared ? weight->panels >= weight->parts : !weight->panels, "%" PRIu32 " panels", weight->panels);
  CHECK_WEIGHT(!__builtin_mul_overflow(row_bytes, (int64_t)weight->n * (shared ? weight->panels : weight->parts),
                                       out_group_bytes),
               "%" PRIu32 " rows are too many", weight->n);
  return MOEC_OK;
}

static moec_status check_layout(const checked_set *set, uint32_t index) {
  const moec_weight *weight = &set->weights[index];
  int64_t need = 0;
  moec_status status = MOEC_OK;
  int derived = weight->derived == MOEC_DERIVED_NONE ||
                (weight->derived == MOEC_DERIVED_SQUARES && weight->layout == MOEC_LAYOUT_VECTOR) ||
                (weight->derived == MOEC_DERIVED_SHARED && weight->layout != MOEC_LAYOUT_VECTOR);
  CHECK_WEIGHT(derived, "derived is %d", weight->derived);
  CHECK_WEIGHT(weight->transposed <= (weight->layout == MOEC_LAYOUT_PANELS), "transposed is %d", weight->transposed);
  if (weight->layout == MOEC_LAYOUT_VECTOR) {
    CHECK_WEIGHT(weight->dtype == MOEC_F32 && weight->parts == 1 && weight->k == 1,
                 "a vector of type %d with %d parts and k %" PRIu32, weight->dtype, weight->parts, weight->k);
    CHECK_WEIGHT(weight->n_padded >= weight->n, "n_padded %" PRIu32 " below n %" PRIu32, weight->n_padded, weight->n);
    need = (int64_t)weight->n_padded * 4;
  } else {
    CHECK_WEIGHT(weight->layout == set->matrix_layout, "layout is %d", weight->layout);
    CHECK_WEIGHT(weight->dtype == MOEC_F32 || weight->dtype == MOEC_BF16 || weight->dtype == MOEC_F16, "type is %d",
                 weight->dtype);
    CHECK_WEIGHT(weight->parts == 1 || weight->parts == 2, "%d parts", weight->parts);
    status = set->matrix_layout == MOEC_LAYOUT_PANELS ? check_panels(set, index, &need) : check_rows(set, index, &need);
  }
  if (status != MOEC_OK)
    return status;
  /* Shared panels lie in those of their owner, whose shape is another. Behind the last of shared rows there may be
   * matrices of the owner's other part. */
  int shared = weight->derived == MOEC_DERIVED_SHARED;
  if (shared && weight->layout == MOEC_LAYOUT_PANELS)
    return MOEC_OK;
  int64_t others = shared ? need / weight->panels * (weight->panels - weight->parts) : 0;
  CHECK_WEIGHT(!__builtin_mul_overflow(need, (int64_t)weight->groups, &need) &&
                   (uint64_t)(need - others) <= weight->bytes,
               "%" PRIu64 " bytes are too few", weight->bytes);
  return MOEC_OK;
}

/* Shared matrices are of a region before, of the same type and groups, that has their first role. */
static int lies_in_owner(const checked_set *set, uint32_t index) {
  const moec_weight *weight = &set->weights[index];
  for (const moec_weight *owner = set->weights; owner < weight; ++owner) {
    uint64_t into = weight->offset - owner->offset;
    int has_role = owner->role[0] == weight->role[0] || (owner->parts == 2 && owner->role[1] == weight->role[0]);
    if (owner->derived == MOEC_DERIVED_NONE && owner->layout == weight->layout && owner->dtype == weight->dtype &&
        owner->groups == weight->groups && has_role && weight->offset >= owner->offset && into % 16 == 0 &&
        into <= owner->bytes && weight->bytes <= owner->bytes - into)
      return 1;
  }
  return 0;
}

static moec_status check_weight(const checked_set *set, uint32_t index, uint64_t *end) {
  const moec_weight *weight = &set->weights[index];
  uint64_t packed = set->packed_bytes;
  CHECK_WEIGHT(weight->groups >= 1 && weight->groups <= 1u << 20 && weight->n >= 1 && weight->k >= 1,
               "%" PRIu32 " groups of [%" PRIu32 ", %" PRIu32 "]", weight->groups, weight->n, weight->k);
  moec_status status = check_layout(set, index);
  if (status != MOEC_OK)
    return status;
  if (weight->derived == MOEC_DERIVED_SHARED) {
    CHECK_WEIGHT(lies_in_owner(set, index), "%" PRIu64 " bytes at %" PRIu64 " are not those of a region before",
                 weight->bytes, weight->offset);
  } else {
    CHECK_WEIGHT(weight->offset % 4096 == 0 && weight->offset >= *end && weight->offset <= packed &&
                     weight->bytes <= packed - weight->offset,
                 "offset %" PRIu64 " and %" PRIu64 " bytes, expected multiples of 4096 in %" PRIu64 "..%" PRIu64,
                 weight->offset, weight->bytes, *end, packed);
    *end = weight->offset + weight->bytes;
  }
  for (int part = 0; part < weight->parts; ++part)
    CHECK_WEIGHT(part_fits(set->plan, weight, part), "role %d does not have its shape", weight->role[part]);
  return MOEC_OK;
}

moec_status moec_check_roles(const moec_plan *plan) {
  moec_status status = MOEC_OK;
  for (uint32_t index = 0; status == MOEC_OK && index < plan->header->roles.count; ++index)
    status = check_role(plan, index);
  return status;
}

moec_status moec_check_weight_set(const moec_plan *plan, const moec_weight_set *set, int matrix_layout,
                                  const char *blob) {
  const checked_set checked = {plan, set->weights, set->packed_bytes, matrix_layout, blob};
  moec_status status = MOEC_OK;
  uint64_t end = 4096; /* the header page */
  for (uint32_t index = 0; status == MOEC_OK && index < set->count; ++index)
    status = check_weight(&checked, index, &end);
  return status;
}
