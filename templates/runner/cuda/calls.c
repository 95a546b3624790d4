/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * calls.c - the runtime's public calls on memory of device 0. The packed weights of the first package serve both: they
 * depend on the layer alone.
 */
#include "calls.h"

#include "../machine.h"
#include "../memory.h"

#include "runtime/moec_dtype.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 15, ROLES = 4096 };
static const double too_slow = 3;

typedef struct gpu_layer {
  moec_layer *layer;
  moec_weights *weights;
} gpu_layer;

typedef struct gpu_calls {
  const moec_cuda_driver *driver;
  void *context, *stream;
  gpu_layer layers[2]; /* the default, the candidate */
  moec_layer_info info;
  moec_cuda_pointer packed, x, y, workspace;
  size_t packed_bytes, workspace_bytes, y_row;
  call_result *out;
} gpu_calls;

static int driver_error(gpu_calls *g, int result, const char *what) {
  const char *name = "";
  if (result == MOEC_CUDA_SUCCESS)
    return 0;
  g->driver->get_error_name(result, &name);
  snprintf(g->out->detail, sizeof(g->out->detail), "%s: %s", what, name ? name : "");
  return 1;
}

static int runtime_error(gpu_calls *g, moec_status status) {
  if (status == MOEC_OK)
    return 0;
  moec_last_error(g->out->detail, sizeof(g->out->detail));
  return 1;
}

static int open_device(const moec_cuda_driver **driver, int *device) {
  int count = 0;
  if (!*driver && moec_cuda_driver_get(driver) != MOEC_OK)
    return 0;
  return (*driver)->init(0) == MOEC_CUDA_SUCCESS && (*driver)->device_get_count(&count) == MOEC_CUDA_SUCCESS &&
         count > 0 && (*driver)->device_get(device, 0) == MOEC_CUDA_SUCCESS;
}

int gpu_record(const moec_cuda_driver *driver, char *out, size_t size, int *capability) {
  int device = 0, version = 0, major = 0, minor = 0, multiprocessors = 0;
  char name[128] = "";
  if (!open_device(&driver, &device))
    return complain("E-MACHINE", "this machine has no GPU, or no driver for it"), 6;
  driver->device_get_name(name, sizeof(name), device);
  name[sizeof(name) - 1] = '\0';
  for (char *c = name; *c; ++c)
    if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
      *c = ' ';
  driver->driver_get_version(&version);
  driver->device_get_attribute(&major, MOEC_CUDA_CAPABILITY_MAJOR, device);
  driver->device_get_attribute(&minor, MOEC_CUDA_CAPABILITY_MINOR, device);
  driver->device_get_attribute(&multiprocessors, MOEC_CUDA_MULTIPROCESSORS, device);
  *capability = 10 * major + minor;
  snprintf(out, size, "{\"gpu\":{\"name\":\"%s\",\"capability\":%d,\"multiprocessors\":%d,\"driver\":%d}}", name,
           *capability, multiprocessors, version);
  return 0;
}

static int create_layer(gpu_calls *g, const moec_package *package, gpu_layer *layer) {
  moec_layer_options options = {.struct_size = sizeof(options),
                                .device = MOEC_DEVICE_CUDA,
                                .cuda_device = 1, /* the first */
                                .cuda_driver = g->driver};
  return runtime_error(g, moec_layer_create(package, &options, &layer->layer));
}

/* Every role's tensor from its own seed; bf16 where the layer takes bf16, so that large layers fit the host. */
static int pack_weights(gpu_calls *g, gpu_layer *layer) {
  int32_t count = g->info.num_roles;
  moec_dtype type = g->info.x_dtype == MOEC_BF16 ? MOEC_BF16 : MOEC_F32;
  if (count > ROLES || runtime_error(g, moec_layer_weights_bytes(layer->layer, &g->packed_bytes)) ||
      driver_error(g, g->driver->mem_alloc(&g->packed, g->packed_bytes + 16), "weights"))
    return 1;
  moec_tensor *tensors = calloc((size_t)count + 1, sizeof(*tensors));
  int failed = !tensors;
  for (int32_t i = 0; i < count && !failed; ++i) {
    int64_t elements = 1;
    failed = runtime_error(g, moec_layer_role(layer->layer, i, &tensors[i].role, &tensors[i].rank, tensors[i].dims));
    for (int32_t d = 0; d < tensors[i].rank && !failed; ++d)
      elements *= tensors[i].dims[d];
    int64_t depth = failed || tensors[i].rank < 2 ? 16 : tensors[i].dims[tensors[i].rank - 1];
    void *data = failed ? NULL : malloc((size_t)(elements * moec_dtype_bytes((uint32_t)type)) + 16);
    tensors[i].data = data;
    tensors[i].dtype = type;
    failed = failed || !data;
    if (!failed)
      fill_repeated(data, (int32_t)type, elements, (uint64_t)i + 100, 1 / sqrt((double)depth));
  }
  if (!failed)
    failed = runtime_error(g, moec_weights_pack(layer->layer, tensors, (size_t)count, (void *)(uintptr_t)g->packed,
                                                g->packed_bytes, &layer->weights));
  else if (!g->out->detail[0])
    snprintf(g->out->detail, sizeof(g->out->detail), "not enough memory for the weights");
  for (int32_t i = 0; i < count && tensors; ++i)
    free((void *)(uintptr_t)tensors[i].data);
  free(tensors);
  return failed;
}

static int allocate(gpu_calls *g, const int64_t *tokens, size_t num_tokens) {
  int64_t most = 1;
  for (size_t i = 0; i < num_tokens; ++i)
    most = tokens[i] > most ? tokens[i] : most;
  for (int l = 0; l < 2; ++l) {
    size_t bytes = 0;
    if (runtime_error(g, moec_layer_workspace_bytes(g->layers[l].layer, most, &bytes)))
      return 1;
    g->workspace_bytes = bytes > g->workspace_bytes ? bytes : g->workspace_bytes;
  }
  int64_t x_elements = most * g->info.hidden;
  size_t x_bytes = (size_t)(x_elements * moec_dtype_bytes((uint32_t)g->info.x_dtype));
  g->y_row = (size_t)(g->info.hidden * moec_dtype_bytes((uint32_t)g->info.y_dtype));
  void *x = malloc(x_bytes);
  if (!x)
    return snprintf(g->out->detail, sizeof(g->out->detail), "not enough memory for x"), 1;
  fill_repeated(x, (int32_t)g->info.x_dtype, x_elements, 7, 0.5);
  int failed = driver_error(g, g->driver->mem_alloc(&g->x, x_bytes + 16), "x") ||
               driver_error(g, g->driver->mem_alloc(&g->y, (size_t)most * g->y_row + 16), "y") ||
               driver_error(g, g->driver->mem_alloc(&g->workspace, g->workspace_bytes + 16), "workspace") ||
               driver_error(g, g->driver->memcpy_htod(g->x, x, x_bytes), "x");
  free(x);
  return failed;
}

static int forward(gpu_calls *g, const gpu_layer *layer, int64_t tokens) {
  moec_forward_args args = {.struct_size = sizeof(args),
                            .num_tokens = tokens,
                            .x = (void *)(uintptr_t)g->x,
                            .y = (void *)(uintptr_t)g->y,
                            .workspace = (void *)(uintptr_t)g->workspace,
                            .workspace_bytes = g->workspace_bytes,
                            .stream = g->stream};
  return runtime_error(g, moec_layer_forward(layer->layer, layer->weights, &args)) ||
         driver_error(g, g->driver->stream_synchronize(g->stream), "a call");
}

/* y of a call that begins with poison; the caller frees it. NULL: detail says why. */
static char *output_of(gpu_calls *g, const gpu_layer *layer, int64_t tokens) {
  size_t bytes = (size_t)tokens * g->y_row;
  char *y = malloc(bytes);
  if (!y || driver_error(g, g->driver->memset_d8(g->y, 0xff, bytes), "poison") ||
      driver_error(g, g->driver->stream_synchronize(NULL), "poison") || forward(g, layer, tokens) ||
      driver_error(g, g->driver->memcpy_dtoh(y, g->y, bytes), "y")) {
    free(y);
    return NULL;
  }
  return y;
}

static void difference(const gpu_calls *g, int64_t tokens, int same_bits, const char *want, const char *got,
                       char *where, size_t size) {
  where[0] = '\0';
  for (int64_t t = 0; t < tokens; ++t) {
    const char *w = want + (size_t)t * g->y_row, *r = got + (size_t)t * g->y_row;
    double error = 0, square = 0;
    int bad = same_bits && memcmp(w, r, g->y_row) != 0;
    for (int64_t c = 0; c < g->info.hidden && !same_bits; ++c) {
      double a = load_element(w, (int32_t)g->info.y_dtype, c), b = load_element(r, (int32_t)g->info.y_dtype, c);
      error += (a - b) * (a - b);
      square += a * a;
    }
    if (bad || (!same_bits && !(error <= 1e-4 * square + 1e-12))) {
      snprintf(where, size, "T = %lld, token %lld", (long long)tokens, (long long)t);
      return;
    }
  }
}

/* 0: as the default computes. The result is set otherwise. */
static int check(gpu_calls *g, int64_t tokens, int same_bits) {
  char *want = output_of(g, &g->layers[0], tokens);
  g->out->result = OUTCOME_UNKNOWN;
  if (!want)
    return 1;
  for (int64_t i = 0; i < tokens * g->info.hidden; ++i)
    if (isnan(load_element(want, (int32_t)g->info.y_dtype, i))) {
      snprintf(g->out->detail, sizeof(g->out->detail), "the default leaves y of token %lld unwritten, or NaN",
               (long long)(i / g->info.hidden));
      free(want);
      return 1;
    }
  g->out->result = OUTCOME_FAILED;
  char *got = output_of(g, &g->layers[1], tokens);
  if (got) {
    difference(g, tokens, same_bits, want, got, g->out->detail, sizeof(g->out->detail));
    g->out->result = OUTCOME_WRONG;
  }
  int bad = !got || g->out->detail[0];
  free(want);
  free(got);
  return bad;
}

/* Wall time of one call of each number of tokens; 0: a call failed. */
static double time_turn(gpu_calls *g, int layer, const int64_t *tokens, size_t num_tokens) {
  double begin = wall_seconds();
  for (size_t i = 0; i < num_tokens; ++i)
    if (forward(g, &g->layers[layer], tokens[i]))
      return 0;
  return (wall_seconds() - begin) * 1e6;
}

static int time_pairs(gpu_calls *g, const int64_t *tokens, size_t num_tokens, volatile unsigned *ticks) {
  pair_us pairs[TURNS];
  int slow_pairs = 0;
  for (int p = -2; p < TURNS; ++p) { /* the first two warm up, and both must be slow: one may have been interrupted */
    int swapped = p & 1;
    double first = time_turn(g, swapped, tokens, num_tokens), second = time_turn(g, !swapped, tokens, num_tokens);
    ++*ticks;
    g->out->result = OUTCOME_FAILED;
    if (first <= 0 || second <= 0)
      return 1;
    double standard = swapped ? second : first, candidate = swapped ? first : second;
    if (p >= 0) {
      pairs[p].standard = standard;
      pairs[p].candidate = candidate;
      continue;
    }
    slow_pairs += candidate > too_slow * standard;
    if (slow_pairs == 2) {
      g->out->result = OUTCOME_TIMEOUT;
      snprintf(g->out->detail, sizeof(g->out->detail), "more than three times as long as the default");
      return 1;
    }
  }
  g->out->times = times_of(pairs, TURNS);
  return 0;
}

static int set_up(gpu_calls *g, const moec_package *standard, const moec_package *candidate, const int64_t *tokens,
                  size_t num_tokens) {
  int device = 0;
  if (!open_device(&g->driver, &device))
    return snprintf(g->out->detail, sizeof(g->out->detail), "no GPU, or no driver for it"), 1;
  g->info.struct_size = sizeof(g->info);
  if (driver_error(g, g->driver->primary_ctx_retain(&g->context, device), "context") ||
      driver_error(g, g->driver->ctx_push_current(g->context), "context") ||
      driver_error(g, g->driver->stream_create(&g->stream, 1), "stream") || create_layer(g, standard, &g->layers[0]) ||
      runtime_error(g, moec_layer_get_info(g->layers[0].layer, &g->info)) || pack_weights(g, &g->layers[0]))
    return 1;
  g->out->result = OUTCOME_FAILED; /* from here on the candidate is at fault */
  return create_layer(g, candidate, &g->layers[1]) ||
         runtime_error(g, moec_weights_map(g->layers[1].layer, (void *)(uintptr_t)g->packed, g->packed_bytes, 0,
                                           &g->layers[1].weights)) ||
         allocate(g, tokens, num_tokens);
}

static void tear_down(gpu_calls *g) {
  for (int l = 0; l < 2; ++l) {
    moec_weights_destroy(g->layers[l].weights);
    moec_layer_destroy(g->layers[l].layer);
  }
  if (!g->driver)
    return;
  for (int i = 0; i < 4; ++i) {
    moec_cuda_pointer pointer = i == 0 ? g->packed : i == 1 ? g->x : i == 2 ? g->y : g->workspace;
    if (pointer)
      g->driver->mem_free(pointer);
  }
  if (g->stream)
    g->driver->stream_destroy(g->stream);
  void *popped;
  if (g->context)
    g->driver->ctx_pop_current(&popped), g->driver->primary_ctx_release(0);
}

void compare_calls(const moec_cuda_driver *driver, const moec_package *standard, const moec_package *candidate,
                   const int64_t *tokens, size_t num_tokens, int same_bits, volatile unsigned *ticks,
                   call_result *out) {
  gpu_calls g = {.driver = driver, .out = out};
  memset(out, 0, sizeof(*out));
  int bad = set_up(&g, standard, candidate, tokens, num_tokens);
  ++*ticks;
  for (size_t i = 0; i < num_tokens && !bad; ++i, ++*ticks)
    bad = check(&g, tokens[i], same_bits);
  bad = bad || time_pairs(&g, tokens, num_tokens, ticks);
  for (size_t i = 0; i < num_tokens && !bad; ++i) /* what ran while it was timed is still right */
    bad = check(&g, tokens[i], same_bits);
  if (!bad)
    out->result = OUTCOME_OK;
  tear_down(&g);
}
