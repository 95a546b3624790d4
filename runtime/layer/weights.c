/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weights.c - tensors by role, a checkpoint, or a packed buffer in -> a moec_weights handle out.
 *
 * The first page of a packed buffer says whose it is:
 *
 *   | magic, byte order, ABI, bytes, spec hash, layout hash | zeros ... | region 0 at 4096 | gap | region 1 | ...
 */
#include "runtime/layer/layer.h"
#include "runtime/status.h"
#include "runtime/weights/huge_pages.h"
#include "runtime/weights/pack_regions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct packed_header {
  char magic[8];       /* "moecpack" */
  uint32_t byte_order; /* 0x01020304 in the writer's order */
  uint16_t abi_major, abi_minor;
  uint64_t packed_bytes;
  uint64_t layout_hash; /* of the region descriptors: one spec may be laid out in several ways */
  uint8_t spec_hash[32];
} packed_header;

enum { BYTE_ORDER_MARK = 0x01020304 };

static uint64_t layout_hash(const moec_weight_set *set) { /* FNV-1a */
  const unsigned char *bytes = (const unsigned char *)set->weights;
  size_t count = set->count * sizeof(moec_weight);
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < count; ++i)
    hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

static packed_header header_of(const moec_layer *layer) {
  const moec_plan *plan = &layer->plan;
  const moec_weight_set *set = moec_weight_set_of(layer);
  packed_header header;
  memset(&header, 0, sizeof(header));
  memcpy(header.magic, "moecpack", sizeof(header.magic));
  header.byte_order = BYTE_ORDER_MARK;
  header.abi_major = plan->header->abi_major;
  header.abi_minor = plan->header->abi_minor;
  header.packed_bytes = set->packed_bytes;
  header.layout_hash = layout_hash(set);
  memcpy(header.spec_hash, plan->header->spec_hash, sizeof(header.spec_hash));
  return header;
}

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

static void write_header_page(const moec_layer *layer, void *page) {
  packed_header header = header_of(layer);
  memset(page, 0, MOEC_WEIGHTS_HEADER_BYTES);
  memcpy(page, &header, sizeof(header));
}

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
  *out_weights = weights;
  return MOEC_OK;
}

/* Fills the packed buffer and makes its handle. All sources must be filled. */
static moec_status weights_from_sources(const moec_layer *layer, const moec_role_source *sources, void *buffer,
                                        moec_weights **out_weights) {
  moec_packing packing = {&layer->plan, sources, buffer, 0};
  moec_region region = moec_packing_region(&packing);
  char page[MOEC_WEIGHTS_HEADER_BYTES];
  moec_weights *weights = NULL;
  moec_status status = new_handle(layer, buffer, &weights);
  if (status != MOEC_OK)
    return status;
  if (layer->cuda) {
    write_header_page(layer, page);
    status = moec_cuda_pack(layer->cuda, &layer->plan, sources, page, sizeof(page), buffer);
  } else {
    moec_advise_huge_pages(buffer, moec_weight_set_of(layer)->packed_bytes);
    write_header_page(layer, buffer);
    moec_clear_gaps(&layer->plan.weight_set, buffer);
    status = moec_layer_run(layer, &region);
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

moec_status moec_weights_load(const moec_layer *layer, const char *path, const char *prefix, void *buffer,
                              size_t buffer_bytes, moec_weights **out_weights) {
  moec_status status = check_buffer(layer, buffer, buffer_bytes, out_weights);
  if (status != MOEC_OK)
    return status;
  if (!path)
    return moec_error(MOEC_NULL_POINTER, "path is NULL");
  const moec_plan *plan = &layer->plan;
  moec_checkpoint *checkpoint = NULL;
  status = moec_checkpoint_open(path, &checkpoint);
  if (status != MOEC_OK)
    return status;
  moec_role_source *sources = moec_sources_create(plan);
  if (!sources)
    status = moec_error(MOEC_OUT_OF_MEMORY, "no memory for the tensor table");
  if (status == MOEC_OK)
    status = moec_sources_from_checkpoint(plan, checkpoint, prefix, sources);
  if (status == MOEC_OK)
    status = weights_from_sources(layer, sources, buffer, out_weights);
  moec_sources_destroy(plan, sources);
  moec_checkpoint_close(checkpoint);
  return status;
}

static moec_status read_header(const moec_layer *layer, const void *buffer, packed_header *out_header) {
  if (layer->cuda)
    return moec_cuda_read(layer->cuda, buffer, sizeof(*out_header), out_header);
  memcpy(out_header, buffer, sizeof(*out_header));
  return MOEC_OK;
}

moec_status moec_weights_map(const moec_layer *layer, const void *buffer, size_t buffer_bytes,
                             moec_weights **out_weights) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  packed_header want = header_of(layer), have;
  if (buffer && buffer_bytes >= sizeof(have) && (uintptr_t)buffer % MOEC_WEIGHTS_ALIGN == 0) {
    status = read_header(layer, buffer, &have);
    if (status != MOEC_OK)
      return status;
    if (memcmp(have.magic, want.magic, sizeof(want.magic)) != 0)
      return moec_error(MOEC_VERSION_MISMATCH, "buffer does not hold packed weights");
    if (have.byte_order != want.byte_order)
      return moec_error(MOEC_VERSION_MISMATCH, "packed weights have the other byte order");
    if (have.abi_major != want.abi_major)
      return moec_error(MOEC_VERSION_MISMATCH, "packed weights were made for ABI %d, this package has %d",
                        have.abi_major, want.abi_major);
    if (memcmp(have.spec_hash, want.spec_hash, sizeof(want.spec_hash)) != 0)
      return moec_error(MOEC_VERSION_MISMATCH, "packed weights belong to another spec than package %.64s",
                        layer->plan.strings + layer->plan.header->name);
    if (have.layout_hash != want.layout_hash || have.packed_bytes != want.packed_bytes)
      return moec_error(MOEC_VERSION_MISMATCH, "packed weights have another layout than package %.64s; pack them again",
                        layer->plan.strings + layer->plan.header->name);
  }
  status = check_buffer(layer, buffer, buffer_bytes, out_weights);
  if (status != MOEC_OK)
    return status;
  return new_handle(layer, buffer, out_weights);
}

void moec_weights_destroy(moec_weights *weights) {
  if (!weights || weights->magic != MOEC_WEIGHTS_MAGIC)
    return;
  weights->magic = 0;
  free(weights->maps);
  free(weights);
}
