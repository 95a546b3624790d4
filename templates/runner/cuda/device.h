/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * device.h - two packages of one layer -> both on device 0, with memory for calls of one pass.
 *
 * The packed weights of the first package serve both: they depend on the layer alone. A backward call reads what a
 * forward call of the first package saved, so that only the pass that is asked for differs.
 */
#ifndef RUNNER_CUDA_DEVICE_H
#define RUNNER_CUDA_DEVICE_H

#include "runtime/cuda/cuda_driver.h"
#include "runtime/moec.h"

/* What a call writes: y, or the gradient of x or of a parameter. */
typedef struct gpu_output {
  moec_cuda_pointer at;
  int32_t type;
  int64_t rows, columns; /* rows 0: one per token */
  const char *role;      /* of the parameter; NULL: none */
} gpu_output;

typedef struct gpu_layers {
  const moec_cuda_driver *driver; /* set by the caller; NULL: this machine's */
  int backward;                   /* of the caller: which pass */
  const int64_t *tokens;          /* of the caller: of each call */
  size_t num_tokens;
  char *detail; /* of the caller: why a function failed, `detail_size` bytes */
  size_t detail_size;
  void *context, *stream;
  moec_layer *layers[2]; /* the default, the candidate */
  moec_weights *weights[2];
  moec_layer_info info;
  moec_cuda_pointer packed, x, y, grad_y, workspace, *saved; /* saved: by call; NULL: of the forward pass */
  size_t packed_bytes, workspace_bytes, *saved_bytes;
  gpu_output *outputs;
  size_t num_outputs;
  void **parameters; /* of moec_backward_args, by role */
} gpu_layers;

/* 0 if device 0 can be used. */
int open_device(const moec_cuda_driver **driver, int *device);

/* Of a struct whose other members are zero. 0, or why is in `detail`. gpu_close also after an error. */
int gpu_open_default(gpu_layers *g, const moec_package *standard);
int gpu_open_candidate(gpu_layers *g, const moec_package *candidate);
int gpu_prepare_calls(gpu_layers *g); /* memory, inputs, and what forward saves for backward calls */
void gpu_close(gpu_layers *g);

/* Call number `call` of the pass on layer 0 or 1, until it has ended. */
int gpu_call(gpu_layers *g, int layer, size_t call);
int gpu_failed(gpu_layers *g, int driver_result, const char *what); /* 0: it did not */

#endif
