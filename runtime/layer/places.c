/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * places.c - queues of slots for the places of a group, columns of values for those of an expert.
 *
 * Values are compared as integers that order as they do:
 *
 *     key(v) = bits(v + 0) with all bits of a negative number and the sign bit of a positive one flipped,   NaN: 0
 */
#include "runtime/layer/places.h"

#include <string.h>

static uint32_t key_of(float value) {
  uint32_t bits;
  value += 0.0f; /* -0 equals +0 */
  if (value != value)
    return 0;
  memcpy(&bits, &value, sizeof(bits));
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* floor, ceil or nearest of v in [0, 2^62), without a math library */
static int64_t rounded(double v, uint32_t mode) {
  if (!(v > 0))
    return 0;
  if (v >= 2147483647.0)
    return INT32_MAX;
  if (mode == MOEC_ROUND_NEAREST)
    v += 0.5;
  int64_t whole = (int64_t)v;
  return mode == MOEC_ROUND_CEIL && (double)whole < v ? whole + 1 : whole;
}

int64_t moec_places_at(const moec_places *places, int64_t tokens, int64_t given) {
  int64_t count = given;
  if (places->mode == MOEC_PLACES_FIXED)
    count = rounded(places->value, places->round);
  if (places->mode == MOEC_PLACES_SHARE)
    count = rounded(places->value * (double)tokens * (double)places->times / (double)places->over, places->round);
  if (count < places->least)
    count = places->least;
  if (count > places->most)
    count = places->most;
  return count < 0 ? 0 : count > INT32_MAX ? INT32_MAX : count;
}

/* Tokens of the scope that begins at `first`. */
static int64_t scope_tokens(const moec_places *places, int64_t first, int64_t num_tokens, int64_t sequence_tokens) {
  int64_t length = places->scope == MOEC_SCOPE_SEQUENCE ? sequence_tokens
                   : places->scope == MOEC_SCOPE_GROUP  ? places->group_tokens
                                                        : num_tokens;
  return length < num_tokens - first ? length : num_tokens - first;
}

static int64_t count_present(const int32_t *present, int64_t first, int64_t tokens) {
  int64_t count = 0;
  for (int64_t t = first; present && t < first + tokens; ++t)
    count += present[t] != 0;
  return present ? count : tokens;
}

/* ---- capacity -------------------------------------------------------------------------------------------------- */

static uint32_t slot_key(const moec_capacity_call *call, int32_t slot) {
  return key_of(call->keys[call->places->flags & MOEC_PLACES_SLOT_KEYS ? slot : slot / call->choices]);
}

/* Does slot a come after slot b? */
static int is_behind(const moec_capacity_call *call, int32_t a, int32_t b) {
  uint32_t key_a = slot_key(call, a), key_b = slot_key(call, b);
  return key_a != key_b ? key_a < key_b : a > b;
}

/* Restores the heap below `root`, whose largest element is the one farthest behind. */
static void sift(const moec_capacity_call *call, int32_t *heap, int64_t root, int64_t count) {
  for (int64_t child; (child = 2 * root + 1) < count; root = child) {
    if (child + 1 < count && is_behind(call, heap[child + 1], heap[child]))
      ++child;
    if (!is_behind(call, heap[child], heap[root]))
      return;
    int32_t slot = heap[root];
    heap[root] = heap[child];
    heap[child] = slot;
  }
}

static void sort_queue(const moec_capacity_call *call, int32_t *queue, int64_t count) {
  for (int64_t root = count / 2 - 1; root >= 0; --root)
    sift(call, queue, root, count);
  for (int64_t last = count - 1; last > 0; --last) {
    int32_t slot = queue[0];
    queue[0] = queue[last];
    queue[last] = slot;
    sift(call, queue, 0, last);
  }
}

/* Choices that wait for their turn with next best, so that they are told from those that have a place. */
static int32_t waiting(int32_t id) { return -2 - id; }

/* The best id with room that no placed choice of the token names; -1: none. Ids from num_groups on always have room. */
static int32_t next_best(const moec_capacity_call *call, int64_t slot) {
  int64_t token = slot / call->choices, first = token * call->choices, best_key = -1;
  const float *rank = call->rank + token * call->rank_columns;
  int32_t best = -1;
  for (int64_t id = 0; id < call->rank_columns; ++id) {
    if ((id < call->num_groups && call->free_places[id] <= 0) || (int64_t)key_of(rank[id]) <= best_key)
      continue;
    int64_t other = first, end = first + call->choices;
    while (other < end && call->kept[other] != id)
      ++other;
    if (other == end) {
      best = (int32_t)id;
      best_key = key_of(rank[id]);
    }
  }
  return best;
}

static void place_slot(const moec_capacity_call *call, int64_t slot) {
  int32_t id = call->kept[slot];
  if (call->rank) {
    if (id > waiting(0))
      return;
    call->kept[slot] = id = next_best(call, slot);
  }
  if (id < 0 || id >= call->num_groups)
    return;
  if (call->free_places[id] > 0)
    --call->free_places[id];
  else
    call->kept[slot] = -1;
}

/* `count` slots from `first` on, `step` apart, in the order of their keys or of their positions. */
static void place_level(const moec_capacity_call *call, int64_t first, int64_t step, int64_t count) {
  int32_t *queue = call->keys ? call->queue : NULL; /* levels come one after the other */
  for (int64_t i = 0; queue && i < count; ++i)
    queue[i] = (int32_t)(first + i * step);
  if (queue)
    sort_queue(call, queue, count);
  for (int64_t i = 0; i < count; ++i)
    place_slot(call, queue ? queue[i] : first + i * step);
}

void moec_keep_capacity(const moec_capacity_call *call) {
  const moec_places *places = call->places;
  int64_t choices = call->choices;
  memcpy(call->kept, call->ids, (size_t)(call->num_tokens * choices) * sizeof(*call->kept));
  for (int64_t slot = 0; call->rank && slot < call->num_tokens * choices; ++slot)
    if (call->ids[slot] >= 0 && call->ids[slot] < call->rank_columns)
      call->kept[slot] = waiting(call->ids[slot]);
    else if (call->ids[slot] < 0)
      call->kept[slot] = -1;
  for (int64_t first = 0, tokens; first < call->num_tokens; first += tokens) {
    tokens = scope_tokens(places, first, call->num_tokens, call->sequence_tokens);
    int64_t count =
        moec_places_at(places, count_present(call->present, first, tokens), call->capacity ? *call->capacity : 0);
    for (int64_t g = 0; g < call->num_groups; ++g)
      call->free_places[g] = (int32_t)count;
    if (places->flags & MOEC_PLACES_TOKEN_MAJOR)
      place_level(call, first * choices, 1, tokens * choices);
    else
      for (int64_t j = 0; j < choices; ++j)
        place_level(call, first * choices + j, choices, tokens);
  }
}

/* ---- top tokens ------------------------------------------------------------------------------------------------ */

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

/* One column of one scope. */
typedef struct column {
  const float *values;
  const int32_t *present;
  int64_t tokens, stride;
} column;

static int is_there(const column *c, int64_t t) { return !c->present || c->present[t]; }

/* The key of the `count`-th largest of at least `count` values; *larger = how many are above it. */
static uint32_t threshold_of(const column *c, int64_t count, int64_t *larger) {
  uint32_t prefix = 0, decided = 0;
  *larger = 0;
  for (int shift = 32 - DIGIT_BITS; decided != 0xffffffffu; shift = shift > DIGIT_BITS ? shift - DIGIT_BITS : 0) {
    int64_t counts[DIGITS] = {0};
    for (int64_t t = 0; t < c->tokens; ++t) {
      uint32_t key = key_of(c->values[t * c->stride]);
      if (is_there(c, t) && (key & decided) == prefix)
        ++counts[key >> shift & (DIGITS - 1)];
    }
    /* digits already decided have one value, so that only that one is counted */
    uint32_t digit = DIGITS - 1;
    while (digit > 0 && *larger + counts[digit] < count)
      *larger += counts[digit--];
    prefix = (prefix & ~((uint32_t)(DIGITS - 1) << shift)) | digit << shift;
    decided |= (uint32_t)(DIGITS - 1) << shift;
  }
  return prefix;
}

void moec_top_tokens(const moec_places *places, int64_t num_tokens, int64_t sequence_tokens, int64_t columns,
                     const float *values, const int32_t *present, int32_t *mask) {
  for (int64_t first = 0, tokens; first < num_tokens; first += tokens) {
    tokens = scope_tokens(places, first, num_tokens, sequence_tokens);
    int64_t there = count_present(present, first, tokens), count = moec_places_at(places, there, 0);
    for (int64_t n = 0; n < columns; ++n) {
      const column c = {values + first * columns + n, present ? present + first : NULL, tokens, columns};
      int64_t larger = 0, ties = there; /* all tokens fit */
      uint32_t threshold = 0;
      if (count < there && count > 0) {
        threshold = threshold_of(&c, count, &larger);
        ties = count - larger;
      }
      for (int64_t t = 0; t < tokens; ++t) {
        uint32_t key = key_of(c.values[t * columns]);
        int taken = count > 0 && is_there(&c, t) && (key > threshold || (key == threshold && ties > 0));
        ties -= taken && key == threshold;
        mask[(first + t) * columns + n] = taken;
      }
    }
  }
}

/* ---- slots ----------------------------------------------------------------------------------------------------- */

void moec_make_slots(int64_t num_tokens, int64_t sequence_tokens, int64_t choices, int64_t num_groups,
                     const moec_route *route) {
  int64_t each = choices / num_groups, sequences = num_tokens ? num_tokens / sequence_tokens : 0;
  for (int64_t g = 0; g <= num_groups; ++g)
    route->offsets[g] = (int32_t)(g * sequences * each);
  for (int64_t b = 0; b < sequences; ++b)
    for (int64_t s = 0; s < choices; ++s) {
      int32_t row = (int32_t)((s / each * sequences + b) * each + s % each);
      route->row_token[row] = (int32_t)(b * sequence_tokens);
      route->row_slot[row] = (int32_t)s;
      for (int64_t t = b * sequence_tokens; t < (b + 1) * sequence_tokens; ++t)
        route->slot_row[t * choices + s] = row;
    }
}
