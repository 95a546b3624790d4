/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * status.h - a status and a printf text in -> the calling thread's last error out.
 */
#ifndef MOEC_RUNTIME_STATUS_H
#define MOEC_RUNTIME_STATUS_H

#include "runtime/moec.h"

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Keeps the formatted text as this thread's last error and returns `status`, so that callers write
 * `return moec_error(MOEC_SHAPE, "...")`. Texts longer than the buffer are cut. Allocates nothing. */
moec_status moec_error(moec_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
