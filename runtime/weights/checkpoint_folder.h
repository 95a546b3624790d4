/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * checkpoint_folder.h - a folder in -> the safetensors file or the index to read out.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_CHECKPOINT_FOLDER_H
#define MOEC_RUNTIME_WEIGHTS_CHECKPOINT_FOLDER_H

#include "runtime/moec.h"

/* The path, malloc'd, by the order of checkpoint.h. MOEC_FILE if there is none or the choice is not clear: the text
 * names what the folder holds instead. MOEC_OUT_OF_MEMORY. */
moec_status moec_file_of_folder(const char *folder, char **out_path);

/* "folder/name", malloc'd, of the first `folder_length` bytes of `folder`; NULL when out of memory. */
char *moec_join_path(const char *folder, size_t folder_length, const char *name);

#endif
