/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_walk.c - checked arguments in -> the target's launches for T tokens enqueued on the caller's stream, in order.
 *
 * Nothing here allocates, waits or asks the device: parameters are copied by the driver at the launch, so the call may
 * be captured. Every launch's result is looked at where it happens.
 */
#include "runtime/layer/layer.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <string.h>

/* One call; lives on the calling thread's stack. */
typedef struct walk {
  const moec_layer *layer;
  const moec_cuda_layer *cuda;
  const moec_weights *weights;
  const moec_pass_args *pass;
  const moec_forward_args *args; /* of the pass */
  int64_t num_sequences;
  moec_workspace_map map;
} walk;

static void *gradient_of_role(const walk *w, uint32_t role) {
  void *const *gradients = w->pass->backward->grad_parameters;
  return gradients ? gradients[role] : NULL;
}

static int is_launched(const walk *w, const moec_cuda_launch *launch) {
  int64_t num_tokens = w->args->num_tokens;
  if (num_tokens < launch->min_tokens || num_tokens > launch->max_tokens)
    return 0;
  for (uint32_t i = 0; w->pass->backward && i < launch->num_params; ++i) {
    const moec_cuda_param *param = &w->cuda->target.params[launch->first_param + i];
    if (param->kind == MOEC_CUDA_GRADIENT && !gradient_of_role(w, param->index))
      return 0;
  }
  return moec_step_is_asked(w->args, &w->layer->plan.steps[launch->step]);
}

/* Blocks of a launch; see moec_cuda_launch. */
static int64_t grid_of(const walk *w, const moec_cuda_launch *launch) {
  int64_t units = moec_extent_at(launch->units, w->args->num_tokens, w->num_sequences);
  int64_t blocks = (units + launch->units_per_block - 1) / launch->units_per_block;
  int64_t most = (int64_t)launch->blocks_per_sm * w->cuda->num_sms;
  if (most && blocks > most)
    blocks = most;
  return blocks < 1 ? 1 : blocks;
}

static const char *step_name(const walk *w, const moec_cuda_launch *launch) {
  return w->layer->plan.strings + w->layer->plan.steps[launch->step].name;
}

/* Before the first launch, so that a refused call wrote nothing. */
static moec_status check_grids(const walk *w) {
  for (uint32_t i = 0; i < w->cuda->target.target->launches.count; ++i) {
    const moec_cuda_launch *launch = &w->cuda->target.launches[i];
    if (is_launched(w, launch) && grid_of(w, launch) > INT32_MAX)
      return moec_error(MOEC_TOKENS_OUT_OF_RANGE,
                        "%.64s: %" PRId64 " tokens make a grid of %" PRId64 " blocks, at most %d", step_name(w, launch),
                        w->args->num_tokens, grid_of(w, launch), INT32_MAX);
  }
  return MOEC_OK;
}

/* Value of a parameter other than a map. */
static uint64_t param_value(const walk *w, const moec_cuda_param *param) {
  char *workspace = w->args->workspace;
  switch (param->kind) {
  case MOEC_CUDA_BUFFER:
    return (uint64_t)(uintptr_t)moec_buffer_address(w->layer, w->weights, w->pass, &w->map, param->index);
  case MOEC_CUDA_ROUTE:
    return (uint64_t)(uintptr_t)(workspace + w->map.route[w->layer->plan.route_of_step[param->index]][param->part]);
  case MOEC_CUDA_TABLE:
    return (uint64_t)(uintptr_t)(workspace + w->map.table[param->index]);
  case MOEC_CUDA_GRADIENT:
    return (uint64_t)(uintptr_t)gradient_of_role(w, param->index);
  case MOEC_CUDA_FORM:
    return (uint64_t)w->pass->backward->accumulate + 2 * (uint64_t)w->pass->backward->grad_dtype;
  case MOEC_CUDA_SEQUENCE: /* at least 1, which kernels divide by even in a call of 0 tokens */
    return w->args->num_tokens ? (uint64_t)(w->args->num_tokens / w->num_sequences) : 1;
  default:
    return (uint64_t)w->args->num_tokens;
  }
}

/* The descriptor of rows of this call. The driver's result. */
static int encode_rows(const walk *w, const moec_cuda_map *map, void *out_map) {
  int table = map->source == MOEC_CUDA_MAP_TABLE;
  moec_cuda_param rows = {.kind = table ? MOEC_CUDA_TABLE : MOEC_CUDA_BUFFER, .index = (uint16_t)map->index};
  moec_extent bytes = table ? w->cuda->target.tables[map->index].bytes : w->layer->plan.buffers[map->index].bytes;
  int64_t num_rows = moec_extent_at(bytes, w->args->num_tokens, w->num_sequences) / map->row_bytes;
  return moec_cuda_encode_rows(w->cuda, map, (void *)(uintptr_t)param_value(w, &rows), num_rows, out_map);
}

static moec_status launch_kernel(const walk *w, uint32_t index) {
  const moec_cuda_launch *launch = &w->cuda->target.launches[index];
  uint64_t values[MOEC_MAX_CUDA_PARAMS];
  void *params[MOEC_MAX_CUDA_PARAMS + 1] = {0};
  _Alignas(MOEC_CUDA_MAP_ALIGN) char row_maps[MOEC_MAX_CUDA_ROW_MAPS][MOEC_CUDA_MAP_BYTES];
  uint32_t num_row_maps = 0;
  int result = MOEC_CUDA_SUCCESS;
  for (uint32_t i = 0; i < launch->num_params; ++i) {
    const moec_cuda_param *param = &w->cuda->target.params[launch->first_param + i];
    if (param->kind == MOEC_CUDA_MAP && w->cuda->target.maps[param->index].source != MOEC_CUDA_MAP_WEIGHT) {
      params[i] = row_maps[num_row_maps++];
      result = result ? result : encode_rows(w, &w->cuda->target.maps[param->index], params[i]);
      continue;
    }
    if (param->kind == MOEC_CUDA_MAP) {
      params[i] = (char *)w->weights->maps + (size_t)param->index * MOEC_CUDA_MAP_BYTES;
      continue;
    }
    values[i] = param_value(w, param);
    params[i] = &values[i];
  }
  moec_cuda_launch_attribute overlap = {.id = MOEC_CUDA_PROGRAMMATIC_SERIALIZATION};
  overlap.value.allowed = 1;
  int overlaps = (launch->flags & MOEC_CUDA_OVERLAP) && w->cuda->capability >= 90;
  const moec_cuda_launch_config config = {
      .grid_x = (unsigned)grid_of(w, launch),
      .grid_y = 1,
      .grid_z = 1,
      .block_x = launch->block_threads,
      .block_y = 1,
      .block_z = 1,
      .shared_bytes = launch->shared_bytes,
      .stream = w->args->stream,
      .attributes = overlaps ? &overlap : NULL,
      .num_attributes = overlaps ? 1 : 0,
  };
  result = result ? result : w->cuda->driver->launch_kernel_ex(&config, w->cuda->functions[index], params, NULL);
  if (result == MOEC_CUDA_SUCCESS)
    return MOEC_OK;
  moec_cuda_error(w->cuda->driver, result, "%.64s: kernel %.200s cannot be launched", step_name(w, launch),
                  w->cuda->plan.strings + launch->symbol);
  return MOEC_DEVICE_ERROR;
}

/* NOTE: several launches may follow each other in one step. */
static void tell(const walk *w, int32_t kind, uint32_t index) {
  const moec_step *step = &w->layer->plan.steps[index];
  const moec_probe_event event = {.event = kind,
                                  .step = (int32_t)index,
                                  .name = w->layer->plan.strings + step->name,
                                  .kind = moec_step_kind_name(step),
                                  .num_tokens = w->args->num_tokens,
                                  .unit = -1,
                                  .worker = -1};
  w->args->probe->on_event(w->args->probe->context, &event);
}

/* The launches of this call, in order; a probe hears of each run of launches of one step. */
static moec_status launch_all(const walk *w) {
  const moec_probe *probe = w->args->probe;
  moec_status status = MOEC_OK;
  int64_t open = -1;
  for (uint32_t i = 0; status == MOEC_OK && i < w->cuda->target.target->launches.count; ++i) {
    const moec_cuda_launch *launch = &w->cuda->target.launches[i];
    if (!is_launched(w, launch))
      continue;
    if (probe && open != launch->step) {
      if (open >= 0)
        tell(w, MOEC_PROBE_STEP_END, (uint32_t)open);
      open = launch->step;
      tell(w, MOEC_PROBE_STEP_BEGIN, launch->step);
    }
    status = launch_kernel(w, i);
  }
  if (open >= 0)
    tell(w, MOEC_PROBE_STEP_END, (uint32_t)open);
  return status;
}

moec_status moec_cuda_walk(const moec_layer *layer, const moec_weights *weights, const moec_pass_args *pass) {
  const moec_forward_args *args = pass->args;
  walk w;
  int pushed;
  w.pass = pass;
  w.layer = layer;
  w.cuda = layer->cuda;
  w.weights = weights;
  w.args = args;
  w.num_sequences = moec_num_sequences(args->num_tokens, args->tokens_per_sequence);
  moec_workspace_map_at(layer, args->num_tokens, args->tokens_per_sequence, moec_asks_reports(args), &w.map);
  moec_status status = check_grids(&w);
  if (status == MOEC_OK)
    status = moec_cuda_enter(w.cuda, &pushed);
  if (status != MOEC_OK)
    return status;
  status = launch_all(&w);
  moec_cuda_leave(w.cuda, pushed);
  return status;
}
