/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * outputs.c - the default's outputs stay on the host, the candidate's come one after the other.
 */
#include "outputs.h"

#include "../memory.h"

#include "runtime/moec_dtype.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t rows_of(const gpu_output *output, int64_t tokens) { return output->rows ? output->rows : tokens; }

static size_t row_bytes(const gpu_output *output) {
  return (size_t)(output->columns * moec_dtype_bytes((uint32_t)output->type));
}

/* "y of token 3", "the gradient of x of token 3", "row 3 of the gradient of experts.down" */
static void say_place(const gpu_layers *g, const gpu_output *output, int64_t row, char *out, size_t size) {
  if (output->role)
    snprintf(out, size, "row %lld of the gradient of %s", (long long)row, output->role);
  else
    snprintf(out, size, "%s of token %lld", g->backward ? "the gradient of x" : "y", (long long)row);
}

/* Poison, then one call. */
static int call_poisoned(gpu_layers *g, int layer, size_t call) {
  for (size_t i = 0; i < g->num_outputs; ++i) {
    size_t bytes = (size_t)rows_of(&g->outputs[i], g->tokens[call]) * row_bytes(&g->outputs[i]);
    if (gpu_failed(g, g->driver->memset_d8(g->outputs[i].at, 0xff, bytes), "poison"))
      return 1;
  }
  return gpu_failed(g, g->driver->stream_synchronize(NULL), "poison") || gpu_call(g, layer, call);
}

/* The caller frees it. NULL: detail says why. */
static char *download(gpu_layers *g, const gpu_output *output, int64_t tokens) {
  size_t bytes = (size_t)rows_of(output, tokens) * row_bytes(output);
  char *rows = malloc(bytes + 1);
  if (!rows)
    snprintf(g->detail, g->detail_size, "not enough memory for outputs");
  if (rows && gpu_failed(g, g->driver->memcpy_dtoh(rows, output->at, bytes), "an output")) {
    free(rows);
    return NULL;
  }
  return rows;
}

/* The first row that holds NaN; -1: none. */
static int64_t unwritten_row(const gpu_output *output, const char *rows, int64_t count) {
  for (int64_t i = 0; i < count * output->columns; ++i)
    if (isnan(load_element(rows, output->type, i)))
      return i / output->columns;
  return -1;
}

/* The first row that differs; -1: none. */
static int64_t different_row(const gpu_output *output, const char *want, const char *got, int64_t count,
                             int same_bits) {
  for (int64_t row = 0; row < count; ++row) {
    const char *w = want + (size_t)row * row_bytes(output), *r = got + (size_t)row * row_bytes(output);
    double error = 0, square = 0;
    for (int64_t c = 0; c < output->columns && !same_bits; ++c) {
      double a = load_element(w, output->type, c), b = load_element(r, output->type, c);
      error += (a - b) * (a - b);
      square += a * a;
    }
    if (same_bits ? memcmp(w, r, row_bytes(output)) != 0 : !(error <= 1e-4 * square + 1e-12))
      return row;
  }
  return -1;
}

/* The default's outputs, checked. */
static int take_default(gpu_layers *g, size_t call, char **want, volatile unsigned *ticks) {
  if (call_poisoned(g, 0, call))
    return 1;
  for (size_t i = 0; i < g->num_outputs; ++i, ++*ticks) {
    const gpu_output *output = &g->outputs[i];
    if (!(want[i] = download(g, output, g->tokens[call])))
      return 1;
    int64_t row = unwritten_row(output, want[i], rows_of(output, g->tokens[call]));
    char place[200];
    if (row < 0)
      continue;
    say_place(g, output, row, place, sizeof(place));
    snprintf(g->detail, g->detail_size, "the default leaves %s unwritten, or NaN", place);
    return 1;
  }
  return 0;
}

static outcome check_candidate(gpu_layers *g, size_t call, char *const *want, int same_bits, volatile unsigned *ticks) {
  if (call_poisoned(g, 1, call))
    return OUTCOME_FAILED;
  for (size_t i = 0; i < g->num_outputs; ++i, ++*ticks) {
    const gpu_output *output = &g->outputs[i];
    char *got = download(g, output, g->tokens[call]), place[200];
    if (!got)
      return OUTCOME_FAILED;
    int64_t row = different_row(output, want[i], got, rows_of(output, g->tokens[call]), same_bits);
    free(got);
    if (row < 0)
      continue;
    say_place(g, output, row, place, sizeof(place));
    snprintf(g->detail, g->detail_size, "T = %lld, %s", (long long)g->tokens[call], place);
    return OUTCOME_WRONG;
  }
  return OUTCOME_OK;
}

outcome compare_outputs(gpu_layers *g, size_t call, int same_bits, volatile unsigned *ticks) {
  char **want = calloc(g->num_outputs, sizeof(*want));
  if (!want)
    return snprintf(g->detail, g->detail_size, "not enough memory for outputs"), OUTCOME_UNKNOWN;
  outcome found =
      take_default(g, call, want, ticks) ? OUTCOME_UNKNOWN : check_candidate(g, call, want, same_bits, ticks);
  for (size_t i = 0; i < g->num_outputs; ++i)
    free(want[i]);
  free(want);
  return found;
}
