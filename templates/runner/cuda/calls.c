/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * calls.c - what is compared when, and pairs of turns in time.
 */
#include "calls.h"

#include "../machine.h"
#include "device.h"
#include "outputs.h"

#include <stdio.h>
#include <string.h>

enum { TURNS = 15 };
static const double too_slow = 3;

int gpu_record(const moec_cuda_driver *driver, char *out, size_t size, int *capability) {
  int device = 0, version = 0, major = 0, minor = 0, multiprocessors = 0;
  char name[128] = "";
  if (open_device(&driver, &device))
    return complain("E-MACHINE", "this machine has no GPU, or no driver for it"), 6;
  driver->device_get_name(name, sizeof(name), device);
  name[sizeof(name) - 1] = '\0';
  for (char *c = name; *c; ++c)
    if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
      *c = ' ';
  driver->driver_get_version(&version);
  driver->device_get_attribute(&major, MOEC_CUDA_CAPABILITY_MAJOR, device);
  driver->device_get_attribute(&minor, MOEC_CUDA_CAPABILITY_MINOR, device);
  driver->device_get_attribute(&multiprocessors, MOEC_CUDA_MULTIPROCESSORS, device);
  *capability = 10 * major + minor;
  snprintf(out, size, "{\"gpu\":{\"name\":\"%s\",\"capability\":%d,\"multiprocessors\":%d,\"driver\":%d}}", name,
           *capability, multiprocessors, version);
  return 0;
}

/* Wall time of one call of each number of tokens; 0: a call failed. */
static double time_turn(gpu_layers *g, int layer) {
  double begin = wall_seconds();
  for (size_t i = 0; i < g->num_tokens; ++i)
    if (gpu_call(g, layer, i))
      return 0;
  return (wall_seconds() - begin) * 1e6;
}

static outcome time_pairs(gpu_layers *g, volatile unsigned *ticks, pair_times *times) {
  pair_us pairs[TURNS];
  int slow_pairs = 0;
  for (int p = -2; p < TURNS; ++p) { /* the first two warm up, and both must be slow: one may have been interrupted */
    int swapped = p & 1;
    double first = time_turn(g, swapped), second = time_turn(g, !swapped);
    ++*ticks;
    if (first <= 0 || second <= 0)
      return OUTCOME_FAILED;
    double standard = swapped ? second : first, candidate = swapped ? first : second;
    if (p >= 0) {
      pairs[p].standard = standard;
      pairs[p].candidate = candidate;
      continue;
    }
    slow_pairs += candidate > too_slow * standard;
    if (slow_pairs == 2) {
      snprintf(g->detail, g->detail_size, "more than three times as long as the default");
      return OUTCOME_TIMEOUT;
    }
  }
  *times = times_of(pairs, TURNS);
  return OUTCOME_OK;
}

static outcome compare_all(gpu_layers *g, int same_bits, volatile unsigned *ticks) {
  outcome found = OUTCOME_OK;
  for (size_t i = 0; i < g->num_tokens && found == OUTCOME_OK; ++i)
    found = compare_outputs(g, i, same_bits, ticks);
  return found;
}

static outcome answer(gpu_layers *g, const call_question *question, volatile unsigned *ticks, pair_times *times) {
  if (gpu_open_default(g, question->standard))
    return OUTCOME_UNKNOWN;
  ++*ticks;
  if (gpu_open_candidate(g, question->candidate))
    return OUTCOME_FAILED;
  ++*ticks;
  if (gpu_prepare_calls(g))
    return OUTCOME_UNKNOWN;
  ++*ticks;
  outcome found = compare_all(g, question->same_bits, ticks);
  if (found == OUTCOME_OK)
    found = time_pairs(g, ticks, times);
  /* what ran while it was timed is still right */
  return found == OUTCOME_OK ? compare_all(g, question->same_bits, ticks) : found;
}

void compare_calls(const moec_cuda_driver *driver, const call_question *question, volatile unsigned *ticks,
                   call_result *out) {
  memset(out, 0, sizeof(*out));
  gpu_layers g = {.driver = driver,
                  .backward = question->backward,
                  .tokens = question->tokens,
                  .num_tokens = question->num_tokens,
                  .detail = out->detail,
                  .detail_size = sizeof(out->detail)};
  out->result = answer(&g, question, ticks, &out->times);
  gpu_close(&g);
}
