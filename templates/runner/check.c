/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * check.c - a child computes and compares; what it found lies in memory that it shares with its parent.
 */
#include "check.h"

#include "machine.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const double silence_seconds = 30; /* of a child, until its candidate counts as one that does not end */

typedef struct shared_state {
  volatile size_t turn, candidate; /* where the child is */
  volatile unsigned ticks;
  volatile int done, no_memory;
  size_t turns;
  uint64_t *hashes;      /* of the default's output, by turn */
  check_result *results; /* by candidate */
} shared_state;

/* Bit by bit; kernels that may differ in bits by the size of each row. */
static void difference(const bundle_stage *stage, int same_bits, const char *want, const char *got, size_t bytes,
                       char *where, size_t size) {
  where[0] = '\0';
  int64_t element = stage->out_type == MOEC_F32 ? 4 : 2;
  if (same_bits) {
    if (memcmp(want, got, bytes) == 0)
      return;
    size_t at = 0;
    while (want[at] == got[at])
      ++at;
    snprintf(where, size, "row %lld, column %lld", (long long)at / stage->out_stride,
             (long long)at % stage->out_stride / element);
    return;
  }
  for (int64_t row = 0; row * stage->out_stride < (int64_t)bytes; ++row) {
    double error = 0, square = 0;
    for (int64_t c = 0; c < stage->n; ++c) {
      double w = load_element(want + row * stage->out_stride, stage->out_type, c);
      double g = load_element(got + row * stage->out_stride, stage->out_type, c);
      if (isnan(w) && isnan(g))
        continue; /* columns of panels that the turn leaves out */
      error += (w - g) * (w - g);
      square += w * w;
    }
    if (!(error <= 1e-4 * square + 1e-12)) {
      snprintf(where, size, "row %lld", (long long)row);
      return;
    }
  }
}

/* What the default computes; the caller frees it. It takes blocks that are too high for it in parts, because a row's
 * bits do not depend on its block. */
static char *wanted(stage_memory *memory, const bundle_range *range, const moec_kernel_fn *kernels, const turn *t,
                    turn *parts, size_t *bytes) {
  if (!turn_split(t, parts, range->candidates[0].panel_m))
    return NULL;
  *bytes = run_poisoned(memory, kernels[0], parts);
  char *copy = malloc(*bytes);
  if (copy)
    memcpy(copy, memory->out, *bytes);
  return copy;
}

/* Turn `number` of the check: a block of each number of rows, then all panels as they are timed. */
static int check_turn(stage_memory *memory, const bundle_range *range, size_t number, turn *t, int64_t *rows) {
  if (number < range->num_counts) {
    *rows = range->counts[number];
    return turn_prepare_check(memory, t, *rows, (int64_t)number);
  }
  memory->next_group = memory->next_panel = 0;
  *rows = range->rows;
  return turn_prepare(memory, t, *rows, 2);
}

static void child(stage_memory *memory, const bundle_range *range, const moec_kernel_fn *kernels, shared_state *s) {
  turn t = {0}, parts = {0};
  for (; s->turn < s->turns; ++s->turn) {
    int64_t rows;
    size_t bytes = 0;
    s->candidate = 0;
    char *want =
        check_turn(memory, range, s->turn, &t, &rows) ? wanted(memory, range, kernels, &t, &parts, &bytes) : NULL;
    if (!want) {
      s->no_memory = 1;
      return;
    }
    s->hashes[s->turn] = hash_bytes(HASH_START, want, bytes);
    for (size_t c = 1; c < range->num_candidates; ++c) {
      if (!kernels[c] || s->results[c].result != OUTCOME_UNKNOWN || range->candidates[c].panel_m < rows)
        continue;
      s->candidate = c;
      ++s->ticks;
      run_poisoned(memory, kernels[c], &t);
      char where[100];
      difference(memory->stage, range->candidates[c].same_bits, want, memory->out, bytes, where, sizeof(where));
      if (where[0]) {
        s->results[c].result = OUTCOME_WRONG;
        snprintf(s->results[c].detail, sizeof(s->results[c].detail), "blocks of %lld rows: %s", (long long)rows, where);
      }
    }
    ++s->ticks;
    free(want);
  }
  s->done = 1;
}

int wait_for_child(pid_t pid, const volatile unsigned *now, double silence, char *how, size_t size) {
  unsigned ticks = *now;
  double since = wall_seconds();
  for (;;) {
    int status;
    pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid) {
      if (WIFSIGNALED(status)) {
        snprintf(how, size, "signal %d", WTERMSIG(status));
        return 1;
      }
      return 0;
    }
    if (ticks != *now) {
      ticks = *now;
      since = wall_seconds();
    }
    if (wall_seconds() - since > silence) {
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      snprintf(how, size, "it did not end within %.0f s", silence);
      return 1;
    }
    struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
  }
}

static int run_children(stage_memory *memory, const bundle_range *range, const moec_kernel_fn *kernels,
                        shared_state *s) {
  while (!s->done) {
    pid_t pid = fork();
    if (pid < 0)
      return complain("E-MEMORY", "cannot start a process to check kernels in"), 9;
    if (pid == 0) {
      signal(SIGINT, SIG_IGN); /* the parent decides */
      child(memory, range, kernels, s);
      _exit(0);
    }
    char how[100] = "";
    int broken = wait_for_child(pid, &s->ticks, silence_seconds, how, sizeof(how));
    if (s->no_memory)
      return complain("E-MEMORY", "not enough memory to check %s", memory->stage->name), 9;
    if (!broken && !s->done)
      snprintf(how, sizeof(how), "it ended the process");
    if (!how[0])
      continue;
    if (s->candidate == 0)
      return complain("E-MISMATCH", "the default kernel of %s, rows %s: %s", memory->stage->name, range->rows_text,
                      how),
             1;
    check_result *bad = &s->results[s->candidate];
    bad->result = OUTCOME_FAILED;
    snprintf(bad->detail, sizeof(bad->detail), "%s", how);
  }
  return 0;
}

int check_candidates(stage_memory *memory, const bundle_range *range, const moec_kernel_fn *kernels,
                     check_result *results, uint64_t *reference) {
  size_t turns = range->num_counts + 1;
  size_t size = sizeof(shared_state) + turns * sizeof(uint64_t) + range->num_candidates * sizeof(check_result);
  shared_state *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (s == MAP_FAILED)
    return complain("E-MEMORY", "not enough memory to check %s", memory->stage->name), 9;
  s->turns = turns;
  s->hashes = (uint64_t *)(s + 1);
  s->results = (check_result *)(s->hashes + turns);
  int code = run_children(memory, range, kernels, s);
  memcpy(results, s->results, range->num_candidates * sizeof(check_result));
  *reference = hash_bytes(HASH_START, s->hashes, turns * sizeof(uint64_t));
  munmap(s, size);
  return code;
}

void compare_turn(stage_memory *memory, const bundle_range *range, const moec_kernel_fn *kernels, size_t candidate,
                  const turn *t, char *where, size_t size) {
  turn parts = {0};
  size_t bytes = 0;
  char *want = wanted(memory, range, kernels, t, &parts, &bytes);
  where[0] = '\0';
  if (want) {
    run_poisoned(memory, kernels[candidate], t);
    difference(memory->stage, range->candidates[candidate].same_bits, want, memory->out, bytes, where, size);
  }
  free(want);
  turn_free(&parts);
}
