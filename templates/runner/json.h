/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * json.h - the text of a JSON document in -> its values, in place.
 *
 * Texts of values point into the given text, which is changed: strings are unescaped and ended by a NUL there. Escapes
 * beyond ASCII (\u0080 and more) are refused, because `moec tune --prepare` writes none.
 */
#ifndef RUNNER_JSON_H
#define RUNNER_JSON_H

#include <stddef.h>
#include <stdint.h>

typedef enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind;

typedef struct json_value {
  json_kind kind;
  const char *key;  /* of a member; NULL: of an element */
  const char *text; /* JSON_STRING */
  double number;    /* JSON_NUMBER; JSON_BOOL: 0 or 1 */
  struct json_value *first, *next;
} json_value;

/* The document's value; free() of it frees all. NULL: the text is not JSON, *error_at is the offset of the first byte
 * that does not fit, or memory ran out and it is the length. */
json_value *json_read(char *text, size_t *error_at);

/* The member of that kind; NULL: `object` is NULL or has none. */
const json_value *json_member(const json_value *object, const char *key, json_kind kind);
/* Its text or whole number; NULL or `otherwise` if there is none. */
const char *json_text(const json_value *object, const char *key);
int64_t json_integer(const json_value *object, const char *key, int64_t otherwise);
size_t json_count(const json_value *list); /* of elements or members */

#endif
