/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checkpoint_set.h - one or several checkpoints, each with a prefix of its own, in -> tensors by the names that a spec
 * gives them out. The last checkpoint that holds a tensor is the one it is taken from, so that an adapter, named after
 * its base, may replace tensors of the base.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_CHECKPOINT_SET_H
#define MOEC_RUNTIME_WEIGHTS_CHECKPOINT_SET_H

#include "runtime/weights/checkpoint.h"
#include "runtime/weights/stored_role.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MOEC_MAX_SOURCES = 16 };

typedef struct moec_checkpoint_set {
  moec_checkpoint *checkpoint[MOEC_MAX_SOURCES];
  const char *prefix[MOEC_MAX_SOURCES]; /* the caller's; never NULL */
  size_t count;
} moec_checkpoint_set;

/* Opens every source; `sources` must outlive the set. Errors of moec_checkpoint_open, and MOEC_NULL_POINTER,
 * MOEC_INVALID_ARGUMENT. Close the set also after an error. */
moec_status moec_checkpoints_open(const moec_weights_source *sources, size_t count, moec_checkpoint_set *out_set);
void moec_checkpoints_close(moec_checkpoint_set *set);

/* Where a tensor is. */
typedef struct moec_found_tensor {
  size_t source;                  /* which checkpoint                                          */
  char name[MOEC_NAME_ROOM];      /* with its prefix; if nothing was found, that of source 0   */
  const moec_file *file;          /* NULL: not found                                           */
  const moec_file_tensor *tensor; /* NULL: not found                                           */
} moec_found_tensor;

/* Looks for `name`, which has no prefix, for `role`, which is for messages. MOEC_OK also if no checkpoint holds it.
 * MOEC_INVALID_ARGUMENT if the name with a prefix is too long; else errors of moec_checkpoint_find. */
moec_status moec_checkpoints_find(moec_checkpoint_set *set, const char *role, const char *name,
                                  moec_found_tensor *out_found);

/* Whether a checkpoint has a tensor called `name` behind its prefix, and which; opens nothing. */
int moec_checkpoints_have(const moec_checkpoint_set *set, const char *name, moec_found_tensor *out_found);

/* moec_checkpoint_check of all. */
moec_status moec_checkpoints_check(const moec_checkpoint_set *set);

/* The error of a name that no file can hold. */
moec_status moec_name_too_long(const char *role);

/* The error of a tensor that no checkpoint holds: all names, and the files where they are not. */
moec_status moec_checkpoints_miss(const moec_checkpoint_set *set, const char *role, const char *name);

#ifdef __cplusplus
}
#endif
#endif
