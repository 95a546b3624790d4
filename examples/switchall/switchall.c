/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * switchall.c - one SwitchAll block: attention whose projections are mixtures of linear experts (SwitchHead) and a
 * feed-forward mixture (sigma-MoE), from four packages, compared to plain loops in double.
 *
 *     per head   v, ids, w = source(x)              K and V are routed by the source token, once ...
 *                k = shared_routing(x, ids, w)      ... and the second projection is given the first one's choice
 *                a = softmax(x k^T / sqrt(H))       causal; queries are x itself
 *                o = destination(a v, from x)       O is routed by the destination token
 *     y = x + sum of o over heads,   z = y + feed_forward(y)
 *
 * A package knows no head: every head packs weights of its own for the same layer.
 */
#define _POSIX_C_SOURCE 200809L
#include <destination.h>
#include <feed_forward.h>
#include <shared_routing.h>
#include <source.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = SOURCE_HIDDEN, K = SOURCE_TOP_K, T = 11, HEADS = 2, MAX_ROLES = 3 };

/* One layer with weights. */
typedef struct part {
  moec_layer *layer;
  moec_weights *weights;
  moec_tensor tensors[MAX_ROLES];
  int32_t num_roles;
  void *buffer, *workspace;
  size_t workspace_bytes;
} part;

static _Noreturn void give_up(const char *what) {
  char text[512];
  moec_last_error(text, sizeof text);
  fprintf(stderr, "switchall: %s: %s\n", what, text);
  exit(1);
}

static void check(moec_status status, const char *what) {
  if (status != MOEC_OK)
    give_up(what);
}

static void *allocate(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 4096, bytes ? bytes : 1) != 0)
    give_up("no memory");
  return p;
}

/* Near-normal numbers of mean 0: sums of two uniform ones. */
static void fill(float *data, size_t count, float deviation, uint64_t *state) {
  for (size_t i = 0; i < count; ++i) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    data[i] = deviation * 2.4495f * ((float)(*state >> 40 & 0xfff) + (float)(*state >> 52) - 4095.0f) / 4096;
  }
}

static part make_part(const moec_package *package, uint64_t *state) {
  part p = {0};
  moec_layer_info info = {.struct_size = sizeof info};
  size_t bytes;
  check(moec_layer_create(package, NULL, &p.layer), "create");
  check(moec_layer_get_info(p.layer, &info), "info");
  p.num_roles = info.num_roles;
  for (int32_t i = 0; i < info.num_roles && i < MAX_ROLES; ++i) {
    moec_tensor *tensor = &p.tensors[i];
    size_t count = 1;
    check(moec_layer_role(p.layer, i, &tensor->role, &tensor->rank, tensor->dims), "role");
    for (int32_t d = 0; d < tensor->rank; ++d)
      count *= (size_t)tensor->dims[d];
    float *data = allocate(count * 4);
    fill(data, count, 1 / sqrtf((float)tensor->dims[tensor->rank - 1]), state);
    tensor->data = data;
  }
  check(moec_layer_weights_bytes(p.layer, &bytes), "weights");
  p.buffer = allocate(bytes);
  check(moec_weights_pack(p.layer, p.tensors, (size_t)p.num_roles, p.buffer, bytes, &p.weights), "pack");
  check(moec_layer_workspace_bytes(p.layer, T, &p.workspace_bytes), "workspace");
  p.workspace = allocate(p.workspace_bytes);
  return p;
}

static void destroy_part(part *p) {
  moec_weights_destroy(p->weights);
  moec_layer_destroy(p->layer);
  for (int32_t i = 0; i < p->num_roles; ++i)
    free((void *)(uintptr_t)p->tensors[i].data);
  free(p->buffer);
  free(p->workspace);
}

static void run(const part *p, const float *x, float *y, moec_forward_args args) {
  args.struct_size = sizeof args;
  args.num_tokens = T;
  args.x = x;
  args.y = y;
  args.workspace = p->workspace;
  args.workspace_bytes = p->workspace_bytes;
  check(moec_layer_forward(p->layer, p->weights, &args), "forward");
}

static const float *weight_of(const part *p, const char *role) {
  for (int32_t i = 0; i < p->num_roles; ++i)
    if (strcmp(p->tensors[i].role, role) == 0)
      return p->tensors[i].data;
  give_up(role);
}

/* ---- the same in plain loops ------------------------------------------------------------------------------------- */

/* The K largest of `count` router rows for one token, weights sigmoid(z). */
static void choose(const float *router, int count, const double *x, int *ids, double *w) {
  double z[16];
  for (int e = 0; e < count; ++e) {
    z[e] = 0;
    for (int i = 0; i < H; ++i)
      z[e] += router[e * H + i] * x[i];
  }
  for (int j = 0; j < K; ++j) {
    int best = -1;
    for (int e = 0; e < count; ++e)
      if ((j == 0 || e != ids[0]) && (best < 0 || z[e] > z[best]))
        best = e;
    ids[j] = best;
    w[j] = 1 / (1 + exp(-z[best]));
  }
}

/* out += sum_j w_j * x W_{id_j}^T */
static void project(const float *experts, const int *ids, const double *w, const double *x, double *out) {
  for (int j = 0; j < K; ++j)
    for (int o = 0; o < H; ++o)
      for (int i = 0; i < H; ++i)
        out[o] += w[j] * experts[((size_t)ids[j] * H + (size_t)o) * H + (size_t)i] * x[i];
}

static void attend(double q[T][H], double k[T][H], double v[T][H], double out[T][H]) {
  for (int t = 0; t < T; ++t) {
    double a[T], high = -HUGE_VAL, sum = 0;
    for (int s = 0; s <= t; ++s) {
      a[s] = 0;
      for (int i = 0; i < H; ++i)
        a[s] += q[t][i] * k[s][i] / sqrt(H);
      high = a[s] > high ? a[s] : high;
    }
    for (int s = 0; s <= t; ++s)
      sum += a[s] = exp(a[s] - high);
    for (int i = 0; i < H; ++i) {
      out[t][i] = 0;
      for (int s = 0; s <= t; ++s)
        out[t][i] += a[s] / sum * v[s][i];
    }
  }
}

static void plain_head(const part *source, const part *shared, const part *destination, double x[T][H],
                       double sum[T][H]) {
  static double k[T][H], v[T][H], mixed[T][H];
  int ids[K];
  double w[K];
  memset(k, 0, sizeof k);
  memset(v, 0, sizeof v);
  for (int t = 0; t < T; ++t) {
    choose(weight_of(source, "router.weight"), SOURCE_NUM_EXPERTS, x[t], ids, w);
    project(weight_of(source, "experts.up"), ids, w, x[t], v[t]);
    project(weight_of(shared, "experts.up"), ids, w, x[t], k[t]);
  }
  attend(x, k, v, mixed);
  for (int t = 0; t < T; ++t) {
    choose(weight_of(destination, "router.weight"), DESTINATION_NUM_EXPERTS, x[t], ids, w);
    project(weight_of(destination, "experts.up"), ids, w, mixed[t], sum[t]);
  }
}

static void plain_feed_forward(const part *p, double y[T][H], double z[T][H]) {
  const float *up = weight_of(p, "experts.up"), *down = weight_of(p, "experts.down");
  size_t inner = (size_t)p->tensors[1].dims[1];
  int ids[K];
  double w[K];
  for (int t = 0; t < T; ++t) {
    memcpy(z[t], y[t], sizeof z[t]);
    choose(weight_of(p, "router.weight"), FEED_FORWARD_NUM_EXPERTS, y[t], ids, w);
    for (int j = 0; j < K; ++j)
      for (size_t n = 0; n < inner; ++n) {
        double h = 0;
        for (int i = 0; i < H; ++i)
          h += up[((size_t)ids[j] * inner + n) * H + (size_t)i] * y[t][i];
        for (int o = 0; o < H && h > 0; ++o)
          z[t][o] += w[j] * down[((size_t)ids[j] * H + (size_t)o) * inner + n] * h;
      }
  }
}

/* ---- the block
 * ----------------------------------------------------------------------------------------------------- */

static void widen(const float *from, double to[T][H]) {
  for (int i = 0; i < T * H; ++i)
    (&to[0][0])[i] = from[i];
}

/* One head by packages; adds to `sum` [T,H]. */
static void head(const part *source, const part *shared, const part *destination, const float *x, float *sum) {
  float *v = allocate(T * H * 4), *k = allocate(T * H * 4), *mixed = allocate(T * H * 4), *o = allocate(T * H * 4);
  int32_t ids[T * K];
  float w[T * K];
  static double dx[T][H], dk[T][H], dv[T][H], dm[T][H];
  run(source, x, v, (moec_forward_args){.out_ids = ids, .out_weights = w});
  run(shared, x, k, (moec_forward_args){.expert_ids = ids, .expert_weights = w});
  widen(x, dx);
  widen(k, dk);
  widen(v, dv);
  attend(dx, dk, dv, dm);
  for (int i = 0; i < T * H; ++i)
    mixed[i] = (float)(&dm[0][0])[i];
  run(destination, mixed, o, (moec_forward_args){.residual = x});
  for (int i = 0; i < T * H; ++i)
    sum[i] += o[i];
  free(v);
  free(k);
  free(mixed);
  free(o);
}

int main(void) {
  uint64_t state = 1;
  float *x = allocate(T * H * 4), *y = allocate(T * H * 4), *z = allocate(T * H * 4);
  static double dx[T][H], dy[T][H], dz[T][H];
  part feed_forward = make_part(feed_forward_package(), &state);
  fill(x, T * H, 1, &state);
  memcpy(y, x, T * H * 4);
  widen(x, dx);
  widen(x, dy);
  for (int h = 0; h < HEADS; ++h) {
    part source = make_part(source_package(), &state), shared = make_part(shared_routing_package(), &state);
    part destination = make_part(destination_package(), &state);
    head(&source, &shared, &destination, x, y);
    plain_head(&source, &shared, &destination, dx, dy);
    destroy_part(&source);
    destroy_part(&shared);
    destroy_part(&destination);
  }
  run(&feed_forward, y, z, (moec_forward_args){0});
  plain_feed_forward(&feed_forward, dy, dz);
  double error = 0, most = 0;
  for (int i = 0; i < T * H; ++i) {
    double got = z[i] + y[i], want = (&dz[0][0])[i];
    error = fmax(error, fabs(got - want));
    most = fmax(most, fabs(want));
  }
  destroy_part(&feed_forward);
  free(x);
  free(y);
  free(z);
  printf("switchall: %d heads, %d tokens, largest difference %.1e of %.1f\n", HEADS, T, error, most);
  return error <= 2e-5 * most ? 0 : 1;
}
