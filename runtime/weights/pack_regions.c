/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pack_regions.c - sources of all roles in -> the regions of a packed buffer in host memory out, one unit at a time.
 */
#include "runtime/weights/pack_regions.h"

#include "runtime/plan/weight_layout.h"

#include <string.h>

static uint32_t units_of_weight(const moec_weight *weight) {
  return weight->layout == MOEC_LAYOUT_VECTOR ? 1 : weight->groups * weight->parts;
}

static uint32_t next_packing_step(void *context) {
  moec_packing *p = context;
  uint32_t units = 0;
  for (uint32_t i = 0; !p->started && i < p->plan->weight_set.count; ++i)
    units += units_of_weight(&p->plan->weight_set.weights[i]);
  p->started = 1;
  return units;
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

static void pack_unit(void *context, uint32_t unit, int32_t worker) {
  const moec_packing *p = context;
  const moec_weight *weight = p->plan->weight_set.weights;
  for (; unit >= units_of_weight(weight); ++weight)
    unit -= units_of_weight(weight);
  (void)worker;
  if (weight->layout == MOEC_LAYOUT_VECTOR) {
    if (weight->role_per_group)
      pack_vector_members(p, weight);
    else
      pack_vector_region(p, weight);
    return;
  }
  int64_t part = unit % weight->parts, group = unit / weight->parts;
  moec_group_source source = moec_source_of_group(p->plan, p->sources, weight, part, group);
  moec_pack_panels(&source.weight, part, group, &source.view, p->base + weight->offset);
}

moec_region moec_packing_region(moec_packing *packing) { return (moec_region){packing, next_packing_step, pack_unit}; }

/* NOTE: bytes between regions are part of the file a caller may save; they are zero so that equal weights give equal
 * files. */
void moec_clear_gaps(const moec_weight_set *set, char *base) {
  for (uint32_t i = 0; i < set->count; ++i) {
    const moec_weight *weight = &set->weights[i];
    uint64_t used = weight->offset;
    if (weight->layout == MOEC_LAYOUT_PANELS)
      used += (uint64_t)moec_panel_offset(weight, weight->groups, 0, 0, 0) * (uint64_t)moec_dtype_bytes(weight->dtype);
    uint64_t end = i + 1 < set->count ? set->weights[i + 1].offset : set->packed_bytes;
    memset(base + used, 0, (size_t)(end - used));
  }
}
