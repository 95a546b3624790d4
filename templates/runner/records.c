/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * records.c - a question is the text of a record up to its answer, so a record answers one if it begins with it.
 */
#include "records.h"

#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LINE = 16384 };
static const char measured[] = "\"result\":\"", chosen[] = "\"choice\":\"";

static int cannot(const char *verb, const char *path) {
  complain("E-WRITE", "cannot %s the tuning file %s: %s", verb, path, strerror(errno));
  return 8;
}

/* Opens and locks the file that `path` names now, which somebody may have replaced meanwhile. */
static int open_locked(const char *path, int *fd) {
  for (;;) {
    struct stat named, opened;
    if ((*fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) < 0)
      return cannot("open", path);
    int locked;
    while ((locked = flock(*fd, LOCK_EX)) != 0 && errno == EINTR)
      ;
    if (locked == 0 && stat(path, &named) == 0 && fstat(*fd, &opened) == 0 && named.st_ino == opened.st_ino &&
        named.st_dev == opened.st_dev)
      return 0;
    close(*fd);
    if (locked != 0)
      return cannot("lock", path);
  }
}

/* One line, its end included. */
static int append_line(const char *path, const char *line, size_t size) {
  int fd, code = open_locked(path, &fd);
  if (code)
    return code;
  char last = '\n', whole[MAX_LINE + 2] = "\n";
  off_t before = lseek(fd, 0, SEEK_END);
  if (before > 0 && pread(fd, &last, 1, before - 1) != 1)
    last = '\n';
  size_t cut = last != '\n'; /* its writer was killed within a line */
  memcpy(whole + cut, line, size);
  ssize_t written;
  while ((written = write(fd, whole, cut + size)) < 0 && errno == EINTR)
    ;
  if (written != (ssize_t)(cut + size)) {
    errno = written < 0 ? errno : ENOSPC;
    code = cannot("write", path);
    if (written > 0 && ftruncate(fd, before) != 0)
      code = 8;
  } else if (fsync(fd) != 0 && errno != EINVAL) {
    code = cannot("sync", path);
  }
  close(fd);
  return code;
}

static int whole_record(const char *line, size_t size, const char *stamp) {
  return size > 3 && strncmp(line, "{\"schema\":\"moec.tune/1\"", 23) == 0 && strcmp(line + size - 3, "\"}}") == 0 &&
         strstr(line, stamp);
}

int records_open(record_file *file, const char *path, const char *stamp) {
  memset(file, 0, sizeof(*file));
  file->path = path;
  file->stamp = stamp;
  machine_record(file->machine, sizeof(file->machine));
  int fd, code = open_locked(path, &fd);
  if (code)
    return code;
  struct stat info;
  size_t size = fstat(fd, &info) == 0 && info.st_size > 0 ? (size_t)info.st_size : 0, used = 0, lines = 1;
  file->text = malloc(size + 1);
  while (file->text && used < size) {
    ssize_t got = pread(fd, file->text + used, size - used, (off_t)used);
    if (got <= 0)
      break;
    used += (size_t)got;
  }
  close(fd);
  if (!file->text)
    return complain("E-MEMORY", "not enough memory to read %s", path), 9;
  file->text[used] = '\0';
  for (size_t i = 0; i < used; ++i)
    lines += file->text[i] == '\n';
  if (!(file->known = malloc(lines * sizeof(known_line))))
    return complain("E-MEMORY", "not enough memory to read %s", path), 9;
  for (size_t at = 0; at < used;) {
    size_t length = strcspn(file->text + at, "\n");
    char *line = file->text + at;
    line[length] = '\0';
    const char *answer = strstr(line, measured);
    answer = answer ? answer : strstr(line, chosen);
    if (answer && whole_record(line, length, stamp)) {
      file->known[file->num_known].question = hash_bytes(HASH_START, line, (size_t)(answer - line));
      file->known[file->num_known++].offset = at;
    }
    at += length + 1;
  }
  return 0;
}

void records_close(record_file *file) {
  free(file->text);
  free(file->known);
  memset(file, 0, sizeof(*file));
}

enum { TEMPLATE_MEMBER = 96 };

/* What a record says of the candidate's template; "": nothing. */
static const char *template_member(const bundle_candidate *candidate, char *out) {
  out[0] = '\0';
  if (candidate->template_hash)
    snprintf(out, TEMPLATE_MEMBER, "\"template\":\"%.64s\",", candidate->template_hash);
  return out;
}

/* The record up to its answer. */
static size_t question_of(const record_file *file, const bundle_range *range, const bundle_candidate *candidate,
                          char *out) {
  const char *standard = range->candidates[0].kernel;
  char own[TEMPLATE_MEMBER];
  int size = candidate
                 ? snprintf(out, MAX_LINE, "%s\"machine\":%s,\"default\":\"%s\",\"candidate\":\"%s\",%s", range->head,
                            file->machine, standard, candidate->kernel, template_member(candidate, own))
                 : snprintf(out, MAX_LINE, "%s\"machine\":%s,\"default\":\"%s\",", range->choice_head, file->machine,
                            standard);
  return size > 0 && size < MAX_LINE ? (size_t)size : 0;
}

/* The latest line that begins with the question, from its answer on. */
static const char *find_answer(const record_file *file, const char *question, size_t size) {
  uint64_t hash = hash_bytes(HASH_START, question, size);
  for (size_t i = file->num_known; i-- > 0;) {
    const char *line = file->text + file->known[i].offset;
    if (file->known[i].question == hash && strncmp(line, question, size) == 0)
      return line + size;
  }
  return NULL;
}

static double gain_of(const char *answer) {
  const char *gain = strstr(answer, "\"gain\":[");
  return gain ? strtod(gain + 8, NULL) : 0;
}

static const char *const outcome_names[] = {"", "ok", "wrong", "failed", "timeout"};

outcome records_find(const record_file *file, const bundle_range *range, size_t candidate, double *gain) {
  char question[MAX_LINE];
  size_t size = question_of(file, range, &range->candidates[candidate], question);
  const char *answer = size ? find_answer(file, question, size) : NULL;
  if (!answer || strncmp(answer, measured, sizeof(measured) - 1) != 0)
    return OUTCOME_UNKNOWN;
  answer += sizeof(measured) - 1;
  *gain = gain_of(answer);
  for (int o = OUTCOME_OK; o <= OUTCOME_TIMEOUT; ++o) {
    size_t length = strlen(outcome_names[o]);
    if (strncmp(answer, outcome_names[o], length) == 0 && answer[length] == '"')
      return (outcome)o;
  }
  return OUTCOME_UNKNOWN;
}

const char *records_find_choice(const record_file *file, const bundle_range *range, char *out, size_t size,
                                double *gain) {
  char question[MAX_LINE];
  size_t length = question_of(file, range, NULL, question);
  const char *answer = length ? find_answer(file, question, length) : NULL;
  if (!answer || strncmp(answer, chosen, sizeof(chosen) - 1) != 0)
    return NULL;
  answer += sizeof(chosen) - 1;
  size_t text = strcspn(answer, "\"");
  if (text >= size)
    return NULL;
  memcpy(out, answer, text);
  out[text] = '\0';
  *gain = gain_of(answer);
  const char *after = answer + text + 1; /* what was chosen may be of a template that has changed */
  after += *after == ',';
  for (size_t c = 0; c < range->num_candidates; ++c) {
    char own[TEMPLATE_MEMBER];
    if (strcmp(out, c ? range->candidates[c].kernel : "default") != 0)
      continue;
    template_member(&range->candidates[c], own);
    int same = *own ? strncmp(after, own, strlen(own)) == 0 : strncmp(after, "\"template\":", 11) != 0;
    return same ? out : NULL;
  }
  return out;
}

static int add_times(char *out, size_t size, const pair_times *t) {
  return snprintf(out, size,
                  "\"times\":{\"default_us\":[%.6g,%.6g,%.6g],\"candidate_us\":[%.6g,%.6g,%.6g],\"pairs\":%zu,"
                  "\"wins\":%zu,\"gain\":[%.6g,%.6g,%.6g],\"flops\":%.0f,\"bytes\":%.0f},",
                  t->standard.median, t->standard.low, t->standard.high, t->candidate.median, t->candidate.low,
                  t->candidate.high, t->pairs, t->wins, t->gain, t->gain_low, t->gain_high, t->flops, t->bytes);
}

/* `answer` follows the question, times and stamp follow it. */
static int append_record(record_file *file, char *line, size_t size, const char *answer, const pair_times *times) {
  char date[21], end[1024] = "";
  utc_date(date);
  if (times)
    add_times(end, sizeof(end), times);
  int more = size ? snprintf(line + size, MAX_LINE - size, "%s%s%s%s\"}}\n", answer, end, file->stamp, date) : -1;
  if (more < 0 || size + (size_t)more >= MAX_LINE)
    return complain("E-FILE", "bundle.json: a record would have more than %d bytes", MAX_LINE), 3;
  return append_line(file->path, line, size + (size_t)more);
}

int records_append(record_file *file, const bundle_range *range, size_t candidate, outcome result, const char *detail,
                   const pair_times *times) {
  char line[MAX_LINE], answer[1200];
  size_t size = question_of(file, range, &range->candidates[candidate], line);
  int used = snprintf(answer, sizeof(answer), "%s%s\",", measured, outcome_names[result]);
  if (detail && *detail) {
    char clean[600];
    size_t n = 0;
    for (const char *c = detail; *c && n + 1 < sizeof(clean); ++c)
      clean[n++] = *c < ' ' || *c > '~' || *c == '"' || *c == '\\' ? '\'' : *c; /* needs no escape in JSON */
    clean[n] = '\0';
    snprintf(answer + used, sizeof(answer) - (size_t)used, "\"detail\":\"%s\",", clean);
  }
  return append_record(file, line, size, answer, times);
}

int records_append_choice(record_file *file, const bundle_range *range, size_t candidate, const pair_times *times) {
  char line[MAX_LINE], answer[4096], own[TEMPLATE_MEMBER];
  size_t size = question_of(file, range, NULL, line);
  snprintf(answer, sizeof(answer), "%s%s\",%s", chosen, candidate ? range->candidates[candidate].kernel : "default",
           template_member(&range->candidates[candidate], own));
  return append_record(file, line, size, answer, times);
}
