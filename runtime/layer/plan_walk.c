/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * plan_walk.c - a plan and checked arguments in -> every step run once, in order, as one region.
 *
 * next_step runs on one thread between two steps: it does the integer steps (dispatch, capacity, ...) itself, builds
 * items and says how many units a kernel step has. Units are rows_per_task rows, or about 1/(32*workers) of the items:
 * the last unit of a step makes the others wait for at most 3 % of its time. With one worker a step is one unit, so
 * that kernels prefetch across items. No bit depends on units: rows are independent and items never split a sum.
 */
#include "runtime/layer/dispatch.h"
#include "runtime/layer/gradients.h"
#include "runtime/layer/items.h"
#include "runtime/layer/layer.h"
#include "runtime/layer/places.h"
#include "runtime/status.h"

#include <string.h>

enum { UNITS_PER_WORKER = 32 };

/* One call; lives on the calling thread's stack. */
typedef struct walk {
  const moec_layer *layer;
  const moec_pass_args *pass;
  const moec_forward_args *args; /* of the pass */
  uint32_t distinct_groups;      /* 0 in every call but a measurement's */
  int32_t open_step;             /* what args->probe was told to have begun, -1: nothing */
  void *buffers[MOEC_MAX_BUFFERS];
  moec_route routes[MOEC_MAX_ROUTES];
  moec_item *item_array;
  char *scratch;
  int64_t scratch_stride;
  int64_t first_token, num_tokens; /* of this chunk; the whole call unless the plan has chunks */
  int64_t sequence_tokens;         /* at least 1, even in a call of 0 tokens: divisions by it are safe */
  uint32_t next_index;             /* step that next_step looks at */

  /* the step in work: constant while its units run */
  const moec_step *step;
  const moec_kernel_fn *kernels; /* one per variant */
  moec_call call;
  void *step_args[MOEC_MAX_STEP_ARGS];
  moec_item_list list;
  int64_t total, chunk; /* rows or items of the step, and of one unit */
} walk;

static void resolve_buffers(walk *w, const moec_weights *weights, const moec_workspace_map *map) {
  const moec_plan *plan = &w->layer->plan;
  char *base = w->args->workspace;
  for (int32_t r = 0; r < plan->num_routes; ++r)
    w->routes[r] = (moec_route){
        (int32_t *)(base + map->route[r][MOEC_ROUTE_OFFSETS]), (int32_t *)(base + map->route[r][MOEC_ROUTE_ROW_TOKEN]),
        (int32_t *)(base + map->route[r][MOEC_ROUTE_ROW_SLOT]), (int32_t *)(base + map->route[r][MOEC_ROUTE_SLOT_ROW])};
  for (uint32_t i = 0; i < plan->header->buffers.count; ++i)
    w->buffers[i] = moec_buffer_address(w->layer, weights, w->pass, map, i);
  w->item_array = (moec_item *)(base + map->items);
  w->scratch = base + map->scratch;
  w->scratch_stride = map->scratch_stride;
}

/* The caller's rows of the next chunk. */
static void advance_buffers(walk *w, int64_t tokens) {
  const moec_plan *plan = &w->layer->plan;
  for (uint32_t i = 0; i < plan->header->buffers.count; ++i)
    if (moec_caller_buffer(w->args, plan->buffers[i].role))
      w->buffers[i] = (char *)w->buffers[i] + tokens * plan->buffers[i].bytes.per_token;
}

static void gather_args(walk *w, const moec_step *step) {
  const uint16_t *args = w->layer->plan.args + step->first_arg;
  for (uint32_t i = 0; i < step->num_args; ++i)
    w->step_args[i] = w->buffers[args[i]];
}

static const moec_route *route_of(const walk *w, const moec_step *step) {
  return step->route == MOEC_NO_ROUTE ? NULL : &w->routes[w->layer->plan.route_of_step[step->route]];
}

static void run_dispatch(walk *w, uint32_t index) {
  const moec_step *step = &w->layer->plan.steps[index];
  moec_dispatch(w->step_args[MOEC_DISPATCH_IDS], w->num_tokens, step->choices, step->num_groups,
                &w->routes[w->layer->plan.route_of_step[index]]);
}

static int64_t columns_of(const walk *w, const moec_step *step, uint32_t arg) {
  const moec_plan *plan = &w->layer->plan;
  return plan->buffers[plan->args[step->first_arg + arg]].bytes.per_token / 4;
}

static void run_capacity(walk *w, const moec_step *step) {
  int32_t at[MOEC_CAPACITY_NUM_ARGS];
  void *arg[MOEC_CAPACITY_NUM_ARGS];
  moec_capacity_positions(&step->places, at);
  for (int32_t i = 0; i < MOEC_CAPACITY_NUM_ARGS; ++i)
    arg[i] = at[i] < 0 ? NULL : w->step_args[at[i]];
  moec_capacity_call call = {.places = &step->places,
                             .num_tokens = w->num_tokens,
                             .sequence_tokens = w->sequence_tokens,
                             .choices = step->choices,
                             .num_groups = step->num_groups,
                             .ids = arg[MOEC_CAPACITY_IDS],
                             .kept = arg[MOEC_CAPACITY_KEPT],
                             .keys = arg[MOEC_CAPACITY_KEYS],
                             .queue = arg[MOEC_CAPACITY_QUEUE],
                             .rank = arg[MOEC_CAPACITY_RANK],
                             .present = arg[MOEC_CAPACITY_PRESENT],
                             .capacity = arg[MOEC_CAPACITY_CAPACITY],
                             .free_places = (int32_t *)w->scratch};
  if (call.rank)
    call.rank_columns = columns_of(w, step, (uint32_t)at[MOEC_CAPACITY_RANK]);
  moec_keep_capacity(&call);
}

static int64_t at_least_one(int64_t tokens) { return tokens ? tokens : 1; }

static void run_slots(walk *w, uint32_t index) {
  const moec_step *step = &w->layer->plan.steps[index];
  int64_t tokens = step->places.scope == MOEC_SCOPE_SEQUENCE ? w->sequence_tokens : at_least_one(w->num_tokens);
  moec_make_slots(w->num_tokens, tokens, step->choices, step->num_groups,
                  &w->routes[w->layer->plan.route_of_step[index]]);
}

static void run_counts(walk *w, const moec_step *step) {
  const moec_route *route = route_of(w, step);
  int32_t *counts = w->step_args[MOEC_COUNTS_COUNTS];
  uint32_t num_groups = w->layer->plan.steps[step->route].num_groups;
  for (uint32_t g = 0; g < num_groups; ++g)
    counts[g] = route->offsets[g + 1] - route->offsets[g];
}

/* Not where the step makes the gradient of one role, whose buffer the caller did not give. */
static int wants_gradient(const walk *w, const moec_step *step) {
  const moec_plan *plan = &w->layer->plan;
  for (uint32_t i = 0; step->kind == MOEC_STEP_GROUPS && i < step->num_args; ++i) {
    uint16_t buffer = plan->args[step->first_arg + i];
    if (plan->buffers[buffer].kind == MOEC_BUFFER_GRADIENT && !w->buffers[buffer])
      return 0;
  }
  return 1;
}

static void run_gradient(walk *w, const moec_step *step) {
  const moec_plan *plan = &w->layer->plan;
  const uint16_t *args = plan->args + step->first_arg;
  moec_store_gradient(plan, &plan->buffers[args[MOEC_GRADIENT_VALUES]], w->step_args[MOEC_GRADIENT_VALUES],
                      &plan->buffers[args[MOEC_GRADIENT_GRADIENT]], w->pass->backward);
}

/* NOTE: only grad_losses may be missing. */
static void run_copy(walk *w, const moec_step *step) {
  const moec_plan *plan = &w->layer->plan;
  const moec_buffer *to = &plan->buffers[plan->args[step->first_arg + MOEC_COPY_TO]];
  size_t bytes = (size_t)moec_extent_at(to->bytes, w->num_tokens, w->num_tokens / w->sequence_tokens);
  if (w->step_args[MOEC_COPY_FROM])
    memcpy(w->step_args[MOEC_COPY_TO], w->step_args[MOEC_COPY_FROM], bytes);
  else
    memset(w->step_args[MOEC_COPY_TO], 0, bytes);
}

static void build_items(walk *w, const moec_step *step, const moec_isa_variants *isa) {
  const moec_plan *plan = &w->layer->plan;
  const moec_route *route = route_of(w, step);
  const int32_t all_tokens[2] = {0, (int32_t)w->num_tokens};
  w->list.items = w->item_array;
  moec_items_build(isa, plan->covers + isa->cover, route ? route->offsets : all_tokens,
                   route ? plan->steps[step->route].num_groups : 1, (int32_t)step->num_panels, &w->list);
  if (w->distinct_groups && route)
    for (int64_t i = 0; i < w->list.num_items; ++i)
      w->list.items[i].group %= (int32_t)w->distinct_groups;
  moec_items_split(&w->list, (int32_t)step->num_panels, w->layer->max_threads);
}

/* ---- probe ----------------------------------------------------------------------------------------------------- */

static moec_probe_event event_of(const walk *w, int32_t event, uint32_t index) {
  const moec_plan *plan = &w->layer->plan;
  const moec_step *step = &plan->steps[index];
  return (moec_probe_event){.event = event,
                            .step = (int32_t)index,
                            .name = plan->strings + step->name,
                            .kind = moec_step_kind_name(step),
                            .first_token = w->first_token,
                            .num_tokens = w->num_tokens,
                            .unit = -1,
                            .worker = -1};
}

static int32_t units_of(const walk *w) { return (int32_t)((w->total + w->chunk - 1) / w->chunk); }

static void tell(const walk *w, const moec_probe_event *event) {
  w->args->probe->on_event(w->args->probe->context, event);
}

static void tell_begin(walk *w, uint32_t index) {
  const moec_probe_event event = event_of(w, MOEC_PROBE_STEP_BEGIN, index);
  w->open_step = (int32_t)index;
  tell(w, &event);
}

/* The end of the step that began last, if one is open. */
static void tell_end(walk *w) {
  if (w->open_step < 0)
    return;
  moec_probe_event event = event_of(w, MOEC_PROBE_STEP_END, (uint32_t)w->open_step);
  int kernel = w->step == &w->layer->plan.steps[w->open_step];
  event.rows = kernel ? w->call.num_rows : w->num_tokens;
  event.units = kernel ? units_of(w) : 0;
  w->open_step = -1;
  tell(w, &event);
}

static void tell_unit(const walk *w, int32_t kind, uint32_t unit, int32_t worker) {
  moec_probe_event event = event_of(w, kind, (uint32_t)(w->step - w->layer->plan.steps));
  event.rows = w->call.num_rows;
  event.units = units_of(w);
  event.unit = (int32_t)unit;
  event.worker = worker;
  tell(w, &event);
}

/* Runs a step of the runtime; returns 0 for kernel steps. */
static int run_integers(walk *w, uint32_t index) {
  const moec_step *step = &w->layer->plan.steps[index];
  switch (step->kind) {
  case MOEC_STEP_DISPATCH:
    run_dispatch(w, index);
    return 1;
  case MOEC_STEP_COUNTS:
    run_counts(w, step);
    return 1;
  case MOEC_STEP_CAPACITY:
    run_capacity(w, step);
    return 1;
  case MOEC_STEP_SLOTS:
    run_slots(w, index);
    return 1;
  case MOEC_STEP_GRADIENT:
    run_gradient(w, step);
    return 1;
  case MOEC_STEP_COPY:
    run_copy(w, step);
    return 1;
  case MOEC_STEP_TOP_TOKENS:
    moec_top_tokens(&step->places, w->num_tokens, w->sequence_tokens, step->num_groups,
                    w->step_args[MOEC_TOP_TOKENS_VALUES],
                    step->places.flags & MOEC_PLACES_PRESENT ? w->step_args[MOEC_TOP_TOKENS_PRESENT] : NULL,
                    w->step_args[MOEC_TOP_TOKENS_MASK]);
    return 1;
  default:
    return 0;
  }
}

/* Sets up a kernel step and returns its units, 0 when it has no rows. */
static uint32_t begin_kernel(walk *w, const moec_step *step) {
  const moec_plan *plan = &w->layer->plan;
  const moec_isa_variants *isa = &step->isa[w->layer->isa];
  const moec_route *route = route_of(w, step);
  int32_t workers = w->layer->max_threads;
  w->step = step;
  w->kernels = plan->functions + isa->first_fn;
  w->call.num_tokens = w->num_tokens;
  w->call.num_rows = route ? route->offsets[plan->steps[step->route].num_groups] : w->num_tokens;
  w->call.items = NULL;
  w->call.num_items = 0;
  w->call.sequence_tokens = w->sequence_tokens;
  w->call.accumulate = w->pass->backward ? w->pass->backward->accumulate : 0;
  w->call.gradient_dtype = w->pass->backward ? w->pass->backward->grad_dtype : 0;
  w->total = w->call.num_rows;
  w->chunk = step->rows_per_task;
  if (step->kind == MOEC_STEP_COLUMNS) {
    w->total = step->choices * (step->places.scope == MOEC_SCOPE_SEQUENCE ? w->num_tokens / w->sequence_tokens : 1);
    w->chunk = 1;
  }
  if (step->kind == MOEC_STEP_GROUPS) {
    w->total = (int64_t)step->num_groups * step->choices;
    w->chunk = w->total / ((int64_t)UNITS_PER_WORKER * workers);
  }
  if (step->kind == MOEC_STEP_MATMUL) {
    build_items(w, step, isa);
    w->call.items = w->list.items;
    w->call.num_items = w->total = w->list.num_items;
    w->chunk = w->total / ((int64_t)UNITS_PER_WORKER * workers);
  }
  if (workers == 1)
    w->chunk = w->total;
  if (w->chunk < 1)
    w->chunk = 1;
  return (uint32_t)units_of(w);
}

static uint32_t next_step(void *context) {
  walk *w = context;
  const moec_plan *plan = &w->layer->plan;
  tell_end(w);
  while (w->next_index < plan->header->steps.count) {
    uint32_t index = w->next_index++;
    const moec_step *step = &plan->steps[index];
    uint32_t units = 0;
    if (!moec_step_is_asked(w->args, step) || !wants_gradient(w, step))
      continue;
    if (w->args->probe)
      tell_begin(w, index);
    gather_args(w, step);
    if (!run_integers(w, index))
      units = begin_kernel(w, step);
    if (units)
      return units;
    tell_end(w);
  }
  return 0;
}

/* Rows or items [first, last) of the step; items are cut where the variant changes. */
static void compute_unit(walk *w, uint32_t unit, int32_t worker) {
  void *scratch = w->scratch + worker * w->scratch_stride;
  int64_t first = unit * w->chunk, end = first + w->chunk < w->total ? first + w->chunk : w->total;
  if (w->step->kind != MOEC_STEP_MATMUL) {
    w->kernels[0](&w->call, w->step_args, scratch, first, end);
    return;
  }
  for (int32_t variant = 0; first < end; ++variant) {
    int64_t last = w->list.variant_first[variant + 1] < end ? w->list.variant_first[variant + 1] : end;
    if (first >= last)
      continue;
    w->kernels[variant](&w->call, w->step_args, scratch, first, last);
    first = last;
  }
}

static void run_unit(void *context, uint32_t unit, int32_t worker) {
  walk *w = context;
  int told = w->args->probe && w->args->probe->units;
  if (told)
    tell_unit(w, MOEC_PROBE_UNIT_BEGIN, unit, worker);
  compute_unit(w, unit, worker);
  if (told)
    tell_unit(w, MOEC_PROBE_UNIT_END, unit, worker);
}

static void add_counts(int32_t *sums, const int32_t *counts, int64_t n, int first) {
  for (int64_t e = 0; e < n; ++e)
    sums[e] = first ? counts[e] : sums[e] + counts[e];
}

moec_status moec_plan_walk(const moec_layer *layer, const moec_weights *weights, const moec_pass_args *pass,
                           uint32_t distinct_groups) {
  const moec_forward_args *args = pass->args;
  walk w;
  w.pass = pass;
  moec_workspace_map map;
  moec_workspace_map_at(layer, args->num_tokens, args->tokens_per_sequence, moec_asks_reports(args), &map);
  w.layer = layer;
  w.args = args;
  w.distinct_groups = distinct_groups;
  resolve_buffers(&w, weights, &map);
  int64_t chunk = moec_chunk_of(layer, args->num_tokens);
  int in_chunks = chunk < args->num_tokens;
  int32_t *sums = (int32_t *)((char *)args->workspace + map.counts);
  moec_region region = {&w, next_step, run_unit};
  moec_status status = MOEC_OK;
  /* a backward call of no tokens still clears the gradients of parameters */
  for (w.first_token = 0; status == MOEC_OK && (w.first_token < args->num_tokens || (pass->backward && !w.first_token));
       w.first_token += chunk ? chunk : 1) {
    int64_t left = args->num_tokens - w.first_token;
    w.num_tokens = left < chunk ? left : chunk;
    w.sequence_tokens =
        args->tokens_per_sequence && !in_chunks ? args->tokens_per_sequence : at_least_one(w.num_tokens);
    w.next_index = 0;
    w.open_step = -1;
    w.step = NULL;
    status = moec_layer_run(layer, &region);
    if (in_chunks && args->out_counts)
      add_counts(sums, args->out_counts, layer->plan.header->num_experts, w.first_token == 0);
    advance_buffers(&w, w.num_tokens);
  }
  if (in_chunks && args->out_counts)
    memcpy(args->out_counts, sums, (size_t)layer->plan.header->num_experts * sizeof(int32_t));
  return status;
}
