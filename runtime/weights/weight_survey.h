/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weight_survey.h - a plan and open checkpoints in -> what moec_weights_load would say of every tensor out. Reads
 * headers only.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_WEIGHT_SURVEY_H
#define MOEC_RUNTIME_WEIGHTS_WEIGHT_SURVEY_H

#include "runtime/weights/checkpoint_set.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One tensor that a role takes. Everything lives until the report returns. */
typedef struct moec_surveyed_tensor {
  uint32_t role;                  /* index into the plan's roles                                            */
  int64_t expert;                 /* its number, 0 if the tensor holds all; -1: a file has too many experts */
  const char *name;               /* without prefix                                                         */
  const moec_found_tensor *found; /* found->tensor is NULL if there is none                                 */
  const moec_stored_role *stored; /* what is expected                                                       */
  moec_status status;             /* as of moec_weights_load                                                */
  const char *text;               /* its text, "" for MOEC_OK                                               */
} moec_surveyed_tensor;
typedef void (*moec_survey_fn)(void *context, const moec_surveyed_tensor *tensor);

/* Calls `report` for every tensor of every role, in the plan's order. Returns what moec_weights_load would: MOEC_OK,
 * the first error, or that of a tensor in two shards, which is not reported. */
moec_status moec_survey_checkpoints(const moec_plan *plan, moec_checkpoint_set *set, moec_survey_fn report,
                                    void *context);

#ifdef __cplusplus
}
#endif
#endif
