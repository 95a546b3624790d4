/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * bundle.c - bundle.json, which anybody may have changed, in -> checked structs out.
 */
#include "bundle.h"

#include "runtime/cpu_features.h"
#include "runtime/moec_dtype.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STAGES = 1024, MAX_RANGES = 65536, MAX_COUNTS = 4096, MAX_ARGUMENTS = 64 };
static const int64_t max_bytes = (int64_t)1 << 40;

void complain(const char *code, const char *format, ...) {
  va_list list;
  va_start(list, format);
  fprintf(stderr, "run: error[%s]: ", code);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  va_end(list);
}

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size) {
  for (size_t i = 0; i < size; ++i)
    hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
  return hash;
}

void hash_text(uint64_t hash, char out[17]) { snprintf(out, 17, "%016llx", (unsigned long long)hash); }

/* The whole file, with a NUL; NULL: errno says why. */
static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return NULL;
  size_t room = (size_t)1 << 16, used = 0;
  char *text = malloc(room + 1);
  while (text) {
    used += fread(text + used, 1, room - used, file);
    if (used < room)
      break;
    char *larger = realloc(text, 2 * room + 1);
    if (!larger)
      free(text);
    text = larger;
    room *= 2;
  }
  if (text && ferror(file)) {
    free(text);
    text = NULL;
  }
  fclose(file);
  if (text)
    text[used] = '\0';
  *size = used;
  return text;
}

/* Reads members; the first that does not fit is named in `wrong`. */
typedef struct member_reader {
  const char *wrong;
} member_reader;

static int64_t integer(member_reader *r, const json_value *object, const char *key, int64_t low, int64_t high) {
  int64_t value = json_integer(object, key, low - 1);
  if ((value < low || value > high) && !r->wrong)
    r->wrong = key;
  return value < low || value > high ? low : value;
}

static const char *text(member_reader *r, const json_value *object, const char *key) {
  const char *value = json_text(object, key);
  if (!value && !r->wrong)
    r->wrong = key;
  return value ? value : "";
}

static const json_value *list(member_reader *r, const json_value *object, const char *key, size_t most) {
  const json_value *value = json_member(object, key, JSON_ARRAY);
  size_t count = json_count(value);
  if ((!count || count > most) && !r->wrong)
    r->wrong = key;
  return count && count <= most ? value : NULL;
}

static int32_t element_type(member_reader *r, const json_value *object, const char *key) {
  const char *name = text(r, object, key);
  if (strcmp(name, "f32") == 0)
    return MOEC_F32;
  if (strcmp(name, "bf16") == 0)
    return MOEC_BF16;
  if (strcmp(name, "f16") != 0 && !r->wrong)
    r->wrong = key;
  return MOEC_F16;
}

/* A file name below the folder. */
static int stays_inside(const char *path) {
  return path[0] && path[0] != '/' && !strstr(path, "..") && strlen(path) < 512;
}

/* Memory for all stages, ranges, candidates, arguments and counts at once: each is one value of the document. */
typedef struct room {
  char *next, *end;
} room;

static void *take(room *r, size_t count, size_t size) {
  size_t bytes = (count * size + 15) / 16 * 16;
  if ((size_t)(r->end - r->next) < bytes)
    return NULL;
  void *found = r->next;
  r->next += bytes;
  return found;
}

/* `packages`: each candidate is a file. */
static int read_candidates(member_reader *r, bundle_range *range, const json_value *from, room *memory, int packages) {
  const json_value *values = list(r, from, "candidates", 65536);
  range->num_candidates = json_count(values);
  if (!(range->candidates = take(memory, range->num_candidates, sizeof(bundle_candidate))))
    return 0;
  bundle_candidate *c = range->candidates;
  for (const json_value *v = values ? values->first : NULL; v; v = v->next, ++c) {
    c->kernel = text(r, v, "kernel");
    c->changes = c == range->candidates ? "" : text(r, v, "changes");
    c->failed = json_text(v, "failed");
    c->template_hash = json_text(v, "template");
    if (c->template_hash && strspn(c->template_hash, "0123456789abcdef") != 64 && !r->wrong)
      r->wrong = "template";
    if (packages) {
      c->library = text(r, v, "library");
      c->library_hash = text(r, v, "library_hash");
      c->library_bytes = integer(r, v, "library_bytes", 1, max_bytes);
      if (!stays_inside(c->library) && !r->wrong)
        r->wrong = "library";
    } else {
      c->function = c->failed ? -1 : integer(r, v, "function", 0, 65535);
    }
    c->panel_m = packages ? 1 : integer(r, v, "panel_m", 1, 1 << 20);
    const json_value *same = json_member(v, "same_bits", JSON_BOOL);
    if (!same && !r->wrong)
      r->wrong = "same_bits";
    c->same_bits = same && same->number != 0;
  }
  if (range->num_candidates && range->candidates[0].function < 0 && !r->wrong)
    r->wrong = "candidates[0].function";
  return 1;
}

static int read_range(member_reader *r, const bundle_stage *stage, bundle_range *range, const json_value *from,
                      room *memory) {
  range->rows_text = text(r, from, "class");
  range->head = text(r, from, "head");
  range->choice_head = text(r, from, "choice_head");
  range->library = text(r, from, "library");
  range->library_bytes = integer(r, from, "library_bytes", 1, max_bytes);
  range->library_hash = text(r, from, "library_hash");
  range->reference = json_text(from, "reference");
  range->rows = integer(r, from, "rows", 1, stage->max_rows);
  if (!stays_inside(range->library) && !r->wrong)
    r->wrong = "library";
  const json_value *counts = list(r, from, "checked", MAX_COUNTS);
  range->num_counts = json_count(counts);
  int64_t *out = take(memory, range->num_counts, sizeof(int64_t));
  if (!out)
    return 0;
  range->counts = out;
  for (const json_value *v = counts ? counts->first : NULL; v; v = v->next) {
    int good = v->kind == JSON_NUMBER && v->number >= 1 && v->number <= stage->max_rows;
    if (!good && !r->wrong)
      r->wrong = "checked";
    *out++ = good ? v->number : 1;
  }
  return read_candidates(r, range, from, memory, 0);
}

static int read_arguments(member_reader *r, bundle_stage *stage, const json_value *from, room *memory) {
  const json_value *values = list(r, from, "arguments", MAX_ARGUMENTS);
  stage->num_arguments = json_count(values);
  if (!(stage->arguments = take(memory, stage->num_arguments, sizeof(bundle_argument))))
    return 0;
  size_t outputs = 0;
  bundle_argument *a = stage->arguments;
  for (const json_value *v = values ? values->first : NULL; v; v = v->next, ++a) {
    const char *fill = text(r, v, "fill");
    a->fill = strcmp(fill, "output") == 0 ? FILL_OUTPUT : strcmp(fill, "row_token") == 0 ? FILL_ROW_TOKEN : FILL_NORMAL;
    if (a->fill == FILL_NORMAL && strcmp(fill, "normal") != 0 && !r->wrong)
      r->wrong = "fill";
    outputs += a->fill == FILL_OUTPUT;
    a->bytes = integer(r, v, "bytes", 1, max_bytes);
    a->type = element_type(r, v, "type");
    a->seed = (uint64_t)integer(r, v, "seed", 0, 1 << 20);
    int64_t least = a->fill == FILL_OUTPUT      ? stage->total_rows * stage->out_stride
                    : a->fill == FILL_ROW_TOKEN ? stage->total_rows * 4
                                                : 1;
    if (a->bytes < least && !r->wrong)
      r->wrong = "bytes";
  }
  if (outputs != 1 && !r->wrong)
    r->wrong = "arguments";
  return 1;
}

static int read_stage(member_reader *r, bundle_stage *stage, const json_value *from, room *memory) {
  stage->name = text(r, from, "stage");
  stage->isa_name = text(r, from, "isa");
  stage->isa = moec_isa_from_name(stage->isa_name);
  if (stage->isa < 0 && !r->wrong)
    r->wrong = "isa";
  stage->n = integer(r, from, "n", 1, (int64_t)1 << 31);
  stage->groups = integer(r, from, "groups", 2, (int64_t)1 << 31);
  stage->panels = integer(r, from, "panels", 1, (int64_t)1 << 31);
  stage->panel_bytes = integer(r, from, "panel_bytes", 1, max_bytes);
  stage->panel_flops = (double)integer(r, from, "panel_flops", 1, max_bytes);
  stage->item_panels = integer(r, from, "item_panels", 1, stage->panels);
  stage->max_rows = integer(r, from, "max_rows", 1, 1 << 20);
  stage->total_rows = integer(r, from, "total_rows", 2 * stage->max_rows + 64, 1 << 24);
  stage->out_stride = integer(r, from, "out_stride", 1, (int64_t)1 << 31);
  stage->scratch_bytes = integer(r, from, "scratch_bytes", 0, (int64_t)1 << 32);
  stage->out_type = element_type(r, from, "out_type");
  if (stage->n * moec_dtype_bytes((uint32_t)stage->out_type) > stage->out_stride && !r->wrong)
    r->wrong = "out_stride";
  if (!read_arguments(r, stage, from, memory))
    return 0;
  const json_value *ranges = list(r, from, "ranges", MAX_RANGES);
  stage->num_ranges = json_count(ranges);
  if (!(stage->ranges = take(memory, stage->num_ranges, sizeof(bundle_range))))
    return 0;
  bundle_range *range = stage->ranges;
  for (const json_value *v = ranges ? ranges->first : NULL; v; v = v->next)
    if (!read_range(r, stage, range++, v, memory))
      return 0;
  return 1;
}

static int read_call(member_reader *r, bundle_call *call, const json_value *from, room *memory) {
  call->stage = text(r, from, "stage");
  call->target = text(r, from, "target");
  call->sm = integer(r, from, "sm", 10, 9999);
  const json_value *exact = json_member(from, "exact", JSON_BOOL);
  if (!exact && !r->wrong)
    r->wrong = "exact";
  call->exact = exact && exact->number != 0;
  const char *pass = text(r, from, "pass");
  call->backward = strcmp(pass, "backward") == 0;
  if (!call->backward && strcmp(pass, "forward") != 0 && !r->wrong)
    r->wrong = "pass";
  call->range.rows_text = text(r, from, "class");
  call->range.head = text(r, from, "head");
  call->range.choice_head = text(r, from, "choice_head");
  const json_value *tokens = list(r, from, "tokens", 64);
  call->num_tokens = json_count(tokens);
  int64_t *out = take(memory, call->num_tokens, sizeof(int64_t));
  if (!out)
    return 0;
  call->tokens = out;
  for (const json_value *v = tokens ? tokens->first : NULL; v; v = v->next) {
    int good = v->kind == JSON_NUMBER && v->number >= 1 && v->number <= 1 << 24;
    if (!good && !r->wrong)
      r->wrong = "tokens";
    *out++ = good ? v->number : 1;
  }
  if (json_count(json_member(from, "candidates", JSON_ARRAY)) > MAX_CALL_CANDIDATES && !r->wrong)
    r->wrong = "candidates";
  return read_candidates(r, &call->range, from, memory, 1);
}

static int read_document(bundle *out, const json_value *root, size_t bytes) {
  member_reader r = {NULL};
  if (integer(&r, root, "moec_bundle", 1, 1 << 20) != 1 || r.wrong)
    return complain("E-FILE", "%s/bundle.json: moec_bundle is not 1, the only form that this runner reads", out->dir),
           3;
  out->name = text(&r, root, "name");
  out->stamp = text(&r, root, "stamp");
  out->moec = text(&r, root, "moec");
  out->tokens = integer(&r, root, "tokens", 1, 1 << 20);
  out->minimum_gain = (double)integer(&r, root, "minimum_gain_ppm", 0, 1000000) * 1e-6;
  const json_value *calls = json_member(root, "calls", JSON_ARRAY);
  calls = calls ? list(&r, root, "calls", MAX_RANGES) : NULL;
  const json_value *stages = calls ? NULL : list(&r, root, "stages", MAX_STAGES);
  out->num_stages = json_count(stages);
  out->num_calls = json_count(calls);
  /* Every struct here has fewer bytes than this many per byte of the text that describes it. */
  size_t size = bytes * 16 + 4096;
  char *memory = out->owned[1] = calloc(size, 1);
  if (!memory)
    return complain("E-MEMORY", "not enough memory to read %s/bundle.json", out->dir), 9;
  room left = {memory, memory + size};
  out->stages = take(&left, out->num_stages, sizeof(bundle_stage));
  out->calls = take(&left, out->num_calls, sizeof(bundle_call));
  bundle_stage *stage = out->stages;
  bundle_call *call = out->calls;
  int fits = stage != NULL && call != NULL;
  for (const json_value *v = calls ? calls->first : NULL; v && fits; v = v->next)
    fits = read_call(&r, call++, v, &left);
  for (const json_value *v = stages ? stages->first : NULL; v && fits; v = v->next)
    fits = read_stage(&r, stage++, v, &left);
  if (r.wrong || !fits)
    return complain("E-FILE", "%s/bundle.json: member %s is missing or out of range", out->dir,
                    r.wrong ? r.wrong : "stages"),
           3;
  return 0;
}

int bundle_read(bundle *out, const char *dir) {
  memset(out, 0, sizeof(*out));
  char path[4200];
  snprintf(path, sizeof(path), "%s/bundle.json", dir);
  char reason[1024];
  size_t size = 0;
  if (!(out->dir = strdup(dir)))
    return complain("E-MEMORY", "not enough memory"), 9;
  if (!(out->text = read_file(path, &size)))
    return complain("E-FILE", "cannot read %s: %s", path, strerror(errno)), 8;
  moec_status status = MOEC_OK;
  json_value *root = json_read(path, out->text, size, &status);
  if (!root) {
    int memory = status == MOEC_OUT_OF_MEMORY;
    moec_last_error(reason, sizeof(reason));
    return complain(memory ? "E-MEMORY" : "E-FILE", "%s", reason), memory ? 9 : 3;
  }
  out->owned[0] = root;
  return read_document(out, root, size);
}

void bundle_free(bundle *b) {
  free(b->owned[0]);
  free(b->owned[1]);
  free(b->text);
  free(b->dir);
}

int library_is_whole(const bundle *b, const bundle_range *range, char *path, size_t size) {
  return file_is_whole(b, range->library, range->library_bytes, range->library_hash, path, size);
}

int file_is_whole(const bundle *b, const char *library, int64_t expected, const char *hash, char *path, size_t size) {
  snprintf(path, size, "%s/%s", b->dir, library);
  size_t bytes = 0;
  char *content = read_file(path, &bytes);
  if (!content)
    return complain("E-FILE", "cannot read %s: %s", path, strerror(errno)), 0;
  char found[17];
  hash_text(hash_bytes(HASH_START, content, bytes), found);
  free(content);
  if ((int64_t)bytes == expected && strcmp(found, hash) == 0)
    return 1;
  complain("E-FILE", "%s is not the file that was prepared: %zu bytes, hash %s; expected %lld, %s", path, bytes, found,
           (long long)expected, hash);
  return 0;
}
