/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pack_regions.c - sources of all roles in -> the regions of a packed buffer in host memory out, one unit at a time.
 */
#include "runtime/weights/pack_regions.h"

#include "runtime/moec_cuda_abi.h"
#include "runtime/plan/weight_layout.h"
#include "runtime/weights/packed_header.h"

#include <string.h>

enum { SUM_UNIT = 1 << 20 };

static uint32_t units_of_weight(const moec_weight *weight) {
  if (weight->derived == MOEC_DERIVED_SHARED)
    return 0;
  return weight->layout == MOEC_LAYOUT_VECTOR ? 1 : weight->groups * weight->parts;
}

/* ---- checksums ------------------------------------------------------------------------------------------------- */

static uint32_t sum_units(uint64_t bytes) { return (uint32_t)((bytes + SUM_UNIT - 1) / SUM_UNIT); }

static void sum_unit(const char *bytes, uint64_t offset, uint64_t count, uint32_t unit, _Atomic uint64_t sum[2]) {
  uint64_t first = (uint64_t)unit * SUM_UNIT, left = count - first;
  moec_checksum part = moec_checksum_of(bytes + first, offset + first, left < SUM_UNIT ? left : SUM_UNIT);
  sum[0] += part.sum;
  sum[1] += part.weighted;
}

static uint32_t next_summing_step(void *context) {
  moec_summing *s = context;
  return s->started++ ? 0 : sum_units(s->count);
}

static void run_summing_unit(void *context, uint32_t unit, int32_t worker) {
  moec_summing *s = context;
  (void)worker;
  sum_unit(s->bytes, s->offset, s->count, unit, s->sum);
}

moec_region moec_summing_region(moec_summing *summing) {
  return (moec_region){summing, next_summing_step, run_summing_unit};
}

/* ---- packing --------------------------------------------------------------------------------------------------- */

/* Bytes of a region that packing its units writes; vectors are zeroed as a whole. */
static uint64_t packed_extent(const moec_weight *weight) {
  uint64_t size = (uint64_t)moec_dtype_bytes(weight->dtype);
  if (weight->layout == MOEC_LAYOUT_PANELS)
    return (uint64_t)moec_panel_offset(weight, weight->groups, 0, 0, 0) * size;
  if (weight->layout == MOEC_LAYOUT_ROWS)
    return (uint64_t)weight->groups * weight->parts * weight->n * weight->k_padded * size;
  return 0;
}

/* NOTE: bytes between regions are part of the file a caller may save; they are zero so that equal weights give equal
 * files. */
static void clear_gaps(const moec_packing *p) {
  const moec_weight_set *set = p->set;
  uint64_t begin = MOEC_WEIGHTS_HEADER_BYTES;
  for (uint32_t i = 0; i < set->count; ++i) {
    const moec_weight *weight = &set->weights[i];
    if (weight->derived == MOEC_DERIVED_SHARED)
      continue;
    memset(p->base + begin, 0, (size_t)(weight->offset - begin));
    begin = weight->offset + packed_extent(weight);
  }
  memset(p->base + begin, 0, (size_t)(set->packed_bytes - begin));
}

static uint32_t next_packing_step(void *context) {
  moec_packing *p = context;
  uint32_t units = 0;
  switch (p->step++) {
  case 0:
    clear_gaps(p);
    for (uint32_t i = 0; i < p->set->count; ++i)
      units += units_of_weight(&p->set->weights[i]);
    if (units)
      return units;
    ++p->step;
    return sum_units(p->set->packed_bytes - MOEC_WEIGHTS_HEADER_BYTES);
  case 1:
    return sum_units(p->set->packed_bytes - MOEC_WEIGHTS_HEADER_BYTES);
  default:
    return 0;
  }
}

static void pack_vector_members(const moec_packing *p, const moec_weight *weight) {
  memset(p->base + weight->offset, 0, (size_t)weight->bytes);
  for (int64_t group = 0; group < weight->groups; ++group) {
    moec_group_source source = moec_source_of_group(p->plan, p->sources, weight, 0, group);
    moec_pack_vector(weight, group * weight->n, source.weight.n, &source.view, p->base + weight->offset);
  }
}

static void pack_vector_region(const moec_packing *p, const moec_weight *weight) {
  const moec_role_source *source = &p->sources[weight->role[0]];
  const moec_role *role = &p->plan->roles[weight->role[0]];
  int64_t count = (int64_t)weight->groups * weight->n / source->experts;
  memset(p->base + weight->offset, 0, (size_t)weight->bytes);
  for (int64_t e = 0; e < source->experts; ++e) {
    moec_view view = moec_view_of(source, e);
    if (weight->derived == MOEC_DERIVED_SQUARES)
      moec_pack_squares(&view, weight->n, role->dims[role->rank - 1],
                        (float *)(p->base + weight->offset) + e * weight->n_padded);
    else
      moec_pack_vector(weight, e * count, count, &view, p->base + weight->offset);
  }
}

/* Rows of one (group, part); a member of a group may have fewer rows than the group has room for. */
static void pack_row_region(const moec_packing *p, const moec_weight *weight, int64_t part, int64_t group) {
  moec_group_source source = moec_source_of_group(p->plan, p->sources, weight, part, group);
  uint64_t part_bytes = packed_extent(weight) / weight->groups / weight->parts;
  char *rows = p->base + weight->offset + (uint64_t)(group * weight->parts + part) * part_bytes;
  uint64_t used = part_bytes / weight->n * source.weight.n;
  moec_pack_rows(&source.weight, 0, source.weight.n, &source.view, rows);
  memset(rows + used, 0, (size_t)(part_bytes - used));
}

static void pack_unit(void *context, uint32_t unit, int32_t worker) {
  moec_packing *p = context;
  const moec_weight *weight = p->set->weights;
  (void)worker;
  if (p->step > 1) {
    sum_unit(p->base + MOEC_WEIGHTS_HEADER_BYTES, MOEC_WEIGHTS_HEADER_BYTES,
             p->set->packed_bytes - MOEC_WEIGHTS_HEADER_BYTES, unit, p->sum);
    return;
  }
  for (; unit >= units_of_weight(weight); ++weight)
    unit -= units_of_weight(weight);
  if (weight->layout == MOEC_LAYOUT_VECTOR) {
    if (weight->role_per_group)
      pack_vector_members(p, weight);
    else
      pack_vector_region(p, weight);
    return;
  }
  int64_t part = unit % weight->parts, group = unit / weight->parts;
  if (weight->layout == MOEC_LAYOUT_ROWS) {
    pack_row_region(p, weight, part, group);
    return;
  }
  moec_group_source source = moec_source_of_group(p->plan, p->sources, weight, part, group);
  moec_pack_panels(&source.weight, part, group, &source.view, p->base + weight->offset);
}

moec_region moec_packing_region(moec_packing *packing) { return (moec_region){packing, next_packing_step, pack_unit}; }

void moec_finish_packing(moec_packing *packing) {
  const moec_checksum regions = {packing->sum[0], packing->sum[1]};
  moec_write_packed_header(packing->plan, packing->set, &regions, packing->base);
}
