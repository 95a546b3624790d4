/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * quickstart.c - runs the layer that CMake compiled: random weights -> pack -> forward for T = 1, 32, 512 -> two tokens
 * of each compared to plain loops in double -> one table.
 *
 *   quickstart [PEAK_GFLOPS READ_GBPS]     the machine's ceilings, from `moec bench --ceilings`
 *
 * NOTE: the plain loops below know one family of layers: softmax over all experts, the K largest, divided by their sum,
 * and SwiGLU experts, in bf16 or f32. `moec verify` checks any spec.
 */
#define _POSIX_C_SOURCE 200809L
#include <layer.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { H = LAYER_HIDDEN, E = LAYER_NUM_EXPERTS, K = LAYER_TOP_K, MAX_T = 512, ROLES = 4, SAMPLES = 2, CALLS = 9 };
enum { ROUTER, GATE, UP, DOWN };

static const char *const role_names[ROLES] = {"router.weight", "experts.gate", "experts.up", "experts.down"};

typedef struct model {
  moec_tensor tensors[ROLES];
  int64_t inner; /* I, the expert's width */
} model;

static _Noreturn void give_up(const char *what) {
  char text[512];
  moec_last_error(text, sizeof text);
  fprintf(stderr, "quickstart: %s: %s\n", what, text);
  exit(1);
}

static _Noreturn void refuse(const char *known) {
  fprintf(stderr, "quickstart: this example knows only %s; `moec verify` checks any spec\n", known);
  exit(2);
}

static void check(moec_status status, const char *what) {
  if (status != MOEC_OK)
    give_up(what);
}

static void *allocate(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 4096, bytes ? bytes : 1) != 0) {
    fprintf(stderr, "quickstart: no memory for %zu bytes\n", bytes);
    exit(1);
  }
  return p;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- numbers in the layer's type ------------------------------------------------------------------------------- */

static size_t element_bytes(moec_dtype type) { return type == MOEC_F32 ? 4 : 2; }

static void put(void *data, moec_dtype type, size_t i, float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (type == MOEC_F32)
    memcpy((char *)data + 4 * i, &value, 4);
  else
    ((uint16_t *)data)[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double get(const void *data, moec_dtype type, size_t i) {
  float value;
  uint32_t bits = 0;
  if (type == MOEC_F32)
    memcpy(&bits, (const char *)data + 4 * i, 4);
  else
    bits = (uint32_t)((const uint16_t *)data)[i] << 16;
  memcpy(&value, &bits, 4);
  return value;
}

/* Sums of four uniform numbers: near-normal, mean 0. */
static void fill(void *data, moec_dtype type, size_t count, float deviation, uint64_t state) {
  const float scale = deviation * 1.7320508f / 65536;
  for (size_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint64_t r = state ^ state >> 29;
    float sum = (float)((r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48));
    put(data, type, i, (sum - 131070.0f) * scale);
  }
}

/* ---- the layer ------------------------------------------------------------------------------------------------- */

static size_t count_of(const moec_tensor *tensor) {
  size_t count = 1;
  for (int32_t i = 0; i < tensor->rank; ++i)
    count *= (size_t)tensor->dims[i];
  return count;
}

/* Weights of every role the layer has, in the type of its input. */
static model make_weights(const moec_layer *layer, const moec_layer_info *info) {
  model m = {0};
  if (info->num_roles != ROLES)
    refuse("layers of a router and gated experts");
  for (int32_t i = 0; i < ROLES; ++i) {
    const char *name;
    int32_t rank;
    int64_t dims[4];
    check(moec_layer_role(layer, i, &name, &rank, dims), "role");
    int slot = 0;
    while (slot < ROLES && strcmp(name, role_names[slot]) != 0)
      ++slot;
    if (slot == ROLES)
      refuse("layers of a router and gated experts without biases");
    moec_tensor *tensor = &m.tensors[slot];
    tensor->role = role_names[slot];
    tensor->dtype = info->x_dtype;
    tensor->rank = rank;
    memcpy(tensor->dims, dims, sizeof dims);
    void *data = allocate(count_of(tensor) * element_bytes(tensor->dtype));
    fill(data, tensor->dtype, count_of(tensor), 1 / sqrtf((float)dims[rank - 1]), 17 * (uint64_t)slot + 1);
    tensor->data = data;
  }
  m.inner = m.tensors[GATE].dims[1];
  return m;
}

/* sum over i of W[row, i] * x[i], row of a role's matrices laid end to end */
static double dot(const moec_tensor *w, int64_t row, const double *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += get(w->data, w->dtype, (size_t)(row * n + i)) * x[i];
  return sum;
}

/* y[h] = sum over the K likeliest experts e of p(e) / sum p * (Wdown_e (silu(Wgate_e x) * Wup_e x))[h] */
static void plain_token(const model *m, const double *x, double *y) {
  static double p[E];
  double *hidden = malloc(sizeof(double) * (size_t)m->inner);
  double largest = -INFINITY, sum = 0;
  int64_t chosen[K];
  if (!hidden)
    exit(1);
  for (int64_t e = 0; e < E; ++e) {
    p[e] = dot(&m->tensors[ROUTER], e, x, H);
    largest = p[e] > largest ? p[e] : largest;
  }
  for (int64_t e = 0; e < E; ++e)
    p[e] = exp(p[e] - largest);
  for (int64_t k = 0; k < K; ++k) {
    int64_t best = -1;
    for (int64_t e = 0; e < E; ++e) {
      int taken = 0;
      for (int64_t j = 0; j < k; ++j)
        taken |= chosen[j] == e;
      if (!taken && (best < 0 || p[e] > p[best]))
        best = e;
    }
    chosen[k] = best;
    sum += p[best];
  }
  memset(y, 0, sizeof(double) * H);
  for (int64_t k = 0; k < K; ++k) {
    int64_t e = chosen[k];
    for (int64_t i = 0; i < m->inner; ++i) {
      double gate = dot(&m->tensors[GATE], e * m->inner + i, x, H), up = dot(&m->tensors[UP], e * m->inner + i, x, H);
      hidden[i] = gate / (1 + exp(-gate)) * up;
    }
    for (int64_t h = 0; h < H; ++h)
      y[h] += p[e] / sum * dot(&m->tensors[DOWN], e * H + h, hidden, m->inner);
  }
  free(hidden);
}

/* max |y - plain| / max |plain| over the sampled tokens of a call */
static double worst_error(const model *m, const void *x, const void *y, const moec_layer_info *info, int64_t tokens) {
  static double row[H], want[H];
  double worst = 0;
  for (int64_t s = 0; s < SAMPLES && s < tokens; ++s) {
    int64_t t = s * (tokens - 1);
    double scale = 1e-30, error = 0;
    for (int64_t h = 0; h < H; ++h)
      row[h] = get(x, info->x_dtype, (size_t)(t * H + h));
    plain_token(m, row, want);
    for (int64_t h = 0; h < H; ++h) {
      double difference = fabs(get(y, info->y_dtype, (size_t)(t * H + h)) - want[h]);
      scale = fabs(want[h]) > scale ? fabs(want[h]) : scale;
      error = difference > error || difference != difference ? difference : error;
    }
    worst = error / scale > worst || error != error ? error / scale : worst;
  }
  return worst;
}

static int by_value(const void *a, const void *b) {
  double d = *(const double *)a - *(const double *)b;
  return (d > 0) - (d < 0);
}

/* One row of the table; the error of the sampled tokens. */
static double run(const moec_layer *layer, const moec_weights *weights, const model *m, int64_t tokens, double peak,
                  double bandwidth) {
  moec_layer_info info = {.struct_size = sizeof info};
  check(moec_layer_get_info(layer, &info), "info");
  moec_forward_args args = {.struct_size = sizeof args, .num_tokens = tokens};
  check(moec_layer_workspace_bytes(layer, tokens, &args.workspace_bytes), "workspace");
  size_t call_elements = (size_t)(tokens * H);
  char *x = allocate(CALLS * call_elements * element_bytes(info.x_dtype));
  int32_t *ids = allocate(sizeof *ids * (size_t)(tokens * K));
  float *weights_of_ids = allocate(sizeof *weights_of_ids * (size_t)(tokens * K));
  args.y = allocate(call_elements * element_bytes(info.y_dtype));
  args.workspace = allocate(args.workspace_bytes);
  args.out_ids = ids;
  args.out_weights = weights_of_ids;
  fill(x, info.x_dtype, CALLS * call_elements, 1, 99 + (uint64_t)tokens);
  double time[CALLS], touched = 0;
  for (int call = 0; call < CALLS; ++call) { /* other tokens in every call, so other experts */
    args.x = x + (size_t)call * call_elements * element_bytes(info.x_dtype);
    double start = seconds();
    check(moec_layer_forward(layer, weights, &args), "forward");
    time[call] = seconds() - start;
    char seen[E] = {0};
    for (int64_t i = 0; i < tokens * K; ++i)
      seen[ids[i]] = 1;
    for (int e = 0; e < E; ++e)
      touched += seen[e] / (double)CALLS;
  }
  double all = 0;
  for (int k = 0; k < K; ++k)
    all += weights_of_ids[k];
  if (fabs(all - 1) > 1e-3)
    refuse("layers whose weights are divided by their sum");
  double error = worst_error(m, args.x, args.y, &info, tokens);
  qsort(time, CALLS, sizeof time[0], by_value);
  double matrix = 3.0 * H * (double)m->inner;
  double gflop = 2 * matrix * K * (double)tokens * 1e-9,
         gbyte = matrix * touched * (double)element_bytes(info.x_dtype) * 1e-9;
  double bound = fmax(peak > 0 ? gflop / peak : 0, bandwidth > 0 ? gbyte / bandwidth : 0), median = time[CALLS / 2];
  printf("%6lld %12.1f %10.1f %8.2f", (long long)tokens, median * 1e6, gflop / median, gbyte / median);
  if (bound > 0)
    printf(" %15.1f %%", 100 * bound / median);
  else
    printf(" %17s", "-");
  printf(" %13.1e\n", error);
  free(x);
  free(ids);
  free(weights_of_ids);
  free(args.y);
  free(args.workspace);
  return error;
}

int main(int argc, char **argv) {
  double peak = argc > 2 ? atof(argv[1]) : 0, bandwidth = argc > 2 ? atof(argv[2]) : 0;
  moec_layer *layer;
  moec_weights *weights;
  moec_layer_info info = {.struct_size = sizeof info};
  check(moec_layer_create(layer_package(), NULL, &layer), "create");
  check(moec_layer_get_info(layer, &info), "info");
  model m = make_weights(layer, &info);
  size_t bytes;
  check(moec_layer_weights_bytes(layer, &bytes), "weights");
  void *packed = allocate(bytes);
  check(moec_weights_pack(layer, m.tensors, ROLES, packed, bytes, &weights), "pack");

  printf("\n%d experts, top-%d, H %d, I %lld, %s kernels, one thread; %.2f GB of packed weights\n", E, K, H,
         (long long)m.inner, info.isa_name, (double)bytes * 1e-9);
  if (bandwidth > 0)
    printf("ceilings of this machine, measured just before: %.0f GFLOP/s, %.1f GB/s\n", peak, bandwidth);
  printf("\n%6s %12s %10s %8s %17s %13s\n", "T", "time, us", "GFLOP/s", "GB/s", "share of ceiling", "worst error");
  double worst = 0, tolerance = info.x_dtype == MOEC_F32 ? 2e-5 : 2e-2;
  for (int64_t tokens = 1; tokens <= MAX_T; tokens = tokens == 1 ? 32 : tokens * 16) {
    double error = run(layer, weights, &m, tokens, peak, bandwidth);
    worst = error > worst || error != error ? error : worst;
  }
  moec_weights_destroy(weights);
  moec_layer_destroy(layer);
  free(packed);
  for (int i = 0; i < ROLES; ++i)
    free((void *)(uintptr_t)m.tensors[i].data);
  int right = worst <= tolerance;
  printf("\n%s: largest error of the sampled tokens %.1e of max|y|, tolerance %.0e\n", right ? "correct" : "WRONG",
         worst, tolerance);
  return !right;
}
