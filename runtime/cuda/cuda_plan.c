/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_plan.c - a CUDA blob, which may be damaged, in -> proof that loading and walking it stays inside the blob, the
 * plan, the workspace and the weights, or a status that names the entry. What is in an image is the driver's to judge.
 */
#include "runtime/cuda/cuda_plan.h"

#include "runtime/cuda/cuda_driver.h"
#include "runtime/plan/plan_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One target in work: every text begins "cuda plan: target sm_90a: ". */
typedef struct target_check {
  const moec_package *package;
  const moec_plan *plan;
  const moec_cuda_plan *cuda;
  moec_cuda_target_view view;
  char name[MOEC_CUDA_NAME_ROOM];
} target_check;

#define CHECK_TARGET(condition, format, ...)                                                                           \
  MOEC_CHECK_PLAN(condition, "cuda plan: target %s: " format, c->name, __VA_ARGS__)

/* "launch 3 (ffn_up): " besides; only once the launch's step is known to be in range */
#define CHECK_LAUNCH(condition, format, ...)                                                                           \
  CHECK_TARGET(condition, "launch %" PRIu32 " (%.64s): " format, index,                                                \
               c->plan->strings + c->plan->steps[launch->step].name, __VA_ARGS__)

static const void *open_span(const moec_cuda_plan_header *header, moec_span span, size_t size, size_t align) {
  return moec_open_span(header, sizeof(*header), header->total_bytes, span, size, align);
}

const char *moec_cuda_target_name(const moec_cuda_target *target, char name[MOEC_CUDA_NAME_ROOM]) {
  snprintf(name, MOEC_CUDA_NAME_ROOM, "sm_%" PRIu32 "%s", target->sm, target->exact ? "a" : "");
  return name;
}

moec_cuda_target_view moec_cuda_target_at(const moec_cuda_plan *plan, uint32_t index) {
  const moec_cuda_target *target = &plan->targets[index];
  return (moec_cuda_target_view){
      .target = target,
      .launches = open_span(plan->header, target->launches, sizeof(moec_cuda_launch), 8),
      .params = open_span(plan->header, target->params, sizeof(moec_cuda_param), 2),
      .tables = open_span(plan->header, target->tables, sizeof(moec_cuda_table), 8),
      .maps = open_span(plan->header, target->maps, sizeof(moec_cuda_map), 4),
  };
}

/* Everything that decides whether the other bytes may be read at all. */
static moec_status check_version(const moec_package *package, const moec_plan *plan) {
  if (!package->cuda_plan)
    return moec_error(MOEC_ISA_MISSING, "package %.64s holds no CUDA kernels", plan->strings + plan->header->name);
  if ((uintptr_t)package->cuda_plan % MOEC_PLAN_ALIGN)
    return moec_error(MOEC_ALIGNMENT, "package: the CUDA plan is not %d-byte aligned", MOEC_PLAN_ALIGN);
  MOEC_CHECK_PLAN(package->cuda_plan_bytes >= sizeof(moec_cuda_plan_header),
                  "package: cuda_plan_bytes is %" PRIu64 ", a header has %zu", package->cuda_plan_bytes,
                  sizeof(moec_cuda_plan_header));
  const moec_cuda_plan_header *header = package->cuda_plan;
  if (header->magic != MOEC_CUDA_MAGIC)
    return moec_error(MOEC_VERSION_MISMATCH, "cuda plan: magic is 0x%08" PRIx32 ", expected 0x%08" PRIx32,
                      header->magic, (uint32_t)MOEC_CUDA_MAGIC);
  if (header->header_bytes != sizeof(moec_cuda_plan_header) || header->target_bytes != sizeof(moec_cuda_target) ||
      header->launch_bytes != sizeof(moec_cuda_launch) || header->param_bytes != sizeof(moec_cuda_param) ||
      header->table_bytes != sizeof(moec_cuda_table) || header->map_bytes != sizeof(moec_cuda_map))
    return moec_error(MOEC_VERSION_MISMATCH, "cuda plan: struct sizes differ from this runtime's");
  MOEC_CHECK_PLAN(header->total_bytes >= sizeof(*header) && header->total_bytes <= package->cuda_plan_bytes,
                  "cuda plan: total_bytes is %" PRIu32 ", the package holds %" PRIu64, header->total_bytes,
                  package->cuda_plan_bytes);
  if (!package->images)
    return moec_error(MOEC_NULL_POINTER, "package: images is NULL");
  return MOEC_OK;
}

static moec_status open_spans(const moec_package *package, const moec_plan *plan, moec_cuda_plan *out_plan) {
  const moec_cuda_plan_header *header = package->cuda_plan;
  out_plan->header = header;
  out_plan->images = package->images;
  out_plan->targets = open_span(header, header->targets, sizeof(moec_cuda_target), 8);
  out_plan->weight_set = (moec_weight_set){open_span(header, header->weights, sizeof(moec_weight), 8),
                                           header->weights.count, header->packed_bytes};
  out_plan->strings = open_span(header, header->strings, 1, 1);
  MOEC_CHECK_PLAN(out_plan->targets && out_plan->weight_set.weights && out_plan->strings,
                  "cuda plan: an array lies outside the blob of %" PRIu32 " bytes", header->total_bytes);
  MOEC_CHECK_PLAN(header->strings.count && !out_plan->strings[header->strings.count - 1],
                  "cuda plan: strings do not end with a NUL");
  MOEC_CHECK_PLAN(header->targets.count >= 1 && header->targets.count <= MOEC_MAX_CUDA_TARGETS,
                  "cuda plan: %" PRIu32 " targets, expected 1 to %d", header->targets.count, MOEC_MAX_CUDA_TARGETS);
  MOEC_CHECK_PLAN(header->weights.count == plan->weight_set.count,
                  "cuda plan: %" PRIu32 " weights, the plan has %" PRIu32, header->weights.count,
                  plan->weight_set.count);
  MOEC_CHECK_PLAN(header->packed_bytes >= 4096 && header->packed_bytes <= (uint64_t)MOEC_PLAN_LIMIT,
                  "cuda plan: packed_bytes is %" PRIu64, header->packed_bytes);
  return MOEC_OK;
}

/* Images are there, and those that are text end: PTX, told from ELF and fatbin by its first byte. */
static moec_status check_images(const target_check *c) {
  const moec_cuda_target *target = c->view.target;
  CHECK_TARGET(target->num_images >= 1 && (uint64_t)target->first_image + target->num_images <= c->package->num_images,
               "images %" PRIu32 " + %" PRIu32 ", the package has %" PRIu64, target->first_image, target->num_images,
               c->package->num_images);
  for (uint32_t i = target->first_image; i < target->first_image + target->num_images; ++i) {
    const moec_cuda_image *image = &c->package->images[i];
    CHECK_TARGET(image->data && image->bytes >= 4, "image %" PRIu32 " is NULL or shorter than 4 bytes", i);
    const unsigned char *bytes = image->data;
    int binary = memcmp(bytes, "\177ELF", 4) == 0 || memcmp(bytes, "\x50\xed\x55\xba", 4) == 0;
    CHECK_TARGET(binary || bytes[image->bytes - 1] == 0, "image %" PRIu32 " is text that does not end with a NUL", i);
  }
  return MOEC_OK;
}

static moec_status check_tables(const target_check *c) {
  for (uint32_t i = 0; i < c->view.target->tables.count; ++i) {
    const moec_cuda_table *table = &c->view.tables[i];
    CHECK_TARGET(table->name < c->cuda->header->strings.count, "table %" PRIu32 ": name is outside the strings", i);
    CHECK_TARGET(moec_extent_fits(table->bytes, c->plan->header->max_tokens),
                 "table %" PRIu32 " (%.64s): bytes out of range", i, c->cuda->strings + table->name);
  }
  return MOEC_OK;
}

/* What a map of rows says of them; its rows fit a buffer or table that holds at least one for every call. */
static moec_status check_row_map(const target_check *c, uint32_t i, const moec_cuda_map *map) {
  uint32_t count = map->source == MOEC_CUDA_MAP_TABLE ? c->view.target->tables.count : c->plan->header->buffers.count;
  CHECK_TARGET(map->source <= MOEC_CUDA_MAP_TABLE && map->index < count,
               "map %" PRIu32 ": source %" PRIu32 ", index %" PRIu32 " of %" PRIu32, i, map->source, map->index, count);
  CHECK_TARGET(map->dtype <= MOEC_F16, "map %" PRIu32 ": dtype %" PRIu32 " is not f32, bf16 or f16", i, map->dtype);
  CHECK_TARGET(map->columns >= 1 && map->row_bytes % 16 == 0 && map->row_bytes <= INT32_MAX &&
                   (uint64_t)map->columns * (uint64_t)moec_dtype_bytes(map->dtype) <= map->row_bytes,
               "map %" PRIu32 ": %" PRIu32 " columns in rows of %" PRIu32 " bytes", i, map->columns, map->row_bytes);
  moec_extent bytes =
      map->source == MOEC_CUDA_MAP_TABLE ? c->view.tables[map->index].bytes : c->plan->buffers[map->index].bytes;
  int64_t max_tokens = c->plan->header->max_tokens;
  CHECK_TARGET(moec_extent_at(bytes, max_tokens, max_tokens) < INT64_C(1) << 40,
               "map %" PRIu32 ": rows of 2^40 bytes or more", i);
  CHECK_TARGET(bytes.per_token + bytes.per_sequence + bytes.fixed >= map->row_bytes,
               "map %" PRIu32 ": no row of %" PRIu32 " bytes fits", i, map->row_bytes);
  CHECK_TARGET(map->source == MOEC_CUDA_MAP_TABLE || c->plan->buffers[map->index].kind != MOEC_BUFFER_WEIGHT,
               "map %" PRIu32 ": buffer %" PRIu32 " is a weight", i, map->index);
  return MOEC_OK;
}

static moec_status check_weight_map(const target_check *c, uint32_t i, const moec_cuda_map *map) {
  CHECK_TARGET(map->weight < c->cuda->weight_set.count, "map %" PRIu32 ": weight %" PRIu32 " of %" PRIu32, i,
               map->weight, c->cuda->weight_set.count);
  const moec_weight *weight = &c->cuda->weight_set.weights[map->weight];
  CHECK_TARGET(weight->layout == MOEC_LAYOUT_ROWS, "map %" PRIu32 ": weight %" PRIu32 " is a vector", i, map->weight);
  int64_t part_bytes = (int64_t)weight->k_padded * moec_dtype_bytes(weight->dtype) * weight->n;
  CHECK_TARGET(part_bytes < INT64_C(1) << 40, "map %" PRIu32 ": a part of %" PRId64 " bytes, at most 2^40 - 1", i,
               part_bytes);
  return MOEC_OK;
}

/* What cuTensorMapEncodeTiled asks for, so that it never refuses a map of an accepted blob. */
static moec_status check_maps(const target_check *c) {
  CHECK_TARGET(!c->view.target->maps.count || c->view.target->sm >= 90, "%" PRIu32 " TMA maps before sm_90",
               c->view.target->maps.count);
  for (uint32_t i = 0; i < c->view.target->maps.count; ++i) {
    const moec_cuda_map *map = &c->view.maps[i];
    int of_weight = map->source == MOEC_CUDA_MAP_WEIGHT;
    moec_status status = of_weight ? check_weight_map(c, i, map) : check_row_map(c, i, map);
    if (status != MOEC_OK)
      return status;
    CHECK_TARGET(map->swizzle == 0 || map->swizzle == 32 || map->swizzle == 64 || map->swizzle == 128,
                 "map %" PRIu32 ": swizzle is %" PRIu32 ", expected 0, 32, 64 or 128", i, map->swizzle);
    CHECK_TARGET(map->box_n >= 1 && map->box_n <= 256 && map->box_k >= 1 && map->box_k <= 256,
                 "map %" PRIu32 ": box %" PRIu32 " x %" PRIu32 ", expected 1 to 256 each", i, map->box_n, map->box_k);
    uint32_t dtype = of_weight ? c->cuda->weight_set.weights[map->weight].dtype : map->dtype;
    int64_t box_bytes = (int64_t)map->box_k * moec_dtype_bytes(dtype);
    CHECK_TARGET(box_bytes % 16 == 0 && (!map->swizzle || box_bytes <= map->swizzle),
                 "map %" PRIu32 ": rows of %" PRId64 " bytes with swizzle %" PRIu32, i, box_bytes, map->swizzle);
  }
  return MOEC_OK;
}

static moec_status check_param(const target_check *c, uint32_t index, uint32_t number) {
  const moec_cuda_launch *launch = &c->view.launches[index];
  const moec_cuda_param *param = &c->view.params[launch->first_param + number];
  const moec_plan_header *header = c->plan->header;
  uint32_t count;
  switch (param->kind) {
  case MOEC_CUDA_TOKENS:
  case MOEC_CUDA_SEQUENCE:
    return MOEC_OK;
  case MOEC_CUDA_FORM:
    CHECK_LAUNCH(header->pass == MOEC_PASS_BACKWARD, "param %" PRIu32 ": gradients of a forward plan", number);
    return MOEC_OK;
  case MOEC_CUDA_GRADIENT:
    count = header->pass == MOEC_PASS_BACKWARD ? header->roles.count : 0;
    break;
  case MOEC_CUDA_BUFFER:
    count = header->buffers.count;
    break;
  case MOEC_CUDA_ROUTE:
    count = header->steps.count;
    break;
  case MOEC_CUDA_TABLE:
    count = c->view.target->tables.count;
    break;
  case MOEC_CUDA_MAP:
    count = c->view.target->maps.count;
    break;
  default:
    count = 0;
  }
  CHECK_LAUNCH(param->index < count, "param %" PRIu32 ": kind %d with index %d of %" PRIu32, number, param->kind,
               param->index, count);
  CHECK_LAUNCH(param->kind != MOEC_CUDA_ROUTE ||
                   (c->plan->route_of_step[param->index] >= 0 && param->part <= MOEC_ROUTE_SLOT_ROW),
               "param %" PRIu32 ": part %d of step %d is not a table of a dispatch", number, param->part, param->index);
  const moec_buffer *buffer = param->kind == MOEC_CUDA_BUFFER ? &c->plan->buffers[param->index] : NULL;
  int table = param->kind == MOEC_CUDA_ROUTE || (buffer && buffer->kind == MOEC_BUFFER_ROUTE);
  uint32_t maker = buffer && table ? buffer->route : param->index;
  CHECK_LAUNCH(!table || moec_runs_with(&c->plan->steps[maker], &c->plan->steps[launch->step]),
               "param %" PRIu32 " is a table of step %" PRIu32 ", which is not made whenever the launch runs", number,
               maker);
  return MOEC_OK;
}

static moec_status check_launch(const target_check *c, uint32_t index) {
  const moec_cuda_launch *launch = &c->view.launches[index];
  int64_t max_tokens = c->plan->header->max_tokens;
  CHECK_TARGET(launch->step < c->plan->header->steps.count, "launch %" PRIu32 ": step %d of %" PRIu32, index,
               launch->step, c->plan->header->steps.count);
  CHECK_LAUNCH(!(launch->flags & ~MOEC_CUDA_OVERLAP), "flags are %d", launch->flags);
  CHECK_LAUNCH(launch->symbol < c->cuda->header->strings.count, "symbol %" PRIu32 " is outside the strings",
               launch->symbol);
  CHECK_LAUNCH(launch->block_threads >= 1 && launch->block_threads <= 1024, "%" PRIu32 " threads, expected 1 to 1024",
               launch->block_threads);
  CHECK_LAUNCH(launch->shared_bytes <= MOEC_MAX_CUDA_SHARED, "%" PRIu32 " bytes of shared memory",
               launch->shared_bytes);
  CHECK_LAUNCH(moec_extent_fits(launch->units, max_tokens), "%" PRId64 " units per token + %" PRId64,
               launch->units.per_token, launch->units.fixed);
  CHECK_LAUNCH(launch->units_per_block >= 1 && launch->blocks_per_sm <= 64,
               "%" PRIu32 " units per block, %" PRIu32 " blocks per SM", launch->units_per_block,
               launch->blocks_per_sm);
  CHECK_LAUNCH(launch->min_tokens >= 0 && launch->max_tokens >= launch->min_tokens,
               "for %" PRId64 " to %" PRId64 " tokens", launch->min_tokens, launch->max_tokens);
  CHECK_LAUNCH(launch->num_params <= MOEC_MAX_CUDA_PARAMS &&
                   (uint64_t)launch->first_param + launch->num_params <= c->view.target->params.count,
               "params %" PRIu32 " + %" PRIu32 ", the target has %" PRIu32, launch->first_param, launch->num_params,
               c->view.target->params.count);
  uint32_t row_maps = 0;
  for (uint32_t number = 0; number < launch->num_params; ++number) {
    moec_status status = check_param(c, index, number);
    if (status != MOEC_OK)
      return status;
    const moec_cuda_param *param = &c->view.params[launch->first_param + number];
    row_maps += param->kind == MOEC_CUDA_MAP && c->view.maps[param->index].source != MOEC_CUDA_MAP_WEIGHT;
  }
  CHECK_LAUNCH(row_maps <= MOEC_MAX_CUDA_ROW_MAPS, "%" PRIu32 " maps of rows, at most %d", row_maps,
               MOEC_MAX_CUDA_ROW_MAPS);
  CHECK_LAUNCH(!row_maps || launch->min_tokens >= 1, "maps of rows, but %" PRId64 " tokens are enough",
               launch->min_tokens);
  return MOEC_OK;
}

static moec_status check_target(const moec_package *package, const moec_plan *plan, const moec_cuda_plan *cuda,
                                uint32_t index) {
  const moec_cuda_target *target = &cuda->targets[index];
  MOEC_CHECK_PLAN(target->sm >= 50 && target->sm <= 9999 && target->exact <= 1,
                  "cuda plan: target %" PRIu32 ": sm %" PRIu32 " and exact %" PRIu32, index, target->sm, target->exact);
  target_check check = {.package = package, .plan = plan, .cuda = cuda, .view = moec_cuda_target_at(cuda, index)};
  const target_check *c = &check;
  moec_cuda_target_name(target, check.name);
  CHECK_TARGET(check.view.launches && check.view.params && check.view.tables && check.view.maps,
               "an array lies outside the blob of %" PRIu32 " bytes", cuda->header->total_bytes);
  CHECK_TARGET(target->launches.count >= 1 && target->launches.count <= MOEC_MAX_CUDA_LAUNCHES,
               "%" PRIu32 " launches, expected 1 to %d", target->launches.count, MOEC_MAX_CUDA_LAUNCHES);
  CHECK_TARGET(target->tables.count <= MOEC_MAX_CUDA_TABLES && target->maps.count <= MOEC_MAX_CUDA_MAPS,
               "%" PRIu32 " tables and %" PRIu32 " maps, at most %d and %d", target->tables.count, target->maps.count,
               MOEC_MAX_CUDA_TABLES, MOEC_MAX_CUDA_MAPS);
  moec_status status = check_images(c);
  if (status == MOEC_OK)
    status = check_tables(c);
  if (status == MOEC_OK)
    status = check_maps(c);
  for (uint32_t i = 0; status == MOEC_OK && i < target->launches.count; ++i)
    status = check_launch(c, i);
  return status;
}

moec_status moec_cuda_plan_open(const moec_package *package, const moec_plan *plan, moec_cuda_plan *out_plan) {
  moec_status status = check_version(package, plan);
  if (status == MOEC_OK)
    status = open_spans(package, plan, out_plan);
  if (status == MOEC_OK)
    status = moec_check_weight_set(plan, &out_plan->weight_set, MOEC_LAYOUT_ROWS, "cuda plan");
  for (uint32_t i = 0; status == MOEC_OK && i < out_plan->header->targets.count; ++i)
    status = check_target(package, plan, out_plan, i);
  return status;
}
