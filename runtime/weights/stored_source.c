/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * stored_source.c - checkpoints and the roles' storage in -> the address of every role's elements out, or a report of
 * every tensor. Both follow the same rules: the loader stops at the first tensor that breaks one, the report goes on.
 */
#include "runtime/weights/weight_source.h"

#include "runtime/status.h"
#include "runtime/weights/weight_survey.h"

#include <inttypes.h>
#include <string.h>

/* Checks type and shape of a tensor that was found, and sets the data pointer and type of expert `e` (of all experts
 * when stacked). */
static moec_status take_found(const moec_role *role, const char *role_name, const moec_stored_role *s,
                              const moec_found_tensor *found, int64_t e, moec_role_source *source) {
  const moec_file_tensor *tensor = found->tensor;
  const char *name = found->name;
  int is_integer = tensor->dtype == MOEC_I32 || tensor->dtype == MOEC_I64;
  int is_float = tensor->dtype == MOEC_F32 || tensor->dtype == MOEC_BF16 || tensor->dtype == MOEC_F16;
  if (s->only_integers && !is_integer)
    return moec_error(MOEC_DTYPE, "%s: tensor \"%.256s\" is %.64s, expected I32 or I64: ids of experts", role_name,
                      name, tensor->type);
  if (!is_float && !(s->integers && is_integer))
    return moec_error(MOEC_DTYPE, "%s: tensor \"%.256s\" is %.64s, expected F32, BF16 or F16", role_name, name,
                      tensor->type);
  if (!moec_shape_agrees(s, tensor)) {
    char have[MOEC_SHAPE_TEXT], want[MOEC_SHAPE_TEXT];
    int64_t experts = moec_experts_in(s, role, tensor);
    if (experts)
      return moec_error(MOEC_SHAPE, "%s: tensor \"%.256s\" has %" PRId64 " experts, the layer has %" PRId64, role_name,
                        name, experts, role->dims[0]);
    return moec_error(MOEC_SHAPE, "%s: tensor \"%.256s\" has shape %s, expected %s", role_name, name,
                      moec_shape_text(tensor->dims, tensor->rank, have), moec_shape_text(s->dims, s->rank, want));
  }
  if (source->given && tensor->dtype != (int32_t)source->dtype)
    return moec_error(MOEC_DTYPE, "%s: tensor \"%.256s\" is %.64s, its experts before are of another type", role_name,
                      name, tensor->type);
  const void *data;
  moec_status status = moec_file_data(found->file, tensor, &data);
  if (status != MOEC_OK)
    return status;
  source->dtype = (moec_dtype)tensor->dtype;
  source->given += s->tensors > 1 ? 1 : source->experts;
  int64_t size = moec_dtype_bytes((uint32_t)tensor->dtype);
  if (s->tensors > 1)
    source->data[e] = (const char *)data + s->first * size;
  else
    for (int64_t i = 0; i < source->experts; ++i)
      source->data[i] = (const char *)data + (s->first + i * s->expert_stride) * size;
  return MOEC_OK;
}

/* Refuses checkpoints with tensors of experts beyond the layer's last, which nobody would miss: the spec describes
 * another layer. `last` is the last of them. */
static moec_status check_no_more_experts(const moec_plan *plan, const moec_role *role, const moec_checkpoint_set *set,
                                         moec_found_tensor *last) {
  char name[MOEC_NAME_ROOM];
  int64_t most = role->expert_axis ? role->dims[0] : (int64_t)plan->header->num_experts, experts = most;
  while (moec_name_beyond(plan, role, experts, name) && moec_checkpoints_have(set, name, last) &&
         !moec_takes_tensor(plan, name))
    ++experts;
  if (experts == most)
    return MOEC_OK;
  /* the last one looked for may be found and be another role's */
  moec_name_beyond(plan, role, experts - 1, name);
  moec_checkpoints_have(set, name, last);
  return moec_error(MOEC_SHAPE, "%s: %.256s has %" PRId64 " experts, the last is \"%.256s\"; the layer has %" PRId64,
                    plan->strings + role->name, moec_checkpoint_path(set->checkpoint[last->source]), experts,
                    last->name, most);
}

/* A walk over the tensors of all roles. */
typedef struct walk {
  const moec_plan *plan;
  moec_checkpoint_set *set;
  moec_survey_fn report; /* NULL: stop at the first error */
  void *context;
  moec_status first; /* error, or MOEC_OK */
} walk;

/* Notes what became of a tensor; 0: the walk ends. */
static int note(walk *w, moec_surveyed_tensor *tensor, moec_status status) {
  if (w->first == MOEC_OK)
    w->first = status;
  if (!w->report)
    return status == MOEC_OK;
  char text[1024] = "";
  if (status != MOEC_OK)
    moec_last_error(text, sizeof(text));
  tensor->status = status;
  tensor->text = text;
  w->report(w->context, tensor);
  return status != MOEC_OUT_OF_MEMORY;
}

static int walk_role(walk *w, uint32_t index, moec_role_source *source) {
  const moec_plan *plan = w->plan;
  const moec_role *role = &plan->roles[index];
  const char *role_name = plan->strings + role->name;
  moec_stored_role s = moec_storage_of(plan, role);
  moec_found_tensor found = {0};
  moec_surveyed_tensor seen = {.role = index, .found = &found, .stored = &s};
  source->out_stride = s.out_stride;
  source->in_stride = s.in_stride;
  for (int64_t e = 0; e < s.tensors; ++e) {
    char name[MOEC_NAME_ROOM];
    moec_status status = moec_tensor_name(plan, role, e, name) ? moec_checkpoints_find(w->set, role_name, name, &found)
                                                               : moec_name_too_long(role_name);
    if (status == MOEC_OK && !found.tensor)
      status = moec_checkpoints_miss(w->set, role_name, name);
    else if (status == MOEC_OK)
      status = take_found(role, role_name, &s, &found, e, source);
    seen.expert = e;
    seen.name = name;
    if (!note(w, &seen, status))
      return 0;
  }
  found.tensor = NULL;
  moec_status status = check_no_more_experts(plan, role, w->set, &found);
  seen.expert = -1;
  seen.name = "";
  return status == MOEC_OK || note(w, &seen, status);
}

static moec_status walk_roles(walk *w, moec_role_source *sources) {
  uint32_t count = w->plan->header->roles.count;
  for (uint32_t i = 0; i < count && walk_role(w, i, &sources[i]); ++i)
    ;
  return w->first == MOEC_OK ? moec_checkpoints_check(w->set) : w->first;
}

moec_status moec_sources_from_checkpoints(const moec_plan *plan, moec_checkpoint_set *set, moec_role_source *sources) {
  walk w = {.plan = plan, .set = set};
  return walk_roles(&w, sources);
}

moec_status moec_survey_checkpoints(const moec_plan *plan, moec_checkpoint_set *set, moec_survey_fn report,
                                    void *context) {
  moec_role_source *sources = moec_sources_create(plan);
  if (!sources)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for the tensor table");
  walk w = {.plan = plan, .set = set, .report = report, .context = context};
  moec_status status = walk_roles(&w, sources);
  moec_sources_destroy(plan, sources);
  return status;
}
