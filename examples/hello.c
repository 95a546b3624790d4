/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * hello.c - the smallest program: weights from arrays, two tokens through the layer of tiny.json, one call.
 */
#include <tiny.h>

#include <stdio.h>
#include <stdlib.h>

enum { T = 2, E = TINY_NUM_EXPERTS, K = TINY_TOP_K, H = TINY_HIDDEN, I = 6 };

static float router[E * H], gate[E * I * H], up[E * I * H], down[E * H * I];
static _Alignas(16) float x[T * H], y[T * H];

static void fill(float *values, int count, unsigned seed) { /* in [-1, 1) */
  for (int i = 0; i < count; ++i)
    values[i] = (float)((seed = seed * 1664525u + 1013904223u) >> 16) / 32768.0f - 1.0f;
}

static void check(moec_status status) {
  if (status == MOEC_OK)
    return;
  char text[256];
  moec_last_error(text, sizeof text);
  fprintf(stderr, "hello: %s\n", text);
  exit(1);
}

int main(void) {
  moec_tensor tensors[] = {{"router.weight", router, MOEC_F32, 2, {E, H}}, /* tiny.h lists the roles and shapes */
                           {"experts.gate", gate, MOEC_F32, 3, {E, I, H}},
                           {"experts.up", up, MOEC_F32, 3, {E, I, H}},
                           {"experts.down", down, MOEC_F32, 3, {E, H, I}}};
  fill(router, E * H, 1);
  fill(gate, E * I * H, 2);
  fill(up, E * I * H, 3);
  fill(down, E * H * I, 4);
  fill(x, T * H, 5);

  moec_layer *layer; /* kernels for the best instruction set of this machine */
  check(moec_layer_create(tiny_package(), NULL, &layer));

  moec_weights *weights; /* packed into a buffer of ours */
  size_t bytes;
  check(moec_layer_weights_bytes(layer, &bytes));
  check(moec_weights_pack(layer, tensors, 4, aligned_alloc(64, bytes), bytes, &weights));

  moec_forward_args args = {.struct_size = sizeof args, .num_tokens = T, .x = x, .y = y};
  check(moec_layer_workspace_bytes(layer, T, &args.workspace_bytes));
  args.workspace = aligned_alloc(256, args.workspace_bytes);
  check(moec_layer_forward(layer, weights, &args)); /* x [T,H] -> y [T,H]; call it as often as you like */

  for (int i = 0; i < T * H; ++i)
    printf("%7.3f%s", (double)y[i], i % H == H - 1 ? "\n" : " ");
  return 0; /* a program that goes on destroys weights, then layer, and frees both buffers */
}
