/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * step_check.c - the steps of a plan in -> proof that walking them stays inside buffers, functions, covers and items,
 * or a status that names the step.
 */
#include "runtime/plan/plan_check.h"

#include <inttypes.h>

/* "plan: step 3 (ffn_up): " before every text */
#define CHECK_STEP(condition, format, ...)                                                                             \
  MOEC_CHECK_PLAN(condition, "plan: step %" PRIu32 " (%.64s): " format, index, plan->strings + step->name, __VA_ARGS__)

static const moec_buffer *arg_buffer(const moec_plan *plan, const moec_step *step, uint32_t arg) {
  return &plan->buffers[plan->args[step->first_arg + arg]];
}

/* Bytes `buffer` has at T tokens are at least `need`, for every T up to max_tokens: both sides are affine. */
static int extent_covers(const moec_plan *plan, moec_extent have, moec_extent need) {
  int64_t max_tokens = plan->header->max_tokens;
  return have.fixed >= need.fixed && moec_extent_at(have, max_tokens, 0) >= moec_extent_at(need, max_tokens, 0);
}

/* Is there an output of this role that a caller may ask for? */
static int is_optional(const moec_plan *plan, uint32_t role) {
  int32_t buffer = role < MOEC_NUM_BUFFER_ROLES ? plan->buffer_of_role[role] : -1;
  return buffer >= 0 && plan->buffers[buffer].kind == MOEC_BUFFER_OPT_OUTPUT;
}

int moec_runs_with(const moec_step *maker, const moec_step *step) {
  return !maker->asked || (step->asked && !(step->asked & ~maker->asked));
}

static int in_report_slot(const moec_plan_header *header, const moec_buffer *buffer) {
  int slotted = buffer->kind == MOEC_BUFFER_WORKSPACE || buffer->kind == MOEC_BUFFER_OPT_OUTPUT;
  return slotted && buffer->slot >= header->num_slots - header->num_report_slots;
}

/* Does the step run only in calls that ask for a report? */
static int waits_for_report(const moec_step *step) {
  return step->asked && step->asked >> MOEC_ROLE_PROBABILITIES << MOEC_ROLE_PROBABILITIES == step->asked;
}

static moec_status check_args(const moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  const moec_plan_header *header = plan->header;
  CHECK_STEP(step->num_args <= MOEC_MAX_STEP_ARGS && (uint64_t)step->first_arg + step->num_args <= header->args.count,
             "args %" PRIu32 " + %d, the plan has %" PRIu32, step->first_arg, step->num_args, header->args.count);
  for (uint32_t arg = 0; arg < step->num_args; ++arg) {
    uint16_t buffer = plan->args[step->first_arg + arg];
    CHECK_STEP(buffer < header->buffers.count, "arg %" PRIu32 " is buffer %d of %" PRIu32, arg, buffer,
               header->buffers.count);
    CHECK_STEP(plan->buffers[buffer].kind != MOEC_BUFFER_ROUTE || plan->buffers[buffer].route < index,
               "arg %" PRIu32 " is a table of a later dispatch", arg);
    CHECK_STEP(plan->buffers[buffer].kind != MOEC_BUFFER_ROUTE ||
                   moec_runs_with(&plan->steps[plan->buffers[buffer].route], step),
               "arg %" PRIu32 " is a table that some calls do not make before this step runs", arg);
    CHECK_STEP(plan->buffers[buffer].kind != MOEC_BUFFER_GRADIENT || step->kind == MOEC_STEP_GROUPS ||
                   step->kind == MOEC_STEP_GRADIENT,
               "arg %" PRIu32 " is a gradient, which kind %d does not make", arg, step->kind);
    CHECK_STEP(!in_report_slot(header, &plan->buffers[buffer]) || waits_for_report(step),
               "arg %" PRIu32 " is in a slot for reports, which the step does not wait for", arg);
  }
  return MOEC_OK;
}

/* Groups, choices and the route they make. */
static moec_status check_route(moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  const moec_plan_header *header = plan->header;
  CHECK_STEP(step->num_groups >= 1 && step->num_groups <= 1u << 24, "%" PRIu32 " groups", step->num_groups);
  CHECK_STEP(step->choices >= 1 && (int64_t)step->choices * header->max_tokens <= INT32_MAX, "%" PRIu32 " choices",
             step->choices);
  if (!moec_makes_route(step))
    return MOEC_OK;
  CHECK_STEP(plan->num_routes < MOEC_MAX_ROUTES, "more than %d routes", MOEC_MAX_ROUTES);
  plan->step_of_route[plan->num_routes] = (int32_t)index;
  plan->route_of_step[index] = plan->num_routes++;
  return MOEC_OK;
}

/* Argument `arg` has `columns` values of `dtype` per token. */
static moec_status check_values(const moec_plan *plan, uint32_t index, uint32_t arg, uint32_t dtype, int64_t columns) {
  const moec_step *step = &plan->steps[index];
  CHECK_STEP(arg < step->num_args, "%d args, expected more", step->num_args);
  const moec_buffer *buffer = arg_buffer(plan, step, arg);
  moec_extent need = {4 * columns, 0, 0};
  CHECK_STEP(buffer->dtype == dtype && extent_covers(plan, buffer->bytes, need), "%.64s is not %s [T,%" PRId64 "]",
             plan->strings + buffer->name, dtype == MOEC_I32 ? "i32" : "f32", columns);
  return MOEC_OK;
}

static moec_status check_dispatch(moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  CHECK_STEP(step->num_args == MOEC_DISPATCH_NUM_ARGS, "%d args, expected 1", step->num_args);
  moec_status status = check_values(plan, index, MOEC_DISPATCH_IDS, MOEC_I32, step->choices);
  return status == MOEC_OK ? check_route(plan, index) : status;
}

static moec_status check_slots(moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  CHECK_STEP(step->num_args == 0, "%d args, expected 0", step->num_args);
  CHECK_STEP(step->num_groups && step->choices % step->num_groups == 0, "%" PRIu32 " slots in %" PRIu32 " groups",
             step->choices, step->num_groups);
  CHECK_STEP(step->places.scope <= MOEC_SCOPE_SEQUENCE, "scope is %d", step->places.scope);
  return check_route(plan, index);
}

static moec_status check_places(const moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  const moec_places *places = &step->places;
  CHECK_STEP(places->mode <= MOEC_PLACES_GIVEN && places->round <= MOEC_ROUND_NEAREST &&
                 places->scope <= MOEC_SCOPE_GROUP,
             "places: mode %d, round %d, scope %d", places->mode, places->round, places->scope);
  CHECK_STEP(places->times >= 1 && places->over >= 1 && places->least >= 0 && places->most >= places->least &&
                 !(places->value < 0),
             "places: times %" PRId64 " over %" PRId64 ", from %" PRId64 " to %" PRId64, places->times, places->over,
             places->least, places->most);
  CHECK_STEP(places->scope != MOEC_SCOPE_GROUP || places->group_tokens >= 1, "places: groups of %" PRId64 " tokens",
             places->group_tokens);
  return MOEC_OK;
}

static moec_status check_top_tokens(const moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  moec_status status = check_places(plan, index);
  CHECK_STEP(step->num_groups >= 1, "%" PRIu32 " columns", step->num_groups);
  int present = !!(step->places.flags & MOEC_PLACES_PRESENT);
  CHECK_STEP(step->num_args == MOEC_TOP_TOKENS_PRESENT + present, "%d args", step->num_args);
  CHECK_STEP(step->places.mode != MOEC_PLACES_GIVEN && !(step->places.flags & ~MOEC_PLACES_PRESENT),
             "places: mode %d, flags %d", step->places.mode, step->places.flags);
  if (status == MOEC_OK)
    status = check_values(plan, index, MOEC_TOP_TOKENS_VALUES, MOEC_F32, step->num_groups);
  if (status == MOEC_OK)
    status = check_values(plan, index, MOEC_TOP_TOKENS_MASK, MOEC_I32, step->num_groups);
  return status == MOEC_OK && present ? check_values(plan, index, MOEC_TOP_TOKENS_PRESENT, MOEC_I32, 1) : status;
}

static moec_status check_capacity(moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  uint32_t flags = step->places.flags;
  int64_t choices = step->choices;
  int32_t at[MOEC_CAPACITY_NUM_ARGS], num_args = moec_capacity_positions(&step->places, at);
  moec_status status = check_places(plan, index);
  CHECK_STEP(4 * (int64_t)step->num_groups <= plan->header->scratch_bytes || !plan->header->isa_mask,
             "%" PRIu32 " groups, the scratch has %" PRIu32 " bytes", step->num_groups, plan->header->scratch_bytes);
  if (status == MOEC_OK)
    status = check_route(plan, index);
  const struct {
    uint32_t dtype;
    int64_t columns;
  } values[] = {
      [MOEC_CAPACITY_IDS] = {MOEC_I32, choices},
      [MOEC_CAPACITY_KEPT] = {MOEC_I32, choices},
      [MOEC_CAPACITY_KEYS] = {MOEC_F32, flags & MOEC_PLACES_SLOT_KEYS ? choices : 1},
      [MOEC_CAPACITY_QUEUE] = {MOEC_I32, choices},
      [MOEC_CAPACITY_RANK] = {MOEC_F32, step->num_groups},
      [MOEC_CAPACITY_PRESENT] = {MOEC_I32, 1},
  };
  for (int32_t arg = 0; status == MOEC_OK && arg < MOEC_CAPACITY_CAPACITY; ++arg)
    if (at[arg] >= 0)
      status = check_values(plan, index, (uint32_t)at[arg], values[arg].dtype, values[arg].columns);
  int32_t given = at[MOEC_CAPACITY_CAPACITY];
  if (status == MOEC_OK && given >= 0)
    CHECK_STEP(given < step->num_args && arg_buffer(plan, step, (uint32_t)given)->role == MOEC_ROLE_CAPACITY,
               "argument %" PRId32 " is not the call's capacity", given);
  if (status == MOEC_OK)
    CHECK_STEP(num_args == step->num_args && !(flags & ~31u), "%d args, expected %" PRId32, step->num_args, num_args);
  return status;
}

/* Values of all roles of a gradient buffer: those of the role, or of every member of a class as one rectangle. */
static moec_status check_gradient(const moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  CHECK_STEP(step->num_args == MOEC_GRADIENT_NUM_ARGS, "%d args, expected 2", step->num_args);
  const moec_buffer *values = arg_buffer(plan, step, MOEC_GRADIENT_VALUES);
  const moec_buffer *gradient = arg_buffer(plan, step, MOEC_GRADIENT_GRADIENT);
  CHECK_STEP(gradient->kind == MOEC_BUFFER_GRADIENT && values->dtype == MOEC_F32 && values->bytes.per_token == 0 &&
                 values->bytes.per_sequence == 0,
             "%.64s are not f32 values of the whole call, or %.64s is not a gradient", plan->strings + values->name,
             plan->strings + gradient->name);
  int64_t members = gradient->route, stride = values->row_stride / 4;
  for (int64_t g = 0; g < (members ? members : 1); ++g) {
    const moec_role *role = &plan->roles[gradient->slot + g];
    int64_t need = 1, have = values->bytes.fixed / 4 / (members ? members : 1);
    for (int i = 0; i < role->rank && i < 3; ++i)
      need *= role->dims[i];
    if (members && role->rank == 2)
      need = role->dims[1] <= stride ? (role->dims[0] - 1) * stride + role->dims[1] : INT64_MAX;
    CHECK_STEP(role->rank <= 3 && need <= have && (!members || role->rank <= 2),
               "%.64s has fewer values than role %.64s", plan->strings + values->name, plan->strings + role->name);
  }
  return MOEC_OK;
}

static moec_status check_copy(const moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  CHECK_STEP(step->num_args == MOEC_COPY_NUM_ARGS, "%d args, expected 2", step->num_args);
  const moec_buffer *from = arg_buffer(plan, step, MOEC_COPY_FROM), *to = arg_buffer(plan, step, MOEC_COPY_TO);
  CHECK_STEP(to->kind == MOEC_BUFFER_WORKSPACE || to->kind == MOEC_BUFFER_OPT_OUTPUT, "%.64s cannot be written",
             plan->strings + to->name);
  CHECK_STEP(from->dtype == to->dtype && from->bytes.fixed == to->bytes.fixed &&
                 from->bytes.per_token == to->bytes.per_token && from->bytes.per_sequence == to->bytes.per_sequence,
             "%.64s and %.64s have different sizes", plan->strings + from->name, plan->strings + to->name);
  return MOEC_OK;
}

static moec_status check_counts(const moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  CHECK_STEP(step->num_args == MOEC_COUNTS_NUM_ARGS && step->route != MOEC_NO_ROUTE, "%d args and route %d",
             step->num_args, step->route);
  const moec_buffer *counts = arg_buffer(plan, step, MOEC_COUNTS_COUNTS);
  moec_extent need = {0, 4 * (int64_t)plan->steps[step->route].num_groups, 0};
  CHECK_STEP(counts->dtype == MOEC_I32 && extent_covers(plan, counts->bytes, need),
             "counts (%.64s) are not i32 [%" PRIu32 "]", plan->strings + counts->name,
             plan->steps[step->route].num_groups);
  return MOEC_OK;
}

/* Items a step can need at T tokens: rows R = K*T in G groups make at most min(R, R/max_rows + G) blocks. */
static int64_t item_bound(int64_t num_rows, int64_t num_groups, int64_t max_rows) {
  int64_t bound = num_rows / max_rows + num_groups;
  return num_rows < bound ? num_rows : bound;
}

/* header.items covers the bound for every T.
 *
 * NOTE: the bound is the smaller of two affine functions rounded down, hence concave: below an affine function of
 * integers it stays below it if it does so at T = 0, at max_tokens and on both sides of the point where the two
 * cross. */
static int items_fit(const moec_plan *plan, int64_t rows_per_token, int64_t num_groups, int64_t max_rows) {
  const moec_plan_header *header = plan->header;
  int64_t crossing = max_rows > 1 ? num_groups * max_rows / (rows_per_token * (max_rows - 1)) : header->max_tokens;
  int64_t points[] = {0, crossing - 1, crossing, crossing + 1, header->max_tokens};
  for (int i = 0; i < 5; ++i) {
    int64_t tokens = points[i] < 0 ? 0 : points[i] > header->max_tokens ? header->max_tokens : points[i];
    if (item_bound(rows_per_token * tokens, num_groups, max_rows) > moec_extent_at(header->items, tokens, 0))
      return 0;
  }
  return 1;
}

static moec_status check_matmul_isa(const moec_plan *plan, uint32_t index, const moec_isa_variants *isa) {
  const moec_step *step = &plan->steps[index];
  const moec_plan_header *header = plan->header;
  CHECK_STEP(isa->max_rows >= 1 && isa->max_rows <= 1u << 20, "max_rows is %" PRIu32, isa->max_rows);
  CHECK_STEP(isa->row_multiple >= 1 && isa->row_multiple <= isa->max_rows, "row_multiple is %" PRIu32,
             isa->row_multiple);
  CHECK_STEP((uint64_t)isa->cover + isa->max_rows <= header->covers.count,
             "cover %" PRIu32 " + %" PRIu32 " rows, the plan has %" PRIu32, isa->cover, isa->max_rows,
             header->covers.count);
  for (uint32_t r = 0; r < isa->max_rows; ++r)
    CHECK_STEP(plan->covers[isa->cover + r] < isa->num_variants, "cover of %" PRIu32 " rows is variant %d of %" PRIu32,
               r + 1, plan->covers[isa->cover + r], isa->num_variants);
  int routed = step->route != MOEC_NO_ROUTE;
  const moec_step *dispatch = routed ? &plan->steps[step->route] : NULL;
  CHECK_STEP(items_fit(plan, routed ? dispatch->choices : 1, routed ? dispatch->num_groups : 1, isa->max_rows),
             "header.items (%" PRId64 " per token + %" PRId64 ") is too small", header->items.per_token,
             header->items.fixed);
  return MOEC_OK;
}

static moec_status check_kernel(const moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  int matmul = step->kind == MOEC_STEP_MATMUL;
  if (matmul) {
    uint32_t groups = step->route == MOEC_NO_ROUTE ? 1 : plan->steps[step->route].num_groups;
    CHECK_STEP(step->num_groups >= groups, "%" PRIu32 " groups, its route has %" PRIu32, step->num_groups, groups);
    CHECK_STEP(step->num_panels >= 1 && step->num_panels <= 1u << 24, "%" PRIu32 " panels", step->num_panels);
  } else if (step->kind == MOEC_STEP_GROUPS) {
    CHECK_STEP(step->num_groups >= 1 && step->choices >= 1 && (int64_t)step->num_groups * step->choices <= INT32_MAX,
               "%" PRIu32 " groups of %" PRIu32 " blocks", step->num_groups, step->choices);
  } else if (step->kind == MOEC_STEP_COLUMNS) {
    CHECK_STEP(step->choices >= 1 && (int64_t)step->choices * plan->header->max_tokens <= INT32_MAX &&
                   step->places.scope <= MOEC_SCOPE_SEQUENCE,
               "%" PRIu32 " blocks in scope %d", step->choices, step->places.scope);
  } else {
    CHECK_STEP(step->rows_per_task >= 1 && step->rows_per_task <= 1u << 24, "rows_per_task is %" PRIu32,
               step->rows_per_task);
  }
  for (int i = 0; i < MOEC_NUM_ISAS; ++i) {
    const moec_isa_variants *isa = &step->isa[i];
    if (!(plan->header->isa_mask >> i & 1))
      continue;
    CHECK_STEP(isa->num_variants >= 1 && isa->num_variants <= (matmul ? MOEC_MAX_VARIANTS : 1),
               "%" PRIu32 " variants for %s", isa->num_variants, moec_isa_name(i));
    CHECK_STEP((uint64_t)isa->first_fn + isa->num_variants <= plan->num_functions,
               "functions %" PRIu32 " + %" PRIu32 ", the package has %" PRIu64, isa->first_fn, isa->num_variants,
               plan->num_functions);
    moec_status status = matmul ? check_matmul_isa(plan, index, isa) : MOEC_OK;
    if (status != MOEC_OK)
      return status;
  }
  return MOEC_OK;
}

static moec_status check_step(moec_plan *plan, uint32_t index) {
  const moec_step *step = &plan->steps[index];
  MOEC_CHECK_PLAN(step->name < plan->header->strings.count, "plan: step %" PRIu32 ": name is outside the strings",
                  index);
  CHECK_STEP(!plan->header->chunk_tokens || step->kind == MOEC_STEP_ROWS || step->kind == MOEC_STEP_MATMUL ||
                 step->kind == MOEC_STEP_DISPATCH || step->kind == MOEC_STEP_COUNTS,
             "kind %d looks at all tokens, and the plan has chunks", step->kind);
  CHECK_STEP(step->kind <= MOEC_STEP_COPY, "kind is %d", step->kind);
  CHECK_STEP(!step->reserved && !step->reserved2, "reserved words are %d and %" PRIu32, step->reserved,
             step->reserved2);
  CHECK_STEP(step->route == MOEC_NO_ROUTE || (step->route < index && moec_makes_route(&plan->steps[step->route])),
             "route %d is not an earlier dispatch or slots step", step->route);
  for (uint32_t role = 0; role < 32; ++role)
    CHECK_STEP(!(step->asked >> role & 1) || is_optional(plan, role),
               "it waits for role %" PRIu32 ", which is not an optional output", role);
  CHECK_STEP(step->route == MOEC_NO_ROUTE || moec_runs_with(&plan->steps[step->route], step),
             "route %d is not made whenever it runs", step->route);
  CHECK_STEP(!moec_makes_route(step) || step->route == MOEC_NO_ROUTE, "it makes a route and has route %d", step->route);
  plan->route_of_step[index] = -1;
  moec_status status = check_args(plan, index);
  if (status != MOEC_OK)
    return status;
  switch (step->kind) {
  case MOEC_STEP_DISPATCH:
    return check_dispatch(plan, index);
  case MOEC_STEP_COUNTS:
    return check_counts(plan, index);
  case MOEC_STEP_CAPACITY:
    return check_capacity(plan, index);
  case MOEC_STEP_TOP_TOKENS:
    return check_top_tokens(plan, index);
  case MOEC_STEP_SLOTS:
    return check_slots(plan, index);
  case MOEC_STEP_GRADIENT:
    return check_gradient(plan, index);
  case MOEC_STEP_COPY:
    return check_copy(plan, index);
  default:
    return check_kernel(plan, index);
  }
}

moec_status moec_check_steps(moec_plan *plan) {
  for (uint32_t index = 0; index < plan->header->steps.count; ++index) {
    moec_status status = check_step(plan, index);
    if (status != MOEC_OK)
      return status;
  }
  return MOEC_OK;
}
