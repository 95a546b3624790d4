/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checkpoint_folder.c - the names in a folder, counted by kind, -> the one to read.
 */
#include "runtime/weights/checkpoint_folder.h"

#include "runtime/status.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The names of one kind: how many, and the first in alphabetical order. */
typedef struct names {
  size_t count;
  char first[256];
} names;

typedef struct folder_contents {
  int single, index; /* whether model.safetensors and model.safetensors.index.json exist */
  names indexes, files, foreign;
} folder_contents;

static const char single_name[] = "model.safetensors", index_name[] = "model.safetensors.index.json";

static int ends_with(const char *name, const char *end) {
  size_t length = strlen(name), end_length = strlen(end);
  return length > end_length && strcmp(name + length - end_length, end) == 0;
}

static void add_name(names *list, const char *name) {
  if (list->count++ == 0 || strcmp(name, list->first) < 0)
    snprintf(list->first, sizeof(list->first), "%s", name);
}

static void add_entry(folder_contents *contents, const char *name) {
  static const char *const foreign[] = {".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".npz"};
  if (name[0] == '.')
    return;
  contents->single |= strcmp(name, single_name) == 0;
  contents->index |= strcmp(name, index_name) == 0;
  if (ends_with(name, ".safetensors.index.json"))
    add_name(&contents->indexes, name);
  else if (ends_with(name, ".safetensors"))
    add_name(&contents->files, name);
  for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); ++i)
    if (ends_with(name, foreign[i]))
      add_name(&contents->foreign, name);
}

static moec_status read_folder(const char *folder, folder_contents *contents) {
  DIR *stream = opendir(folder);
  char reason[128];
  if (!stream) {
    if (strerror_r(errno, reason, sizeof(reason)) != 0)
      snprintf(reason, sizeof(reason), "error %d", errno);
    return moec_error(MOEC_FILE, "%.256s: cannot be read: %s", folder, reason);
  }
  for (struct dirent *entry = readdir(stream); entry; entry = readdir(stream))
    add_entry(contents, entry->d_name);
  closedir(stream);
  return MOEC_OK;
}

static moec_status choose(const char *folder, const folder_contents *c, const char **out_name) {
  if (c->single || c->index) {
    *out_name = c->single ? single_name : index_name;
    return MOEC_OK;
  }
  if (c->indexes.count == 1 || (c->indexes.count == 0 && c->files.count == 1)) {
    *out_name = c->indexes.count ? c->indexes.first : c->files.first;
    return MOEC_OK;
  }
  if (c->indexes.count)
    return moec_error(MOEC_FILE, "%.256s: %zu indexes, \"%.200s\" is one; expected one, or the path of one", folder,
                      c->indexes.count, c->indexes.first);
  if (c->files.count)
    return moec_error(MOEC_FILE,
                      "%.256s: %zu safetensors files, \"%.200s\" is one, and no index; expected %s, or the path of one "
                      "file",
                      folder, c->files.count, c->files.first, index_name);
  if (c->foreign.count)
    return moec_error(MOEC_FILE, "%.256s: no safetensors file, but \"%.200s\"; convert it to safetensors", folder,
                      c->foreign.first);
  return moec_error(MOEC_FILE, "%.256s: the folder has neither %s nor %s", folder, single_name, index_name);
}

char *moec_join_path(const char *folder, size_t folder_length, const char *name) {
  size_t name_bytes = strlen(name) + 1;
  int slash = folder_length > 0 && folder[folder_length - 1] != '/';
  char *path = malloc(folder_length + (size_t)slash + name_bytes);
  if (!path)
    return NULL;
  memcpy(path, folder, folder_length);
  if (slash)
    path[folder_length] = '/';
  memcpy(path + folder_length + slash, name, name_bytes);
  return path;
}

moec_status moec_file_of_folder(const char *folder, char **out_path) {
  folder_contents contents;
  const char *name = NULL;
  memset(&contents, 0, sizeof(contents));
  moec_status status = read_folder(folder, &contents);
  if (status == MOEC_OK)
    status = choose(folder, &contents, &name);
  if (status != MOEC_OK)
    return status;
  *out_path = moec_join_path(folder, strlen(folder), name);
  return *out_path ? MOEC_OK : moec_error(MOEC_OUT_OF_MEMORY, "no memory for a path");
}
