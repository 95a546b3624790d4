/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_forward.c - a call's tensors checked against the layer, memory found, the layer run.
 */
#include "runtime/bindings/tvm_ffi/ffi_forward.h"

#include "runtime/bindings/tvm_ffi/ffi_host.h"
#include "runtime/bindings/tvm_ffi/ffi_layer.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"
#include "runtime/bindings/tvm_ffi/ffi_weights.h"
#include "runtime/bindings/tvm_ffi/ffi_workspace.h"

#include "runtime/layer/layer.h"
#include "runtime/status.h"

#include <inttypes.h>
#include <string.h>

enum { ROW_ALIGN = 16, ELEMENT_ALIGN = 4 };

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static const size_t field_of_role[MOEC_NUM_FORWARD_ROLES] = {
    [MOEC_ROLE_X] = offsetof(moec_forward_args, x),
    [MOEC_ROLE_Y] = offsetof(moec_forward_args, y),
    [MOEC_ROLE_RESIDUAL] = offsetof(moec_forward_args, residual),
    [MOEC_ROLE_NOISE] = offsetof(moec_forward_args, noise),
    [MOEC_ROLE_UNIFORM] = offsetof(moec_forward_args, uniform),
    [MOEC_ROLE_TOKEN_IDS] = offsetof(moec_forward_args, token_ids),
    [MOEC_ROLE_EXPERT_IDS] = offsetof(moec_forward_args, expert_ids),
    [MOEC_ROLE_EXPERT_WEIGHTS] = offsetof(moec_forward_args, expert_weights),
    [MOEC_ROLE_GROUP_IDS] = offsetof(moec_forward_args, group_ids),
    [MOEC_ROLE_PRIORITY] = offsetof(moec_forward_args, priority),
    [MOEC_ROLE_CAPACITY] = offsetof(moec_forward_args, capacity),
    [MOEC_ROLE_TOP_K] = offsetof(moec_forward_args, top_k),
    [MOEC_ROLE_JITTER] = offsetof(moec_forward_args, jitter),
    [MOEC_ROLE_REPLACE] = offsetof(moec_forward_args, replace),
    [MOEC_ROLE_REPLACE_IDS] = offsetof(moec_forward_args, replace_ids),
    [MOEC_ROLE_HIDDEN_MASK] = offsetof(moec_forward_args, hidden_mask),
    [MOEC_ROLE_OUTPUT_MASK] = offsetof(moec_forward_args, output_mask),
    [MOEC_ROLE_EXPERT_MASK] = offsetof(moec_forward_args, expert_mask),
    [MOEC_ROLE_MIDPOINT_MASK] = offsetof(moec_forward_args, midpoint_mask),
#define FIELD(ROLE, name, DTYPE, SHAPE, NEEDS, text) [MOEC_ROLE_##ROLE] = offsetof(moec_forward_args, out_##name),
    MOEC_OUTPUTS(FIELD)
#undef FIELD
};

moec_ffi_wanted moec_ffi_wanted_of(const moec_ffi_layer *layer, uint32_t role, int64_t num_tokens,
                                   int64_t tokens_per_sequence) {
  const moec_ffi_buffer *buffer = &layer->buffers[role];
  int64_t slots = buffer->rows + buffer->rows_per_sequence * moec_caller_sequences(num_tokens, tokens_per_sequence);
  int is_row = role == MOEC_ROLE_X || role == MOEC_ROLE_Y || role == MOEC_ROLE_RESIDUAL;
  return (moec_ffi_wanted){.name = moec_ffi_role_name(role),
                           .dtype = buffer->dtype,
                           .rows = buffer->rows || buffer->rows_per_sequence ? slots
                                   : buffer->columns                         ? num_tokens
                                                                             : -1,
                           .columns = buffer->columns ? buffer->columns : buffer->count,
                           .align = is_row ? ROW_ALIGN : ELEMENT_ALIGN};
}

moec_status moec_ffi_count_tokens(const moec_ffi_layer *layer, const moec_ffi_tensor *x, int64_t *out_tokens) {
  moec_ffi_wanted wanted = moec_ffi_wanted_of(layer, MOEC_ROLE_X, 0, 0);
  int64_t elements, tokens = 1;
  moec_status status = moec_ffi_elements_of("x", x, &elements);
  if (status != MOEC_OK)
    return status;
  for (int32_t i = 0; i + 1 < x->rank; ++i)
    tokens *= elements || x->shape[i] == 0 ? x->shape[i] : 1;
  if (x->rank < 1 || x->shape[x->rank - 1] != wanted.columns) {
    char found[192];
    moec_ffi_describe_tensor(x, found, sizeof(found));
    return moec_error(MOEC_SHAPE, "x is %s, expected rows of %" PRId64, found, wanted.columns);
  }
  *out_tokens = tokens;
  return MOEC_OK;
}

/* What the layer reads must be there, what it does not have must not. */
static moec_status check_presence(const moec_ffi_layer *layer, const moec_ffi_call *call) {
  for (uint32_t role = MOEC_ROLE_X; role < MOEC_NUM_FORWARD_ROLES; ++role) {
    const moec_ffi_buffer *buffer = &layer->buffers[role];
    const char *name = moec_ffi_role_name(role);
    if (call->tensors[role] && !buffer->exists)
      return moec_error(MOEC_INVALID_ARGUMENT, "package %.64s does not have the argument %s%s%s", layer->info.name,
                        name, moec_is_report_role(role) ? "; compile its spec with --reports " : "",
                        moec_is_report_role(role) ? name : "");
    if (!call->tensors[role] && (buffer->is_input || role == MOEC_ROLE_Y))
      return moec_error(MOEC_NULL_POINTER,
                        "package %.64s needs the argument %s, which was not passed; call(\"x,weights,...,%s,...\", "
                        "...) passes more than forward",
                        layer->info.name, name, name);
  }
  return MOEC_OK;
}

static moec_status fill_args(const moec_ffi_layer *layer, const moec_ffi_call *call, moec_forward_args *args) {
  moec_status status = moec_ffi_count_tokens(layer, call->tensors[MOEC_ROLE_X], &args->num_tokens);
  if (status == MOEC_OK)
    status = check_presence(layer, call);
  for (uint32_t role = MOEC_ROLE_X; status == MOEC_OK && role < MOEC_NUM_FORWARD_ROLES; ++role) {
    if (!call->tensors[role])
      continue;
    const moec_ffi_wanted wanted = moec_ffi_wanted_of(layer, role, args->num_tokens, call->tokens_per_sequence);
    void *data = NULL;
    status = moec_ffi_check_tensor(&wanted, call->tensors[role], layer->device, &data);
    memcpy((char *)args + field_of_role[role], &data, sizeof(data));
  }
  args->tokens_per_sequence = call->tokens_per_sequence;
  if (status == MOEC_OK && call->saved) {
    moec_ffi_workspace saved;
    status = moec_ffi_given_saved(layer, call->saved, 1, &saved);
    args->saved = saved.data;
    args->saved_bytes = saved.bytes;
  }
  return status;
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

moec_status moec_ffi_choose_stream(const moec_ffi_layer *layer, const moec_ffi_call *call, void **out_stream) {
  if (layer->device.type != MOEC_FFI_CUDA)
    return call->has_stream && call->stream
               ? moec_error(MOEC_INVALID_ARGUMENT, "stream is set, but x is on cpu, expected none")
               : MOEC_OK;
  moec_ffi_host host = moec_ffi_find_host();
  void *current = host.stream_of ? host.stream_of(layer->device.type, layer->device.id) : NULL;
  *out_stream = call->has_stream ? call->stream : current;
  if (*out_stream != current && !call->workspace)
    return moec_error(MOEC_INVALID_ARGUMENT, "stream is not the framework's current one, in whose order it gives and "
                                             "takes memory: pass a workspace too");
  return MOEC_OK;
}

/* Outputs that have elements without tokens, after a call without tokens: zeros. A framework hands over memory that it
 * has not initialised, and moec_layer_forward touches nothing then. */
static moec_status clear_outputs(const moec_ffi_layer *layer, const moec_ffi_call *call,
                                 const moec_forward_args *args) {
  const moec_cuda_layer *cuda = layer->layer->cuda;
  int pushed = 0;
  moec_status status = cuda ? moec_cuda_enter(cuda, &pushed) : MOEC_OK;
  for (uint32_t role = MOEC_ROLE_X; status == MOEC_OK && role < MOEC_NUM_FORWARD_ROLES; ++role) {
    const moec_ffi_buffer *buffer = &layer->buffers[role];
    size_t bytes = (size_t)(buffer->count * moec_dtype_bytes(buffer->dtype));
    void *data;
    if (!call->tensors[role] || buffer->is_input || buffer->columns || !bytes)
      continue;
    memcpy(&data, (const char *)args + field_of_role[role], sizeof(data));
    if (!cuda) {
      memset(data, 0, bytes);
      continue;
    }
    int result = cuda->driver->memset_d8_async((moec_cuda_pointer)(uintptr_t)data, 0, bytes, args->stream);
    if (result)
      status = moec_cuda_error(cuda->driver, result, "cannot clear %s", moec_ffi_role_name(role));
  }
  if (cuda)
    moec_cuda_leave(cuda, pushed);
  return status;
}

static moec_status run(moec_ffi_layer *layer, const moec_ffi_call *call, const moec_weights *weights,
                       moec_forward_args *args) {
  moec_ffi_workspace workspace = {NULL, 0, NULL};
  moec_status status = MOEC_OK;
  if (call->workspace) {
    status = moec_ffi_given_memory("workspace", layer, call->workspace, &workspace);
  } else if (args->num_tokens) {
    size_t bytes = 0;
    status = moec_layer_workspace_bytes_call(layer->layer, args, &bytes);
    if (status == MOEC_OK)
      status = moec_ffi_take_workspace(layer, bytes, &workspace);
  }
  if (status != MOEC_OK)
    return status;
  args->workspace = workspace.data;
  args->workspace_bytes = workspace.bytes;
  status = moec_layer_forward(layer->layer, weights, args);
  moec_ffi_return_workspace(layer, &workspace);
  return status == MOEC_OK && args->num_tokens == 0 ? clear_outputs(layer, call, args) : status;
}

moec_status moec_ffi_forward(const moec_ffi_call *call) {
  moec_forward_args args = {.struct_size = sizeof(args)};
  moec_ffi_weights weights = {NULL, NULL};
  moec_ffi_device device;
  moec_ffi_layer *layer = NULL;
  void *packed = NULL;
  size_t packed_bytes = 0;
  if (!call->tensors[MOEC_ROLE_X] || !call->weights)
    return moec_error(MOEC_NULL_POINTER, "the argument %s was not passed", call->weights ? "x" : "weights");
  moec_status status = moec_ffi_device_of("x", call->tensors[MOEC_ROLE_X], &device);
  if (status == MOEC_OK)
    status = moec_ffi_layer_on(device, &layer);
  if (status == MOEC_OK)
    status = fill_args(layer, call, &args);
  if (status == MOEC_OK)
    status = moec_ffi_packed_buffer("weights", layer, call->weights, &packed, &packed_bytes);
  if (status == MOEC_OK)
    status = moec_ffi_choose_stream(layer, call, &args.stream);
  if (status == MOEC_OK)
    status = moec_ffi_use_weights(layer, packed, packed_bytes, &weights);
  if (status != MOEC_OK)
    return status;
  status = run(layer, call, weights.handle, &args);
  moec_ffi_release_weights(layer, &weights);
  return status;
}
