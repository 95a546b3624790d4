/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * status.c - status values -> their names; error texts -> a fixed buffer per thread; the runtime's version.
 */
#include "runtime/status.h"

#include <stdio.h>
#include <string.h>

static _Thread_local char last_error[1024];

static const char *const status_names[] = {
    "MOEC_OK",
    "MOEC_INVALID_ARGUMENT",
    "MOEC_NULL_POINTER",
    "MOEC_SHAPE",
    "MOEC_DTYPE",
    "MOEC_ALIGNMENT",
    "MOEC_OVERLAP",
    "MOEC_STRIDE",
    "MOEC_WORKSPACE_TOO_SMALL",
    "MOEC_TOKENS_OUT_OF_RANGE",
    "MOEC_INVALID_HANDLE",
    "MOEC_UNSUPPORTED_DEVICE",
    "MOEC_ISA_MISSING",
    "MOEC_OUT_OF_MEMORY",
    "MOEC_DEVICE_ERROR",
    "MOEC_VERSION_MISMATCH",
    "MOEC_INTERNAL",
    "MOEC_MISSING_WEIGHT",
    "MOEC_FILE",
    "MOEC_FILE_FORMAT",
};

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *moec_version(void) { return VERSION_TEXT(MOEC_VERSION_MAJOR, MOEC_VERSION_MINOR, MOEC_VERSION_PATCH); }

const char *moec_status_name(moec_status status) {
  size_t index = (size_t)status;
  if (index >= sizeof(status_names) / sizeof(status_names[0]))
    return "MOEC_UNKNOWN_STATUS";
  return status_names[index];
}

moec_status moec_error(moec_status status, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int written = vsnprintf(last_error, sizeof(last_error), format, list);
  va_end(list);
  if (written < 0)
    last_error[0] = '\0';
  /* Names in a text may come from a file, and whoever prints it may own a terminal. */
  for (char *c = last_error; *c; ++c)
    if ((unsigned char)*c < 0x20 || *c == 0x7f)
      *c = '?';
  return status;
}

size_t moec_last_error(char *buffer, size_t n) {
  size_t length = strlen(last_error);
  if (buffer && n) {
    size_t kept = length < n - 1 ? length : n - 1;
    memcpy(buffer, last_error, kept);
    buffer[kept] = '\0';
  }
  return length;
}
