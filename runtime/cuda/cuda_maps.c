/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_maps.c - packed weights in device memory in -> the target's TMA descriptors out.
 *
 * A region is the tensor [groups*parts][n][k] with rows of k_padded elements; what lies beyond n or k reads as zero.
 * The matrices of a shared region have others between them, which the tensor has too.
 * Rows of a call are known at the call.
 */
#include "runtime/cuda/cuda_layer.h"

#include "runtime/status.h"

#include <stdlib.h>
#include <string.h>

static int element_type(uint32_t dtype) {
  return dtype == MOEC_BF16 ? MOEC_CUDA_TENSOR_BF16 : dtype == MOEC_F16 ? MOEC_CUDA_TENSOR_F16 : MOEC_CUDA_TENSOR_F32;
}

/* CUtensorMapSwizzle of 0, 32, 64 or 128 bytes: 0, 1, 2, 3 */
static int swizzle_mode(uint32_t bytes) { return bytes == 128 ? 3 : (int)(bytes / 32); }

static int encode(const moec_cuda_layer *layer, const moec_cuda_map *map, const char *base, void *out_map) {
  const moec_weight *weight = &layer->plan.weight_set.weights[map->weight];
  uint64_t row_bytes = weight->k_padded * (uint64_t)moec_dtype_bytes(weight->dtype);
  uint64_t distance = weight->derived == MOEC_DERIVED_SHARED ? weight->panels : weight->parts;
  const uint64_t dims[] = {weight->k, weight->n, (weight->groups - 1) * distance + weight->parts};
  const uint64_t strides[] = {row_bytes, row_bytes * weight->n};
  const uint32_t box[] = {map->box_k, map->box_n, 1}, steps[] = {1, 1, 1};
  void *address = (void *)(uintptr_t)(base + weight->offset);
  return layer->driver->tensor_map_encode_tiled(out_map, element_type(weight->dtype), 3, address, dims, strides, box,
                                                steps, 0, swizzle_mode(map->swizzle), MOEC_CUDA_L2_256B, 0);
}

int moec_cuda_encode_rows(const moec_cuda_layer *layer, const moec_cuda_map *map, void *base, int64_t num_rows,
                          void *out_map) {
  const uint64_t dims[] = {map->columns, (uint64_t)num_rows, 1};
  const uint64_t strides[] = {map->row_bytes, map->row_bytes * (uint64_t)num_rows};
  const uint32_t box[] = {map->box_k, map->box_n, 1}, steps[] = {1, 1, 1};
  return layer->driver->tensor_map_encode_tiled(out_map, element_type(map->dtype), 3, base, dims, strides, box, steps,
                                                0, swizzle_mode(map->swizzle), MOEC_CUDA_L2_256B, 0);
}

moec_status moec_cuda_encode_maps(const moec_cuda_layer *layer, const void *base, void **out_maps) {
  uint32_t count = layer->target.target->maps.count;
  int pushed;
  *out_maps = NULL;
  if (!count)
    return MOEC_OK;
  char *maps = aligned_alloc(MOEC_CUDA_MAP_ALIGN, (size_t)count * MOEC_CUDA_MAP_BYTES);
  if (!maps)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for %u TMA descriptors", (unsigned)count);
  memset(maps, 0, (size_t)count * MOEC_CUDA_MAP_BYTES);
  moec_status status = moec_cuda_enter(layer, &pushed);
  if (status != MOEC_OK) {
    free(maps);
    return status;
  }
  for (uint32_t i = 0; status == MOEC_OK && i < count; ++i) {
    if (layer->target.maps[i].source != MOEC_CUDA_MAP_WEIGHT)
      continue;
    int result = encode(layer, &layer->target.maps[i], base, maps + (size_t)i * MOEC_CUDA_MAP_BYTES);
    if (result != MOEC_CUDA_SUCCESS)
      status = moec_cuda_error(layer->driver, result, "TMA descriptor %u of weight %u cannot be encoded", (unsigned)i,
                               (unsigned)layer->target.maps[i].weight);
  }
  moec_cuda_leave(layer, pushed);
  if (status == MOEC_OK)
    *out_maps = maps;
  else
    free(maps);
  return status;
}
