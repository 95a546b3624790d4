/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pack_regions.h - sources of all roles in -> the regions of a packed buffer in host memory out.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_PACK_REGIONS_H
#define MOEC_RUNTIME_WEIGHTS_PACK_REGIONS_H

#include "runtime/threads.h"
#include "runtime/weights/weight_source.h"

/* One pass over all regions; a unit is (weight, part, group), or a whole vector. A second pass adds up what they hold.
 * */
typedef struct moec_packing {
  const moec_plan *plan;
  const moec_weight_set *set; /* the layout: panels of the CPU, or rows of a GPU, also in host memory */
  const moec_role_source *sources;
  char *base;              /* of the packed buffer */
  int step;                /* 0 at first           */
  _Atomic uint64_t sum[2]; /* 0 at first; moec_checksum of all behind the header page when the passes are done */
} moec_packing;

/* The passes as a region of work; `packing` must outlive its run. They write every byte behind the header page. */
moec_region moec_packing_region(moec_packing *packing);

/* Writes the header page with the checksum, after the region has run. */
void moec_finish_packing(moec_packing *packing);

/* A pass over `bytes` bytes that adds up their checksum. */
typedef struct moec_summing {
  const char *bytes;
  uint64_t offset, count;  /* `bytes` begins at byte `offset` of what is summed, a multiple of 4 */
  int started;             /* 0 at first */
  _Atomic uint64_t sum[2]; /* 0 at first */
} moec_summing;
moec_region moec_summing_region(moec_summing *summing);

#endif
