/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * stored_role.h - a role and its storage in -> names, shape and strides of the tensors that hold it in a checkpoint.
 *
 *   single, stacked      [E, out', in]      per_expert  E tensors [out', in]
 *   flat_rows            [E*out', in]       expert slowest
 *   interleaved_columns  [out', in*E]       column i of expert e is column i*E + e
 *
 * out' = 2*out where only a part is taken. in_out swaps the last two axes; vectors have no `in`. Halves of a vector may
 * also be the rows of a tensor [2, out].
 */
#ifndef MOEC_RUNTIME_WEIGHTS_STORED_ROLE_H
#define MOEC_RUNTIME_WEIGHTS_STORED_ROLE_H

#include "runtime/plan/plan_view.h"
#include "runtime/weights/safetensors.h"

enum { MOEC_NAME_ROOM = MOEC_FILE_MAX_NAME + 1 };

typedef struct moec_stored_role {
  int64_t dims[3]; /* expected shape of one tensor; more leading 1s are allowed */
  int32_t rank;
  int64_t tensors;                                     /* 1, or one per expert                          */
  int64_t out_stride, in_stride, first, expert_stride; /* in elements                                   */
  int32_t expert_axis;                                 /* axis of dims that experts lengthen, -1: none          */
  int32_t half_vector;                                 /* first or second half of a vector                      */
  int32_t integers;                                    /* may be I32 or I64: vectors                            */
  int32_t only_integers;                               /* may not be floats: ids                                */
} moec_stored_role;

moec_stored_role moec_storage_of(const moec_plan *plan, const moec_role *role);

/* Whether the shape of a tensor is the expected one, apart from leading 1s. */
int moec_shape_agrees(const moec_stored_role *stored, const moec_file_tensor *tensor);

/* How many experts a tensor holds that agrees in all but their number; 0: it differs otherwise. */
int64_t moec_experts_in(const moec_stored_role *stored, const moec_role *role, const moec_file_tensor *tensor);

/* The role's tensor of `expert`, every "{e}" replaced, without a prefix. 0: it does not fit. */
int moec_tensor_name(const moec_plan *plan, const moec_role *role, int64_t expert, char name[MOEC_NAME_ROOM]);

/* What the tensor of expert `expert` would be called where a checkpoint has more experts than the layer. 0: the role
 * has no tensor per expert, or the name does not fit. */
int moec_name_beyond(const moec_plan *plan, const moec_role *role, int64_t expert, char name[MOEC_NAME_ROOM]);

/* Whether a role of the plan takes the tensor `name`, which has no prefix. */
int moec_takes_tensor(const moec_plan *plan, const char *name);

#endif
