/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_backward.c - a backward call's tensors checked against the layer, memory found, the layer run.
 */
#include "runtime/bindings/tvm_ffi/ffi_backward.h"

#include "runtime/bindings/tvm_ffi/ffi_arguments.h"
#include "runtime/bindings/tvm_ffi/ffi_forward.h"
#include "runtime/bindings/tvm_ffi/ffi_layer.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"
#include "runtime/bindings/tvm_ffi/ffi_value.h"
#include "runtime/bindings/tvm_ffi/ffi_weights.h"
#include "runtime/bindings/tvm_ffi/ffi_workspace.h"

#include "runtime/status.h"

#include <stdlib.h>
#include <string.h>

enum { ROW_ALIGN = 16, ELEMENT_ALIGN = 4 };
enum gradient { GRAD_Y, GRAD_LOSSES, GRAD_X, GRAD_RESIDUAL, GRAD_EXPERT_WEIGHTS, NUM_GRADIENTS };

static const char *const gradient_names[NUM_GRADIENTS] = {"grad_y", "grad_losses", "grad_x", "grad_residual",
                                                          "grad_expert_weights"};

typedef struct backward_call {
  moec_ffi_call forward; /* what it has of the forward call */
  const moec_ffi_tensor *gradients[NUM_GRADIENTS];
  int64_t accumulate;
  moec_ffi_layer *layer;
  moec_backward_args args;
  int has_dtype; /* args.grad_dtype is that of a matrix */
} backward_call;

/* 1: the name is one of backward alone, and taken. A role is left for take_role, which needs the layer. */
static int take_own(moec_ffi_bytes name, const moec_ffi_value *value, backward_call *call, moec_status *out_status) {
  for (int i = 0; i < NUM_GRADIENTS; ++i)
    if (moec_ffi_equal(name, gradient_names[i])) {
      *out_status = call->gradients[i] ? moec_error(MOEC_INVALID_ARGUMENT, "%s is named twice", gradient_names[i])
                                       : moec_ffi_expect_tensor(gradient_names[i], value, &call->gradients[i]);
      return 1;
    }
  if (!moec_ffi_equal(name, "accumulate"))
    return 0;
  *out_status = moec_ffi_expect_integer("accumulate", value, &call->accumulate);
  return 1;
}

/* The first pass: all but the roles. */
static moec_status take_arguments(moec_ffi_bytes names, const moec_ffi_value *values, backward_call *call) {
  moec_status status = MOEC_OK;
  for (int32_t i = 0; status == MOEC_OK && names.size; ++i) {
    moec_ffi_bytes name = moec_ffi_next_name(&names);
    uint32_t role;
    enum moec_ffi_call_word word;
    if (values[i].type == MOEC_FFI_NONE || take_own(name, &values[i], call, &status))
      continue;
    if (!moec_ffi_find_argument(name, &role, &word))
      continue;
    if (role == MOEC_ROLE_Y || (role >= MOEC_ROLE_LOGITS && role <= MOEC_ROLE_COUNTS) || moec_is_report_role(role))
      return moec_error(MOEC_INVALID_ARGUMENT, "%s is an output of forward calls", moec_ffi_role_name(role));
    status = moec_ffi_take_argument(name, &values[i], &call->forward);
  }
  return status;
}

/* Checks a tensor of `elements` elements in any shape that ends as the wanted one. */
static moec_status address_of(const backward_call *call, const char *name, uint32_t dtype, int64_t rows,
                              int64_t columns, uint32_t align, const moec_ffi_tensor *tensor, void **out_data) {
  const moec_ffi_wanted wanted = {name, dtype, rows, columns, align};
  return moec_ffi_check_tensor(&wanted, tensor, call->layer->device, out_data);
}

/* One parameter's gradient. */
static moec_status take_role(int32_t index, const char *name, int32_t rank, const int64_t dims[4],
                             const moec_ffi_value *value, backward_call *call, void **pointers) {
  const moec_ffi_tensor *tensor = NULL;
  int32_t kind = MOEC_GRADIENT_NONE;
  int64_t rows = 1;
  moec_dtype dtype = MOEC_F32;
  moec_status status = moec_ffi_expect_tensor(name, value, &tensor);
  if (status == MOEC_OK)
    status = moec_layer_role_gradient(call->layer->layer, index, &kind);
  if (status != MOEC_OK)
    return status;
  if (kind == MOEC_GRADIENT_NONE)
    return moec_error(MOEC_INVALID_ARGUMENT, "role %.64s of package %.64s has no gradient", name,
                      call->layer->info.name);
  if (kind == MOEC_GRADIENT_MATRIX && !call->has_dtype && moec_ffi_dtype_of(tensor, &dtype)) {
    call->args.grad_dtype = (int32_t)dtype; /* the runtime says whether it may be */
    call->has_dtype = 1;
  }
  for (int32_t d = 0; d + 1 < rank; ++d)
    rows *= dims[d];
  return address_of(call, name, kind == MOEC_GRADIENT_MATRIX ? (uint32_t)call->args.grad_dtype : MOEC_F32,
                    rank > 1 ? rows : -1, rank ? dims[rank - 1] : 1, ROW_ALIGN, tensor, &pointers[index]);
}

/* The second pass: names of roles, and of nothing. */
static moec_status take_roles(moec_ffi_bytes names, const moec_ffi_value *values, backward_call *call,
                              void **pointers) {
  moec_status status = MOEC_OK;
  for (int32_t i = 0; status == MOEC_OK && names.size; ++i) {
    moec_ffi_bytes name = moec_ffi_next_name(&names);
    uint32_t unused;
    enum moec_ffi_call_word word;
    int known = moec_ffi_equal(name, "accumulate") || moec_ffi_find_argument(name, &unused, &word);
    for (int g = 0; g < NUM_GRADIENTS; ++g)
      known |= moec_ffi_equal(name, gradient_names[g]);
    for (int32_t r = 0; status == MOEC_OK && !known && r < call->layer->info.num_roles; ++r) {
      const char *role;
      int32_t rank;
      int64_t dims[4];
      status = moec_layer_role(call->layer->layer, r, &role, &rank, dims);
      if (status != MOEC_OK || !moec_ffi_equal(name, role))
        continue;
      known = 1;
      if (pointers[r])
        return moec_error(MOEC_INVALID_ARGUMENT, "%.64s is named twice", role);
      if (values[i].type != MOEC_FFI_NONE)
        status = take_role(r, role, rank, dims, &values[i], call, pointers);
    }
    if (!known)
      return moec_error(MOEC_INVALID_ARGUMENT,
                        "\"%.*s\" is not the name of an argument, a gradient or a role; info() lists roles",
                        (int)moec_whole_characters(name.data, name.size, 64), name.data);
  }
  return status;
}

static moec_status fill_inputs(backward_call *call) {
  static const struct {
    uint32_t role;
    size_t field;
  } inputs[] = {{MOEC_ROLE_X, offsetof(moec_backward_args, x)},
                {MOEC_ROLE_RESIDUAL, offsetof(moec_backward_args, residual)},
                {MOEC_ROLE_NOISE, offsetof(moec_backward_args, noise)},
                {MOEC_ROLE_UNIFORM, offsetof(moec_backward_args, uniform)},
                {MOEC_ROLE_TOKEN_IDS, offsetof(moec_backward_args, token_ids)},
                {MOEC_ROLE_EXPERT_IDS, offsetof(moec_backward_args, expert_ids)},
                {MOEC_ROLE_EXPERT_WEIGHTS, offsetof(moec_backward_args, expert_weights)},
                {MOEC_ROLE_GROUP_IDS, offsetof(moec_backward_args, group_ids)},
                {MOEC_ROLE_PRIORITY, offsetof(moec_backward_args, priority)},
                {MOEC_ROLE_CAPACITY, offsetof(moec_backward_args, capacity)},
                {MOEC_ROLE_TOP_K, offsetof(moec_backward_args, top_k)},
                {MOEC_ROLE_JITTER, offsetof(moec_backward_args, jitter)},
                {MOEC_ROLE_REPLACE, offsetof(moec_backward_args, replace)},
                {MOEC_ROLE_REPLACE_IDS, offsetof(moec_backward_args, replace_ids)},
                {MOEC_ROLE_HIDDEN_MASK, offsetof(moec_backward_args, hidden_mask)},
                {MOEC_ROLE_OUTPUT_MASK, offsetof(moec_backward_args, output_mask)},
                {MOEC_ROLE_EXPERT_MASK, offsetof(moec_backward_args, expert_mask)},
                {MOEC_ROLE_MIDPOINT_MASK, offsetof(moec_backward_args, midpoint_mask)}};
  moec_status status = MOEC_OK;
  for (size_t i = 0; status == MOEC_OK && i < sizeof(inputs) / sizeof(inputs[0]); ++i) {
    const moec_ffi_tensor *tensor = call->forward.tensors[inputs[i].role];
    void *data = NULL;
    if (!tensor)
      continue;
    if (!call->layer->buffers[inputs[i].role].exists)
      return moec_error(MOEC_INVALID_ARGUMENT, "package %.64s does not have the argument %s", call->layer->info.name,
                        moec_ffi_role_name(inputs[i].role));
    const moec_ffi_wanted wanted =
        moec_ffi_wanted_of(call->layer, inputs[i].role, call->args.num_tokens, call->args.tokens_per_sequence);
    status = moec_ffi_check_tensor(&wanted, tensor, call->layer->device, &data);
    memcpy((char *)&call->args + inputs[i].field, &data, sizeof(data));
  }
  return status;
}

static moec_status fill_gradients(backward_call *call) {
  const moec_layer_info *info = &call->layer->info;
  moec_backward_args *args = &call->args;
  void *data[NUM_GRADIENTS] = {NULL};
  const struct {
    uint32_t dtype;
    int64_t rows, columns;
    uint32_t align;
  } shapes[NUM_GRADIENTS] = {{info->y_dtype, args->num_tokens, info->hidden, ROW_ALIGN},
                             {MOEC_F32, -1, info->num_losses, ELEMENT_ALIGN},
                             {info->x_dtype, args->num_tokens, info->hidden, ROW_ALIGN},
                             {info->x_dtype, args->num_tokens, info->hidden, ROW_ALIGN},
                             {MOEC_F32, args->num_tokens, info->top_k, ELEMENT_ALIGN}};
  moec_status status = MOEC_OK;
  for (int i = 0; status == MOEC_OK && i < NUM_GRADIENTS; ++i)
    if (call->gradients[i])
      status = address_of(call, gradient_names[i], shapes[i].dtype, shapes[i].rows, shapes[i].columns, shapes[i].align,
                          call->gradients[i], &data[i]);
  args->grad_y = data[GRAD_Y];
  args->grad_losses = data[GRAD_LOSSES];
  args->grad_x = data[GRAD_X];
  args->grad_residual = data[GRAD_RESIDUAL];
  args->grad_expert_weights = data[GRAD_EXPERT_WEIGHTS];
  return status;
}

static moec_status fill_args(backward_call *call) {
  moec_backward_args *args = &call->args;
  moec_ffi_workspace saved = {NULL, 0, NULL};
  moec_status status = moec_ffi_count_tokens(call->layer, call->forward.tensors[MOEC_ROLE_X], &args->num_tokens);
  args->tokens_per_sequence = call->forward.tokens_per_sequence;
  args->accumulate = call->accumulate == 0 || call->accumulate == 1 ? (int32_t)call->accumulate : -1;
  if (status == MOEC_OK)
    status = fill_inputs(call);
  if (status == MOEC_OK)
    status = fill_gradients(call);
  if (status == MOEC_OK && call->forward.saved)
    status = moec_ffi_given_saved(call->layer, call->forward.saved, 0, &saved);
  args->saved = saved.data;
  args->saved_bytes = saved.bytes;
  return status;
}

static moec_status run(backward_call *call, const moec_weights *weights) {
  moec_ffi_workspace workspace = {NULL, 0, NULL};
  moec_backward_args *args = &call->args;
  size_t bytes = 0;
  moec_status status;
  if (call->forward.workspace) {
    status = moec_ffi_given_memory("workspace", call->layer, call->forward.workspace, &workspace);
  } else {
    status =
        moec_layer_backward_workspace_bytes(call->layer->layer, args->num_tokens, args->tokens_per_sequence, &bytes);
    if (status == MOEC_OK)
      status = moec_ffi_take_workspace(call->layer, bytes ? bytes : 1, &workspace);
  }
  if (status != MOEC_OK)
    return status;
  args->workspace = workspace.data;
  args->workspace_bytes = workspace.bytes;
  status = moec_layer_backward(call->layer->layer, weights, args);
  moec_ffi_return_workspace(call->layer, &workspace);
  return status;
}

static moec_status run_with_weights(backward_call *call) {
  moec_ffi_weights weights = {NULL, NULL};
  void *packed = NULL;
  size_t packed_bytes = 0;
  moec_status status = moec_ffi_packed_buffer("weights", call->layer, call->forward.weights, &packed, &packed_bytes);
  if (status == MOEC_OK)
    status = moec_ffi_choose_stream(call->layer, &call->forward, &call->args.stream);
  if (status == MOEC_OK)
    status = moec_ffi_use_weights(call->layer, packed, packed_bytes, &weights);
  if (status != MOEC_OK)
    return status;
  status = run(call, weights.handle);
  moec_ffi_release_weights(call->layer, &weights);
  return status;
}

moec_status moec_ffi_backward(moec_ffi_bytes names, const moec_ffi_value *values, int32_t count) {
  backward_call call = {.args = {.struct_size = sizeof(call.args)}};
  moec_ffi_device device;
  (void)count;
  moec_status status = take_arguments(names, values, &call);
  if (status == MOEC_OK && (!call.forward.tensors[MOEC_ROLE_X] || !call.forward.weights))
    status = moec_error(MOEC_NULL_POINTER, "the argument %s was not passed", call.forward.weights ? "x" : "weights");
  if (status == MOEC_OK)
    status = moec_ffi_device_of("x", call.forward.tensors[MOEC_ROLE_X], &device);
  if (status == MOEC_OK)
    status = moec_ffi_layer_on(device, &call.layer);
  if (status != MOEC_OK)
    return status;
  void **pointers = calloc((size_t)call.layer->info.num_roles + 1, sizeof(*pointers));
  if (!pointers)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a table of %d roles", (int)call.layer->info.num_roles);
  call.args.grad_parameters = pointers;
  status = take_roles(names, values, &call, pointers);
  if (status == MOEC_OK)
    status = fill_args(&call);
  if (status == MOEC_OK)
    status = run_with_weights(&call);
  free(pointers);
  return status;
}
