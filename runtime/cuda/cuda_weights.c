/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_weights.c - every role's elements in host or device memory in -> the packed buffer in device memory out.
 *
 *   same type, depth innermost   one 2-D copy per (group, part), source -> region
 *   anything else                source -> (host, where it is on the device) -> converted rows in host memory -> region
 *
 * Host memory in use at a time: MOEC_STAGING_BYTES, or one row where that is more. The buffer is zeroed first, so that
 * padding and the gaps between regions are zeros.
 */
#include "runtime/cuda/cuda_layer.h"

#include "runtime/status.h"

#include <stdlib.h>
#include <string.h>

enum { MOEC_STAGING_BYTES = 64 << 20 };

/* One call of moec_cuda_pack. */
typedef struct packing {
  const moec_cuda_layer *cuda;
  const moec_role_source *sources;
  char *base;        /* device */
  char *source_part; /* host copy of a piece of a device source */
  char *rows;        /* converted rows */
  size_t source_part_bytes, rows_bytes;
} packing;

static moec_cuda_pointer device_address(const void *pointer) { return (moec_cuda_pointer)(uintptr_t)pointer; }

/* NOTE: the driver knows no more of plain host memory than that it is not its own: an error here means host. */
static int is_on_device(const packing *p, const void *pointer) {
  int type = 0;
  return p->cuda->driver->pointer_get_attribute(&type, MOEC_CUDA_POINTER_MEMORY_TYPE, device_address(pointer)) ==
             MOEC_CUDA_SUCCESS &&
         type == MOEC_CUDA_MEMORY_DEVICE;
}

/* Makes `*memory` at least `bytes` large. */
static moec_status reserve(char **memory, size_t *have, int64_t bytes) {
  if (*have >= (size_t)bytes)
    return MOEC_OK;
  free(*memory);
  *memory = malloc((size_t)bytes);
  *have = *memory ? (size_t)bytes : 0;
  return *memory ? MOEC_OK : moec_error(MOEC_OUT_OF_MEMORY, "no memory for %lld bytes of staging", (long long)bytes);
}

/* count rows of row_bytes bytes, from_pitch apart in host or device memory, go to the region's rows, to_pitch apart. */
static moec_status copy_rows(const packing *p, const void *from, int64_t from_pitch, uint64_t offset, int64_t to_pitch,
                             int64_t row_bytes, int64_t count) {
  const moec_cuda_copy_2d copy = {
      .src_type = is_on_device(p, from) ? MOEC_CUDA_MEMORY_DEVICE : MOEC_CUDA_MEMORY_HOST,
      .src_host = from,
      .src_device = device_address(from),
      .src_pitch = (size_t)from_pitch,
      .dst_type = MOEC_CUDA_MEMORY_DEVICE,
      .dst_device = device_address(p->base + offset),
      .dst_pitch = (size_t)to_pitch,
      .width = (size_t)row_bytes,
      .height = (size_t)count,
  };
  int result = p->cuda->driver->memcpy_2d(&copy);
  return result == MOEC_CUDA_SUCCESS ? MOEC_OK : moec_cuda_error(p->cuda->driver, result, "weights cannot be copied");
}

/* A view of rows first .. first+count-1 that the host can read: the source itself, or a copy where it is on the device.
 * Sources on the device are tensors a caller passed, without gaps: their rows are out_stride elements. */
static moec_status host_view(packing *p, const moec_view *source, int64_t first, int64_t count, moec_view *out_view) {
  int64_t row_bytes = source->out_stride * moec_dtype_bytes((uint32_t)source->dtype), bytes = count * row_bytes;
  *out_view = *source;
  out_view->data = (const char *)source->data + first * row_bytes;
  if (!is_on_device(p, source->data))
    return MOEC_OK;
  moec_status status = reserve(&p->source_part, &p->source_part_bytes, bytes);
  if (status != MOEC_OK)
    return status;
  int result = p->cuda->driver->memcpy_dtoh(p->source_part, device_address(out_view->data), (size_t)bytes);
  out_view->data = p->source_part;
  return result == MOEC_CUDA_SUCCESS ? MOEC_OK : moec_cuda_error(p->cuda->driver, result, "weights cannot be copied");
}

static moec_status write_region(const packing *p, const void *from, uint64_t offset, int64_t bytes) {
  int result = p->cuda->driver->memcpy_htod(device_address(p->base + offset), from, (size_t)bytes);
  return result == MOEC_CUDA_SUCCESS ? MOEC_OK : moec_cuda_error(p->cuda->driver, result, "weights cannot be copied");
}

/* How many of `count` units of `unit_bytes` bytes fit into `room` bytes: 1 to count. */
static int64_t units_at_once(int64_t room, int64_t unit_bytes, int64_t count) {
  int64_t units = room / unit_bytes;
  return units < 1 ? 1 : units < count ? units : count;
}

/* Rows of one (group, part) by way of host memory, as many at a time as the staging holds. */
static moec_status convert_part(packing *p, const moec_weight *weight, const moec_view *source, uint64_t offset) {
  int64_t row_bytes = weight->k_padded * moec_dtype_bytes(weight->dtype);
  int64_t source_row = weight->k * moec_dtype_bytes((uint32_t)source->dtype);
  int64_t at_once = units_at_once(MOEC_STAGING_BYTES, row_bytes + source_row, weight->n);
  moec_status status = reserve(&p->rows, &p->rows_bytes, at_once * row_bytes);
  for (int64_t first = 0; status == MOEC_OK && first < weight->n; first += at_once) {
    int64_t count = weight->n - first < at_once ? weight->n - first : at_once;
    moec_view view;
    status = host_view(p, source, first, count, &view);
    if (status != MOEC_OK)
      return status;
    moec_pack_rows(weight, 0, count, &view, p->rows);
    status = write_region(p, p->rows, offset + (uint64_t)(first * row_bytes), count * row_bytes);
  }
  return status;
}

static moec_status pack_part(packing *p, const moec_plan *plan, const moec_weight *weight, int64_t group,
                             int64_t part) {
  const moec_group_source own = moec_source_of_group(plan, p->sources, weight, part, group);
  const moec_view source = own.view;
  int64_t size = moec_dtype_bytes(weight->dtype), row_bytes = weight->k_padded * size;
  uint64_t offset = weight->offset + (uint64_t)((group * weight->parts + part) * weight->n * row_bytes);
  if ((uint32_t)source.dtype != weight->dtype || source.in_stride != 1)
    return convert_part(p, &own.weight, &source, offset);
  return copy_rows(p, source.data, source.out_stride * size, offset, row_bytes, own.weight.k * size, own.weight.n);
}

/* A vector for each group; the buffer is zero already. */
static moec_status pack_vector_members(packing *p, const moec_plan *plan, const moec_weight *weight) {
  int64_t group_bytes = (int64_t)weight->n_padded * 4;
  moec_status status = reserve(&p->rows, &p->rows_bytes, group_bytes);
  for (int64_t group = 0; status == MOEC_OK && group < weight->groups; ++group) {
    const moec_group_source own = moec_source_of_group(plan, p->sources, weight, 0, group);
    moec_view view;
    status = host_view(p, &own.view, 0, own.weight.n, &view);
    if (status != MOEC_OK)
      return status;
    memset(p->rows, 0, (size_t)group_bytes);
    moec_pack_vector(weight, 0, own.weight.n, &view, p->rows);
    status = write_region(p, p->rows, weight->offset + (uint64_t)(group * group_bytes), group_bytes);
  }
  return status;
}

/* Elements begin .. end-1 of a vector region, counted without padding, into p->rows, which begins with
 * `first_group`. */
static moec_status gather_vector(packing *p, const moec_weight *weight, int64_t begin, int64_t end,
                                 int64_t first_group) {
  const moec_role_source *source = &p->sources[weight->role[0]];
  int64_t per_expert = (int64_t)weight->groups * weight->n / source->experts;
  while (begin < end) {
    int64_t expert = begin / per_expert, from = begin % per_expert;
    int64_t count = per_expert - from < end - begin ? per_expert - from : end - begin;
    const moec_view whole = moec_view_of(source, expert);
    moec_view view;
    moec_status status = host_view(p, &whole, from, count, &view);
    if (status != MOEC_OK)
      return status;
    moec_pack_vector(weight, begin - first_group * weight->n, count, &view, p->rows);
    begin += count;
  }
  return MOEC_OK;
}

/* Row sums of squares, by way of host memory, as many rows at a time as the staging holds. */
static moec_status pack_squares(packing *p, const moec_weight *weight, int64_t depth, int64_t group) {
  const moec_view source = moec_view_of(&p->sources[weight->role[0]], group);
  int64_t row_bytes = depth * moec_dtype_bytes((uint32_t)source.dtype);
  int64_t at_once = units_at_once(MOEC_STAGING_BYTES / 2, row_bytes, weight->n);
  moec_status status = reserve(&p->rows, &p->rows_bytes, (int64_t)weight->n_padded * 4);
  if (status != MOEC_OK)
    return status;
  memset(p->rows, 0, (size_t)weight->n_padded * 4);
  for (int64_t first = 0, count; first < weight->n; first += count) {
    moec_view view;
    count = weight->n - first < at_once ? weight->n - first : at_once;
    status = host_view(p, &source, first, count, &view);
    if (status != MOEC_OK)
      return status;
    moec_pack_squares(&view, count, depth, (float *)p->rows + first);
  }
  return write_region(p, p->rows, weight->offset + (uint64_t)group * weight->n_padded * 4,
                      (int64_t)weight->n_padded * 4);
}

static moec_status pack_vector_region(packing *p, const moec_weight *weight) {
  int64_t group_bytes = (int64_t)weight->n_padded * 4;
  int64_t at_once = units_at_once(MOEC_STAGING_BYTES / 2, group_bytes, weight->groups);
  moec_status status = reserve(&p->rows, &p->rows_bytes, at_once * group_bytes);
  for (int64_t group = 0; status == MOEC_OK && group < weight->groups; group += at_once) {
    int64_t count = weight->groups - group < at_once ? weight->groups - group : at_once;
    memset(p->rows, 0, (size_t)(count * group_bytes));
    status = gather_vector(p, weight, group * weight->n, (group + count) * weight->n, group);
    if (status == MOEC_OK)
      status = write_region(p, p->rows, weight->offset + (uint64_t)(group * group_bytes), count * group_bytes);
  }
  return status;
}

static moec_status pack_regions(packing *p, const moec_plan *plan, const moec_weight_set *set, const void *page,
                                size_t page_bytes) {
  int result = p->cuda->driver->memset_d8(device_address(p->base), 0, (size_t)set->packed_bytes);
  if (result != MOEC_CUDA_SUCCESS)
    return moec_cuda_error(p->cuda->driver, result, "buffer cannot be written");
  moec_status status = MOEC_OK;
  for (uint32_t i = 0; status == MOEC_OK && i < set->count; ++i) {
    const moec_weight *weight = &set->weights[i];
    if (weight->derived == MOEC_DERIVED_SHARED)
      continue;
    if (weight->derived == MOEC_DERIVED_SQUARES) {
      const moec_role *role = &plan->roles[weight->role[0]];
      for (int64_t group = 0; status == MOEC_OK && group < weight->groups; ++group)
        status = pack_squares(p, weight, role->dims[role->rank - 1], group);
      continue;
    }
    if (weight->layout == MOEC_LAYOUT_VECTOR) {
      status = weight->role_per_group ? pack_vector_members(p, plan, weight) : pack_vector_region(p, weight);
      continue;
    }
    for (int64_t unit = 0; status == MOEC_OK && unit < (int64_t)weight->groups * weight->parts; ++unit)
      status = pack_part(p, plan, weight, unit / weight->parts, unit % weight->parts);
  }
  /* last, so that a buffer whose packing failed is not taken for packed weights */
  return status == MOEC_OK ? write_region(p, page, 0, (int64_t)page_bytes) : status;
}

/* NOTE: a copy from pageable memory returns before the device has it, and forward may run in a stream that does not
 * wait for the default stream: so wait here. */
moec_status moec_cuda_pack(const moec_cuda_layer *cuda, const moec_plan *plan, const moec_weight_set *set,
                           const moec_role_source *sources, const void *page, size_t page_bytes, void *buffer) {
  packing p = {.cuda = cuda, .sources = sources, .base = buffer};
  int pushed;
  moec_status status = moec_cuda_enter(p.cuda, &pushed);
  if (status != MOEC_OK)
    return status;
  status = pack_regions(&p, plan, set, page, page_bytes);
  int result = p.cuda->driver->stream_synchronize(NULL);
  if (status == MOEC_OK && result != MOEC_CUDA_SUCCESS)
    status = moec_cuda_error(p.cuda->driver, result, "weights cannot be copied");
  moec_cuda_leave(p.cuda, pushed);
  free(p.source_part);
  free(p.rows);
  return status;
}
