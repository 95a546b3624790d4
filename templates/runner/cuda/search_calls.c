/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * search_calls.c - the parent, which never initialises CUDA: a child could not use it after fork().
 */
#include "search_calls.h"

#include "../check.h"
#include "../machine.h"
#include "calls.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FINALISTS = 3 };
static const double silence_seconds = 60; /* creating a layer loads and may assemble its image */

typedef struct shared_result {
  volatile unsigned ticks;
  volatile int done;
  int code, capability;
  char machine[512];
  call_result found;
} shared_result;

static const moec_package *load_package(const bundle *from, const bundle_candidate *candidate) {
  char path[4700], symbol[128];
  snprintf(path, sizeof(path), "%s/%s", from->dir, candidate->library);
  snprintf(symbol, sizeof(symbol), "%s_package", from->name);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *address = library ? dlsym(library, symbol) : NULL;
  const moec_package *(*package)(void) = NULL;
  memcpy(&package, &address, sizeof(address));
  return package ? package() : NULL;
}

static void child(const bundle *from, const bundle_call *call, size_t candidate, shared_result *s) {
  const bundle_candidate *all = call->range.candidates;
  const moec_package *standard = load_package(from, &all[0]), *other = load_package(from, &all[candidate]);
  call_question question = {standard, other, call->backward, call->tokens, call->num_tokens, all[candidate].same_bits};
  if (standard && other)
    compare_calls(NULL, &question, &s->ticks, &s->found);
  else
    snprintf(s->found.detail, sizeof(s->found.detail), "a package cannot be loaded: %s", dlerror());
  s->done = 1;
}

/* Runs `work` in a child. What ended it early, or "" */
static int in_child(shared_result *s, const bundle *from, const bundle_call *call, size_t candidate) {
  memset(s, 0, sizeof(*s));
  pid_t pid = fork();
  if (pid < 0)
    return complain("E-MEMORY", "cannot start a process to measure in"), 9;
  if (pid == 0) {
    signal(SIGINT, SIG_IGN);
    if (call)
      child(from, call, candidate, s);
    else
      s->code = gpu_record(NULL, s->machine, sizeof(s->machine), &s->capability), s->done = 1;
    _exit(0);
  }
  char how[100] = "";
  if (!wait_for_child(pid, &s->ticks, silence_seconds, how, sizeof(how)) && !s->done)
    snprintf(how, sizeof(how), "it ended the process");
  if (how[0]) {
    s->found.result = OUTCOME_FAILED;
    snprintf(s->found.detail, sizeof(s->found.detail), "%s", how);
  }
  return 0;
}

/* 0, or an exit code; 1: the default is at fault. */
static int measure(search_state *state, const bundle_call *call, size_t candidate, shared_result *s) {
  int code = in_child(s, state->from, call, candidate);
  if (code)
    return code;
  if (s->found.result == OUTCOME_UNKNOWN)
    return complain("E-MISMATCH", "%s %s, tokens %s: the default: %s", call->stage, call->target, call->range.rows_text,
                    s->found.detail),
           1;
  ++state->measured;
  state->wrong += s->found.result == OUTCOME_WRONG;
  state->failed += s->found.result == OUTCOME_FAILED;
  int ok = s->found.result == OUTCOME_OK;
  return records_append(state->records, &call->range, candidate, s->found.result, ok ? "" : s->found.detail,
                        ok ? &s->found.times : NULL);
}

static size_t best_left(const outcome *results, const double *gains, size_t count, const size_t *taken, size_t used) {
  size_t best = 0;
  for (size_t c = 1; c < count; ++c) {
    int skip = results[c] != OUTCOME_OK;
    for (size_t i = 0; i < used; ++i)
      skip |= taken[i] == c;
    if (!skip && (!best || gains[c] > gains[best]))
      best = c;
  }
  return best;
}

static int choose(search_state *state, const bundle_call *call, outcome *results, const double *gains,
                  shared_result *s) {
  size_t taken[FINALISTS], used = 0, chosen = 0;
  pair_times proof = {0};
  for (; used < FINALISTS; ++used) {
    size_t next = best_left(results, gains, call->range.num_candidates, taken, used);
    if (!next || *state->stopped)
      break;
    taken[used] = next;
    int code = in_child(s, state->from, call, next);
    if (code)
      return code;
    if (s->found.result != OUTCOME_OK) {
      if (s->found.result == OUTCOME_WRONG || s->found.result == OUTCOME_FAILED) /* supersedes what it measured */
        code = records_append(state->records, &call->range, next, s->found.result, s->found.detail, NULL);
      if (code)
        return code;
      continue;
    }
    int beats = s->found.times.gain_low > 0 && s->found.times.gain >= state->from->minimum_gain;
    if (beats ? !chosen || s->found.times.gain > proof.gain
              : !chosen && (!proof.pairs || s->found.times.gain > proof.gain)) {
      chosen = beats ? next : 0;
      proof = s->found.times;
    }
  }
  if (!proof.pairs || *state->stopped)
    return 0;
  state->changed += chosen != 0;
  printf("%s %s tokens %-9s %-44s %+.1f %% (%+.1f .. %+.1f)   %zu of %zu pairs\n", call->stage, call->target,
         call->range.rows_text, chosen ? call->range.candidates[chosen].changes : "default kept   best",
         100 * proof.gain, 100 * proof.gain_low, 100 * proof.gain_high, proof.wins, proof.pairs);
  fflush(stdout);
  return records_append_choice(state->records, &call->range, chosen, &proof);
}

static int search_call(search_state *state, const bundle_call *call, shared_result *s) {
  outcome results[MAX_CALL_CANDIDATES] = {OUTCOME_UNKNOWN};
  double gains[MAX_CALL_CANDIDATES] = {0};
  const bundle_range *range = &call->range;
  if (range_is_known(state, range))
    return 0;
  ++state->ranges;
  int complete = 1, code = 0;
  char path[4700];
  for (size_t c = 0; c < range->num_candidates; ++c)
    if (!file_is_whole(state->from, range->candidates[c].library, range->candidates[c].library_bytes,
                       range->candidates[c].library_hash, path, sizeof(path)))
      return 8;
  for (size_t c = 1; c < range->num_candidates && !code; ++c) {
    results[c] = records_find(state->records, range, c, &gains[c]);
    if (results[c] != OUTCOME_UNKNOWN)
      continue;
    if (search_over(state)) {
      complete = 0;
      continue;
    }
    code = measure(state, call, c, s);
    results[c] = s->found.result;
    gains[c] = s->found.times.gain;
  }
  state->not_reached += !complete;
  return code || *state->stopped ? code : choose(state, call, results, gains, s);
}

int search_calls(search_state *state, const char *stage) {
  shared_result *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (s == MAP_FAILED)
    return complain("E-MEMORY", "not enough memory"), 9;
  int code = in_child(s, state->from, NULL, 0), capability = s->capability;
  if (!code)
    code = s->found.detail[0] ? (complain("E-MACHINE", "asking for a GPU: %s", s->found.detail), 6) : s->code;
  if (!code) {
    snprintf(state->records->machine, sizeof(state->records->machine), "%s", s->machine);
    size_t named = 0, fit = 0;
    for (size_t i = 0; i < state->from->num_calls && (code == 0 || code == 1); ++i) {
      const bundle_call *call = &state->from->calls[i];
      if (stage && strcmp(stage, call->stage) != 0)
        continue;
      ++named;
      if (call->exact ? capability != call->sm : capability < call->sm)
        continue;
      ++fit;
      int own = search_call(state, call, s);
      code = own ? own : code;
    }
    if (!named)
      code = (complain("E-USAGE", "the bundle has no stage \"%s\"", stage), 2);
    else if (!fit)
      code =
          (complain("E-MACHINE", "the GPU has capability %d, which none of the bundle's targets runs on", capability),
           6);
  }
  munmap(s, sizeof(*s));
  return code;
}
