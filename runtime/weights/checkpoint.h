/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checkpoint.h - a safetensors file, an index of shards, or a folder in -> tensors by name out; a shard is opened when
 * the first of its tensors is asked for.
 *
 *   file     safetensors, or JSON: an index, whose shards lie in its folder
 *   folder   model.safetensors if it has one, otherwise model.safetensors.index.json, otherwise its only
 *            *.safetensors.index.json, otherwise its only *.safetensors
 */
#ifndef MOEC_RUNTIME_WEIGHTS_CHECKPOINT_H
#define MOEC_RUNTIME_WEIGHTS_CHECKPOINT_H

#include "runtime/weights/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moec_checkpoint moec_checkpoint;

/* MOEC_FILE, MOEC_FILE_FORMAT, MOEC_OUT_OF_MEMORY; the text names the file and the byte. */
moec_status moec_checkpoint_open(const char *path, moec_checkpoint **out_checkpoint);
void moec_checkpoint_close(moec_checkpoint *checkpoint); /* NULL is allowed */

/* The file or the index that is read, for messages. The checkpoint's storage. */
const char *moec_checkpoint_path(const moec_checkpoint *checkpoint);

/* Whether there is a tensor called `name`, as the file or the index says; opens nothing. */
int moec_checkpoint_has(const moec_checkpoint *checkpoint, const char *name);

/* The tensor called `name` and its file; `out_tensor` is NULL if moec_checkpoint_has says no. Errors of its shard as
 * moec_file_open gives them; MOEC_MISSING_WEIGHT if the shard does not hold it. */
moec_status moec_checkpoint_find(moec_checkpoint *checkpoint, const char *name, const moec_file **out_file,
                                 const moec_file_tensor **out_tensor);

/* Calls `visit` for the name of every tensor, sorted. `tensor` is NULL where only an index names it. */
void moec_checkpoint_names(const moec_checkpoint *checkpoint,
                           void (*visit)(void *context, const char *name, const moec_file_tensor *tensor),
                           void *context);

/* Call it when all tensors are found: MOEC_FILE_FORMAT if one of them is in another open shard, too. */
moec_status moec_checkpoint_check(const moec_checkpoint *checkpoint);

#ifdef __cplusplus
}
#endif
#endif
