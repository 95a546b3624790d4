/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * json.h - a JSON document in -> its values out, read by the runtime's reader. Numbers are whole and at least 0:
 * `moec tune --prepare` writes no others.
 */
#ifndef RUNNER_JSON_H
#define RUNNER_JSON_H

#include "runtime/moec.h"

#include <stddef.h>
#include <stdint.h>

typedef enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind;

typedef struct json_value {
  json_kind kind;
  const char *key;  /* of a member; NULL: of an element */
  const char *text; /* JSON_STRING */
  int64_t number;   /* JSON_NUMBER; JSON_BOOL: 0 or 1 */
  struct json_value *first, *next;
} json_value;

/* The document's value; free() of it frees all. NULL: `status` says why, and moec_last_error what was expected
 * where. `path` is for messages. */
json_value *json_read(const char *path, const char *text, size_t bytes, moec_status *status);

/* The member of that kind; NULL: `object` is NULL or has none. */
const json_value *json_member(const json_value *object, const char *key, json_kind kind);
/* Its text or whole number; NULL or `otherwise` if there is none. */
const char *json_text(const json_value *object, const char *key);
int64_t json_integer(const json_value *object, const char *key, int64_t otherwise);
size_t json_count(const json_value *list); /* of elements or members */

#endif
