/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weights.c - tensors by role, checkpoints, or a packed buffer in -> a moec_weights handle out.
 */
#include "runtime/layer/layer.h"
#include "runtime/status.h"
#include "runtime/weights/huge_pages.h"
#include "runtime/weights/pack_regions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { VERIFY_STAGING = 16 << 20 };

moec_status moec_layer_weights_bytes(const moec_layer *layer, size_t *out_bytes) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  if (!out_bytes)
    return moec_error(MOEC_NULL_POINTER, "out_bytes is NULL");
  *out_bytes = (size_t)moec_weight_set_of(layer)->packed_bytes;
  return MOEC_OK;
}

static moec_status check_buffer(const moec_layer *layer, const void *buffer, size_t buffer_bytes,
                                moec_weights **out_weights) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  if (!buffer || !out_weights)
    return moec_error(MOEC_NULL_POINTER, "%s is NULL", buffer ? "out_weights" : "buffer");
  if ((uintptr_t)buffer % MOEC_WEIGHTS_ALIGN)
    return moec_error(MOEC_ALIGNMENT, "buffer is not %d-byte aligned", MOEC_WEIGHTS_ALIGN);
  uint64_t packed_bytes = moec_weight_set_of(layer)->packed_bytes;
  if (buffer_bytes < packed_bytes)
    return moec_error(MOEC_WORKSPACE_TOO_SMALL, "buffer has %zu bytes, packed weights need %" PRIu64, buffer_bytes,
                      packed_bytes);
  return layer->cuda ? moec_cuda_check_device_memory(layer->cuda, buffer, "buffer") : MOEC_OK;
}

/* ---- handles --------------------------------------------------------------------------------------------------- */

/* Keeps the status's text where it fails. */
static moec_status new_handle(const moec_layer *layer, const void *buffer, moec_weights **out_weights) {
  moec_weights *weights = calloc(1, sizeof(*weights));
  if (!weights)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a weights handle");
  weights->plan = layer->plan.header;
  weights->base = buffer;
  if (layer->cuda) {
    weights->target = layer->cuda->target.target;
    weights->cuda_device = layer->cuda->device;
    moec_status status = moec_cuda_encode_maps(layer->cuda, buffer, &weights->maps);
    if (status != MOEC_OK) {
      free(weights);
      return status;
    }
  }
  weights->magic = MOEC_WEIGHTS_MAGIC;
  moec_status status = layer->backward ? new_handle(layer->backward, buffer, &weights->backward) : MOEC_OK;
  if (status == MOEC_OK)
    *out_weights = weights;
  else
    moec_weights_destroy(weights);
  return status;
}

/* Fills the packed buffer and makes its handle. All sources must be filled. */
static moec_status weights_from_sources(const moec_layer *layer, const moec_role_source *sources, void *buffer,
                                        moec_weights **out_weights) {
  const moec_weight_set *set = moec_weight_set_of(layer);
  moec_packing packing = {.plan = &layer->plan, .set = set, .sources = sources, .base = buffer};
  moec_region region = moec_packing_region(&packing);
  char page[MOEC_WEIGHTS_HEADER_BYTES];
  moec_weights *weights = NULL;
  moec_status status = new_handle(layer, buffer, &weights);
  if (status != MOEC_OK)
    return status;
  if (layer->cuda) {
    moec_write_packed_header(&layer->plan, set, NULL, page);
    status = moec_cuda_pack(layer->cuda, &layer->plan, set, sources, page, sizeof(page), buffer);
  } else {
    moec_advise_huge_pages(buffer, set->packed_bytes);
    status = moec_layer_run(layer, &region);
    /* last, so that a buffer whose packing failed is not taken for packed weights */
    if (status == MOEC_OK)
      moec_finish_packing(&packing);
  }
  if (status == MOEC_OK)
    *out_weights = weights;
  else
    moec_weights_destroy(weights);
  return status;
}

moec_status moec_weights_pack(const moec_layer *layer, const moec_tensor *tensors, size_t count, void *buffer,
                              size_t buffer_bytes, moec_weights **out_weights) {
  moec_status status = check_buffer(layer, buffer, buffer_bytes, out_weights);
  if (status != MOEC_OK)
    return status;
  if (!tensors && count)
    return moec_error(MOEC_NULL_POINTER, "tensors is NULL");
  const moec_plan *plan = &layer->plan;
  moec_role_source *sources = moec_sources_create(plan);
  if (!sources)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for the tensor table");
  uint64_t packed_bytes = moec_weight_set_of(layer)->packed_bytes;
  status = moec_sources_from_tensors(plan, tensors, count, buffer, packed_bytes, sources);
  if (status == MOEC_OK)
    status = weights_from_sources(layer, sources, buffer, out_weights);
  moec_sources_destroy(plan, sources);
  return status;
}

moec_status moec_weights_load_sources(const moec_layer *layer, const moec_weights_source *sources, size_t count,
                                      void *buffer, size_t buffer_bytes, moec_weights **out_weights) {
  moec_checkpoint_set set;
  moec_role_source *roles = NULL;
  moec_status status = check_buffer(layer, buffer, buffer_bytes, out_weights);
  if (status != MOEC_OK)
    return status;
  status = moec_checkpoints_open(sources, count, &set);
  if (status == MOEC_OK && !(roles = moec_sources_create(&layer->plan)))
    status = moec_error(MOEC_OUT_OF_MEMORY, "no memory for the tensor table");
  if (status == MOEC_OK)
    status = moec_sources_from_checkpoints(&layer->plan, &set, roles);
  if (status == MOEC_OK)
    status = weights_from_sources(layer, roles, buffer, out_weights);
  moec_sources_destroy(&layer->plan, roles);
  moec_checkpoints_close(&set);
  return status;
}

moec_status moec_weights_load(const moec_layer *layer, const char *path, const char *prefix, void *buffer,
                              size_t buffer_bytes, moec_weights **out_weights) {
  const moec_weights_source source = {path, prefix};
  return moec_weights_load_sources(layer, &source, 1, buffer, buffer_bytes, out_weights);
}

/* ---- packed buffers -------------------------------------------------------------------------------------------- */

static moec_status read_header(const moec_layer *layer, const void *buffer, moec_packed_header *out_header) {
  if (layer->cuda)
    return moec_cuda_read(layer->cuda, buffer, sizeof(*out_header), out_header);
  memcpy(out_header, buffer, sizeof(*out_header));
  return MOEC_OK;
}

/* Adds up `count` bytes of host memory on the layer's threads. */
static moec_status add_sum(const moec_layer *layer, const void *bytes, uint64_t offset, uint64_t count,
                           moec_checksum *sum) {
  moec_summing summing = {.bytes = bytes, .offset = offset, .count = count};
  moec_region region = moec_summing_region(&summing);
  moec_status status = moec_layer_run(layer, &region);
  moec_checksum_add(sum, (moec_checksum){summing.sum[0], summing.sum[1]});
  return status;
}

static moec_status sum_device_buffer(const moec_layer *layer, const char *buffer, uint64_t bytes, moec_checksum *sum) {
  char *staging = malloc(VERIFY_STAGING);
  if (!staging)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for %d bytes of staging", VERIFY_STAGING);
  moec_status status = MOEC_OK;
  for (uint64_t at = 0; status == MOEC_OK && at < bytes; at += VERIFY_STAGING) {
    size_t count = bytes - at < VERIFY_STAGING ? (size_t)(bytes - at) : VERIFY_STAGING;
    status = moec_cuda_read(layer->cuda, buffer + at, count, staging);
    if (status == MOEC_OK)
      moec_checksum_add(sum, moec_checksum_of(staging, at, count));
  }
  free(staging);
  return status;
}

/* Compares the buffer with the checksum of its checked header. */
static moec_status verify(const moec_layer *layer, const void *buffer, const moec_packed_header *header) {
  const moec_weight_set *set = moec_weight_set_of(layer);
  moec_checksum sum = {0, 0};
  moec_status status = MOEC_OK;
  if (header->checksum_kind != MOEC_CHECKSUM_NONE)
    status = layer->cuda ? sum_device_buffer(layer, buffer, set->packed_bytes, &sum)
                         : add_sum(layer, buffer, 0, set->packed_bytes, &sum);
  return status == MOEC_OK ? moec_check_packed_sum(&layer->plan, set, header, sum) : status;
}

moec_status moec_weights_map(const moec_layer *layer, const void *buffer, size_t buffer_bytes, uint32_t flags,
                             moec_weights **out_weights) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  if (flags & ~(uint32_t)MOEC_MAP_VERIFY)
    return moec_error(MOEC_INVALID_ARGUMENT, "flags is %" PRIu32 ", expected 0 or MOEC_MAP_VERIFY (1)", flags);
  moec_packed_header header = {.format = 0};
  if (buffer && buffer_bytes >= sizeof(header) && (uintptr_t)buffer % MOEC_WEIGHTS_ALIGN == 0) {
    status = read_header(layer, buffer, &header);
    if (status == MOEC_OK)
      status = moec_check_packed_header(&layer->plan, moec_weight_set_of(layer), &header);
    if (status != MOEC_OK)
      return status;
  }
  status = check_buffer(layer, buffer, buffer_bytes, out_weights);
  if (status == MOEC_OK && flags & MOEC_MAP_VERIFY)
    status = verify(layer, buffer, &header);
  return status == MOEC_OK ? new_handle(layer, buffer, out_weights) : status;
}

void moec_weights_destroy(moec_weights *weights) {
  if (!weights || weights->magic != MOEC_WEIGHTS_MAGIC)
    return;
  weights->magic = 0;
  moec_weights_destroy(weights->backward);
  free(weights->maps);
  free(weights);
}
