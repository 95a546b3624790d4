/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * file_kind.h - the first bytes of a file that is not safetensors in -> what it is, for people, out.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_FILE_KIND_H
#define MOEC_RUNTIME_WEIGHTS_FILE_KIND_H

#include <stddef.h>

/* "a git-lfs pointer ...", with what to do about it; NULL for kinds it does not know. Static storage. */
const char *moec_file_kind(const char *bytes, size_t count);

#endif
