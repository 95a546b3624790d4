/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * handwritten_cuda.c - the CUDA part of the package of handwritten_package.c, written by hand: the structs of
 * moec_cuda_abi.h filled in C. Its images are not code; a driver of the tests runs the kernels (TinyCuda.cpp).
 *
 *   launch    params                                                     grid
 *   router    T, x, W_router, logits                                     a block per 4 tokens
 *   route     T, logits, ids, weights                                    a block per 4 tokens
 *   dispatch  T, ids, offsets, row_token, row_slot, slot_row, items      1
 *   ffn_up    x, W_gate_up or its map, h, offsets, row_token             <= 2 per SM; T < 16 and T >= 16
 *   ffn_down  h, W_down or its map, rows, offsets                        <= 2 per SM
 *   combine   T, rows, slot_row, weights, y                              a block per token
 *   counts    counts, offsets                                            1, only when the caller asked
 */
#include "runtime/moec_cuda_abi.h"

#include <stddef.h>

enum { EXPERTS = 4, HIDDEN = 8, INNER = 6, INNER_PADDED = 8, MAX_TOKENS = 512 };

/* Indices of the plan in handwritten_package.c. */
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
  BUF_SLOT_ROW
};
enum { STEP_ROUTER, STEP_ROUTE, STEP_DISPATCH, STEP_FFN_UP, STEP_FFN_DOWN, STEP_COMBINE, STEP_COUNTS };
enum { NUM_TARGETS = 2, NUM_LAUNCHES = 8, NUM_PARAMS = 31, NUM_WEIGHTS = 3, NUM_MAPS = 2 };

const moec_package *tiny_package(void);
const moec_package *tiny_cuda_package(void);

typedef struct cuda_strings {
  char empty[1], items[6], router[7], route[6], dispatch[9], up_90[14], up_80[13], down_90[16], down_80[15], combine[8],
      counts[7];
} cuda_strings;

typedef struct cuda_blob {
  moec_cuda_plan_header header;
  moec_cuda_target targets[NUM_TARGETS];
  moec_cuda_launch launches[NUM_TARGETS][NUM_LAUNCHES];
  moec_cuda_table tables[1];
  moec_cuda_map maps[NUM_MAPS];
  moec_weight weights[NUM_WEIGHTS];
  moec_cuda_param params[NUM_TARGETS][NUM_PARAMS];
  cuda_strings strings;
} cuda_blob;

#define TEXT(name) ((uint32_t)offsetof(cuda_strings, name))
#define SPAN(member, n) {(uint32_t)offsetof(cuda_blob, member), (uint32_t)(n)}

#define TOKENS {.kind = MOEC_CUDA_TOKENS}
#define BUFFER(i) {.kind = MOEC_CUDA_BUFFER, .index = (i)}
#define ROUTE(p) {.kind = MOEC_CUDA_ROUTE, .index = STEP_DISPATCH, .part = (p)}
#define TABLE(i) {.kind = MOEC_CUDA_TABLE, .index = (i)}
#define MAP(i) {.kind = MOEC_CUDA_MAP, .index = (i)}

#define PARAMS(up, down)                                                                                               \
  {TOKENS,                                                                                                             \
   BUFFER(BUF_X),                                                                                                      \
   BUFFER(BUF_W_ROUTER),                                                                                               \
   BUFFER(BUF_LOGITS),                                                                                                 \
   TOKENS,                                                                                                             \
   BUFFER(BUF_LOGITS),                                                                                                 \
   BUFFER(BUF_IDS),                                                                                                    \
   BUFFER(BUF_WEIGHTS),                                                                                                \
   TOKENS,                                                                                                             \
   BUFFER(BUF_IDS),                                                                                                    \
   ROUTE(MOEC_ROUTE_OFFSETS),                                                                                          \
   ROUTE(MOEC_ROUTE_ROW_TOKEN),                                                                                        \
   ROUTE(MOEC_ROUTE_ROW_SLOT),                                                                                         \
   ROUTE(MOEC_ROUTE_SLOT_ROW),                                                                                         \
   TABLE(0),                                                                                                           \
   BUFFER(BUF_X),                                                                                                      \
   up,                                                                                                                 \
   BUFFER(BUF_H),                                                                                                      \
   ROUTE(MOEC_ROUTE_OFFSETS),                                                                                          \
   BUFFER(BUF_ROW_TOKEN),                                                                                              \
   BUFFER(BUF_H),                                                                                                      \
   down,                                                                                                               \
   BUFFER(BUF_ROWS),                                                                                                   \
   ROUTE(MOEC_ROUTE_OFFSETS),                                                                                          \
   TOKENS,                                                                                                             \
   BUFFER(BUF_ROWS),                                                                                                   \
   BUFFER(BUF_SLOT_ROW),                                                                                               \
   BUFFER(BUF_WEIGHTS),                                                                                                \
   BUFFER(BUF_Y),                                                                                                      \
   BUFFER(BUF_COUNTS),                                                                                                 \
   ROUTE(MOEC_ROUTE_OFFSETS)}

#define LAUNCH(s, name, first, count, ...)                                                                             \
  {.step = (s),                                                                                                        \
   .symbol = TEXT(name),                                                                                               \
   .block_threads = 128,                                                                                               \
   .units_per_block = 1,                                                                                               \
   .max_tokens = MAX_TOKENS,                                                                                           \
   .first_param = (first),                                                                                             \
   .num_params = (count),                                                                                              \
   __VA_ARGS__}

#define LAUNCHES(up, down)                                                                                             \
  {LAUNCH(STEP_ROUTER, router, 0, 4, .units = {1, 0, 0}, .units_per_block = 4),                                        \
   LAUNCH(STEP_ROUTE, route, 4, 4, .units = {1, 0, 0}, .units_per_block = 4, .flags = MOEC_CUDA_OVERLAP),              \
   LAUNCH(STEP_DISPATCH, dispatch, 8, 7, .units = {0, 1, 0}, .flags = MOEC_CUDA_OVERLAP),                              \
   LAUNCH(STEP_FFN_UP, up, 15, 5, .units = {2, EXPERTS, 0}, .blocks_per_sm = 2, .shared_bytes = 50000,                 \
          .max_tokens = 15, .flags = MOEC_CUDA_OVERLAP),                                                               \
   LAUNCH(STEP_FFN_UP, up, 15, 5, .units = {2, EXPERTS, 0}, .blocks_per_sm = 2, .shared_bytes = 70000,                 \
          .min_tokens = 16, .flags = MOEC_CUDA_OVERLAP),                                                               \
   LAUNCH(STEP_FFN_DOWN, down, 20, 4, .units = {2, EXPERTS, 0}, .blocks_per_sm = 2, .flags = MOEC_CUDA_OVERLAP),       \
   LAUNCH(STEP_COMBINE, combine, 24, 5, .units = {1, 0, 0}, .flags = MOEC_CUDA_OVERLAP),                               \
   LAUNCH(STEP_COUNTS, counts, 29, 2, .units = {0, 1, 0})}

#if defined(__clang__)
#pragma clang diagnostic ignored "-Winitializer-overrides" /* LAUNCH's defaults */
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

#define TARGET(number, row, ...)                                                                                       \
  {.sm = (number),                                                                                                     \
   .launches = SPAN(launches[row], NUM_LAUNCHES),                                                                      \
   .params = SPAN(params[row], NUM_PARAMS),                                                                            \
   .tables = SPAN(tables, 1),                                                                                          \
   .first_image = 2 * (row),                                                                                           \
   .num_images = 2,                                                                                                    \
   __VA_ARGS__}

static _Alignas(MOEC_PLAN_ALIGN) const cuda_blob blob = {
    .header =
        {
            .magic = MOEC_CUDA_MAGIC,
            .header_bytes = sizeof(moec_cuda_plan_header),
            .target_bytes = sizeof(moec_cuda_target),
            .launch_bytes = sizeof(moec_cuda_launch),
            .param_bytes = sizeof(moec_cuda_param),
            .table_bytes = sizeof(moec_cuda_table),
            .map_bytes = sizeof(moec_cuda_map),
            .cuda_version = 13000,
            .packed_bytes = 16384,
            .targets = SPAN(targets, NUM_TARGETS),
            .weights = SPAN(weights, NUM_WEIGHTS),
            .strings = SPAN(strings, sizeof(cuda_strings)),
            .total_bytes = sizeof(cuda_blob),
        },
    .targets = {TARGET(90, 0, .exact = 1, .maps = SPAN(maps, NUM_MAPS)), TARGET(80, 1, .maps = SPAN(maps, 0))},
    .launches = {LAUNCHES(up_90, down_90), LAUNCHES(up_80, down_80)},
    .tables = {{.bytes = {16, 64, 0}, .name = TEXT(items)}},
    .maps = {{.weight = 1, .swizzle = 32, .box_n = 6, .box_k = 8}, {.weight = 2, .swizzle = 0, .box_n = 8, .box_k = 4}},
    .weights =
        {
            {.layout = MOEC_LAYOUT_ROWS,
             .dtype = 0,
             .parts = 1,
             .role = {0, 0},
             .groups = 1,
             .n = EXPERTS,
             .k = HIDDEN,
             .k_padded = HIDDEN,
             .offset = 4096,
             .bytes = EXPERTS * HIDDEN * 4},
            {.layout = MOEC_LAYOUT_ROWS,
             .dtype = 0,
             .parts = 2,
             .role = {1, 2},
             .groups = EXPERTS,
             .n = INNER,
             .k = HIDDEN,
             .k_padded = HIDDEN,
             .offset = 8192,
             .bytes = EXPERTS * 2 * INNER * HIDDEN * 4},
            {.layout = MOEC_LAYOUT_ROWS,
             .dtype = 0,
             .parts = 1,
             .role = {3, 3},
             .groups = EXPERTS,
             .n = HIDDEN,
             .k = INNER,
             .k_padded = INNER_PADDED,
             .offset = 12288,
             .bytes = EXPERTS * HIDDEN * INNER_PADDED * 4},
        },
    .params = {PARAMS(MAP(0), MAP(1)), PARAMS(BUFFER(BUF_W_GATE_UP), BUFFER(BUF_W_DOWN))},
    .strings = {"", "items", "router", "route", "dispatch", "ffn_up_sm_90a", "ffn_up_sm_80", "ffn_down_sm_90a",
                "ffn_down_sm_80", "combine", "counts"},
};

static const char cubin_90[] = "\177ELF sm_90a", ptx_90[] = ".version 8.0 sm_90a", cubin_80[] = "\177ELF sm_80",
                  ptx_80[] = ".version 8.0 sm_80";
static const moec_cuda_image images[] = {
    {cubin_90, sizeof(cubin_90)}, {ptx_90, sizeof(ptx_90)}, {cubin_80, sizeof(cubin_80)}, {ptx_80, sizeof(ptx_80)}};

const moec_package *tiny_cuda_package(void) {
  static moec_package package;
  package = *tiny_package();
  package.cuda_plan = &blob;
  package.cuda_plan_bytes = sizeof(blob);
  package.images = images;
  package.num_images = 4;
  return &package;
}
