/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_layer.h - a package's CUDA part and a device in -> a loaded image whose kernels can be launched out.
 */
#ifndef MOEC_RUNTIME_CUDA_CUDA_LAYER_H
#define MOEC_RUNTIME_CUDA_CUDA_LAYER_H

#include "runtime/cuda/cuda_driver.h"
#include "runtime/cuda/cuda_plan.h"
#include "runtime/weights/weight_source.h"

/* Immutable after create; any thread may use it. */
typedef struct moec_cuda_layer {
  const moec_cuda_driver *driver;
  moec_cuda_plan plan;
  moec_cuda_target_view target;   /* the one in use                                       */
  char name[MOEC_CUDA_NAME_ROOM]; /* "sm_90a"                                             */
  int32_t device, num_sms;
  int32_t capability; /* of the device: 90                                    */
  void *context;
  int32_t retained; /* 1: the primary context, released at destroy          */
  void *module;
  void **functions;                /* [launches of the target], own memory                 */
  uint8_t names[MOEC_MAX_BUFFERS]; /* 1: a launch has the buffer among its parameters      */
} moec_cuda_layer;

/* Opens the driver, chooses device, context and target, loads the image and sets up every kernel. Leaves the current
 * context unchanged. Errors as moec_layer_create documents them. */
moec_status moec_cuda_layer_create(const moec_package *package, const moec_plan *plan,
                                   const moec_layer_options *options, moec_cuda_layer **out_layer);
void moec_cuda_layer_destroy(moec_cuda_layer *layer); /* NULL is allowed */

/* Makes the layer's context current unless it already is. moec_cuda_leave takes `out_pushed` and restores the caller's
 * context. */
moec_status moec_cuda_enter(const moec_cuda_layer *layer, int *out_pushed);
void moec_cuda_leave(const moec_cuda_layer *layer, int pushed);

/* MOEC_INVALID_ARGUMENT when the driver does not know `pointer` as device memory; `name` is for the text. */
moec_status moec_cuda_check_device_memory(const moec_cuda_layer *layer, const void *pointer, const char *name);

/* Copies `bytes` bytes of device memory to the host and waits for them. */
moec_status moec_cuda_read(const moec_cuda_layer *layer, const void *from, size_t bytes, void *to);

/* Fills the packed buffer in device memory, the regions of `set` and zeros in padding and gaps, writes the `page_bytes`
 * bytes of `page` at its front, and waits for it. */
moec_status moec_cuda_pack(const moec_cuda_layer *cuda, const moec_plan *plan, const moec_weight_set *set,
                           const moec_role_source *sources, const void *page, size_t page_bytes, void *buffer);

/* Encodes the target's TMA descriptors for packed weights at `base`: an array of MOEC_CUDA_MAP_BYTES each, aligned to
 * that size, freed by free(); NULL if the target has none. */
moec_status moec_cuda_encode_maps(const moec_cuda_layer *layer, const void *base, void **out_maps);

/* Encodes the TMA descriptor of `num_rows` rows of a call at `base` into MOEC_CUDA_MAP_BYTES bytes at `out_map`,
 * aligned to that size. Returns the driver's result. */
int moec_cuda_encode_rows(const moec_cuda_layer *layer, const moec_cuda_map *map, void *base, int64_t num_rows,
                          void *out_map);

#endif
