/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * outputs.h - what calls of two layers write -> whether the second computes what the first does.
 */
#ifndef RUNNER_CUDA_OUTPUTS_H
#define RUNNER_CUDA_OUTPUTS_H

#include "../records.h"
#include "device.h"

/* Call number `call` of both layers, each on poisoned outputs; with same_bits compared bit by bit, else row by row.
 * OUTCOME_OK; OUTCOME_UNKNOWN: the default is at fault; OUTCOME_FAILED, OUTCOME_WRONG: the candidate is; `detail` says
 * why, or the place of the first difference. *ticks grows as the work goes on. */
outcome compare_outputs(gpu_layers *g, size_t call, int same_bits, volatile unsigned *ticks);

#endif
