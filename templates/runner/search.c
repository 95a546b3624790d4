/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * search.c - what of a range is measured, in which order, and what is chosen.
 */
#include "search.h"

#include "check.h"
#include "machine.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7, PAIRS = 15, BATCH = 8, FINALISTS = 3, ATTEMPTS = 3 };
static const double turn_us = 3000, too_slow = 3, most_drift = 0.02, suspicious_gain = 1;

typedef struct candidate_state {
  outcome result;
  double gain;
  pair_us pairs[ROUNDS];
  size_t num_pairs;
} candidate_state;

typedef struct range_search {
  search_state *state;
  stage_memory *memory;
  const bundle_range *range;
  void *library;
  moec_kernel_fn *kernels;
  candidate_state *candidates;
  check_result *checks;
  int64_t blocks;
  turn t;
} range_search;

int search_over(const search_state *state) { return *state->stopped || wall_seconds() >= state->end; }

static int load_kernels(range_search *s) {
  char path[4700];
  if (!library_is_whole(s->state->from, s->range, path, sizeof(path)))
    return 8;
  if (!(s->library = dlopen(path, RTLD_NOW | RTLD_LOCAL)))
    return complain("E-FILE", "cannot load %s: %s", path, dlerror()), 8;
  const moec_package *(*package)(void) = NULL;
  void *address = dlsym(s->library, "candidates_package");
  memcpy(&package, &address, sizeof(address));
  const moec_package *table = package ? package() : NULL;
  if (!table || table->magic != MOEC_ABI_MAGIC || table->abi_major != MOEC_ABI_MAJOR)
    return complain("E-FILE", "%s is not a library of this version's candidates", path), 3;
  for (size_t c = 0; c < s->range->num_candidates; ++c) {
    int64_t function = s->range->candidates[c].function;
    if (function >= (int64_t)table->num_functions)
      return complain("E-FILE", "%s has %lld functions, bundle.json names number %lld", path,
                      (long long)table->num_functions, (long long)function),
             3;
    s->kernels[c] = function < 0 ? NULL : table->functions[function];
  }
  return 0;
}

static int begin(range_search *s, search_state *state, stage_memory *memory, const bundle_range *range) {
  memset(s, 0, sizeof(*s));
  s->state = state;
  s->memory = memory;
  s->range = range;
  s->kernels = calloc(range->num_candidates, sizeof(*s->kernels));
  s->candidates = calloc(range->num_candidates, sizeof(*s->candidates));
  s->checks = calloc(range->num_candidates, sizeof(*s->checks));
  if (!s->kernels || !s->candidates || !s->checks)
    return complain("E-MEMORY", "not enough memory for the candidates of %s", memory->stage->name), 9;
  return 0;
}

static void end(range_search *s) {
  if (s->library)
    dlclose(s->library);
  free(s->kernels);
  free(s->candidates);
  free(s->checks);
  turn_free(&s->t);
}

/* A turn on the next weights. */
static double once(range_search *s, size_t candidate) {
  if (!turn_prepare(s->memory, &s->t, s->range->rows, s->blocks))
    return NAN; /* the items are allocated once, by the first turn */
  return run_us(s->memory, s->kernels[candidate], &s->t);
}

/* Blocks that make a turn of about 3 ms. */
static void choose_blocks(range_search *s) {
  int64_t most = most_blocks(s->memory->stage, s->range->rows);
  s->blocks = 2;
  once(s, 0);
  double two = once(s, 0), blocks = floor(2 * turn_us / two);
  s->blocks = blocks<2 ? 2 : blocks>(double) most ? most : (int64_t)blocks;
  once(s, 0);
}

static int record_bad(range_search *s, size_t c) {
  s->candidates[c].result = s->checks[c].result;
  s->state->wrong += s->checks[c].result == OUTCOME_WRONG;
  s->state->failed += s->checks[c].result == OUTCOME_FAILED;
  ++s->state->measured;
  return records_append(s->state->records, s->range, c, s->checks[c].result, s->checks[c].detail, NULL);
}

/* Asks the records of earlier runs. Returns how many candidates are left. */
static size_t ask_records(range_search *s) {
  size_t left = 0;
  for (size_t c = 1; c < s->range->num_candidates; ++c) {
    candidate_state *own = &s->candidates[c];
    own->result = records_find(s->state->records, s->range, c, &own->gain);
    left += own->result == OUTCOME_UNKNOWN;
  }
  return left;
}

/* Wrong and failed candidates are recorded at once, before anything is timed. */
static int check(range_search *s) {
  moec_kernel_fn *unknown = calloc(s->range->num_candidates, sizeof(*unknown));
  if (!unknown)
    return complain("E-MEMORY", "not enough memory"), 9;
  for (size_t c = 0; c < s->range->num_candidates; ++c)
    if (s->candidates[c].result == OUTCOME_UNKNOWN)
      unknown[c] = s->kernels[c];
  uint64_t reference;
  int code = check_candidates(s->memory, s->range, unknown, s->checks, &reference);
  free(unknown);
  char found[17];
  hash_text(reference, found);
  if (!code && s->range->reference && strcmp(found, s->range->reference) != 0) {
    complain("E-MISMATCH",
             "the default kernel of %s, rows %s, computes something else here than where the bundle was prepared",
             s->memory->stage->name, s->range->rows_text);
    return 1;
  }
  for (size_t c = 1; c < s->range->num_candidates && !code; ++c) {
    if (s->range->candidates[c].failed && s->candidates[c].result == OUTCOME_UNKNOWN) {
      s->checks[c].result = OUTCOME_FAILED;
      snprintf(s->checks[c].detail, sizeof(s->checks[c].detail), "%s", s->range->candidates[c].failed);
    }
    if (s->checks[c].result != OUTCOME_UNKNOWN)
      code = record_bad(s, c);
  }
  return code;
}

/* Rounds of a few candidates, the default before every fourth and the first. */
static void screen(range_search *s, const size_t *few, size_t count) {
  for (int round = 0; round < ROUNDS && !*s->state->stopped; ++round) {
    double standard = once(s, 0);
    for (size_t i = 0; i < count; ++i) {
      candidate_state *c = &s->candidates[few[i]];
      if (c->num_pairs && c->pairs[0].candidate > too_slow * c->pairs[0].standard)
        continue;
      if (i && i % 4 == 0)
        standard = once(s, 0);
      c->pairs[c->num_pairs].standard = standard;
      c->pairs[c->num_pairs++].candidate = once(s, few[i]);
    }
  }
}

static int record_screened(range_search *s, size_t number) {
  candidate_state *c = &s->candidates[number];
  ++s->state->measured;
  if (c->num_pairs < ROUNDS) {
    c->result = OUTCOME_TIMEOUT;
    return records_append(s->state->records, s->range, number, OUTCOME_TIMEOUT,
                          "more than three times as long as the default", NULL);
  }
  pair_times times = times_of(c->pairs, c->num_pairs);
  times.flops = s->t.flops;
  times.bytes = s->t.bytes;
  c->result = OUTCOME_OK;
  c->gain = times.gain;
  return records_append(s->state->records, s->range, number, OUTCOME_OK, "", &times);
}

static void live_line(const range_search *s) {
  if (!s->state->live)
    return;
  size_t tried = 0;
  double best = 0;
  for (size_t c = 1; c < s->range->num_candidates; ++c) {
    tried += s->candidates[c].result != OUTCOME_UNKNOWN;
    if (s->candidates[c].result == OUTCOME_OK && s->candidates[c].gain > best)
      best = s->candidates[c].gain;
  }
  fprintf(stderr, "\r\x1b[K  %s %s rows %s: %zu of %zu tried, best %+.1f %%", s->memory->stage->name,
          s->memory->stage->isa_name, s->range->rows_text, tried, s->range->num_candidates - 1, 100 * best);
  double left = s->state->end - wall_seconds();
  if (left < 1e6)
    fprintf(stderr, ", %.0f s left", left > 0 ? left : 0.0);
}

/* Everything that no record knows. *complete 0: the budget ended before. */
static int screen_all(range_search *s, int *complete) {
  for (size_t next = 1; next < s->range->num_candidates;) {
    size_t few[BATCH], count = 0;
    for (; next < s->range->num_candidates && count < BATCH; ++next)
      if (s->candidates[next].result == OUTCOME_UNKNOWN)
        few[count++] = next;
    if (count && search_over(s->state)) {
      *complete = 0;
      return 0;
    }
    screen(s, few, count);
    if (*s->state->stopped) {
      *complete = 0;
      return 0;
    }
    for (size_t i = 0; i < count; ++i) {
      int code = record_screened(s, few[i]);
      if (code)
        return code;
    }
    live_line(s);
  }
  return 0;
}

/* ABBA; the default first and last. Again if it drifted. */
static pair_times prove(range_search *s, size_t candidate) {
  pair_times times = {0};
  for (int attempt = 0; attempt < ATTEMPTS && !*s->state->stopped; ++attempt) {
    pair_us pairs[PAIRS];
    double standard[PAIRS + 1];
    once(s, candidate);
    for (int p = 0; p < PAIRS; ++p) {
      int swapped = p % 2;
      double first = once(s, swapped ? candidate : 0), second = once(s, swapped ? 0 : candidate);
      pairs[p].standard = standard[p] = swapped ? second : first;
      pairs[p].candidate = swapped ? first : second;
    }
    times = times_of(pairs, PAIRS);
    standard[PAIRS] = once(s, 0);
    double first = median_of(standard, PAIRS / 3), last = median_of(standard + PAIRS + 1 - PAIRS / 3, PAIRS / 3);
    if (fabs(last / first - 1) <= most_drift)
      break;
  }
  times.flops = s->t.flops;
  times.bytes = s->t.bytes;
  return times;
}

/* More than twice as fast as the default: alone it must take as long as in the pairs. */
static int believable(range_search *s, size_t candidate, const pair_times *times) {
  if (times->gain <= suspicious_gain)
    return 1;
  double alone[PAIRS];
  for (int i = 0; i < PAIRS; ++i)
    alone[i] = once(s, candidate);
  return median_of(alone, PAIRS) <= 1.2 * times->candidate.median;
}

static size_t best_left(const range_search *s, const size_t *taken, size_t count) {
  size_t best = 0;
  for (size_t c = 1; c < s->range->num_candidates; ++c) {
    int used = s->candidates[c].result != OUTCOME_OK || !s->kernels[c];
    for (size_t i = 0; i < count; ++i)
      used |= taken[i] == c;
    if (!used && (!best || s->candidates[c].gain > s->candidates[best].gain))
      best = c;
  }
  return best;
}

static void print_choice(const range_search *s, size_t chosen, double gain, double low, double high, size_t pairs,
                         size_t wins) {
  if (s->state->live)
    fputs("\r\x1b[K", stderr);
  printf("%s %s rows %-9s %-44s %+.1f %% (%+.1f .. %+.1f)   %zu of %zu pairs\n", s->memory->stage->name,
         s->memory->stage->isa_name, s->range->rows_text,
         chosen ? s->range->candidates[chosen].changes : "default kept   best", 100 * gain, 100 * low, 100 * high, wins,
         pairs);
  fflush(stdout);
}

/* The finalists against the default, and the choice. */
static int choose(range_search *s) {
  size_t finalists[FINALISTS], count = 0, chosen = 0, evidence = FINALISTS;
  pair_times proofs[FINALISTS];
  int right[FINALISTS];
  for (; count < FINALISTS; ++count) {
    size_t next = best_left(s, finalists, count);
    if (!next)
      break;
    finalists[count] = next;
    proofs[count] = prove(s, next);
    right[count] = believable(s, next, &proofs[count]);
    char where[100];
    compare_turn(s->memory, s->range, s->kernels, next, &s->t, where, sizeof(where));
    if (*s->state->stopped)
      return 0;
    if (where[0]) { /* of a turn as it was timed; its measurement is superseded */
      s->checks[next].result = OUTCOME_WRONG;
      snprintf(s->checks[next].detail, sizeof(s->checks[next].detail), "a timed turn: %s", where);
      int code = record_bad(s, next);
      if (code)
        return code;
      right[count] = 0;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const pair_times *t = &proofs[i];
    int beats = right[i] && t->gain_low > 0 && t->gain >= s->state->from->minimum_gain;
    if (beats && (!chosen || t->gain > proofs[evidence].gain)) {
      chosen = finalists[i];
      evidence = i;
    }
  }
  for (size_t i = 0; i < count && !chosen; ++i)
    if (right[i] && (evidence == FINALISTS || proofs[i].gain > proofs[evidence].gain))
      evidence = i;
  if (evidence == FINALISTS)
    return 0; /* no rival that could prove anything */
  const pair_times *t = &proofs[evidence];
  s->state->changed += chosen != 0;
  print_choice(s, chosen, t->gain, t->gain_low, t->gain_high, t->pairs, t->wins);
  return records_append_choice(s->state->records, s->range, chosen, t);
}

int range_is_known(search_state *state, const bundle_range *range) {
  char text[2100];
  double gain = 0;
  const char *choice = records_find_choice(state->records, range, text, sizeof(text), &gain);
  if (!choice)
    return 0;
  for (size_t c = 1; c < range->num_candidates; ++c)
    if (records_find(state->records, range, c, &gain) == OUTCOME_UNKNOWN)
      return 0;
  ++state->ranges;
  ++state->known;
  state->changed += strcmp(choice, "default") != 0;
  return 1;
}

int search_range(search_state *state, stage_memory *memory, const bundle_range *range) {
  range_search s;
  int code = begin(&s, state, memory, range), complete = 1;
  ++state->ranges;
  if (!code) {
    size_t left = ask_records(&s);
    code = load_kernels(&s);
    live_line(&s);
    if (!code && left)
      code = check(&s);
    if (!code) {
      choose_blocks(&s);
      code = screen_all(&s, &complete);
    }
    if (!code && !*state->stopped)
      code = choose(&s);
    state->not_reached += !complete;
  }
  end(&s);
  return code;
}

int reference_of(const bundle *from, stage_memory *memory, const bundle_range *range, uint64_t *reference) {
  search_state state = {.from = from};
  range_search s;
  int code = begin(&s, &state, memory, range);
  if (!code)
    code = load_kernels(&s);
  for (size_t c = 1; c < range->num_candidates && !code; ++c)
    s.kernels[c] = NULL;
  if (!code)
    code = check_candidates(memory, range, s.kernels, s.checks, reference);
  end(&s);
  return code;
}
