/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pack.c - source rows -> panels or padded rows, by way of a block of 16 columns and 32 depths that stays in the
 * first-level cache.
 *
 *   source (any strides, any alignment) --gather, convert--> block [16 columns][32 depths] --transpose--> panel
 *
 * Types that agree are copied as bits; others go through f32, which holds bf16 and f16 exactly, and are rounded once.
 */
#include "runtime/weights/pack.h"

#include "runtime/plan/plan_view.h"
#include "runtime/plan/weight_layout.h"
#include "runtime/weights/float_convert.h"

#include <string.h>

/* Both forms of a block; zero where the source has no element. */
typedef struct block {
  float f32[MOEC_HALF_PANEL][MOEC_BLOCK_K];
  uint16_t bits[MOEC_HALF_PANEL][MOEC_BLOCK_K];
} block;

static uint16_t read_u16(const char *source) {
  uint16_t bits;
  memcpy(&bits, source, sizeof(bits));
  return bits;
}

static float read_f32(const char *source) {
  float value;
  memcpy(&value, source, sizeof(value));
  return value;
}

static int64_t read_int(const char *source, size_t bytes) {
  int32_t narrow = 0;
  int64_t wide = 0;
  memcpy(bytes == 4 ? (void *)&narrow : (void *)&wide, source, bytes);
  return bytes == 4 ? narrow : wide;
}

/* target[i * target_stride] = source element i * source_stride as f32, for count elements. */
static void convert_run(float *target, int64_t target_stride, const char *source, int64_t source_stride,
                        moec_dtype dtype, int64_t count) {
  switch (dtype) {
  case MOEC_BF16:
    for (int64_t i = 0; i < count; ++i)
      target[i * target_stride] = moec_f32_of_bf16(read_u16(source + 2 * i * source_stride));
    return;
  case MOEC_F16:
    for (int64_t i = 0; i < count; ++i)
      target[i * target_stride] = moec_f32_of_f16(read_u16(source + 2 * i * source_stride));
    return;
  case MOEC_I32:
    for (int64_t i = 0; i < count; ++i)
      target[i * target_stride] = (float)(int32_t)read_int(source + 4 * i * source_stride, 4);
    return;
  case MOEC_I64:
    for (int64_t i = 0; i < count; ++i)
      target[i * target_stride] = (float)read_int(source + 8 * i * source_stride, 8);
    return;
  default:
    for (int64_t i = 0; i < count; ++i)
      target[i * target_stride] = read_f32(source + 4 * i * source_stride);
  }
}

static void copy_run(uint16_t *target, int64_t target_stride, const char *source, int64_t source_stride,
                     int64_t count) {
  if (target_stride == 1 && source_stride == 1)
    memcpy(target, source, (size_t)count * sizeof(*target));
  else
    for (int64_t i = 0; i < count; ++i)
      target[i * target_stride] = read_u16(source + 2 * i * source_stride);
}

static const char *element(const moec_view *view, int64_t out, int64_t in) {
  return (const char *)view->data + (out * view->out_stride + in * view->in_stride) * moec_dtype_bytes(view->dtype);
}

/* Reads columns out..out+outs-1, depths in..in+ins-1 along whichever axis is denser in memory. */
static void load_f32(const moec_view *view, int64_t out, int64_t outs, int64_t in, int64_t ins, block *b) {
  if (view->in_stride <= view->out_stride)
    for (int64_t o = 0; o < outs; ++o)
      convert_run(b->f32[o], 1, element(view, out + o, in), view->in_stride, view->dtype, ins);
  else
    for (int64_t i = 0; i < ins; ++i)
      convert_run(&b->f32[0][i], MOEC_BLOCK_K, element(view, out, in + i), view->out_stride, view->dtype, outs);
}

static void load_bits(const moec_view *view, int64_t out, int64_t outs, int64_t in, int64_t ins, block *b) {
  if (view->in_stride <= view->out_stride)
    for (int64_t o = 0; o < outs; ++o)
      copy_run(b->bits[o], 1, element(view, out + o, in), view->in_stride, ins);
  else
    for (int64_t i = 0; i < ins; ++i)
      copy_run(&b->bits[0][i], MOEC_BLOCK_K, element(view, out, in + i), view->out_stride, outs);
}

/* b->bits = b->f32 rounded to `dtype` */
static void round_block(uint32_t dtype, block *b) {
  const float *from = &b->f32[0][0];
  uint16_t *to = &b->bits[0][0];
  for (int i = 0; i < MOEC_TILE_ELEMENTS; ++i)
    to[i] = dtype == MOEC_BF16 ? moec_bf16_of_f32(from[i]) : moec_f16_of_f32(from[i]);
}

/* One tile: pairs of depths of 16 columns become adjacent, a transpose of 16 x 16 words of two elements. */
static void store_tile(const block *b, uint16_t *tile) {
  for (int pair = 0; pair < MOEC_BLOCK_K / 2; ++pair)
    for (int column = 0; column < MOEC_HALF_PANEL; ++column)
      memcpy(tile + pair * MOEC_PANEL_COLUMNS + column * 2, &b->bits[column][pair * 2], 2 * sizeof(uint16_t));
}

static void store_f32(const block *b, int64_t depths, float *panel_depth) {
  for (int64_t i = 0; i < depths; ++i)
    for (int column = 0; column < MOEC_HALF_PANEL; ++column)
      panel_depth[i * MOEC_PANEL_COLUMNS + column] = b->f32[column][i];
}

/* Fills 16 virtual columns from `v` of one panel with source columns out..out+outs-1, over the whole depth. */
static void pack_half_panel(const moec_weight *weight, int64_t group, int64_t panel, int64_t v, int64_t out,
                            int64_t outs, const moec_view *view, void *region) {
  int same_type = weight->dtype != MOEC_F32 && (uint32_t)view->dtype == weight->dtype;
  block b;
  memset(&b, 0, sizeof(b));
  for (int64_t in = 0; in < weight->k_padded; in += MOEC_BLOCK_K) {
    int64_t left = (int64_t)weight->k - in;
    int64_t ins = left < 0 ? 0 : left < MOEC_BLOCK_K ? left : MOEC_BLOCK_K;
    if (ins < MOEC_BLOCK_K)
      memset(&b, 0, sizeof(b));
    int64_t offset = moec_panel_offset(weight, group, panel, in, v);
    if (same_type)
      load_bits(view, out, outs, in, ins, &b);
    else
      load_f32(view, out, outs, in, ins, &b);
    if (weight->dtype == MOEC_F32) {
      int64_t depths = (int64_t)weight->k_padded - in;
      store_f32(&b, depths < MOEC_BLOCK_K ? depths : MOEC_BLOCK_K, (float *)region + offset);
      continue;
    }
    if (!same_type)
      round_block(weight->dtype, &b);
    store_tile(&b, (uint16_t *)region + offset);
  }
}

void moec_pack_panels(const moec_weight *weight, int64_t part, int64_t group, const moec_view *view, void *region) {
  int64_t half_panels = (int64_t)weight->panels * (2 / weight->parts);
  for (int64_t half = 0; half < half_panels; ++half) {
    int64_t out = half * MOEC_HALF_PANEL, left = (int64_t)weight->n - out;
    int64_t outs = left < 0 ? 0 : left < MOEC_HALF_PANEL ? left : MOEC_HALF_PANEL;
    int64_t panel, v;
    moec_panel_column(weight, part, out, &panel, &v);
    pack_half_panel(weight, group, panel, v, out, outs, view, region);
  }
}

/* Depths in..in+depths-1 of a block's first `outs` columns become runs of as many rows of `k_padded` elements. */
static void store_rows(const moec_weight *weight, const block *b, int64_t outs, int64_t in, int64_t depths,
                       void *rows) {
  for (int64_t o = 0; o < outs; ++o) {
    int64_t at = o * weight->k_padded + in;
    if (weight->dtype == MOEC_F32)
      memcpy((float *)rows + at, b->f32[o], (size_t)depths * sizeof(float));
    else
      memcpy((uint16_t *)rows + at, b->bits[o], (size_t)depths * sizeof(uint16_t));
  }
}

/* At most 16 rows. */
static void pack_row_block(const moec_weight *weight, int64_t out, int64_t outs, const moec_view *view, void *rows) {
  int same_type = weight->dtype != MOEC_F32 && (uint32_t)view->dtype == weight->dtype;
  block b;
  memset(&b, 0, sizeof(b));
  for (int64_t in = 0; in < weight->k_padded; in += MOEC_BLOCK_K) {
    int64_t left = (int64_t)weight->k - in, depths = (int64_t)weight->k_padded - in;
    int64_t ins = left < 0 ? 0 : left < MOEC_BLOCK_K ? left : MOEC_BLOCK_K;
    if (ins < MOEC_BLOCK_K)
      memset(&b, 0, sizeof(b));
    if (same_type)
      load_bits(view, out, outs, in, ins, &b);
    else
      load_f32(view, out, outs, in, ins, &b);
    if (!same_type && weight->dtype != MOEC_F32)
      round_block(weight->dtype, &b);
    store_rows(weight, &b, outs, in, depths < MOEC_BLOCK_K ? depths : MOEC_BLOCK_K, rows);
  }
}

void moec_pack_rows(const moec_weight *weight, int64_t first, int64_t count, const moec_view *view, void *rows) {
  int64_t row_bytes = weight->k_padded * moec_dtype_bytes(weight->dtype);
  for (int64_t done = 0; done < count; done += MOEC_HALF_PANEL) {
    int64_t outs = count - done < MOEC_HALF_PANEL ? count - done : MOEC_HALF_PANEL;
    pack_row_block(weight, first + done, outs, view, (char *)rows + done * row_bytes);
  }
}

void moec_pack_vector(const moec_weight *weight, int64_t first, int64_t count, const moec_view *view, void *region) {
  for (int64_t i = 0; i < count; ++i) {
    int64_t group = (first + i) / weight->n, n = (first + i) % weight->n;
    convert_run((float *)region + group * weight->n_padded + n, 1, element(view, i, 0), 1, view->dtype, 1);
  }
}

void moec_pack_squares(const moec_view *view, int64_t count, int64_t depth, float *sums) {
  for (int64_t n = 0; n < count; ++n) {
    double sum = 0;
    float run[MOEC_BLOCK_K];
    for (int64_t i = 0; i < depth; i += MOEC_BLOCK_K) {
      int64_t left = depth - i < MOEC_BLOCK_K ? depth - i : MOEC_BLOCK_K;
      convert_run(run, 1, element(view, n, i), view->in_stride, view->dtype, left);
      for (int64_t j = 0; j < left; ++j)
        sum += (double)run[j] * run[j];
    }
    sums[n] = (float)sum;
  }
}
