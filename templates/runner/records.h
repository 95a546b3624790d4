/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * records.h - what was measured -> lines of a file of tuning records (moec.tune/1, codegen/tune/TuneRecord.h), and
 * back.
 *
 * A line is appended with one write(2) under a lock, then synced. Whoever is killed loses at most that line; the next
 * append ends a line that was cut, and reading skips it.
 */
#ifndef RUNNER_RECORDS_H
#define RUNNER_RECORDS_H

#include "bundle.h"
#include "interval.h"

#include <stddef.h>

typedef enum outcome { OUTCOME_UNKNOWN, OUTCOME_OK, OUTCOME_WRONG, OUTCOME_FAILED, OUTCOME_TIMEOUT } outcome;

typedef struct known_line {
  uint64_t question; /* hash of the line up to its answer */
  size_t offset;
} known_line;

typedef struct record_file {
  const char *path, *stamp;
  char machine[512]; /* member "machine" of this machine */
  char *text;        /* of earlier runs, lines ended by NUL */
  known_line *known;
  size_t num_known;
} record_file;

/* `path` and `stamp` must outlive it. 0; else a message is on stderr and the exit code is returned. */
int records_open(record_file *file, const char *path, const char *stamp);
void records_close(record_file *file);

/* What an earlier run on such a machine found of the candidate; OUTCOME_UNKNOWN: nothing. *gain: of one that is ok. */
outcome records_find(const record_file *file, const bundle_range *range, size_t candidate, double *gain);
/* The text of an earlier choice, "default" or a kernel; NULL: there is none. `size` bytes of `out` hold it. */
const char *records_find_choice(const record_file *file, const bundle_range *range, char *out, size_t size,
                                double *gain);

/* A measurement; `times` of one that is ok, `detail` of another. 0, else an exit code after a message. */
int records_append(record_file *file, const bundle_range *range, size_t candidate, outcome result, const char *detail,
                   const pair_times *times);
/* candidate 0: the default stays; then `times` are those of its best rival. */
int records_append_choice(record_file *file, const bundle_range *range, size_t candidate, const pair_times *times);

#endif
