/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * calls.h - two packages of one layer -> whether calls of the second give what those of the first do, and how long both
 * take on a GPU, in pairs.
 */
#ifndef RUNNER_CUDA_CALLS_H
#define RUNNER_CUDA_CALLS_H

#include "../interval.h"
#include "../records.h"

#include "runtime/cuda/cuda_driver.h"
#include "runtime/moec.h"

typedef struct call_question {
  const moec_package *standard, *candidate;
  int backward;          /* which pass is called: the forward or, of a layer that trains, the backward pass */
  const int64_t *tokens; /* of each call */
  size_t num_tokens;
  int same_bits; /* outputs are compared bit by bit; else row by row */
} call_question;

typedef struct call_result {
  outcome result; /* OUTCOME_OK: `times` hold; OUTCOME_UNKNOWN: the default is at fault, `detail` says how */
  char detail[400];
  pair_times times;
} call_result;

/* The member "machine" of a record of device 0, and its compute capability. 0, or 6 after a message. */
int gpu_record(const moec_cuda_driver *driver, char *out, size_t size, int *capability);

/* Calls on random weights and inputs; a turn is one call of each of `tokens`. `driver` NULL: this machine's. Every
 * output, y or all gradients, is poisoned before it is compared. *ticks grows as the work goes on. A candidate that
 * takes more than three times as long as the default, in both pairs that warm up, is not timed further. */
void compare_calls(const moec_cuda_driver *driver, const call_question *question, volatile unsigned *ticks,
                   call_result *out);

#endif
