/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * handwritten_package.c - the layer of examples/tiny.json as a package written by hand: the structs of moec_abi.h
 * filled in C, kernels as plain loops. It tests the boundary between packages and runtime, and shows what a generated
 * package is made of.
 *
 *   T tokens, E = 4 experts, K = 2, H = 8, I = 6, all f32
 *
 *   step      kind      args                                    result
 *   router    matmul    x, W_router -> logits                   logits[t,e]  = sum_h x[t,h] * Wr[e,h]
 *   route     rows      logits -> ids, weights                  softmax, the 2 largest, divided by their sum
 *   dispatch  dispatch  ids                                     rows grouped by expert
 *   ffn_up    matmul    x, W_gate_up -> h   (row_token)         h[r,i]       = silu(x[t]·Wg[e,i]) * (x[t]·Wu[e,i])
 *   ffn_down  matmul    h, W_down -> rows                       rows[r,:]    = h[r]·Wd[e,:]
 *   combine   rows      rows, slot_row, weights -> y            y[t,:]       = sum_j weights[t,j] *
 *             rows[slot_row[t,j],:]
 *   counts    counts    counts                                  only when the caller asked
 *
 * NOTE: each matmul step has three variants that compute the same sums; a variant that is given a number of rows its
 * cover does not send to it writes nothing, so that a wrong cover, block or chunk is seen as poison in y.
 */
#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { EXPERTS = 4, CHOICES = 2, HIDDEN = 8, INNER = 6, PANEL = 32, HALF = 16, MAX_TOKENS = 512 };

const moec_package *tiny_package(void);

/* ---- kernels --------------------------------------------------------------------------------------------------- */

/* exp(x) = 2^n * exp(r), |r| <= ln2/2, by a Taylor series of degree 8: kernels may not call libm. */
static float exp_f32(float x) {
  if (x > 88.0f)
    x = 88.0f;
  if (!(x > -87.0f))
    return x != x ? x : 0.0f;
  int n = (int)(x * 1.44269504f + (x < 0 ? -0.5f : 0.5f));
  float r = (x - (float)n * 0.693359375f) - (float)n * -2.12194440e-4f, term = 1.0f, sum = 1.0f;
  for (int i = 1; i <= 8; ++i) {
    term *= r / (float)i;
    sum += term;
  }
  uint32_t bits = (uint32_t)(n + 127) << 23;
  float scale;
  memcpy(&scale, &bits, sizeof(scale));
  return sum * scale;
}

/* sum_i a[i] * B[i, v] of one panel of `k` depths */
static float dot(const float *a, const float *panel, int k, int v) {
  float sum = 0.0f;
  for (int i = 0; i < k; ++i)
    sum += a[i] * panel[i * PANEL + v];
  return sum;
}

typedef struct rows_range {
  int32_t least, most;
} rows_range;

/* OUT[row, 32*panel + v] = A[row] · B[group, :, panel, v] for the columns below n; A rows through row_token if
 * given. */
static void plain_matmul(const moec_call *call, void *const *args, const int32_t *row_token, int k, int n,
                         rows_range can, int64_t first, int64_t last) {
  const float *a = args[0], *b = args[1];
  float *out = args[2];
  int panels = (n + PANEL - 1) / PANEL;
  for (int64_t i = first; i < last; ++i) {
    const moec_item *item = &call->items[i];
    if (item->rows < can.least || item->rows > can.most)
      continue;
    for (int32_t row = item->row0; row < item->row0 + item->rows; ++row)
      for (int32_t panel = item->panel0; panel < item->panel0 + item->panels; ++panel)
        for (int v = 0; v < PANEL && panel * PANEL + v < n; ++v)
          out[row * n + panel * PANEL + v] =
              dot(a + (row_token ? row_token[row] : row) * k, b + (item->group * panels + panel) * k * PANEL, k, v);
  }
}

static const rows_range one = {1, 1}, two = {2, 2}, many = {3, 4};

static void router(const moec_call *call, void *const *args, rows_range can, int64_t first, int64_t last) {
  plain_matmul(call, args, NULL, HIDDEN, EXPERTS, can, first, last);
}

static void ffn_down(const moec_call *call, void *const *args, rows_range can, int64_t first, int64_t last) {
  plain_matmul(call, args, NULL, INNER, HIDDEN, can, first, last);
}

/* args: x, W_gate_up, h, row_token. Virtual columns 0..15 are gate, 16..31 up. Scratch holds both sums of a row. */
static void ffn_up(const moec_call *call, void *const *args, float *scratch, rows_range can, int64_t first,
                   int64_t last) {
  const float *x = args[0], *b = args[1];
  float *h = args[2];
  const int32_t *row_token = args[3];
  for (int64_t i = first; i < last; ++i) {
    const moec_item *item = &call->items[i];
    if (item->rows < can.least || item->rows > can.most)
      continue;
    for (int32_t row = item->row0; row < item->row0 + item->rows; ++row) {
      for (int v = 0; v < PANEL; ++v)
        scratch[v] = dot(x + row_token[row] * HIDDEN, b + item->group * HIDDEN * PANEL, HIDDEN, v);
      for (int v = 0; v < INNER; ++v)
        h[row * INNER + v] = scratch[v] / (1.0f + exp_f32(-scratch[v])) * scratch[HALF + v];
    }
  }
}

#define VARIANT(step, rows)                                                                                            \
  static void step##_##rows(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {    \
    (void)scratch;                                                                                                     \
    step(call, args, rows, first, last);                                                                               \
  }
VARIANT(router, one)
VARIANT(router, two)
VARIANT(router, many)
VARIANT(ffn_down, one)
VARIANT(ffn_down, two)
VARIANT(ffn_down, many)

static void ffn_up_one(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  ffn_up(call, args, scratch, one, first, last);
}
static void ffn_up_two(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  ffn_up(call, args, scratch, two, first, last);
}
static void ffn_up_many(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  ffn_up(call, args, scratch, many, first, last);
}

/* Index of the largest value not in ids[0..taken): equal values: the lower index; NaN never wins over a number. */
static int32_t largest(const float *values, const int32_t *ids, int taken) {
  int32_t best = -1;
  for (int32_t e = 0; e < EXPERTS; ++e) {
    int used = 0;
    for (int j = 0; j < taken; ++j)
      used |= ids[j] == e;
    if (!used && (best < 0 || values[e] > values[best] || (values[best] != values[best] && values[e] == values[e])))
      best = e;
  }
  return best;
}

/* args: logits, ids, weights */
static void route(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  const float *logits = args[0];
  int32_t *ids = args[1];
  float *weights = args[2], *score = scratch;
  (void)call;
  for (int64_t t = first; t < last; ++t) {
    const float *row = logits + t * EXPERTS;
    float top = row[0], total = 0.0f, kept = 0.0f;
    for (int e = 1; e < EXPERTS; ++e)
      top = row[e] > top ? row[e] : top;
    for (int e = 0; e < EXPERTS; ++e)
      total += score[e] = exp_f32(row[e] - top);
    for (int e = 0; e < EXPERTS; ++e)
      score[e] /= total;
    for (int j = 0; j < CHOICES; ++j) {
      ids[t * CHOICES + j] = largest(score, ids + t * CHOICES, j);
      kept += weights[t * CHOICES + j] = score[ids[t * CHOICES + j]];
    }
    for (int j = 0; j < CHOICES; ++j)
      weights[t * CHOICES + j] /= kept;
  }
}

/* args: rows, slot_row, weights, y */
static void combine(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  const float *rows = args[0], *weights = args[2];
  const int32_t *slot_row = args[1];
  float *y = args[3];
  (void)call;
  (void)scratch;
  for (int64_t t = first; t < last; ++t)
    for (int h = 0; h < HIDDEN; ++h) {
      float sum = 0.0f;
      for (int64_t slot = t * CHOICES; slot < (t + 1) * CHOICES; ++slot)
        if (slot_row[slot] >= 0)
          sum += weights[slot] * rows[slot_row[slot] * HIDDEN + h];
      y[t * HIDDEN + h] = sum;
    }
}

enum { FN_ROUTER = 0, FN_ROUTE = 3, FN_FFN_UP = 4, FN_FFN_DOWN = 7, FN_COMBINE = 10, NUM_FUNCTIONS = 11 };

static const moec_kernel_fn functions[NUM_FUNCTIONS] = {router_one,   router_two,    router_many, route,
                                                        ffn_up_one,   ffn_up_two,    ffn_up_many, ffn_down_one,
                                                        ffn_down_two, ffn_down_many, combine};

/* ---- the plan -------------------------------------------------------------------------------------------------- */

enum {
  BUF_X,
  BUF_Y,
  BUF_W_ROUTER,
  BUF_LOGITS,
  BUF_IDS,
  BUF_WEIGHTS,
  BUF_COUNTS,
  BUF_W_GATE_UP,
  BUF_W_DOWN,
  BUF_H,
  BUF_ROWS,
  BUF_ROW_TOKEN,
  BUF_SLOT_ROW,
  NUM_BUFFERS
};
enum { STEP_ROUTER, STEP_ROUTE, STEP_DISPATCH, STEP_FFN_UP, STEP_FFN_DOWN, STEP_COMBINE, STEP_COUNTS, NUM_STEPS };
enum { NUM_ARGS = 19, NUM_COVERS = 8, NUM_ROLES = 4, NUM_WEIGHTS = 3 };

typedef struct tiny_strings {
  char empty[1], tiny[5], x[2], y[2], w_router[9], logits[7], ids[4], weights[8], counts[7], w_gate_up[10], w_down[7],
      h[2];
  char rows[5], row_token[10], slot_row[9], router[7], route[6], dispatch[9], ffn_up[7], ffn_down[9], combine[8];
  char router_weight[14], experts_gate[13], experts_up[11], experts_down[13];
  char gate_tensor[17], down_tensor[17];
} tiny_strings;

typedef struct tiny_plan {
  moec_plan_header header;
  moec_buffer buffers[NUM_BUFFERS];
  moec_step steps[NUM_STEPS];
  moec_role roles[NUM_ROLES];
  moec_weight weights[NUM_WEIGHTS];
  uint16_t args[NUM_ARGS];
  uint8_t covers[NUM_COVERS];
  tiny_strings strings;
} tiny_plan;

#define TEXT(name) ((uint32_t)offsetof(tiny_strings, name))
#define SPAN(member, n) {(uint32_t)offsetof(tiny_plan, member), (uint32_t)(n)}

/* Blocks of at most 4 rows: 1, 2, 3 or 4. Down: blocks of an even number of rows, the last of a group may be 1 or 3. */
#define MATMUL_VARIANTS(fn) {.first_fn = (fn), .num_variants = 3, .cover = 0, .max_rows = 4, .row_multiple = 1}
#define EVEN_VARIANTS(fn) {.first_fn = (fn), .num_variants = 3, .cover = 4, .max_rows = 4, .row_multiple = 2}
#define ROW_VARIANT(fn) {.first_fn = (fn), .num_variants = 1}

/* The same kernels for two ISAs: C compiled for the lowest one runs on both. */
#define BOTH(variants) .isa = {variants, variants}

static _Alignas(MOEC_PLAN_ALIGN)
    const tiny_plan plan =
        {
            .header =
                {
                    .magic = MOEC_ABI_MAGIC,
                    .abi_major = MOEC_ABI_MAJOR,
                    .abi_minor = MOEC_ABI_MINOR,
                    .header_bytes = sizeof(moec_plan_header),
                    .buffer_bytes = sizeof(moec_buffer),
                    .step_bytes = sizeof(moec_step),
                    .role_bytes = sizeof(moec_role),
                    .weight_bytes = sizeof(moec_weight),
                    .isa_mask = 1u << MOEC_ISA_BASELINE | 1u << MOEC_ISA_AVX2,
                    .determinism = 2,
                    .spec_hash = {1, 2, 3, 4, 5, 6, 7, 8},
                    .name = TEXT(tiny),
                    .x_dtype = MOEC_F32,
                    .y_dtype = MOEC_F32,
                    .num_experts = EXPERTS,
                    .top_k = CHOICES,
                    .hidden = HIDDEN,
                    .max_tokens = MAX_TOKENS,
                    .num_slots = 5,
                    .scratch_bytes = PANEL * sizeof(float),
                    .packed_bytes = 16384,
                    /* items: R = 2T rows in 4 groups make at most R/4 + 4 blocks, and at most R */
                    .items = {1, EXPERTS, 0},
                    .buffers = SPAN(buffers, NUM_BUFFERS),
                    .steps = SPAN(steps, NUM_STEPS),
                    .args = SPAN(args, NUM_ARGS),
                    .covers = SPAN(covers, NUM_COVERS),
                    .roles = SPAN(roles, NUM_ROLES),
                    .weights = SPAN(weights, NUM_WEIGHTS),
                    .strings = SPAN(strings, sizeof(tiny_strings)),
                    .total_bytes = sizeof(tiny_plan),
                },
            .buffers =
                {
                    [BUF_X] = {.kind = MOEC_BUFFER_INPUT,
                               .role = MOEC_ROLE_X,
                               .dtype = MOEC_F32,
                               .bytes = {HIDDEN * 4, 0, 0},
                               .name = TEXT(x),
                               .row_stride = HIDDEN * 4},
                    [BUF_Y] = {.kind = MOEC_BUFFER_OUTPUT,
                               .role = MOEC_ROLE_Y,
                               .dtype = MOEC_F32,
                               .bytes = {HIDDEN * 4, 0, 0},
                               .name = TEXT(y),
                               .row_stride = HIDDEN * 4},
                    [BUF_W_ROUTER] = {.kind = MOEC_BUFFER_WEIGHT,
                                      .slot = 0,
                                      .dtype = MOEC_F32,
                                      .bytes = {0, HIDDEN * PANEL * 4, 0},
                                      .name = TEXT(w_router)},
                    [BUF_LOGITS] = {.kind = MOEC_BUFFER_OPT_OUTPUT,
                                    .role = MOEC_ROLE_LOGITS,
                                    .slot = 0,
                                    .dtype = MOEC_F32,
                                    .bytes = {EXPERTS * 4, 0, 0},
                                    .name = TEXT(logits),
                                    .row_stride = EXPERTS * 4},
                    [BUF_IDS] = {.kind = MOEC_BUFFER_OPT_OUTPUT,
                                 .role = MOEC_ROLE_IDS,
                                 .slot = 1,
                                 .dtype = MOEC_I32,
                                 .bytes = {CHOICES * 4, 0, 0},
                                 .name = TEXT(ids),
                                 .row_stride = CHOICES * 4},
                    [BUF_WEIGHTS] = {.kind = MOEC_BUFFER_OPT_OUTPUT,
                                     .role = MOEC_ROLE_WEIGHTS,
                                     .slot = 2,
                                     .dtype = MOEC_F32,
                                     .bytes = {CHOICES * 4, 0, 0},
                                     .name = TEXT(weights),
                                     .row_stride = CHOICES * 4},
                    [BUF_COUNTS] = {.kind = MOEC_BUFFER_OPT_OUTPUT,
                                    .role = MOEC_ROLE_COUNTS,
                                    .slot = 3,
                                    .dtype = MOEC_I32,
                                    .bytes = {0, EXPERTS * 4, 0},
                                    .name = TEXT(counts)},
                    [BUF_W_GATE_UP] = {.kind = MOEC_BUFFER_WEIGHT,
                                       .slot = 1,
                                       .dtype = MOEC_F32,
                                       .bytes = {0, EXPERTS * HIDDEN * PANEL * 4, 0},
                                       .name = TEXT(w_gate_up)},
                    [BUF_W_DOWN] = {.kind = MOEC_BUFFER_WEIGHT,
                                    .slot = 2,
                                    .dtype = MOEC_F32,
                                    .bytes = {0, EXPERTS * INNER * PANEL * 4, 0},
                                    .name = TEXT(w_down)},
                    [BUF_H] = {.kind = MOEC_BUFFER_WORKSPACE,
                               .slot = 4,
                               .dtype = MOEC_F32,
                               .bytes = {CHOICES * INNER * 4, 0, 0},
                               .name = TEXT(h),
                               .row_stride = INNER * 4},
                    /* shares slot 0 with the logits, which nothing reads after `route` */
                    [BUF_ROWS] = {.kind = MOEC_BUFFER_WORKSPACE,
                                  .slot = 0,
                                  .dtype = MOEC_F32,
                                  .bytes = {CHOICES * HIDDEN * 4, 0, 0},
                                  .name = TEXT(rows),
                                  .row_stride = HIDDEN * 4},
                    [BUF_ROW_TOKEN] =
                        {.kind = MOEC_BUFFER_ROUTE,
                         .slot = MOEC_ROUTE_ROW_TOKEN,
                         .route = STEP_DISPATCH,
                         .dtype = MOEC_I32,
                         .bytes = {CHOICES * 4, 0, 0},
                         .name = TEXT(row_token)},
                    [BUF_SLOT_ROW] = {.kind = MOEC_BUFFER_ROUTE,
                                      .slot = MOEC_ROUTE_SLOT_ROW,
                                      .route = STEP_DISPATCH,
                                      .dtype = MOEC_I32,
                                      .bytes = {CHOICES * 4, 0, 0},
                                      .name = TEXT(slot_row)},
                },
            .steps =
                {
                    [STEP_ROUTER] = {.kind = MOEC_STEP_MATMUL,
                                     .route = MOEC_NO_ROUTE,
                                     .num_args = 3,
                                     .first_arg = 0,
                                     .name = TEXT(router),
                                     .num_panels = 1,
                                     .num_groups = 1,
                                     .flops_per_row = 2 * EXPERTS * HIDDEN,
                                     .bytes_per_group = HIDDEN * PANEL * 4,
                                     BOTH(MATMUL_VARIANTS(FN_ROUTER))},
                    [STEP_ROUTE] = {.kind = MOEC_STEP_ROWS,
                                    .route = MOEC_NO_ROUTE,
                                    .num_args = 3,
                                    .first_arg = 3,
                                    .name = TEXT(route),
                                    .rows_per_task = 3,
                                    BOTH(ROW_VARIANT(FN_ROUTE))},
                    [STEP_DISPATCH] = {.kind = MOEC_STEP_DISPATCH,
                                       .route = MOEC_NO_ROUTE,
                                       .num_args = 1,
                                       .first_arg = 6,
                                       .name = TEXT(dispatch),
                                       .num_groups = EXPERTS,
                                       .choices = CHOICES},
                    [STEP_FFN_UP] = {.kind = MOEC_STEP_MATMUL,
                                     .route = STEP_DISPATCH,
                                     .num_args = 4,
                                     .first_arg = 7,
                                     .name = TEXT(ffn_up),
                                     .num_panels = 1,
                                     .num_groups = EXPERTS,
                                     .flops_per_row = 4 * INNER * HIDDEN,
                                     .bytes_per_group = HIDDEN * PANEL * 4,
                                     BOTH(MATMUL_VARIANTS(FN_FFN_UP))},
                    [STEP_FFN_DOWN] = {.kind = MOEC_STEP_MATMUL,
                                       .route = STEP_DISPATCH,
                                       .num_args = 3,
                                       .first_arg = 11,
                                       .name = TEXT(ffn_down),
                                       .num_panels = 1,
                                       .num_groups = EXPERTS,
                                       .flops_per_row = 2 * INNER * HIDDEN,
                                       .bytes_per_group = INNER * PANEL * 4,
                                       BOTH(EVEN_VARIANTS(FN_FFN_DOWN))},
                    [STEP_COMBINE] = {.kind = MOEC_STEP_ROWS,
                                      .route = MOEC_NO_ROUTE,
                                      .num_args = 4,
                                      .first_arg = 14,
                                      .name = TEXT(combine),
                                      .rows_per_task = 5,
                                      BOTH(ROW_VARIANT(FN_COMBINE))},
                    [STEP_COUNTS] = {.kind = MOEC_STEP_COUNTS,
                                     .asked = 1u << MOEC_ROLE_COUNTS,
                                     .route = STEP_DISPATCH,
                                     .num_args = 1,
                                     .first_arg = 18,
                                     .name = TEXT(counts)},
                },
            .roles =
                {
                    {.name = TEXT(router_weight), .rank = 2, .matrix = 1, .dims = {EXPERTS, HIDDEN}},
                    {.name = TEXT(experts_gate),
                     .tensor = TEXT(gate_tensor),
                     .rank = 3,
                     .stack = MOEC_STACK_STACKED,
                     .axes = MOEC_AXES_IN_OUT,
                     .part = MOEC_PART_EVEN,
                     .expert_axis = 1,
                     .matrix = 1,
                     .dims = {EXPERTS, INNER, HIDDEN}},
                    {.name = TEXT(experts_up),
                     .tensor = TEXT(gate_tensor),
                     .rank = 3,
                     .stack = MOEC_STACK_STACKED,
                     .axes = MOEC_AXES_IN_OUT,
                     .part = MOEC_PART_ODD,
                     .expert_axis = 1,
                     .matrix = 1,
                     .dims = {EXPERTS, INNER, HIDDEN}},
                    {.name = TEXT(experts_down),
                     .tensor = TEXT(down_tensor),
                     .rank = 3,
                     .stack = MOEC_STACK_PER_EXPERT,
                     .expert_axis = 1,
                     .matrix = 1,
                     .dims = {EXPERTS, HIDDEN, INNER}},
                },
            .weights =
                {
                    {.layout = MOEC_LAYOUT_PANELS,
                     .dtype = MOEC_F32,
                     .parts = 1,
                     .role = {0, 0},
                     .groups = 1,
                     .n = EXPERTS,
                     .k = HIDDEN,
                     .panels = 1,
                     .n_padded = PANEL,
                     .k_padded = HIDDEN,
                     .offset = 4096,
                     .bytes = HIDDEN * PANEL * 4},
                    {.layout = MOEC_LAYOUT_PANELS,
                     .dtype = MOEC_F32,
                     .parts = 2,
                     .role = {1, 2},
                     .groups = EXPERTS,
                     .n = INNER,
                     .k = HIDDEN,
                     .panels = 1,
                     .n_padded = PANEL,
                     .k_padded = HIDDEN,
                     .offset = 8192,
                     .bytes = EXPERTS * HIDDEN * PANEL * 4},
                    {.layout = MOEC_LAYOUT_PANELS,
                     .dtype = MOEC_F32,
                     .parts = 1,
                     .role = {3, 3},
                     .groups = EXPERTS,
                     .n = HIDDEN,
                     .k = INNER,
                     .panels = 1,
                     .n_padded = PANEL,
                     .k_padded = INNER,
                     .offset = 12288,
                     .bytes = EXPERTS * INNER * PANEL * 4},
                },
            .args = {BUF_X, BUF_W_ROUTER, BUF_LOGITS,            /* router   */
                     BUF_LOGITS, BUF_IDS, BUF_WEIGHTS,           /* route    */
                     BUF_IDS,                                    /* dispatch */
                     BUF_X, BUF_W_GATE_UP, BUF_H, BUF_ROW_TOKEN, /* ffn_up   */
                     BUF_H, BUF_W_DOWN, BUF_ROWS,                /* ffn_down */
                     BUF_ROWS, BUF_SLOT_ROW, BUF_WEIGHTS, BUF_Y, /* combine  */
                     BUF_COUNTS},                                /* counts   */
            .covers = {0, 1, 2, 2, 0, 1, 2, 2},
            .strings = {"",
                        "tiny",
                        "x",
                        "y",
                        "w_router",
                        "logits",
                        "ids",
                        "weights",
                        "counts",
                        "w_gate_up",
                        "w_down",
                        "h",
                        "rows",
                        "row_token",
                        "slot_row",
                        "router",
                        "route",
                        "dispatch",
                        "ffn_up",
                        "ffn_down",
                        "combine",
                        "router.weight",
                        "experts.gate",
                        "experts.up",
                        "experts.down",
                        "experts.gate_up",
                        "experts.{e}.down"},
};

const moec_package *tiny_package(void) {
  static const moec_package package = {.magic = MOEC_ABI_MAGIC,
                                       .abi_major = MOEC_ABI_MAJOR,
                                       .abi_minor = MOEC_ABI_MINOR,
                                       .plan = &plan,
                                       .plan_bytes = sizeof(plan),
                                       .functions = functions,
                                       .num_functions = NUM_FUNCTIONS};
  return &package;
}
