/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * safetensors_header.c - a strict recursive-descent reader of one JSON shape; its depth is that shape's, three.
 */
#include "runtime/weights/safetensors_header.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Reads text[at..bytes); the first error is kept in `status` and stops everything. */
typedef struct reader {
  const char *path, *text;
  size_t bytes, at;
  moec_file_table *table;
  char *name_end; /* free part of table->names */
  moec_status status;
} reader;

static int fail(reader *r, const char *expected) {
  if (r->status == MOEC_OK)
    r->status = moec_error(MOEC_FILE_FORMAT, "%.256s: header byte %zu: expected %s", r->path, r->at, expected);
  return 0;
}

static void skip_spaces(reader *r) {
  while (r->at < r->bytes && strchr(" \t\r\n", r->text[r->at]) && r->text[r->at])
    ++r->at;
}

/* The next character after spaces, 0 at the end. */
static char peek(reader *r) {
  skip_spaces(r);
  return r->at < r->bytes ? r->text[r->at] : '\0';
}

static int take(reader *r, char c, const char *expected) {
  if (peek(r) != c)
    return fail(r, expected);
  ++r->at;
  return 1;
}

/* After an element: 1 at a comma, 0 at `close`. */
static int more(reader *r, char close, int *out_more) {
  char c = peek(r);
  if (c != ',' && c != close)
    return fail(r, close == '}' ? "',' or '}'" : "',' or ']'");
  ++r->at;
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

static int read_hex4(reader *r, uint32_t *out_code) {
  uint32_t code = 0;
  for (int i = 0; i < 4; ++i, ++r->at) {
    int digit = r->at < r->bytes ? hex_digit(r->text[r->at]) : -1;
    if (digit < 0)
      return fail(r, "four hexadecimal digits");
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

/* After "\u": one code point, two escapes where it is a surrogate pair; never NUL. */
static int read_code_point(reader *r, char *out, size_t *out_length) {
  uint32_t code, low;
  if (!read_hex4(r, &code))
    return 0;
  if (code == 0 || (code >= 0xdc00 && code <= 0xdfff))
    return fail(r, "a code point other than 0 and unpaired surrogates");
  if (code >= 0xd800 && code <= 0xdbff) {
    if (r->at + 2 > r->bytes || r->text[r->at] != '\\' || r->text[r->at + 1] != 'u')
      return fail(r, "the second half of a surrogate pair");
    r->at += 2;
    if (!read_hex4(r, &low))
      return 0;
    if (low < 0xdc00 || low > 0xdfff)
      return fail(r, "the second half of a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  *out_length = encode_utf8(code, out);
  return 1;
}

static int read_escape(reader *r, char *out, size_t *out_length) {
  static const char escapes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  char c = r->at < r->bytes ? r->text[r->at] : '\0';
  const char *found = c ? strchr(escapes, c) : NULL;
  if (c != 'u' && !found)
    return fail(r, "an escape of JSON");
  ++r->at;
  if (c == 'u')
    return read_code_point(r, out, out_length);
  *out = values[found - escapes];
  *out_length = 1;
  return 1;
}

/* Decodes a string into out[0..limit], NUL-terminated. */
static int read_string(reader *r, char *out, size_t limit, size_t *out_length) {
  size_t length = 0;
  if (!take(r, '"', "a string"))
    return 0;
  for (;;) {
    if (r->at >= r->bytes)
      return fail(r, "the end of a string");
    char decoded[4], c = r->text[r->at++];
    size_t n = 1;
    if (c == '"')
      break;
    decoded[0] = c;
    if ((unsigned char)c < 0x20)
      return fail(r, "no control character in a string");
    if (c == '\\' && !read_escape(r, decoded, &n))
      return 0;
    if (length + n > limit)
      return fail(r, "a shorter string");
    memcpy(out + length, decoded, n);
    length += n;
  }
  out[length] = '\0';
  *out_length = length;
  return 1;
}

/* A JSON integer 0 .. 2^63-1 without sign, fraction or exponent. */
static int read_number(reader *r, int64_t *out_value) {
  char c = peek(r);
  int64_t value = 0;
  size_t start = r->at;
  if (c < '0' || c > '9')
    return fail(r, "an integer of at least 0");
  for (; r->at < r->bytes && r->text[r->at] >= '0' && r->text[r->at] <= '9'; ++r->at)
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, r->text[r->at] - '0', &value))
      return fail(r, "an integer below 2^63");
  if (r->at - start > 1 && r->text[start] == '0')
    return fail(r, "an integer without leading zeros");
  *out_value = value;
  return 1;
}

/* [n, ...] with at most `limit` numbers */
static int read_numbers(reader *r, int64_t *out, int32_t limit, int32_t *out_count) {
  int has_more = 1;
  *out_count = 0;
  if (!take(r, '[', "'['"))
    return 0;
  if (peek(r) == ']') {
    ++r->at;
    return 1;
  }
  while (has_more) {
    if (*out_count == limit)
      return fail(r, "fewer numbers");
    if (!read_number(r, &out[(*out_count)++]) || !more(r, ']', &has_more))
      return 0;
  }
  return 1;
}

static int read_metadata(reader *r) {
  char text[4096];
  size_t length;
  int has_more = 1;
  if (!take(r, '{', "'{'"))
    return 0;
  if (peek(r) == '}') {
    ++r->at;
    return 1;
  }
  while (has_more)
    if (!read_string(r, text, sizeof(text) - 1, &length) || !take(r, ':', "':'") ||
        !read_string(r, text, sizeof(text) - 1, &length) || !more(r, '}', &has_more))
      return 0;
  return 1;
}

/* One of a tensor's three entries; `seen` has a bit for each. */
static int read_entry(reader *r, moec_file_tensor *tensor, unsigned *seen) {
  static const char *const keys[] = {"dtype", "shape", "data_offsets"};
  char key[16];
  size_t length;
  int64_t offsets[2];
  int32_t count;
  unsigned which = 0;
  if (!read_string(r, key, sizeof(key) - 1, &length) || !take(r, ':', "':'"))
    return 0;
  while (which < 3 && strcmp(key, keys[which]) != 0)
    ++which;
  if (which == 3 || *seen >> which & 1)
    return fail(r, "dtype, shape and data_offsets, each once");
  *seen |= 1u << which;
  if (which == 0)
    return read_string(r, tensor->type, sizeof(tensor->type) - 1, &length);
  if (which == 1)
    return read_numbers(r, tensor->dims, MOEC_FILE_MAX_RANK, &tensor->rank);
  if (!read_numbers(r, offsets, 2, &count))
    return 0;
  if (count != 2 || offsets[0] > offsets[1])
    return fail(r, "data_offsets [begin, end] with begin <= end");
  tensor->begin = (uint64_t)offsets[0];
  tensor->end = (uint64_t)offsets[1];
  return 1;
}

static int append(reader *r, const moec_file_tensor *tensor) {
  moec_file_table *table = r->table;
  if (table->count == table->capacity) {
    size_t capacity = table->capacity ? table->capacity * 2 : 64;
    moec_file_tensor *grown = realloc(table->tensors, capacity * sizeof(*grown));
    if (!grown) {
      r->status = moec_error(MOEC_OUT_OF_MEMORY, "%.256s: no memory for %zu tensors", r->path, capacity);
      return 0;
    }
    table->tensors = grown;
    table->capacity = capacity;
  }
  table->tensors[table->count++] = *tensor;
  return 1;
}

static int read_tensor(reader *r, const char *name) {
  moec_file_tensor tensor;
  unsigned seen = 0;
  int has_more = 1;
  memset(&tensor, 0, sizeof(tensor));
  tensor.name = name;
  if (!take(r, '{', "'{'"))
    return 0;
  while (has_more)
    if (!read_entry(r, &tensor, &seen) || !more(r, '}', &has_more))
      return 0;
  if (seen != 7)
    return fail(r, "dtype, shape and data_offsets, each once");
  return append(r, &tensor);
}

static int read_header(reader *r) {
  int has_more = 1, has_metadata = 0;
  if (!take(r, '{', "'{'"))
    return 0;
  if (peek(r) == '}') {
    ++r->at;
    has_more = 0;
  }
  while (has_more) {
    char *name = r->name_end;
    size_t length;
    if (!read_string(r, name, MOEC_FILE_MAX_NAME, &length) || !take(r, ':', "':'"))
      return 0;
    if (strcmp(name, "__metadata__") == 0) {
      if (has_metadata++)
        return fail(r, "__metadata__ once");
      if (!read_metadata(r))
        return 0;
    } else {
      r->name_end += length + 1;
      if (!read_tensor(r, name))
        return 0;
    }
    if (!more(r, '}', &has_more))
      return 0;
  }
  skip_spaces(r);
  return r->at == r->bytes ? 1 : fail(r, "nothing after the object");
}

moec_status moec_parse_file_header(const char *path, const char *text, size_t bytes, moec_file_table *table) {
  /* NOTE: a decoded name and its NUL are never longer than the quoted name it was read from, so all of them fit. The
   * slack is for a string that is refused after it was decoded. */
  table->names = malloc(bytes + MOEC_FILE_MAX_NAME + 1);
  if (!table->names)
    return moec_error(MOEC_OUT_OF_MEMORY, "%.256s: no memory for the names of a header of %zu bytes", path, bytes);
  reader r = {path, text, bytes, 0, table, table->names, MOEC_OK};
  read_header(&r);
  return r.status;
}
