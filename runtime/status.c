/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * status.c - status values and element types -> their names; error texts -> a fixed buffer per thread; the runtime's
 * version.
 */
#include "runtime/status.h"

#include <inttypes.h>
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

const char *moec_dtype_text(uint32_t dtype, char buffer[MOEC_DTYPE_TEXT]) {
  static const char *const names[] = {[MOEC_F32] = "f32", [MOEC_BF16] = "bf16",       [MOEC_F16] = "f16",
                                      [MOEC_I32] = "i32", [MOEC_FP8E4M3] = "fp8e4m3", [MOEC_FP8E5M2] = "fp8e5m2",
                                      [MOEC_I8] = "i8",   [MOEC_I4] = "i4",           [MOEC_MXFP4] = "mxfp4",
                                      [MOEC_U8] = "u8",   [MOEC_I64] = "i64",         [MOEC_F64] = "f64"};
  if (dtype < sizeof(names) / sizeof(names[0]) && names[dtype])
    return names[dtype];
  snprintf(buffer, MOEC_DTYPE_TEXT, "unknown (%" PRIu32 ")", dtype);
  return buffer;
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

static int between(unsigned char byte, unsigned first, unsigned last) { return byte >= first && byte <= last; }

/* Bytes of the character at `text`, which ends with NUL; 0: it is not one. */
static size_t character_bytes(const unsigned char *text) {
  unsigned char lead = text[0];
  size_t bytes = lead < 0x80                 ? 1
                 : between(lead, 0xc2, 0xdf) ? 2
                 : between(lead, 0xe0, 0xef) ? 3
                 : between(lead, 0xf0, 0xf4) ? 4
                                             : 0;
  /* No character has a longer form than it needs, is a surrogate or lies behind U+10FFFF. */
  unsigned first = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned last = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < bytes; ++i) {
    if (!between(text[i], first, last))
      return 0;
    first = 0x80;
    last = 0xbf;
  }
  return bytes;
}

size_t moec_whole_characters(const char *text, size_t length, size_t room) {
  size_t kept = length < room ? length : room;
  if (kept == length)
    return kept;
  while (kept && ((unsigned char)text[kept] & 0xc0) == 0x80)
    --kept;
  return kept;
}

/* Of a text that was cut: takes off what is left of its last character. */
static void drop_part_of_character(void) {
  size_t end = strlen(last_error), lead = end;
  while (lead && end - lead < 4 && ((unsigned char)last_error[lead - 1] & 0xc0) == 0x80)
    --lead;
  if (lead && character_bytes((const unsigned char *)last_error + lead - 1) == 0)
    last_error[lead - 1] = '\0';
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

moec_status moec_error(moec_status status, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int written = vsnprintf(last_error, sizeof(last_error), format, list);
  va_end(list);
  if (written < 0)
    last_error[0] = '\0';
  else if ((size_t)written >= sizeof(last_error))
    drop_part_of_character();
  /* Names in a text may come from a file or be cut, and whoever prints it may own a terminal or expect UTF-8. */
  for (char *c = last_error; *c;) {
    size_t bytes = character_bytes((const unsigned char *)c);
    if (!bytes || (unsigned char)*c < 0x20 || *c == 0x7f)
      *c = '?';
    c += bytes ? bytes : 1;
  }
  return status;
}

size_t moec_last_error(char *buffer, size_t n) {
  size_t length = strlen(last_error);
  if (buffer && n) {
    size_t kept = moec_whole_characters(last_error, length, n - 1);
    memcpy(buffer, last_error, kept);
    buffer[kept] = '\0';
  }
  return length;
}
