/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * file_kind.c - what people pass instead of safetensors, known by how it begins.
 */
#include "runtime/weights/file_kind.h"

#include <string.h>

typedef struct kind_row {
  size_t length;
  const char *begin, *kind;
} kind_row;

#define PICKLE "a Python pickle, as torch.save writes .bin and .pt files; convert it to safetensors"

static const kind_row kinds[] = {
    {24, "version https://git-lfs.", "a git-lfs pointer to a file that was not downloaded; run \"git lfs pull\""},
    {4, "PK\3\4",
     "a zip archive of a Python pickle, as torch.save writes .bin and .pt files; convert it to safetensors"},
    {2, "\x80\2", PICKLE},
    {2, "\x80\3", PICKLE},
    {2, "\x80\4", PICKLE},
    {2, "\x80\5", PICKLE},
    {4, "GGUF", "a GGUF file; convert it to safetensors"},
    {6, "\x93NUMPY", "a NumPy array; pass it to moec_weights_pack or convert it to safetensors"},
    {4, "\x89HDF", "an HDF5 file; convert it to safetensors"},
    {8, "moecpack", "packed weights; map the file and pass it to moec_weights_map"},
    {9, "<!DOCTYPE", "an HTML page, perhaps of a failed download"},
    {9, "<!doctype", "an HTML page, perhaps of a failed download"},
    {5, "<html", "an HTML page, perhaps of a failed download"},
    {1, "{", "JSON, not a safetensors file"},
};

const char *moec_file_kind(const char *bytes, size_t count) {
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); ++i)
    if (count >= kinds[i].length && memcmp(bytes, kinds[i].begin, kinds[i].length) == 0)
      return kinds[i].kind;
  return NULL;
}
