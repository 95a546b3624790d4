/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * search_calls.h - a range of tokens of a bundle for a GPU -> a record of every candidate and of what was chosen.
 *
 * Every candidate is a package; it is compared and timed beside the default in a child process of its own, so that a
 * fault or a hang costs that candidate alone. The best few are measured once more before one is chosen.
 */
#ifndef RUNNER_CUDA_SEARCH_CALLS_H
#define RUNNER_CUDA_SEARCH_CALLS_H

#include "../search.h"

/* All ranges whose target device 0 runs. 0, or an exit code after a message; 6: there is no such GPU. */
int search_calls(search_state *state, const char *stage);

#endif
