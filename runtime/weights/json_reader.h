/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * json_reader.h - JSON of unknown origin in -> its pieces, in the order of the text, out.
 *
 * A grammar is written as calls, one for each piece. Every call gives 1, or 0 after the first error, which stays in
 * `status`; the text says where the reader was and what it expected. No call reads past the end or recurses.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_JSON_READER_H
#define MOEC_RUNTIME_WEIGHTS_JSON_READER_H

#include "runtime/moec.h"

enum { MOEC_JSON_MAX_DEPTH = 128 };

typedef struct moec_json {
  const char *path; /* of the file, for messages                       */
  const char *part; /* of the file, for messages: "header", "index"    */
  const char *text;
  size_t bytes, at;
  moec_status status;
} moec_json;

/* MOEC_FILE_FORMAT: "PATH: PART byte AT: expected EXPECTED". */
int moec_json_fail(moec_json *json, const char *expected);

/* The next character after spaces, 0 at the end; it is not taken. */
char moec_json_peek(moec_json *json);

int moec_json_take(moec_json *json, char c, const char *expected);

/* Opens an object ('{') or an array ('['); `out_more` is 0 if it is empty, and then it is closed too. */
int moec_json_open(moec_json *json, char open, int *out_more);

/* After an element: `out_more` is 1 at a comma, 0 at `close`. */
int moec_json_more(moec_json *json, char close, int *out_more);

/* Decodes a string into out[0..limit], NUL-terminated. Longer strings and strings with NUL are refused. */
int moec_json_string(moec_json *json, char *out, size_t limit, size_t *out_length);

/* The same into storage that grows: `*free` is its free part, which has room for `limit` + 1 bytes, and moves on. */
int moec_json_keep(moec_json *json, char **free, size_t limit, const char **out_text);

/* A key and the ':' after it. A key that has no room in out[0..limit], or that holds NUL, gives "". */
int moec_json_key(moec_json *json, char *out, size_t limit);

/* An integer 0 .. 2^63-1 without sign, fraction or exponent. */
int moec_json_integer(moec_json *json, int64_t *out_value);

/* A string of any length. */
int moec_json_skip_string(moec_json *json);

/* Any value, at most MOEC_JSON_MAX_DEPTH objects and arrays deep. */
int moec_json_skip(moec_json *json);

/* Takes `null` if it is next. */
int moec_json_null(moec_json *json);

/* Nothing but spaces is left. */
int moec_json_end(moec_json *json);

#endif
