/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checkpoint_set.c - a name -> the last of several checkpoints that holds it behind its prefix.
 */
#include "runtime/weights/checkpoint_set.h"

#include "runtime/status.h"

#include <stdio.h>
#include <string.h>

moec_status moec_checkpoints_open(const moec_weights_source *sources, size_t count, moec_checkpoint_set *out_set) {
  memset(out_set, 0, sizeof(*out_set));
  if (!sources)
    return moec_error(MOEC_NULL_POINTER, "sources is NULL");
  if (count < 1 || count > MOEC_MAX_SOURCES)
    return moec_error(MOEC_INVALID_ARGUMENT, "%zu sources, expected 1 to %d", count, MOEC_MAX_SOURCES);
  for (size_t i = 0; i < count; ++i) {
    if (!sources[i].path)
      return count > 1 ? moec_error(MOEC_NULL_POINTER, "sources[%zu]: path is NULL", i)
                       : moec_error(MOEC_NULL_POINTER, "path is NULL");
    moec_status status = moec_checkpoint_open(sources[i].path, &out_set->checkpoint[i]);
    if (status != MOEC_OK)
      return status;
    out_set->prefix[i] = sources[i].prefix ? sources[i].prefix : "";
    out_set->count = i + 1;
  }
  return MOEC_OK;
}

void moec_checkpoints_close(moec_checkpoint_set *set) {
  for (size_t i = 0; i < set->count; ++i)
    moec_checkpoint_close(set->checkpoint[i]);
  set->count = 0;
}

/* prefix + name; 0 if it does not fit. */
static int join(const moec_checkpoint_set *set, size_t source, const char *name, char full[MOEC_NAME_ROOM]) {
  int length = snprintf(full, MOEC_NAME_ROOM, "%s%s", set->prefix[source], name);
  return length >= 0 && length < MOEC_NAME_ROOM;
}

int moec_checkpoints_have(const moec_checkpoint_set *set, const char *name, moec_found_tensor *out_found) {
  for (size_t i = set->count; i-- > 0;)
    if (join(set, i, name, out_found->name) && moec_checkpoint_has(set->checkpoint[i], out_found->name)) {
      out_found->source = i;
      return 1;
    }
  return 0;
}

moec_status moec_name_too_long(const char *role) {
  return moec_error(MOEC_INVALID_ARGUMENT, "%s: its tensor name with prefix has more than %d bytes", role,
                    MOEC_FILE_MAX_NAME);
}

moec_status moec_checkpoints_find(moec_checkpoint_set *set, const char *role, const char *name,
                                  moec_found_tensor *out_found) {
  out_found->file = NULL;
  out_found->tensor = NULL;
  out_found->source = 0;
  for (size_t i = set->count; i-- > 0;)
    if (!join(set, i, name, out_found->name))
      return moec_name_too_long(role);
  if (moec_checkpoints_have(set, name, out_found))
    return moec_checkpoint_find(set->checkpoint[out_found->source], out_found->name, &out_found->file,
                                &out_found->tensor);
  join(set, 0, name, out_found->name);
  return MOEC_OK;
}

moec_status moec_checkpoints_check(const moec_checkpoint_set *set) {
  moec_status status = MOEC_OK;
  for (size_t i = 0; status == MOEC_OK && i < set->count; ++i)
    status = moec_checkpoint_check(set->checkpoint[i]);
  return status;
}

moec_status moec_checkpoints_miss(const moec_checkpoint_set *set, const char *role, const char *name) {
  char text[900], full[MOEC_NAME_ROOM];
  size_t used = 0;
  for (size_t i = 0; i < set->count && used < sizeof(text); ++i) {
    join(set, i, name, full);
    used += (size_t)snprintf(text + used, sizeof(text) - used, "%s\"%.256s\" %s %.256s", i ? ", nor " : "", full,
                             i ? "in" : "is not in", moec_checkpoint_path(set->checkpoint[i]));
  }
  return moec_error(MOEC_MISSING_WEIGHT, "%s: tensor %s", role, text);
}
