/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pack_regions.h - sources of all roles in -> the regions of a packed buffer in host memory out.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_PACK_REGIONS_H
#define MOEC_RUNTIME_WEIGHTS_PACK_REGIONS_H

#include "runtime/threads.h"
#include "runtime/weights/weight_source.h"

/* One pass over all regions; a unit is (weight, part, group), or a whole vector. */
typedef struct moec_packing {
  const moec_plan *plan;
  const moec_role_source *sources;
  char *base;  /* of the packed buffer */
  int started; /* 0 at first */
} moec_packing;

/* The pass as a region of work; `packing` must outlive its run. */
moec_region moec_packing_region(moec_packing *packing);

/* Zeros the bytes between regions and behind the last one. */
void moec_clear_gaps(const moec_weight_set *set, char *base);

#endif
