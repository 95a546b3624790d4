/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * forward_check.c - a call's arguments in -> MOEC_OK, or a status with the caller's memory untouched. O(1) in T.
 */
#include "runtime/layer/layer.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <string.h>

typedef moec_caller_range caller_range;

enum { MAX_RANGES = MOEC_NUM_FORWARD_ROLES + 3 };

/* The weights are where the layer runs and a stream is there for GPUs only. */
static moec_status check_device(const moec_layer *layer, const moec_weights *weights, const moec_forward_args *args) {
  const moec_cuda_layer *cuda = layer->cuda;
  if (!cuda && args->stream)
    return moec_error(MOEC_INVALID_ARGUMENT, "stream is set, but the layer runs on the CPU, expected NULL");
  if (weights->target != (cuda ? cuda->target.target : NULL))
    return moec_error(MOEC_INVALID_ARGUMENT, "weights are not packed for %s, where the layer runs",
                      cuda ? cuda->name : "the CPU");
  if (cuda && weights->cuda_device != cuda->device)
    return moec_error(MOEC_INVALID_ARGUMENT, "weights are on CUDA device %d, the layer runs on device %d",
                      (int)weights->cuda_device, (int)cuda->device);
  return MOEC_OK;
}

moec_status moec_read_args(const moec_forward_args *caller, moec_forward_args *args) {
  int known = caller->struct_size == offsetof(moec_forward_args, stream) ||
              caller->struct_size == offsetof(moec_forward_args, tokens_per_sequence) ||
              caller->struct_size == offsetof(moec_forward_args, out_probabilities) ||
              caller->struct_size == offsetof(moec_forward_args, probe) ||
              caller->struct_size == offsetof(moec_forward_args, saved);
  if (caller->struct_size < sizeof(*args) && !known)
    return moec_error(MOEC_INVALID_ARGUMENT, "args: struct_size is %zu, expected %zu", caller->struct_size,
                      sizeof(*args));
  if (caller->struct_size > sizeof(*args))
    return moec_error(MOEC_VERSION_MISMATCH, "args: struct_size is %zu, this runtime knows %zu", caller->struct_size,
                      sizeof(*args));
  memset(args, 0, sizeof(*args));
  memcpy(args, caller, caller->struct_size);
  return MOEC_OK;
}

static moec_status check_handles(const moec_layer *layer, const moec_weights *weights, const moec_forward_args *args) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  if (!weights || !args)
    return moec_error(MOEC_NULL_POINTER, "%s is NULL", weights ? "args" : "weights");
  if (weights->magic != MOEC_WEIGHTS_MAGIC)
    return moec_error(MOEC_INVALID_HANDLE, "weights is not a live moec_weights");
  if (weights->plan != layer->plan.header)
    return moec_error(MOEC_INVALID_ARGUMENT, "weights belong to another package");
  return MOEC_OK;
}

static moec_status check_probe(const moec_probe *probe) {
  if (!probe)
    return MOEC_OK;
  if (probe->struct_size != sizeof(*probe))
    return moec_error(probe->struct_size > sizeof(*probe) ? MOEC_VERSION_MISMATCH : MOEC_INVALID_ARGUMENT,
                      "probe: struct_size is %zu, expected %zu", probe->struct_size, sizeof(*probe));
  if (!probe->on_event)
    return moec_error(MOEC_NULL_POINTER, "probe: on_event is NULL");
  if (probe->units < 0 || probe->units > 1 || probe->reserved)
    return moec_error(MOEC_INVALID_ARGUMENT, "probe: units is %d and reserved is %d, expected 0 or 1, and 0",
                      (int)probe->units, (int)probe->reserved);
  return MOEC_OK;
}

static moec_status check_tokens(const moec_layer *layer, const moec_forward_args *args) {
  if (args->num_tokens < 0 || args->num_tokens > layer->plan.header->max_tokens)
    return moec_error(MOEC_TOKENS_OUT_OF_RANGE, "num_tokens is %" PRId64 ", expected 0 to %" PRId64, args->num_tokens,
                      layer->plan.header->max_tokens);
  if (args->tokens_per_sequence < 0 || (args->tokens_per_sequence && args->num_tokens % args->tokens_per_sequence))
    return moec_error(MOEC_INVALID_ARGUMENT,
                      "tokens_per_sequence is %" PRId64 ", expected 0 or a divisor of num_tokens %" PRId64,
                      args->tokens_per_sequence, args->num_tokens);
  return MOEC_OK;
}

static int is_written(uint32_t role) {
  return (role >= MOEC_ROLE_Y && role <= MOEC_ROLE_COUNTS) || moec_is_report_role(role);
}

/* The message of an output that the package lacks, with what its caller can do. */
static moec_status missing_output(const char *field, const char *package, uint32_t role) {
  const moec_output *report = NULL;
  for (size_t i = 0; i < sizeof(moec_outputs) / sizeof(moec_outputs[0]); ++i)
    if (moec_outputs[i].role == role && moec_is_report(&moec_outputs[i]))
      report = &moec_outputs[i];
  if (!report)
    return moec_error(MOEC_INVALID_ARGUMENT, "%s: package %.64s does not have this output, expected NULL", field,
                      package);
  if (report->needs == MOEC_NEEDS_LOSSES)
    return moec_error(MOEC_INVALID_ARGUMENT,
                      "%s: package %.64s does not have this output, expected NULL; the spec lists no \"%s\"", field,
                      package, report->name);
  return moec_error(MOEC_INVALID_ARGUMENT,
                    "%s: package %.64s does not have this output, expected NULL; compile its spec with --reports %s or "
                    "add it to the spec's \"reports\"",
                    field, package, report->name);
}

/* Collects what the caller passed; MOEC_INVALID_ARGUMENT for an input or optional output this layer does not have,
 * MOEC_NULL_POINTER for a missing input it has. */
static moec_status collect(const moec_layer *layer, const moec_weights *weights, const moec_forward_args *args,
                           uint64_t workspace_bytes, caller_range *ranges, int *out_count) {
  const moec_plan *plan = &layer->plan;
  int64_t sequences = moec_caller_sequences(args->num_tokens, args->tokens_per_sequence);
  int count = 0;
  for (uint32_t role = MOEC_ROLE_X; role < MOEC_NUM_FORWARD_ROLES; ++role) {
    void *pointer = moec_caller_buffer(args, role);
    int32_t buffer = plan->buffer_of_role[role];
    if (!pointer && buffer >= 0 && !is_written(role))
      return moec_error(MOEC_NULL_POINTER, "%s is NULL, package %.64s reads it", moec_argument_name(role),
                        plan->strings + plan->header->name);
    if (!pointer)
      continue;
    if (buffer < 0 && is_written(role))
      return missing_output(moec_argument_name(role), plan->strings + plan->header->name, role);
    if (buffer < 0)
      return moec_error(MOEC_INVALID_ARGUMENT, "%s: package %.64s does not have this input, expected NULL",
                        moec_argument_name(role), plan->strings + plan->header->name);
    uint64_t bytes = (uint64_t)moec_extent_at(plan->buffers[buffer].bytes, args->num_tokens, sequences);
    uint32_t align = role <= MOEC_ROLE_Y || role == MOEC_ROLE_RESIDUAL ? 16 : 4;
    ranges[count++] = (caller_range){moec_argument_name(role), (uintptr_t)pointer, bytes, align, is_written(role)};
  }
  if (args->saved) {
    size_t saved_bytes;
    moec_status status = moec_layer_saved_bytes(layer, args->num_tokens, args->tokens_per_sequence, &saved_bytes);
    if (status != MOEC_OK)
      return status;
    if (!layer->backward)
      return moec_check_trains(layer);
    if (args->saved_bytes < saved_bytes)
      return moec_error(MOEC_WORKSPACE_TOO_SMALL, "saved has %zu bytes, %" PRId64 " tokens need %zu", args->saved_bytes,
                        args->num_tokens, saved_bytes);
    ranges[count++] = (caller_range){"saved", (uintptr_t)args->saved, saved_bytes, MOEC_WORKSPACE_ALIGN, 1};
  }
  ranges[count++] = (caller_range){"workspace", (uintptr_t)args->workspace, workspace_bytes, MOEC_WORKSPACE_ALIGN, 1};
  ranges[count++] = (caller_range){"weights", (uintptr_t)weights->base, moec_weight_set_of(layer)->packed_bytes, 1, 0};
  *out_count = count;
  return MOEC_OK;
}

/* Do two ranges share a byte? A range that would pass the end of the address space shares its end with everything. */
static int overlaps(const caller_range *a, const caller_range *b) {
  const caller_range *low = a->start <= b->start ? a : b, *high = low == a ? b : a;
  return low->bytes && high->bytes && high->start - low->start < low->bytes;
}

moec_status moec_check_ranges(const caller_range *ranges, int count) {
  for (int i = 0; i < count; ++i) {
    if (ranges[i].start % ranges[i].align)
      return moec_error(MOEC_ALIGNMENT, "%s is not %" PRIu32 "-byte aligned", ranges[i].name, ranges[i].align);
    if (ranges[i].bytes > UINTPTR_MAX - ranges[i].start)
      return moec_error(MOEC_INVALID_ARGUMENT, "%s: %" PRIu64 " bytes pass the end of the address space",
                        ranges[i].name, ranges[i].bytes);
  }
  for (int i = 0; i < count; ++i)
    for (int j = i + 1; j < count; ++j)
      if ((ranges[i].written || ranges[j].written) && overlaps(&ranges[i], &ranges[j]))
        return moec_error(MOEC_OVERLAP, "%s and %s share bytes", ranges[i].name, ranges[j].name);
  return MOEC_OK;
}

moec_status moec_check_call(const moec_layer *layer, const moec_weights *weights, const moec_forward_args *args) {
  moec_status status = check_handles(layer, weights, args);
  if (status == MOEC_OK)
    status = check_device(layer, weights, args);
  if (status == MOEC_OK)
    status = check_tokens(layer, args);
  return status == MOEC_OK ? check_probe(args->probe) : status;
}

moec_status moec_check_forward(const moec_layer *layer, const moec_weights *weights, const moec_forward_args *caller,
                               moec_forward_args *args) {
  moec_status status = check_handles(layer, weights, caller);
  if (status == MOEC_OK)
    status = moec_read_args(caller, args);
  if (status == MOEC_OK)
    status = moec_check_call(layer, weights, args);
  if (status != MOEC_OK || args->num_tokens == 0)
    return status;
  if (!args->x || !args->y || !args->workspace)
    return moec_error(MOEC_NULL_POINTER, "%s is NULL", !args->x ? "x" : !args->y ? "y" : "workspace");
  size_t workspace_bytes;
  status = moec_layer_workspace_bytes_call(layer, args, &workspace_bytes);
  if (status != MOEC_OK)
    return status;
  if (args->workspace_bytes < workspace_bytes)
    return moec_error(MOEC_WORKSPACE_TOO_SMALL, "workspace has %zu bytes, %" PRId64 " tokens%s need %zu",
                      args->workspace_bytes, args->num_tokens, moec_asks_reports(args) ? " with reports" : "",
                      workspace_bytes);
  caller_range ranges[MAX_RANGES];
  int count = 0;
  status = collect(layer, weights, args, workspace_bytes, ranges, &count);
  return status == MOEC_OK ? moec_check_ranges(ranges, count) : status;
}
