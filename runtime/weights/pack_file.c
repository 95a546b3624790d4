/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pack_file.c - a plan and open checkpoints in -> a packed buffer in host memory out.
 */
#include "runtime/weights/pack_file.h"

#include "runtime/status.h"
#include "runtime/weights/pack_regions.h"

moec_status moec_pack_checkpoints(const moec_plan *plan, const moec_weight_set *set, moec_checkpoint_set *checkpoints,
                                  moec_pool *pool, void *buffer) {
  moec_role_source *sources = moec_sources_create(plan);
  if (!sources)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for the tensor table");
  moec_status status = moec_sources_from_checkpoints(plan, checkpoints, sources);
  if (status == MOEC_OK) {
    moec_packing packing = {.plan = plan, .set = set, .sources = sources, .base = buffer};
    moec_region region = moec_packing_region(&packing);
    if (pool)
      moec_pool_run(pool, &region);
    else
      moec_region_run_alone(&region);
    moec_finish_packing(&packing);
  }
  moec_sources_destroy(plan, sources);
  return status;
}
