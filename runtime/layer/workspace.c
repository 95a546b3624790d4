/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * workspace.c - a layer and T in -> offsets of the workspace's parts and their sum out. The map is in moec_abi.h,
 * that of CUDA layers in moec_cuda_abi.h.
 */
#include "runtime/layer/layer.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <string.h>

static int64_t round_up(int64_t bytes) {
  return (bytes + MOEC_WORKSPACE_ALIGN - 1) / MOEC_WORKSPACE_ALIGN * MOEC_WORKSPACE_ALIGN;
}

/* Takes `bytes` from the workspace and returns where they begin. */
static int64_t take(moec_workspace_map *map, int64_t bytes) {
  int64_t offset = map->bytes;
  map->bytes += round_up(bytes);
  return offset;
}

/* Saved values one after another, in the order of their roles. */
static void map_saved(const moec_plan *plan, int64_t num_tokens, int64_t num_sequences, moec_workspace_map *map) {
  map->saved_bytes = 0;
  for (uint32_t i = 0; i < MOEC_MAX_SAVED && plan->buffer_of_role[MOEC_ROLE_SAVED + i] >= 0; ++i) {
    const moec_buffer *buffer = &plan->buffers[plan->buffer_of_role[MOEC_ROLE_SAVED + i]];
    map->saved[i] = map->saved_bytes;
    map->saved_bytes += round_up(moec_extent_at(buffer->bytes, num_tokens, num_sequences));
  }
}

void moec_workspace_map_at(const moec_layer *layer, int64_t num_tokens, int64_t sequence_tokens, int reports,
                           moec_workspace_map *out_map) {
  const moec_plan *plan = &layer->plan;
  int64_t chunk = moec_chunk_of(layer, num_tokens);
  int whole = chunk == num_tokens;
  num_tokens = chunk;
  int64_t num_sequences = whole ? moec_num_sequences(num_tokens, sequence_tokens) : 1;
  const moec_plan_header *header = plan->header;
  int64_t slot_bytes[MOEC_MAX_BUFFERS] = {0};
  for (uint32_t i = 0; i < header->buffers.count; ++i) {
    const moec_buffer *buffer = &plan->buffers[i];
    int64_t bytes = moec_extent_at(buffer->bytes, num_tokens, num_sequences);
    if (layer->cuda && !layer->cuda->names[i])
      continue;
    if ((buffer->kind == MOEC_BUFFER_WORKSPACE || buffer->kind == MOEC_BUFFER_OPT_OUTPUT) &&
        bytes > slot_bytes[buffer->slot])
      slot_bytes[buffer->slot] = bytes;
  }
  map_saved(plan, num_tokens, num_sequences, out_map);
  out_map->bytes = 0;
  for (uint32_t slot = 0; slot < header->num_slots; ++slot)
    out_map->slot[slot] =
        take(out_map, reports || slot < header->num_slots - header->num_report_slots ? slot_bytes[slot] : 0);
  for (int32_t route = 0; route < plan->num_routes; ++route) {
    const moec_step *step = &plan->steps[plan->step_of_route[route]];
    int64_t slots = num_tokens * step->choices;
    out_map->route[route][MOEC_ROUTE_OFFSETS] = take(out_map, 4 * ((int64_t)step->num_groups + 1));
    out_map->route[route][MOEC_ROUTE_ROW_TOKEN] = take(out_map, 4 * slots);
    out_map->route[route][MOEC_ROUTE_ROW_SLOT] = take(out_map, 4 * slots);
    out_map->route[route][MOEC_ROUTE_SLOT_ROW] = take(out_map, 4 * slots);
  }
  if (layer->cuda) {
    const moec_cuda_target_view *target = &layer->cuda->target;
    for (uint32_t table = 0; table < target->target->tables.count; ++table)
      out_map->table[table] = take(out_map, moec_extent_at(target->tables[table].bytes, num_tokens, num_sequences));
    return;
  }
  out_map->num_items =
      moec_extent_at(header->items, num_tokens, 0) + (int64_t)MOEC_ITEMS_PER_WORKER * layer->max_threads + 1;
  out_map->items = take(out_map, out_map->num_items * (int64_t)sizeof(moec_item));
  out_map->scratch_stride = round_up(header->scratch_bytes);
  out_map->scratch = take(out_map, out_map->scratch_stride * layer->max_threads);
  int32_t counts = plan->buffer_of_role[MOEC_ROLE_COUNTS];
  out_map->counts = take(out_map, whole || counts < 0 ? 0 : plan->buffers[counts].bytes.fixed);
}

moec_status moec_layer_workspace_bytes(const moec_layer *layer, int64_t num_tokens, size_t *out_bytes) {
  return moec_layer_workspace_bytes_for(layer, num_tokens, 0, out_bytes);
}

static moec_status map_of_call(const moec_layer *layer, int64_t num_tokens, int64_t tokens_per_sequence, int reports,
                               const size_t *out_bytes, moec_workspace_map *map) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  if (!out_bytes)
    return moec_error(MOEC_NULL_POINTER, "out_bytes is NULL");
  if (num_tokens < 0 || num_tokens > layer->plan.header->max_tokens)
    return moec_error(MOEC_TOKENS_OUT_OF_RANGE, "num_tokens is %" PRId64 ", expected 0 to %" PRId64, num_tokens,
                      layer->plan.header->max_tokens);
  if (tokens_per_sequence < 0 || (tokens_per_sequence && num_tokens % tokens_per_sequence))
    return moec_error(MOEC_INVALID_ARGUMENT,
                      "tokens_per_sequence is %" PRId64 ", expected 0 or a divisor of %" PRId64 " tokens",
                      tokens_per_sequence, num_tokens);
  moec_workspace_map_at(layer, num_tokens, tokens_per_sequence, reports, map);
  return MOEC_OK;
}

static moec_status workspace_bytes(const moec_layer *layer, int64_t num_tokens, int64_t tokens_per_sequence,
                                   int reports, size_t *out_bytes) {
  moec_workspace_map map;
  moec_status status = map_of_call(layer, num_tokens, tokens_per_sequence, reports, out_bytes, &map);
  if (status == MOEC_OK)
    *out_bytes = (size_t)map.bytes;
  return status;
}

moec_status moec_layer_saved_bytes(const moec_layer *layer, int64_t num_tokens, int64_t tokens_per_sequence,
                                   size_t *out_bytes) {
  moec_workspace_map map;
  moec_status status = map_of_call(layer, num_tokens, tokens_per_sequence, 0, out_bytes, &map);
  if (status == MOEC_OK)
    *out_bytes = (size_t)map.saved_bytes;
  return status;
}

moec_status moec_layer_input_elements(const moec_layer *layer, const char *name, int64_t num_tokens,
                                      int64_t tokens_per_sequence, int64_t *out_elements) {
  size_t unused;
  moec_status status = moec_layer_workspace_bytes_for(layer, num_tokens, tokens_per_sequence, &unused);
  if (status != MOEC_OK)
    return status;
  if (!name || !out_elements)
    return moec_error(MOEC_NULL_POINTER, "%s is NULL", name ? "out_elements" : "name");
  const moec_plan *plan = &layer->plan;
  for (uint32_t role = MOEC_ROLE_X; role < MOEC_NUM_FORWARD_ROLES; ++role) {
    int32_t index = plan->buffer_of_role[role];
    const moec_buffer *buffer = index < 0 ? NULL : &plan->buffers[index];
    if (!buffer || buffer->kind != MOEC_BUFFER_INPUT || strcmp(moec_argument_name(role), name))
      continue;
    int64_t bytes = moec_extent_at(buffer->bytes, num_tokens, moec_caller_sequences(num_tokens, tokens_per_sequence));
    *out_elements = bytes / moec_dtype_bytes(buffer->dtype);
    return MOEC_OK;
  }
  return moec_error(MOEC_INVALID_ARGUMENT, "package %.64s does not have an input %.64s",
                    plan->strings + plan->header->name, name);
}

moec_status moec_layer_backward_workspace_bytes(const moec_layer *layer, int64_t num_tokens,
                                                int64_t tokens_per_sequence, size_t *out_bytes) {
  moec_status status = moec_check_trains(layer);
  return status == MOEC_OK ? workspace_bytes(layer->backward, num_tokens, tokens_per_sequence, 0, out_bytes) : status;
}

moec_status moec_layer_workspace_bytes_for(const moec_layer *layer, int64_t num_tokens, int64_t tokens_per_sequence,
                                           size_t *out_bytes) {
  return workspace_bytes(layer, num_tokens, tokens_per_sequence, 0, out_bytes);
}

moec_status moec_layer_workspace_bytes_call(const moec_layer *layer, const moec_forward_args *args, size_t *out_bytes) {
  moec_forward_args known;
  if (!args)
    return moec_error(MOEC_NULL_POINTER, "args is NULL");
  moec_status status = moec_read_args(args, &known);
  if (status != MOEC_OK)
    return status;
  return workspace_bytes(layer, known.num_tokens, known.tokens_per_sequence, moec_asks_reports(&known), out_bytes);
}
