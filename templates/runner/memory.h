/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * memory.h - a stage -> arguments on which its kernels run: cold weights, rows of A, operands, an output to poison.
 *
 * The same as codegen/search/StageMemory.h: equal seeds give equal numbers on every machine, a turn uses groups of
 * weights that no recent turn used, and no two panels hold equal numbers.
 */
#ifndef RUNNER_MEMORY_H
#define RUNNER_MEMORY_H

#include "bundle.h"

#include "runtime/moec_abi.h"

enum { GUARD_ROWS = 64, MAX_BLOCKS = 256, MAX_ARGS = 64 };

/* What one call of a kernel does. `items` belongs to the turn; turn_free. */
typedef struct turn {
  moec_item *items;
  size_t room;
  moec_call call;
  double flops, bytes;
} turn;

typedef struct stage_memory {
  const bundle_stage *stage;
  int64_t tokens, next_group, next_panel;
  void *args[MAX_ARGS], *scratch;
  size_t mapped[MAX_ARGS], scratch_mapped;
  char *out;
} stage_memory;

int memory_open(stage_memory *memory, const bundle_stage *stage, int64_t tokens); /* 0: not enough memory */
void memory_close(stage_memory *memory);                                          /* also of a zeroed struct */

/* `blocks` blocks of `rows` rows over the next groups. 0: not enough memory. */
int turn_prepare(stage_memory *memory, turn *t, int64_t rows, int64_t blocks);
/* Two blocks of `rows` rows: the first panels of group 2 * number, the last panels of the next one. */
int turn_prepare_check(const stage_memory *memory, turn *t, int64_t rows, int64_t number);
/* The same rows and panels in blocks of at most `rows` rows. */
int turn_split(const turn *from, turn *t, int64_t rows);
void turn_free(turn *t);
int64_t most_blocks(const bundle_stage *stage, int64_t rows); /* of a turn */

double run_us(stage_memory *memory, moec_kernel_fn kernel, const turn *t); /* processor time */
/* The turn's rows and GUARD_ROWS more become NaN, then the kernel runs. Their size in bytes is returned. */
size_t run_poisoned(stage_memory *memory, moec_kernel_fn kernel, const turn *t);

/* Near-normal numbers, one run of them repeated as often as `count` needs. */
void fill_repeated(void *data, int32_t type, int64_t count, uint64_t seed, double deviation);
double load_element(const void *data, int32_t type, int64_t index);

#endif
