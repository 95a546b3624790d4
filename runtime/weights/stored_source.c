/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * stored_source.c - a checkpoint and the roles' storage in -> the address of every role's elements out.
 *
 * Storage says how a role [E, out, in] lies in a file, with out' = 2*out where only a part is taken:
 *
 *   single, stacked  [E, out', in]     per_expert  E tensors [out', in]     flat_rows  [E*out', in]
 *   in_out swaps the last two          vectors have no in                   leading 1s are ignored
 *   first_half, second_half: rows 0.. or out.. of out'      even, odd: every second one
 *   Halves of a vector may also be the rows of a tensor [2, out].
 */
#include "runtime/weights/weight_source.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_ROOM = MOEC_FILE_MAX_NAME + 1 };

/* A role as stored. */
typedef struct stored_role {
  const char *role_name;
  int64_t dims[3]; /* expected shape of one tensor */
  int32_t rank;
  int64_t tensors;                                     /* 1, or one per expert */
  int64_t out_stride, in_stride, first, expert_stride; /* in elements */
  int half_vector;                                     /* a half of a vector             */
  int integers;                                        /* may be i32 or i64: vectors  */
  int only_integers;                                   /* may not be floats: ids      */
} stored_role;

static stored_role storage_of(const moec_plan *plan, const moec_role *role) {
  moec_role_extent extent = moec_extent_of_role(role);
  stored_role s = {.role_name = plan->strings + role->name, .tensors = 1, .integers = !role->matrix};
  s.only_integers = s.integers && moec_holds_ids(plan, role);
  s.half_vector =
      !role->matrix && role->rank == 1 && (role->part == MOEC_PART_FIRST_HALF || role->part == MOEC_PART_SECOND_HALF);
  int64_t stored_out = role->part == MOEC_PART_ALL ? extent.out : 2 * extent.out;
  int64_t step = role->part == MOEC_PART_EVEN || role->part == MOEC_PART_ODD ? 2 : 1;
  int swapped = role->matrix && role->axes == MOEC_AXES_IN_OUT;
  int64_t out_pitch = swapped ? 1 : extent.in; /* from one of out' to the next */
  s.out_stride = out_pitch * step;
  s.in_stride = swapped ? stored_out : 1;
  s.expert_stride = stored_out * extent.in;
  s.first = role->part == MOEC_PART_SECOND_HALF ? extent.out * out_pitch : role->part == MOEC_PART_ODD ? out_pitch : 0;
  if (role->expert_axis && role->stack == MOEC_STACK_PER_EXPERT)
    s.tensors = extent.experts;
  else if (role->expert_axis)
    s.dims[s.rank++] = extent.experts;
  if (role->rank > role->expert_axis)
    s.dims[s.rank++] = swapped ? extent.in : stored_out;
  if (role->matrix)
    s.dims[s.rank++] = swapped ? stored_out : extent.in;
  if (role->stack == MOEC_STACK_FLAT_ROWS && s.rank > 1) {
    s.dims[0] *= s.dims[1];
    s.dims[1] = s.dims[2];
    --s.rank;
  }
  return s;
}

/* prefix + the role's tensor name with every "{e}" replaced; 0 when it does not fit. */
static int tensor_name(const moec_plan *plan, const moec_role *role, const char *prefix, int64_t expert,
                       char name[NAME_ROOM]) {
  const char *pattern = plan->strings + (plan->strings[role->tensor] ? role->tensor : role->name);
  size_t used = (size_t)snprintf(name, NAME_ROOM, "%s", prefix ? prefix : "");
  while (*pattern && used < NAME_ROOM) {
    const char *mark = role->stack == MOEC_STACK_PER_EXPERT ? strstr(pattern, "{e}") : NULL;
    size_t plain = mark ? (size_t)(mark - pattern) : strlen(pattern);
    used += (size_t)snprintf(name + used, NAME_ROOM - used, "%.*s", (int)plain, pattern);
    if (mark && used < NAME_ROOM)
      used += (size_t)snprintf(name + used, NAME_ROOM - used, "%lld", (long long)expert);
    pattern += plain + (mark ? 3 : 0);
  }
  return used < NAME_ROOM;
}

/* How many experts a stacked tensor of another number of experts holds; 0 if its shape differs otherwise. */
static int64_t stacked_experts(const moec_role *role, const moec_file_tensor *tensor, const stored_role *s) {
  int32_t extra = tensor->rank - s->rank;
  int stacked = role->stack == MOEC_STACK_STACKED || role->stack == MOEC_STACK_FLAT_ROWS;
  if (!role->expert_axis || !stacked || extra != 0 ||
      memcmp(tensor->dims + 1, s->dims + 1, (size_t)(s->rank - 1) * sizeof(int64_t)) != 0)
    return 0;
  int64_t rows = s->dims[0] / role->dims[0];
  return tensor->dims[0] % rows ? 0 : tensor->dims[0] / rows;
}

static int shape_agrees(const moec_file_tensor *tensor, const stored_role *s) {
  int32_t extra = tensor->rank - s->rank;
  if (extra < 0 || tensor->rank > MOEC_FILE_MAX_RANK)
    return 0;
  if (s->half_vector && tensor->rank == 2 && tensor->dims[0] == 2 && 2 * tensor->dims[1] == s->dims[0])
    return 1;
  for (int32_t i = 0; i < extra; ++i)
    if (tensor->dims[i] != 1)
      return 0;
  return memcmp(tensor->dims + extra, s->dims, (size_t)s->rank * sizeof(int64_t)) == 0;
}

/* Finds tensor `name`, checks it and sets the data pointer and type of expert `e` (of all experts when stacked). */
static moec_status take_stored(moec_checkpoint *checkpoint, const moec_role *role, const stored_role *s,
                               const char *name, int64_t e, moec_role_source *source) {
  const moec_file *file = NULL;
  const moec_file_tensor *tensor;
  moec_status status = moec_checkpoint_find(checkpoint, name, &file, &tensor);
  if (status != MOEC_OK)
    return status;
  if (!tensor)
    return moec_error(MOEC_MISSING_WEIGHT, "%s: tensor \"%.256s\" is not in %.256s", s->role_name, name,
                      moec_checkpoint_path(checkpoint));
  int is_integer = tensor->dtype == MOEC_I32 || tensor->dtype == MOEC_I64;
  int is_float = tensor->dtype == MOEC_F32 || tensor->dtype == MOEC_BF16 || tensor->dtype == MOEC_F16;
  if (s->only_integers && !is_integer)
    return moec_error(MOEC_DTYPE, "%s: tensor \"%.256s\" is %.64s, expected I32 or I64: ids of experts", s->role_name,
                      name, tensor->type);
  if (!is_float && !(s->integers && is_integer))
    return moec_error(MOEC_DTYPE, "%s: tensor \"%.256s\" is %.64s, expected F32, BF16 or F16", s->role_name, name,
                      tensor->type);
  if (!shape_agrees(tensor, s)) {
    char have[MOEC_SHAPE_TEXT], want[MOEC_SHAPE_TEXT];
    int64_t experts = stacked_experts(role, tensor, s);
    if (experts)
      return moec_error(MOEC_SHAPE, "%s: tensor \"%.256s\" has %" PRId64 " experts, the layer has %" PRId64,
                        s->role_name, name, experts, role->dims[0]);
    return moec_error(MOEC_SHAPE, "%s: tensor \"%.256s\" has shape %s, expected %s", s->role_name, name,
                      moec_shape_text(tensor->dims, tensor->rank, have), moec_shape_text(s->dims, s->rank, want));
  }
  if (e > 0 && tensor->dtype != (int32_t)source->dtype)
    return moec_error(MOEC_DTYPE, "%s: tensor \"%.256s\" is %.64s, its experts before are of another type",
                      s->role_name, name, tensor->type);
  const void *data;
  status = moec_file_data(file, tensor, &data);
  if (status != MOEC_OK)
    return status;
  source->dtype = (moec_dtype)tensor->dtype;
  int64_t size = moec_dtype_bytes((uint32_t)tensor->dtype);
  if (s->tensors > 1)
    source->data[e] = (const char *)data + s->first * size;
  else
    for (int64_t i = 0; i < source->experts; ++i)
      source->data[i] = (const char *)data + (s->first + i * s->expert_stride) * size;
  return MOEC_OK;
}

/* Whether a role takes the tensor called `name`. */
static int is_taken(const moec_plan *plan, const char *prefix, const char *name) {
  char taken[NAME_ROOM];
  for (uint32_t i = 0; i < plan->header->roles.count; ++i) {
    const moec_role *role = &plan->roles[i];
    int64_t tensors = role->stack == MOEC_STACK_PER_EXPERT ? role->dims[0] : 1;
    for (int64_t e = 0; e < tensors; ++e)
      if (tensor_name(plan, role, prefix, e, taken) && strcmp(taken, name) == 0)
        return 1;
  }
  return 0;
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

/* What the tensor of expert `expert` of the role is called where a file has more experts than the layer; 0 if the role
 * has no tensor per expert, or the name does not fit. */
static int name_beyond(const moec_plan *plan, const moec_role *role, const char *prefix, int64_t expert,
                       char name[NAME_ROOM]) {
  const char *tensor = plan->strings + (plan->strings[role->tensor] ? role->tensor : role->name);
  if (role->stack == MOEC_STACK_PER_EXPERT)
    return strstr(tensor, "{e}") && tensor_name(plan, role, prefix, expert, name);
  char number[24];
  snprintf(number, sizeof(number), "%" PRId64, (int64_t)plan->header->num_experts - 1);
  const char *at = own_number(plan, role, tensor, number);
  if (!at)
    return 0;
  int length = snprintf(name, NAME_ROOM, "%s%.*s%" PRId64 "%s", prefix ? prefix : "", (int)(at - tensor), tensor,
                        expert, at + strlen(number));
  return length >= 0 && length < NAME_ROOM;
}

/* Refuses a file with tensors of experts beyond the layer's last, which nobody would miss: the spec describes another
 * layer. */
static moec_status check_no_more_experts(const moec_plan *plan, const moec_role *role,
                                         const moec_checkpoint *checkpoint, const char *prefix) {
  char name[NAME_ROOM], last[NAME_ROOM];
  int64_t most = role->expert_axis ? role->dims[0] : (int64_t)plan->header->num_experts, experts = most;
  while (name_beyond(plan, role, prefix, experts, name) && moec_checkpoint_has(checkpoint, name) &&
         !is_taken(plan, prefix, name)) {
    memcpy(last, name, sizeof(last));
    ++experts;
  }
  if (experts == most)
    return MOEC_OK;
  return moec_error(MOEC_SHAPE, "%s: %.256s has %" PRId64 " experts, the last is \"%.256s\"; the layer has %" PRId64,
                    plan->strings + role->name, moec_checkpoint_path(checkpoint), experts, last, most);
}

static moec_status take_role(const moec_plan *plan, uint32_t index, moec_checkpoint *checkpoint, const char *prefix,
                             moec_role_source *source) {
  const moec_role *role = &plan->roles[index];
  stored_role s = storage_of(plan, role);
  source->out_stride = s.out_stride;
  source->in_stride = s.in_stride;
  for (int64_t e = 0; e < s.tensors; ++e) {
    char name[NAME_ROOM];
    if (!tensor_name(plan, role, prefix, e, name))
      return moec_error(MOEC_INVALID_ARGUMENT, "%s: its tensor name with prefix has more than %d bytes", s.role_name,
                        MOEC_FILE_MAX_NAME);
    moec_status status = take_stored(checkpoint, role, &s, name, e, source);
    if (status != MOEC_OK)
      return status;
  }
  return check_no_more_experts(plan, role, checkpoint, prefix);
}

moec_status moec_sources_from_checkpoint(const moec_plan *plan, moec_checkpoint *checkpoint, const char *prefix,
                                         moec_role_source *sources) {
  moec_status status = MOEC_OK;
  for (uint32_t i = 0; status == MOEC_OK && i < plan->header->roles.count; ++i)
    status = take_role(plan, i, checkpoint, prefix, &sources[i]);
  return status == MOEC_OK ? moec_checkpoint_check(checkpoint) : status;
}
