/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * status.h - a status and a printf text in -> the calling thread's last error out; what texts are made of.
 */
#ifndef MOEC_RUNTIME_STATUS_H
#define MOEC_RUNTIME_STATUS_H

#include "runtime/moec.h"

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Keeps the formatted text as this thread's last error and returns `status`, so that callers write
 * `return moec_error(MOEC_SHAPE, "...")`. Texts longer than the buffer are cut between two characters; control
 * characters and bytes that are not UTF-8 become '?'. Allocates nothing. */
moec_status moec_error(moec_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "bf16", or "unknown (77)" in `buffer`. */
enum { MOEC_DTYPE_TEXT = 24 };
const char *moec_dtype_text(uint32_t dtype, char buffer[MOEC_DTYPE_TEXT]);

/* How many of the first `room` bytes of a text (`length` bytes of UTF-8) are whole characters. */
size_t moec_whole_characters(const char *text, size_t length, size_t room);

#ifdef __cplusplus
}
#endif
#endif
