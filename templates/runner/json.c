/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * json.c - the pieces that runtime/weights/json_reader.h reads -> values that are linked to each other.
 */
#include "json.h"

#include "runtime/status.h"
#include "runtime/weights/json_reader.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 16 };

typedef struct reader {
  moec_json json;
  json_value *values;
  size_t used;
  char *strings; /* free part of the storage behind the values */
} reader;

static int take_word(reader *r, const char *word) {
  size_t length = strlen(word);
  if (r->json.bytes - r->json.at < length || memcmp(r->json.text + r->json.at, word, length) != 0)
    return moec_json_fail(&r->json, "a value");
  r->json.at += length;
  return 1;
}

static int read_value(reader *r, json_value *value, int depth);

static int read_list(reader *r, json_value *list, char open, int depth) {
  char close = open == '{' ? '}' : ']';
  json_value **link = &list->first;
  int has_more;
  if (depth == MAX_DEPTH)
    return moec_json_fail(&r->json, "at most 16 objects and arrays inside each other");
  if (!moec_json_open(&r->json, open, &has_more))
    return 0;
  while (has_more) {
    json_value *value = *link = &r->values[r->used++];
    link = &value->next;
    if (open == '{' &&
        (!moec_json_keep(&r->json, &r->strings, r->json.bytes, &value->key) || !moec_json_take(&r->json, ':', "':'")))
      return 0;
    if (!read_value(r, value, depth) || !moec_json_more(&r->json, close, &has_more))
      return 0;
  }
  return 1;
}

static int read_value(reader *r, json_value *value, int depth) {
  char first = moec_json_peek(&r->json);
  switch (first) {
  case '{':
  case '[':
    value->kind = first == '{' ? JSON_OBJECT : JSON_ARRAY;
    return read_list(r, value, first, depth + 1);
  case '"':
    value->kind = JSON_STRING;
    return moec_json_keep(&r->json, &r->strings, r->json.bytes, &value->text);
  case 't':
  case 'f':
    value->kind = JSON_BOOL;
    value->number = first == 't';
    return take_word(r, first == 't' ? "true" : "false");
  case 'n':
    return take_word(r, "null");
  default:
    value->kind = JSON_NUMBER;
    return moec_json_integer(&r->json, &value->number);
  }
}

json_value *json_read(const char *path, const char *text, size_t bytes, moec_status *status) {
  size_t most = 2; /* every value but the first follows one of these; a decoded string has fewer bytes than its text */
  for (size_t i = 0; i < bytes; ++i)
    most += text[i] == ',' || text[i] == '[' || text[i] == '{';
  json_value *values = calloc(most * sizeof(json_value) + bytes + 1, 1);
  if (!values) {
    *status = moec_error(MOEC_OUT_OF_MEMORY, "not enough memory to read %s", path);
    return NULL;
  }
  reader r = {{path, "text", text, bytes, 0, MOEC_OK}, values, 1, (char *)(values + most)};
  if (read_value(&r, &values[0], 0) && moec_json_end(&r.json))
    return values;
  *status = r.json.status;
  free(values);
  return NULL;
}

const json_value *json_member(const json_value *object, const char *key, json_kind kind) {
  for (const json_value *member = object ? object->first : NULL; member; member = member->next)
    if (member->key && member->kind == kind && strcmp(member->key, key) == 0)
      return member;
  return NULL;
}

const char *json_text(const json_value *object, const char *key) {
  const json_value *member = json_member(object, key, JSON_STRING);
  return member ? member->text : NULL;
}

int64_t json_integer(const json_value *object, const char *key, int64_t otherwise) {
  const json_value *member = json_member(object, key, JSON_NUMBER);
  return member ? member->number : otherwise;
}

size_t json_count(const json_value *list) {
  size_t count = 0;
  for (const json_value *value = list ? list->first : NULL; value; value = value->next)
    ++count;
  return count;
}
