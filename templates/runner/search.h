/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * search.h - a range of a bundle -> a record of every candidate and of what was chosen, by the rules of codegen/search.
 *
 *   right      candidates are compared with the default before they are timed (check.h)
 *   screened   rounds of default and candidates in turn, on weights that no cache holds; a record each
 *   chosen     the best few against the default in pairs, ABBA, the default first and last, again if it drifted. One is
 *              chosen if the interval of its gain lies above 0 and the gain is the bundle's least one, else the default
 *              stays. What was timed is compared once more; a gain of more than 100 % must repeat alone.
 */
#ifndef RUNNER_SEARCH_H
#define RUNNER_SEARCH_H

#include "memory.h"
#include "records.h"

#include <signal.h>

typedef struct search_state {
  const bundle *from;
  record_file *records;
  volatile sig_atomic_t *stopped; /* set by a signal */
  double end;                     /* of the budget, as wall_seconds() */
  int live;                       /* a line on the terminal says what is going on */
  size_t measured, wrong, failed, ranges, known, changed, not_reached;
} search_state;

/* Whether earlier runs have measured everything of the range and chosen; it is then counted. */
int range_is_known(search_state *state, const bundle_range *range);
/* 0, or an exit code after a message; E-MISMATCH (1) costs this range only. */
int search_range(search_state *state, stage_memory *memory, const bundle_range *range);
/* Of one range; -1: the library or a kernel cannot be loaded, or the default failed, after a message. */
int reference_of(const bundle *from, stage_memory *memory, const bundle_range *range, uint64_t *reference);
int search_over(const search_state *state); /* the budget or a signal ended it */

#endif
