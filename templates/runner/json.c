/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * json.c - recursive descent over one text; the values are one array, whose size the commas and brackets bound.
 */
#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 16 };

typedef struct reader {
  char *begin, *at;
  json_value *values;
  size_t used;
} reader;

static void skip_blanks(reader *r) {
  while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')
    ++r->at;
}

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* At the opening quote. NULL: not a string. */
static char *read_string(reader *r) {
  if (*r->at != '"')
    return NULL;
  char *text = ++r->at, *out = text;
  for (;;) {
    char c = *r->at;
    if ((unsigned char)c < 0x20)
      return NULL;
    ++r->at;
    if (c == '"') {
      *out = '\0';
      return text;
    }
    if (c == '\\') {
      static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
      const char *known = *r->at ? strchr(from, *r->at) : NULL;
      if (known) {
        c = to[known - from];
        ++r->at;
      } else {
        int code = 0;
        for (int i = 1; i <= 4; ++i) {
          int digit = *r->at == 'u' && (i == 1 || r->at[i - 1]) ? hex_digit(r->at[i]) : -1;
          if (digit < 0)
            return NULL;
          code = code * 16 + digit;
        }
        if (code < 1 || code > 0x7f)
          return NULL;
        c = (char)code;
        r->at += 5;
      }
    }
    *out++ = c;
  }
}

static int read_value(reader *r, json_value *value, int depth);

static int read_list(reader *r, json_value *list, char close, int depth) {
  json_value **link = &list->first;
  ++r->at;
  skip_blanks(r);
  if (*r->at == close) {
    ++r->at;
    return 1;
  }
  for (;;) {
    json_value *value = &r->values[r->used++];
    memset(value, 0, sizeof(*value));
    skip_blanks(r);
    if (close == '}') {
      if (!(value->key = read_string(r)))
        return 0;
      skip_blanks(r);
      if (*r->at != ':')
        return 0;
      ++r->at;
    }
    if (!read_value(r, value, depth))
      return 0;
    *link = value;
    link = &value->next;
    skip_blanks(r);
    if (*r->at != ',' && *r->at != close)
      return 0;
    if (*r->at++ == close)
      return 1;
  }
}

static int read_word(reader *r, const char *word) {
  size_t length = strlen(word);
  if (strncmp(r->at, word, length) != 0)
    return 0;
  r->at += length;
  return 1;
}

static int read_value(reader *r, json_value *value, int depth) {
  skip_blanks(r);
  if (depth > MAX_DEPTH)
    return 0;
  switch (*r->at) {
  case '{':
    value->kind = JSON_OBJECT;
    return read_list(r, value, '}', depth + 1);
  case '[':
    value->kind = JSON_ARRAY;
    return read_list(r, value, ']', depth + 1);
  case '"':
    value->kind = JSON_STRING;
    return (value->text = read_string(r)) != NULL;
  case 't':
  case 'f':
    value->kind = JSON_BOOL;
    value->number = *r->at == 't';
    return read_word(r, *r->at == 't' ? "true" : "false");
  case 'n':
    return read_word(r, "null");
  default: {
    char *end = r->at;
    if (*r->at != '-' && (*r->at < '0' || *r->at > '9'))
      return 0;
    value->kind = JSON_NUMBER;
    value->number = strtod(r->at, &end);
    if (end == r->at)
      return 0;
    r->at = end;
    return 1;
  }
  }
}

json_value *json_read(char *text, size_t *error_at) {
  size_t most = 2; /* every value but the first follows one of these */
  for (const char *c = text; *c; ++c)
    most += *c == ',' || *c == '[' || *c == '{';
  reader r = {text, text, calloc(most, sizeof(json_value)), 1};
  *error_at = strlen(text);
  if (!r.values)
    return NULL;
  int good = read_value(&r, &r.values[0], 0);
  skip_blanks(&r);
  if (good && !*r.at)
    return r.values;
  *error_at = (size_t)(r.at - r.begin);
  free(r.values);
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
  return member && member->number >= -9e15 && member->number <= 9e15 ? (int64_t)member->number : otherwise;
}

size_t json_count(const json_value *list) {
  size_t count = 0;
  for (const json_value *value = list ? list->first : NULL; value; value = value->next)
    ++count;
  return count;
}
