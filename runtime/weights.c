/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * weights.c - tensors by role, or a packed buffer -> a moec_weights handle.
 *
 * The first page of a packed buffer says whose it is:
 *
 *   | magic, byte order, ABI, bytes, spec hash, layout hash | zeros ... | region 0 at 4096 | gap | region 1 | ...
 */
#include "weights.h"

#include "status.h"
#include "weight_layout.h"

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

const char *moec_shape_text(const int64_t *dims, int32_t rank, char text[MOEC_SHAPE_TEXT]) {
  size_t used = (size_t)snprintf(text, MOEC_SHAPE_TEXT, "[");
  for (int32_t i = 0; i < rank; ++i)
    used += (size_t)snprintf(text + used, MOEC_SHAPE_TEXT - used, i ? ", %" PRId64 : "%" PRId64, dims[i]);
  snprintf(text + used, MOEC_SHAPE_TEXT - used, "]");
  return text;
}

moec_role_extent moec_extent_of_role(const moec_role *role) {
  moec_role_extent extent = {1, 1, 1};
  int axis = 0;
  if (role->expert_axis)
    extent.experts = role->dims[axis++];
  if (axis < role->rank)
    extent.out = role->dims[axis++];
  if (axis < role->rank)
    extent.in = role->dims[axis];
  return extent;
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

moec_status moec_check_weight_buffer(const moec_layer *layer, const void *buffer, size_t buffer_bytes,
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

moec_role_source *moec_sources_create(const moec_plan *plan) {
  uint32_t count = plan->header->roles.count;
  moec_role_source *sources = calloc(count ? count : 1, sizeof(*sources));
  for (uint32_t i = 0; sources && i < count; ++i) {
    sources[i].experts = moec_extent_of_role(&plan->roles[i]).experts;
    sources[i].data = calloc((size_t)sources[i].experts, sizeof(*sources[i].data));
    if (!sources[i].data) {
      moec_sources_destroy(plan, sources);
      return NULL;
    }
  }
  return sources;
}

void moec_sources_destroy(const moec_plan *plan, moec_role_source *sources) {
  if (!sources)
    return;
  for (uint32_t i = 0; i < plan->header->roles.count; ++i)
    free(sources[i].data);
  free(sources);
}

/* ---- packing --------------------------------------------------------------------------------------------------- */

/* A region (threads.h) of one step whose units are (weight, part, group); a vector is one unit. */
typedef struct packing {
  const moec_plan *plan;
  const moec_role_source *sources;
  char *base;
  int started;
} packing;

static uint32_t units_of_weight(const moec_weight *weight) {
  return weight->layout == MOEC_LAYOUT_VECTOR ? 1 : weight->groups * weight->parts;
}

static uint32_t next_packing_step(void *context) {
  packing *p = context;
  uint32_t units = 0;
  for (uint32_t i = 0; !p->started && i < p->plan->weight_set.count; ++i)
    units += units_of_weight(&p->plan->weight_set.weights[i]);
  p->started = 1;
  return units;
}

static moec_view view_of(const moec_role_source *source, int64_t expert) {
  return (moec_view){source->data[expert], source->dtype, source->out_stride, source->in_stride};
}

moec_group_source moec_source_of_group(const moec_plan *plan, const moec_role_source *sources,
                                       const moec_weight *weight, int64_t part, int64_t group) {
  moec_group_source out = {.weight = *weight};
  if (!weight->role_per_group) {
    out.view = view_of(&sources[weight->role[part]], group);
    return out;
  }
  int64_t index = weight->role[part] + group;
  moec_role_extent extent = moec_extent_of_role(&plan->roles[index]);
  out.view = view_of(&sources[index], 0);
  out.weight.n = (uint32_t)extent.out;
  out.weight.k = (uint32_t)extent.in;
  return out;
}

static void pack_vector_members(const packing *p, const moec_weight *weight) {
  memset(p->base + weight->offset, 0, (size_t)weight->bytes);
  for (int64_t group = 0; group < weight->groups; ++group) {
    moec_group_source source = moec_source_of_group(p->plan, p->sources, weight, 0, group);
    moec_pack_vector(weight, group * weight->n, source.weight.n, &source.view, p->base + weight->offset);
  }
}

static void pack_vector_region(const packing *p, const moec_weight *weight) {
  const moec_role_source *source = &p->sources[weight->role[0]];
  const moec_role *role = &p->plan->roles[weight->role[0]];
  int64_t count = (int64_t)weight->groups * weight->n / source->experts;
  memset(p->base + weight->offset, 0, (size_t)weight->bytes);
  for (int64_t e = 0; e < source->experts; ++e) {
    moec_view view = view_of(source, e);
    if (weight->derived == MOEC_DERIVED_SQUARES)
      moec_pack_squares(&view, weight->n, role->dims[role->rank - 1],
                        (float *)(p->base + weight->offset) + e * weight->n_padded);
    else
      moec_pack_vector(weight, e * count, count, &view, p->base + weight->offset);
  }
}

static void pack_unit(void *context, uint32_t unit, int32_t worker) {
  const packing *p = context;
  const moec_weight *weight = p->plan->weight_set.weights;
  for (; unit >= units_of_weight(weight); ++weight)
    unit -= units_of_weight(weight);
  (void)worker;
  if (weight->layout == MOEC_LAYOUT_VECTOR) {
    if (weight->role_per_group)
      pack_vector_members(p, weight);
    else
      pack_vector_region(p, weight);
    return;
  }
  int64_t part = unit % weight->parts, group = unit / weight->parts;
  moec_group_source source = moec_source_of_group(p->plan, p->sources, weight, part, group);
  moec_pack_panels(&source.weight, part, group, &source.view, p->base + weight->offset);
}

void moec_write_header_page(const moec_layer *layer, void *page) {
  packed_header header = header_of(layer);
  memset(page, 0, MOEC_WEIGHTS_HEADER_BYTES);
  memcpy(page, &header, sizeof(header));
}

/* NOTE: bytes between regions are part of the file a caller may save; they are zero so that equal weights give equal
 * files. */
static void write_header_and_gaps(const moec_layer *layer, char *base) {
  const moec_weight_set *set = &layer->plan.weight_set;
  moec_write_header_page(layer, base);
  for (uint32_t i = 0; i < set->count; ++i) {
    const moec_weight *weight = &set->weights[i];
    uint64_t used = weight->offset;
    if (weight->layout == MOEC_LAYOUT_PANELS)
      used += (uint64_t)moec_panel_offset(weight, weight->groups, 0, 0, 0) * (uint64_t)moec_dtype_bytes(weight->dtype);
    uint64_t end = i + 1 < set->count ? set->weights[i + 1].offset : set->packed_bytes;
    memset(base + used, 0, (size_t)(end - used));
  }
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

moec_status moec_weights_from_sources(const moec_layer *layer, const moec_role_source *sources, void *buffer,
                                      moec_weights **out_weights) {
  packing p = {&layer->plan, sources, buffer, 0};
  moec_region region = {&p, next_packing_step, pack_unit};
  moec_weights *weights = NULL;
  moec_status status = new_handle(layer, buffer, &weights);
  if (status != MOEC_OK)
    return status;
  if (layer->cuda) {
    status = moec_cuda_pack(layer, sources, buffer);
  } else {
    write_header_and_gaps(layer, buffer);
    status = moec_layer_run(layer, &region);
  }
  if (status == MOEC_OK)
    *out_weights = weights;
  else
    moec_weights_destroy(weights);
  return status;
}

/* ---- tensors by role ------------------------------------------------------------------------------------------- */

static int32_t role_index(const moec_plan *plan, const char *name) {
  for (uint32_t i = 0; i < plan->header->roles.count; ++i)
    if (strcmp(plan->strings + plan->roles[i].name, name) == 0)
      return (int32_t)i;
  return -1;
}

static int same_shape(const moec_tensor *tensor, const moec_role *role) {
  if (tensor->rank != role->rank)
    return 0;
  return memcmp(tensor->dims, role->dims, (size_t)role->rank * sizeof(int64_t)) == 0;
}

/* Checks one tensor against its role and points the role's source into it. */
static moec_status take_tensor(const moec_layer *layer, const moec_tensor *tensor, size_t index, const void *buffer,
                               moec_role_source *sources) {
  const moec_plan *plan = &layer->plan;
  if (!tensor->role || !tensor->data)
    return moec_error(MOEC_NULL_POINTER, "tensors[%zu]: %s is NULL", index, tensor->role ? "data" : "role");
  int32_t found = role_index(plan, tensor->role);
  if (found < 0)
    return moec_error(MOEC_INVALID_ARGUMENT, "tensors[%zu]: package %.64s has no role \"%.64s\"", index,
                      plan->strings + plan->header->name, tensor->role);
  const moec_role *role = &plan->roles[found];
  moec_role_source *source = &sources[found];
  if (source->data[0])
    return moec_error(MOEC_INVALID_ARGUMENT, "tensors[%zu]: role %s is given twice", index, tensor->role);
  int integer = !role->matrix && (tensor->dtype == MOEC_I32 || tensor->dtype == MOEC_I64);
  if (tensor->dtype != MOEC_F32 && tensor->dtype != MOEC_BF16 && tensor->dtype != MOEC_F16 && !integer)
    return moec_error(MOEC_DTYPE, "%s: dtype is %d, expected f32 (0), bf16 (1) or f16 (2)", tensor->role,
                      (int)tensor->dtype);
  if (tensor->rank < 0 || tensor->rank > 4)
    return moec_error(MOEC_SHAPE, "%s: rank is %d, expected %d", tensor->role, (int)tensor->rank, role->rank);
  if (!same_shape(tensor, role)) {
    char have[MOEC_SHAPE_TEXT], want[MOEC_SHAPE_TEXT];
    return moec_error(MOEC_SHAPE, "%s: shape is %s, expected %s", tensor->role,
                      moec_shape_text(tensor->dims, tensor->rank, have), moec_shape_text(role->dims, role->rank, want));
  }
  moec_role_extent extent = moec_extent_of_role(role);
  int64_t expert_bytes = extent.out * extent.in * moec_dtype_bytes((uint32_t)tensor->dtype);
  uintptr_t start = (uintptr_t)tensor->data, packed = (uintptr_t)buffer;
  uint64_t packed_bytes = moec_weight_set_of(layer)->packed_bytes;
  if (start < packed + packed_bytes && packed < start + (uintptr_t)(expert_bytes * extent.experts))
    return moec_error(MOEC_OVERLAP, "%s and buffer share bytes", tensor->role);
  source->dtype = tensor->dtype;
  source->out_stride = extent.in;
  source->in_stride = 1;
  for (int64_t e = 0; e < extent.experts; ++e)
    source->data[e] = (const char *)tensor->data + e * expert_bytes;
  return MOEC_OK;
}

moec_status moec_weights_pack(const moec_layer *layer, const moec_tensor *tensors, size_t count, void *buffer,
                              size_t buffer_bytes, moec_weights **out_weights) {
  moec_status status = moec_check_weight_buffer(layer, buffer, buffer_bytes, out_weights);
  if (status != MOEC_OK)
    return status;
  if (!tensors && count)
    return moec_error(MOEC_NULL_POINTER, "tensors is NULL");
  const moec_plan *plan = &layer->plan;
  moec_role_source *sources = moec_sources_create(plan);
  if (!sources)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for the tensor table");
  for (size_t i = 0; status == MOEC_OK && i < count; ++i)
    status = take_tensor(layer, &tensors[i], i, buffer, sources);
  for (uint32_t i = 0; status == MOEC_OK && i < plan->header->roles.count; ++i)
    if (!sources[i].data[0])
      status = moec_error(MOEC_MISSING_WEIGHT, "no tensor for role %s", plan->strings + plan->roles[i].name);
  if (status == MOEC_OK)
    status = moec_weights_from_sources(layer, sources, buffer, out_weights);
  moec_sources_destroy(plan, sources);
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
  status = moec_check_weight_buffer(layer, buffer, buffer_bytes, out_weights);
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
