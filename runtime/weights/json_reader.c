/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * json_reader.c - a text and a position in -> the next piece of JSON out, or where it is not JSON.
 */
#include "runtime/weights/json_reader.h"

#include "runtime/status.h"

#include <string.h>

int moec_json_fail(moec_json *json, const char *expected) {
  if (json->status == MOEC_OK)
    json->status =
        moec_error(MOEC_FILE_FORMAT, "%.256s: %s byte %zu: expected %s", json->path, json->part, json->at, expected);
  return 0;
}

static void skip_spaces(moec_json *json) {
  while (json->at < json->bytes && strchr(" \t\r\n", json->text[json->at]) && json->text[json->at])
    ++json->at;
}

char moec_json_peek(moec_json *json) {
  skip_spaces(json);
  return json->at < json->bytes ? json->text[json->at] : '\0';
}

int moec_json_take(moec_json *json, char c, const char *expected) {
  if (moec_json_peek(json) != c)
    return moec_json_fail(json, expected);
  ++json->at;
  return 1;
}

int moec_json_more(moec_json *json, char close, int *out_more) {
  char c = moec_json_peek(json);
  if (c != ',' && c != close)
    return moec_json_fail(json, close == '}' ? "',' or '}'" : "',' or ']'");
  ++json->at;
  *out_more = c == ',';
  return 1;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

static int read_hex4(moec_json *json, uint32_t *out_code) {
  uint32_t code = 0;
  for (int i = 0; i < 4; ++i, ++json->at) {
    int digit = json->at < json->bytes ? hex_digit(json->text[json->at]) : -1;
    if (digit < 0)
      return moec_json_fail(json, "four hexadecimal digits");
    code = code << 4 | (uint32_t)digit;
  }
  *out_code = code;
  return 1;
}

static size_t encode_utf8(uint32_t code, char *out) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = length - 1; i > 0; --i, code >>= 6)
    out[i] = (char)(0x80 | (code & 0x3f));
  out[0] = (char)((0xf00 >> length & 0xff) | code);
  return length;
}

/* After "\u": one code point, two escapes where it is a surrogate pair. */
static int read_code_point(moec_json *json, char *out, size_t *out_length) {
  uint32_t code, low;
  if (!read_hex4(json, &code))
    return 0;
  if (code >= 0xdc00 && code <= 0xdfff)
    return moec_json_fail(json, "a code point other than 0 and unpaired surrogates");
  if (code >= 0xd800 && code <= 0xdbff) {
    if (json->at + 2 > json->bytes || json->text[json->at] != '\\' || json->text[json->at + 1] != 'u')
      return moec_json_fail(json, "the second half of a surrogate pair");
    json->at += 2;
    if (!read_hex4(json, &low))
      return 0;
    if (low < 0xdc00 || low > 0xdfff)
      return moec_json_fail(json, "the second half of a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  *out_length = encode_utf8(code, out);
  return 1;
}

static int read_escape(moec_json *json, char *out, size_t *out_length) {
  static const char escapes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  char c = json->at < json->bytes ? json->text[json->at] : '\0';
  const char *found = c ? strchr(escapes, c) : NULL;
  if (c != 'u' && !found)
    return moec_json_fail(json, "an escape of JSON");
  ++json->at;
  if (c == 'u')
    return read_code_point(json, out, out_length);
  *out = values[found - escapes];
  *out_length = 1;
  return 1;
}

int moec_json_open(moec_json *json, char open, int *out_more) {
  char close = open == '{' ? '}' : ']';
  if (!moec_json_take(json, open, open == '{' ? "'{'" : "'['"))
    return 0;
  *out_more = moec_json_peek(json) != close;
  json->at += !*out_more;
  return 1;
}

/* What a string that has no room, or that holds NUL, is. */
enum { REFUSED, SKIPPED };

/* Decodes a string into out[0..limit], NUL-terminated. `out_length` is -1 if it was skipped. */
static int read_string(moec_json *json, char *out, size_t limit, int otherwise, int64_t *out_length) {
  size_t length = 0;
  int fits = 1;
  if (!moec_json_take(json, '"', "a string"))
    return 0;
  for (;;) {
    if (json->at >= json->bytes)
      return moec_json_fail(json, "the end of a string");
    char decoded[4], c = json->text[json->at++];
    size_t n = 1;
    if (c == '"')
      break;
    decoded[0] = c;
    if ((unsigned char)c < 0x20)
      return moec_json_fail(json, "no control character in a string");
    if (c == '\\' && !read_escape(json, decoded, &n))
      return 0;
    if (!decoded[0] && otherwise == REFUSED)
      return moec_json_fail(json, "a code point other than 0 and unpaired surrogates");
    if (length + n > limit && otherwise == REFUSED)
      return moec_json_fail(json, "a shorter string");
    fits = fits && decoded[0] && length + n <= limit;
    if (fits)
      memcpy(out + length, decoded, n);
    length += n;
  }
  out[fits ? length : 0] = '\0';
  *out_length = fits ? (int64_t)length : -1;
  return 1;
}

int moec_json_string(moec_json *json, char *out, size_t limit, size_t *out_length) {
  int64_t length = 0;
  if (!read_string(json, out, limit, REFUSED, &length))
    return 0;
  *out_length = (size_t)length;
  return 1;
}

int moec_json_keep(moec_json *json, char **free, size_t limit, const char **out_text) {
  size_t length;
  *out_text = *free;
  if (!moec_json_string(json, *free, limit, &length))
    return 0;
  *free += length + 1;
  return 1;
}

int moec_json_key(moec_json *json, char *out, size_t limit) {
  int64_t length;
  return read_string(json, out, limit, SKIPPED, &length) && moec_json_take(json, ':', "':'");
}

int moec_json_skip_string(moec_json *json) {
  char none[1];
  int64_t length;
  return read_string(json, none, 0, SKIPPED, &length);
}

static int is_digit(const moec_json *json) {
  return json->at < json->bytes && json->text[json->at] >= '0' && json->text[json->at] <= '9';
}

int moec_json_integer(moec_json *json, int64_t *out_value) {
  char c = moec_json_peek(json);
  int64_t value = 0;
  size_t start = json->at;
  if (c < '0' || c > '9')
    return moec_json_fail(json, "an integer of at least 0");
  for (; is_digit(json); ++json->at)
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, json->text[json->at] - '0', &value))
      return moec_json_fail(json, "an integer below 2^63");
  if (json->at - start > 1 && json->text[start] == '0')
    return moec_json_fail(json, "an integer without leading zeros");
  *out_value = value;
  return 1;
}

/* Takes the next character if it is `a` or `b`. */
static int take_either(moec_json *json, char a, char b) {
  int found = json->at < json->bytes && (json->text[json->at] == a || json->text[json->at] == b);
  json->at += (size_t)found;
  return found;
}

static int skip_digits(moec_json *json) {
  if (!is_digit(json))
    return moec_json_fail(json, "a digit");
  while (is_digit(json))
    ++json->at;
  return 1;
}

static int skip_number(moec_json *json) {
  take_either(json, '-', '-');
  size_t start = json->at;
  if (!skip_digits(json))
    return 0;
  if (json->at - start > 1 && json->text[start] == '0')
    return moec_json_fail(json, "a number without leading zeros");
  if (take_either(json, '.', '.') && !skip_digits(json))
    return 0;
  if (!take_either(json, 'e', 'E'))
    return 1;
  take_either(json, '+', '-');
  return skip_digits(json);
}

static int take_word(moec_json *json, const char *word) {
  size_t length = strlen(word);
  if (json->bytes - json->at < length || memcmp(json->text + json->at, word, length) != 0)
    return 0;
  json->at += length;
  return 1;
}

int moec_json_null(moec_json *json) { return moec_json_peek(json) == 'n' && take_word(json, "null"); }

/* Any value that holds no other. */
static int skip_scalar(moec_json *json, char first) {
  if (first == '"')
    return moec_json_skip_string(json);
  if (first == '-' || (first >= '0' && first <= '9'))
    return skip_number(json);
  if (take_word(json, "true") || take_word(json, "false") || take_word(json, "null"))
    return 1;
  return moec_json_fail(json, "a value");
}

/* Before a value that is inside of `closer`: the key of an object. */
static int skip_key(moec_json *json, char closer) {
  return closer != '}' || (moec_json_skip_string(json) && moec_json_take(json, ':', "':'"));
}

int moec_json_skip(moec_json *json) {
  char closers[MOEC_JSON_MAX_DEPTH]; /* of what is open, innermost last */
  int depth = 0;
  do {
    char first = moec_json_peek(json);
    int has_more = 0;
    if (first == '{' || first == '[') {
      if (depth == MOEC_JSON_MAX_DEPTH)
        return moec_json_fail(json, "at most 128 objects and arrays inside each other");
      if (!moec_json_open(json, first, &has_more))
        return 0;
      if (has_more)
        closers[depth++] = first == '{' ? '}' : ']';
    } else if (!skip_scalar(json, first)) {
      return 0;
    }
    while (depth > 0 && !has_more) {
      if (!moec_json_more(json, closers[depth - 1], &has_more))
        return 0;
      depth -= !has_more;
    }
    if (depth > 0 && !skip_key(json, closers[depth - 1]))
      return 0;
  } while (depth > 0);
  return 1;
}

int moec_json_end(moec_json *json) {
  moec_json_peek(json);
  return json->at == json->bytes ? 1 : moec_json_fail(json, "nothing after the object");
}
