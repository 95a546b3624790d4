/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * check.h - loaded kernels of a range -> which of them compute what the default computes.
 *
 * They run in a child process, each on a poisoned output, at every number of rows that the bundle lists: a candidate
 * that crashes or does not end is named, and the rest goes on in another child.
 */
#ifndef RUNNER_CHECK_H
#define RUNNER_CHECK_H

#include "memory.h"
#include "records.h"

#include <sys/types.h>

typedef struct check_result {
  outcome result; /* OUTCOME_UNKNOWN: right so far */
  char detail[200];
} check_result;

/* Candidates whose kernel is NULL are left out; results[0] is the default's. *reference becomes the hash of all that
 * the default computed. 0, or an exit code after a message; 1: the default itself failed. */
int check_candidates(stage_memory *memory, const bundle_range *range, const moec_kernel_fn *kernels,
                     check_result *results, uint64_t *reference);

/* Waits for a child. 0: it exited; 1: what ended it is in `how`: a signal, or that *ticks did not change for `silence`
 * seconds, after which it is killed. */
int wait_for_child(pid_t pid, const volatile unsigned *ticks, double silence, char *how, size_t size);

/* The turn once more with both, in this process: where they differ, "" if nowhere. */
void compare_turn(stage_memory *memory, const bundle_range *range, const moec_kernel_fn *kernels, size_t candidate,
                  const turn *t, char *where, size_t size);

#endif
