/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_plan.h - the CUDA blob of a package in -> typed pointers into it out, every index, span and string in range.
 */
#ifndef MOEC_RUNTIME_CUDA_CUDA_PLAN_H
#define MOEC_RUNTIME_CUDA_CUDA_PLAN_H

#include "runtime/moec_cuda_abi.h"
#include "runtime/plan/plan_view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bounds of what forward keeps on its stack and of what a blob may ask for. */
enum {
  MOEC_MAX_CUDA_TARGETS = 16,
  MOEC_MAX_CUDA_LAUNCHES = 1024,
  MOEC_MAX_CUDA_TABLES = 64,
  MOEC_MAX_CUDA_MAPS = 256,
  MOEC_MAX_CUDA_ROW_MAPS = 2, /* of one launch */
  MOEC_MAX_CUDA_SHARED = 1 << 20,
  MOEC_CUDA_NAME_ROOM = 16
};

typedef struct moec_cuda_target_view {
  const moec_cuda_target *target;
  const moec_cuda_launch *launches;
  const moec_cuda_param *params;
  const moec_cuda_table *tables;
  const moec_cuda_map *maps;
} moec_cuda_target_view;

typedef struct moec_cuda_plan {
  const moec_cuda_plan_header *header;
  const moec_cuda_target *targets;
  moec_weight_set weight_set;
  const char *strings;
  const moec_cuda_image *images;
} moec_cuda_plan;

/* Checks the CUDA part of a package whose `plan` is open. MOEC_ISA_MISSING if there is none, MOEC_VERSION_MISMATCH for
 * another layout, MOEC_INVALID_ARGUMENT for a blob that contradicts itself; the text names the entry. */
moec_status moec_cuda_plan_open(const moec_package *package, const moec_plan *plan, moec_cuda_plan *out_plan);

/* Target `index` of an open plan. */
moec_cuda_target_view moec_cuda_target_at(const moec_cuda_plan *plan, uint32_t index);

/* "sm_90a" or "sm_80" into `name`, which is returned. */
const char *moec_cuda_target_name(const moec_cuda_target *target, char name[MOEC_CUDA_NAME_ROOM]);

#ifdef __cplusplus
}
#endif
#endif
