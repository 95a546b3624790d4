/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * device.c - the runtime's public calls on memory of device 0.
 */
#include "device.h"

#include "../memory.h"

#include "runtime/moec_dtype.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROLES = 4096 };

int gpu_failed(gpu_layers *g, int driver_result, const char *what) {
  const char *name = "";
  if (driver_result == MOEC_CUDA_SUCCESS)
    return 0;
  g->driver->get_error_name(driver_result, &name);
  snprintf(g->detail, g->detail_size, "%s: %s", what, name ? name : "");
  return 1;
}

static int runtime_failed(gpu_layers *g, moec_status status) {
  if (status == MOEC_OK)
    return 0;
  moec_last_error(g->detail, g->detail_size);
  return 1;
}

static int no_memory(gpu_layers *g, const char *what) {
  snprintf(g->detail, g->detail_size, "not enough memory for %s", what);
  return 1;
}

int open_device(const moec_cuda_driver **driver, int *device) {
  int count = 0;
  if (!*driver && moec_cuda_driver_get(driver) != MOEC_OK)
    return 1;
  return (*driver)->init(0) != MOEC_CUDA_SUCCESS || (*driver)->device_get_count(&count) != MOEC_CUDA_SUCCESS ||
         count < 1 || (*driver)->device_get(device, 0) != MOEC_CUDA_SUCCESS;
}

static void *on_device(moec_cuda_pointer pointer) { return (void *)(uintptr_t)pointer; }

static int allocate(gpu_layers *g, moec_cuda_pointer *pointer, size_t bytes, const char *what) {
  return gpu_failed(g, g->driver->mem_alloc(pointer, bytes + 16), what);
}

static int create_layer(gpu_layers *g, const moec_package *package, int layer) {
  moec_layer_options options = {.struct_size = sizeof(options),
                                .device = MOEC_DEVICE_CUDA,
                                .cuda_device = 1, /* the first */
                                .cuda_driver = g->driver};
  return runtime_failed(g, moec_layer_create(package, &options, &g->layers[layer]));
}

/* Name and shape of a role. */
static int read_role(gpu_layers *g, int32_t role, moec_tensor *out) {
  return runtime_failed(g, moec_layer_role(g->layers[0], role, &out->role, &out->rank, out->dims));
}

static int64_t columns_of(const moec_tensor *tensor) { return tensor->rank < 1 ? 1 : tensor->dims[tensor->rank - 1]; }

static int64_t rows_of(const moec_tensor *tensor) {
  int64_t rows = 1;
  for (int32_t d = 0; d + 1 < tensor->rank; ++d)
    rows *= tensor->dims[d];
  return rows;
}

/* Every role's tensor from its own seed; bf16 where the layer takes bf16, so that large layers fit the host. */
static int pack_weights(gpu_layers *g) {
  int32_t count = g->info.num_roles;
  moec_dtype type = g->info.x_dtype == MOEC_BF16 ? MOEC_BF16 : MOEC_F32;
  if (count > ROLES || runtime_failed(g, moec_layer_weights_bytes(g->layers[0], &g->packed_bytes)) ||
      allocate(g, &g->packed, g->packed_bytes, "weights"))
    return 1;
  moec_tensor *tensors = calloc((size_t)count + 1, sizeof(*tensors));
  int failed = !tensors && no_memory(g, "the weights");
  for (int32_t i = 0; i < count && !failed; ++i) {
    moec_tensor *tensor = &tensors[i];
    failed = read_role(g, i, tensor);
    int64_t columns = columns_of(tensor), elements = failed ? 0 : rows_of(tensor) * columns;
    void *data = malloc((size_t)(elements * moec_dtype_bytes((uint32_t)type)) + 16);
    tensor->data = data;
    tensor->dtype = type;
    if (data)
      fill_repeated(data, (int32_t)type, elements, (uint64_t)i + 100,
                    1 / sqrt(tensor->rank < 2 ? 16 : (double)columns));
    failed = failed || (!data && no_memory(g, "the weights"));
  }
  failed = failed || runtime_failed(g, moec_weights_pack(g->layers[0], tensors, (size_t)count, on_device(g->packed),
                                                         g->packed_bytes, &g->weights[0]));
  for (int32_t i = 0; i < count && tensors; ++i)
    free((void *)(uintptr_t)tensors[i].data);
  free(tensors);
  return failed;
}

static int64_t most_tokens(const gpu_layers *g) {
  int64_t most = 1;
  for (size_t i = 0; i < g->num_tokens; ++i)
    most = g->tokens[i] > most ? g->tokens[i] : most;
  return most;
}

static int find_workspace(gpu_layers *g) {
  for (int l = 0; l < 2; ++l) {
    size_t forward = 0, backward = 0;
    if (runtime_failed(g, moec_layer_workspace_bytes(g->layers[l], most_tokens(g), &forward)) ||
        (g->backward &&
         runtime_failed(g, moec_layer_backward_workspace_bytes(g->layers[l], most_tokens(g), 0, &backward))))
      return 1;
    size_t bytes = forward > backward ? forward : backward;
    g->workspace_bytes = bytes > g->workspace_bytes ? bytes : g->workspace_bytes;
  }
  return 0;
}

/* [T, hidden] numbers on the device. */
static int make_rows(gpu_layers *g, moec_cuda_pointer *pointer, int32_t type, uint64_t seed, const char *what) {
  int64_t elements = most_tokens(g) * g->info.hidden;
  size_t bytes = (size_t)(elements * moec_dtype_bytes((uint32_t)type));
  void *rows = malloc(bytes);
  if (!rows)
    return no_memory(g, what);
  fill_repeated(rows, type, elements, seed, 0.5);
  int failed = allocate(g, pointer, bytes, what) || gpu_failed(g, g->driver->memcpy_htod(*pointer, rows, bytes), what);
  free(rows);
  return failed;
}

static int add_output(gpu_layers *g, gpu_output output) {
  int64_t rows = output.rows ? output.rows : most_tokens(g);
  g->outputs[g->num_outputs] = output;
  return allocate(g, &g->outputs[g->num_outputs++].at,
                  (size_t)(rows * output.columns * moec_dtype_bytes((uint32_t)output.type)), "outputs");
}

/* Gradients of matrices are f32: every layer gives them in that type. */
static int list_gradients(gpu_layers *g) {
  if (add_output(g, (gpu_output){.type = (int32_t)g->info.x_dtype, .columns = g->info.hidden}))
    return 1;
  for (int32_t i = 0; i < g->info.num_roles; ++i) {
    int32_t kind = MOEC_GRADIENT_NONE;
    moec_tensor tensor = {0};
    if (runtime_failed(g, moec_layer_role_gradient(g->layers[0], i, &kind)) || read_role(g, i, &tensor))
      return 1;
    if (kind == MOEC_GRADIENT_NONE)
      continue;
    if (add_output(
            g, (gpu_output){
                   .type = MOEC_F32, .rows = rows_of(&tensor), .columns = columns_of(&tensor), .role = tensor.role}))
      return 1;
    g->parameters[i] = on_device(g->outputs[g->num_outputs - 1].at);
  }
  return 0;
}

static int list_outputs(gpu_layers *g) {
  size_t roles = (size_t)g->info.num_roles;
  g->outputs = calloc(roles + 2, sizeof(*g->outputs));
  g->parameters = calloc(roles + 1, sizeof(*g->parameters));
  if (!g->outputs || !g->parameters)
    return no_memory(g, "outputs");
  if (g->backward)
    return allocate(g, &g->y, (size_t)(most_tokens(g) * g->info.hidden) * 4, "y") || list_gradients(g);
  int failed = add_output(g, (gpu_output){.type = (int32_t)g->info.y_dtype, .columns = g->info.hidden});
  g->y = g->outputs[0].at;
  return failed;
}

static int run_forward(gpu_layers *g, int layer, size_t call) {
  moec_forward_args args = {.struct_size = sizeof(args),
                            .num_tokens = g->tokens[call],
                            .x = on_device(g->x),
                            .y = on_device(g->y),
                            .workspace = on_device(g->workspace),
                            .workspace_bytes = g->workspace_bytes,
                            .stream = g->stream};
  if (g->saved) {
    args.saved = on_device(g->saved[call]);
    args.saved_bytes = g->saved_bytes[call];
  }
  return runtime_failed(g, moec_layer_forward(g->layers[layer], g->weights[layer], &args));
}

static int run_backward(gpu_layers *g, int layer, size_t call) {
  moec_backward_args args = {.struct_size = sizeof(args),
                             .num_tokens = g->tokens[call],
                             .x = on_device(g->x),
                             .grad_y = on_device(g->grad_y),
                             .saved = on_device(g->saved[call]),
                             .saved_bytes = g->saved_bytes[call],
                             .workspace = on_device(g->workspace),
                             .workspace_bytes = g->workspace_bytes,
                             .grad_x = on_device(g->outputs[0].at),
                             .grad_parameters = g->parameters,
                             .grad_dtype = MOEC_F32,
                             .stream = g->stream};
  return runtime_failed(g, moec_layer_backward(g->layers[layer], g->weights[layer], &args));
}

static int wait_for_call(gpu_layers *g) { return gpu_failed(g, g->driver->stream_synchronize(g->stream), "a call"); }

int gpu_call(gpu_layers *g, int layer, size_t call) {
  return (g->backward ? run_backward : run_forward)(g, layer, call) || wait_for_call(g);
}

/* What the default's forward call of each number of tokens keeps. */
static int save_all(gpu_layers *g) {
  g->saved = calloc(g->num_tokens, sizeof(*g->saved));
  g->saved_bytes = calloc(g->num_tokens, sizeof(*g->saved_bytes));
  if (!g->saved || !g->saved_bytes)
    return no_memory(g, "what forward saves");
  for (size_t i = 0; i < g->num_tokens; ++i)
    if (runtime_failed(g, moec_layer_saved_bytes(g->layers[0], g->tokens[i], 0, &g->saved_bytes[i])) ||
        allocate(g, &g->saved[i], g->saved_bytes[i], "what forward saves") || run_forward(g, 0, i) || wait_for_call(g))
      return 1;
  return 0;
}

int gpu_open_default(gpu_layers *g, const moec_package *standard) {
  int device = 0;
  if (open_device(&g->driver, &device))
    return snprintf(g->detail, g->detail_size, "no GPU, or no driver for it"), 1;
  g->info.struct_size = sizeof(g->info);
  return gpu_failed(g, g->driver->primary_ctx_retain(&g->context, device), "context") ||
         gpu_failed(g, g->driver->ctx_push_current(g->context), "context") ||
         gpu_failed(g, g->driver->stream_create(&g->stream, 1), "stream") || create_layer(g, standard, 0) ||
         runtime_failed(g, moec_layer_get_info(g->layers[0], &g->info)) || pack_weights(g);
}

int gpu_open_candidate(gpu_layers *g, const moec_package *candidate) {
  return create_layer(g, candidate, 1) ||
         runtime_failed(g, moec_weights_map(g->layers[1], on_device(g->packed), g->packed_bytes, 0, &g->weights[1]));
}

int gpu_prepare_calls(gpu_layers *g) {
  return find_workspace(g) || allocate(g, &g->workspace, g->workspace_bytes, "workspace") ||
         make_rows(g, &g->x, (int32_t)g->info.x_dtype, 7, "x") || list_outputs(g) ||
         (g->backward && (make_rows(g, &g->grad_y, (int32_t)g->info.y_dtype, 8, "the gradient of y") || save_all(g)));
}

static void release(gpu_layers *g, moec_cuda_pointer pointer) {
  if (pointer)
    g->driver->mem_free(pointer);
}

void gpu_close(gpu_layers *g) {
  for (int l = 0; l < 2; ++l) {
    moec_weights_destroy(g->weights[l]);
    moec_layer_destroy(g->layers[l]);
  }
  if (g->driver) {
    release(g, g->packed);
    release(g, g->x);
    release(g, g->grad_y);
    release(g, g->workspace);
    if (g->backward) /* else it is the output */
      release(g, g->y);
    for (size_t i = 0; i < g->num_outputs; ++i)
      release(g, g->outputs[i].at);
    for (size_t i = 0; i < g->num_tokens && g->saved; ++i)
      release(g, g->saved[i]);
    if (g->stream)
      g->driver->stream_destroy(g->stream);
    void *popped;
    if (g->context)
      g->driver->ctx_pop_current(&popped), g->driver->primary_ctx_release(0);
  }
  free(g->outputs);
  free(g->parameters);
  free(g->saved);
  free(g->saved_bytes);
}
