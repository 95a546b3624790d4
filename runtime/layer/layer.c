/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * layer.c - a package and options in -> an immutable layer for this machine out, and its facts.
 */
#include "runtime/layer/layer.h"

#include "runtime/cpu_features.h"
#include "runtime/status.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

moec_status moec_check_layer(const moec_layer *layer) {
  if (!layer)
    return moec_error(MOEC_NULL_POINTER, "layer is NULL");
  if (layer->magic != MOEC_LAYER_MAGIC)
    return moec_error(MOEC_INVALID_HANDLE, "layer is not a live moec_layer");
  return MOEC_OK;
}

/* The pool of other layers, and what contradicts it. */
static moec_status check_shared_pool(const moec_layer_options *options) {
  moec_status status = moec_check_pool(options->pool);
  if (status != MOEC_OK)
    return status;
  int32_t threads = moec_pool_threads(options->pool);
  if (options->parallel_for)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: pool and parallel_for are both set, expected one of them");
  if (options->spin_us)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: spin_us is %d, expected 0: the pool has its own",
                      (int)options->spin_us);
  if (options->max_threads && options->max_threads != threads)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: max_threads is %d, expected 0 or the pool's %d",
                      (int)options->max_threads, (int)threads);
  return MOEC_OK;
}

static moec_status check_options(const moec_layer_options *options) {
  if (options->device != MOEC_DEVICE_CPU && options->device != MOEC_DEVICE_CUDA)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: device is %d, expected 0 (CPU) or 1 (CUDA)",
                      (int)options->device);
  if (options->cuda_device < -1)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: cuda_device is %d, expected 0, or 1 + a device's ordinal",
                      (int)options->cuda_device);
  if (options->max_threads < 0 || options->max_threads > MOEC_MAX_THREADS)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: max_threads is %d, expected 0 to %d", (int)options->max_threads,
                      MOEC_MAX_THREADS);
  if (options->max_isa < 0 || options->max_isa > MOEC_NUM_ISAS)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: max_isa is %d, expected 0 to %d", (int)options->max_isa,
                      MOEC_NUM_ISAS);
  if (options->spin_us < -1)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: spin_us is %d, expected -1 or more", (int)options->spin_us);
  if (options->reserved)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: reserved is %d, expected 0", (int)options->reserved);
  return options->pool && options->device == MOEC_DEVICE_CPU ? check_shared_pool(options) : MOEC_OK;
}

/* Copies options of any struct_size that this runtime knows; fields not passed become zero. */
static moec_status read_options(const moec_layer_options *given, moec_layer_options *out) {
  int known = given->struct_size == offsetof(moec_layer_options, device) ||
              given->struct_size == offsetof(moec_layer_options, pool);
  if (given->struct_size < sizeof(*out) && !known)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: struct_size is %zu, expected %zu", given->struct_size,
                      sizeof(*out));
  if (given->struct_size > sizeof(*out))
    return moec_error(MOEC_VERSION_MISMATCH, "options: struct_size is %zu, this runtime knows %zu", given->struct_size,
                      sizeof(*out));
  memcpy(out, given, given->struct_size);
  return check_options(out);
}

/* The best ISA the package has among those the machine, MOEC_MAX_ISA and the options allow. */
/* The package's records of avx512_bf16 are of this CPU. */
static int is_tuned_for(const moec_plan_header *header, const moec_cpu_model *cpu) {
  return (header->features & MOEC_FEATURE_BF16_DOT_TUNED) && header->dot_family == cpu->family &&
         header->dot_model == cpu->model && strcmp(header->dot_vendor, cpu->vendor) == 0;
}

static moec_status choose_isa(const moec_plan *plan, const moec_layer_options *options, int32_t *out_isa) {
  int32_t limit = moec_cpu_isa(), asked = -1;
  if (!plan->header->isa_mask)
    return moec_error(MOEC_ISA_MISSING,
                      "package %.64s holds CUDA kernels only, expected options.device MOEC_DEVICE_CUDA",
                      plan->strings + plan->header->name);
  const char *text = getenv("MOEC_MAX_ISA");
  if (text && *text) {
    int32_t named = moec_isa_from_name(text);
    if (named < 0)
      return moec_error(MOEC_INVALID_ARGUMENT,
                        "MOEC_MAX_ISA is \"%.32s\", expected amx, avx512_bf16, avx512, avx2 or "
                        "baseline",
                        text);
    asked = named;
  }
  if (options->max_isa > 0 && (asked < 0 || options->max_isa - 1 < asked))
    asked = options->max_isa - 1;
  if (asked >= 0 && asked < limit)
    limit = asked;
  moec_cpu_model cpu = moec_this_cpu();
  uint32_t usable = plan->header->isa_mask;
  if (asked != MOEC_ISA_AVX512_BF16 && !is_tuned_for(plan->header, &cpu) && (usable >> MOEC_ISA_AVX512 & 1) &&
      !moec_has_fast_bf16_dot(&cpu))
    usable &= ~(1u << MOEC_ISA_AVX512_BF16);
  for (int32_t isa = limit; isa >= 0; --isa)
    if (usable >> isa & 1) {
      *out_isa = isa;
      return MOEC_OK;
    }
  int32_t lowest = 0;
  while (!(plan->header->isa_mask >> lowest & 1))
    ++lowest;
  return moec_error(MOEC_ISA_MISSING, "package %.64s needs %s, this machine and the limits set allow %s",
                    plan->strings + plan->header->name, moec_isa_name(lowest), moec_isa_name(limit));
}

/* Worker threads of a CPU layer: one, a host's, a shared pool's, or those of a pool of its own. */
static moec_status choose_threads(moec_layer *layer, const moec_layer_options *options) {
  if (options->pool)
    layer->max_threads = moec_pool_threads(options->pool);
  layer->parallel_for = options->parallel_for;
  layer->parallel_for_context = options->parallel_for_context;
  if (layer->max_threads == 1 || layer->parallel_for)
    return MOEC_OK;
  const moec_pool_options own = {
      .struct_size = sizeof(own), .threads = layer->max_threads, .spin_us = options->spin_us};
  layer->pool = options->pool ? options->pool : moec_pool_make(&own);
  if (!layer->pool)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a pool of %d threads", (int)layer->max_threads);
  if (options->pool)
    moec_pool_retain(options->pool);
  return MOEC_OK;
}

/* A layer of one pass of the package. */
static moec_status create_pass(const moec_package *package, const moec_layer_options *options, moec_layer **out_layer) {
  moec_layer_options chosen = *options;
  moec_status status = MOEC_OK;
  moec_layer *layer = calloc(1, sizeof(*layer));
  if (!layer)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a layer of %zu bytes", sizeof(*layer));
  status = moec_plan_open(package, &layer->plan);
  if (status == MOEC_OK && chosen.device == MOEC_DEVICE_CUDA)
    status = moec_cuda_layer_create(package, &layer->plan, &chosen, &layer->cuda);
  else if (status == MOEC_OK)
    status = choose_isa(&layer->plan, &chosen, &layer->isa);
  layer->max_threads = chosen.max_threads ? chosen.max_threads : 1;
  if (status == MOEC_OK && !layer->cuda)
    status = choose_threads(layer, &chosen);
  if (status != MOEC_OK) {
    free(layer);
    return status;
  }
  layer->magic = MOEC_LAYER_MAGIC;
  *out_layer = layer;
  return MOEC_OK;
}

/* The backward plan has the forward plan's roles, and its packed weights begin with those of forward. */
static moec_status check_backward(const moec_layer *layer) {
  const moec_plan *forward = &layer->plan, *backward = &layer->backward->plan;
  if (backward->header->pass != MOEC_PASS_BACKWARD || forward->header->pass != MOEC_PASS_FORWARD)
    return moec_error(MOEC_INVALID_ARGUMENT, "package: passes are %d and %d, expected 0 and 1",
                      (int)forward->header->pass, (int)backward->header->pass);
  if (memcmp(forward->header->spec_hash, backward->header->spec_hash, sizeof(forward->header->spec_hash)) != 0 ||
      forward->header->hidden != backward->header->hidden || forward->header->x_dtype != backward->header->x_dtype ||
      forward->header->y_dtype != backward->header->y_dtype ||
      forward->header->max_tokens != backward->header->max_tokens)
    return moec_error(MOEC_INVALID_ARGUMENT, "package: forward and backward are of different layers");
  if (forward->header->roles.count != backward->header->roles.count)
    return moec_error(MOEC_INVALID_ARGUMENT, "package: forward has %d roles, backward %d",
                      (int)forward->header->roles.count, (int)backward->header->roles.count);
  const moec_weight_set *own = layer->cuda ? &layer->cuda->plan.weight_set : &forward->weight_set;
  const moec_weight_set *all = moec_weight_set_of(layer);
  if (own->count > all->count || memcmp(own->weights, all->weights, own->count * sizeof(*own->weights)) != 0)
    return moec_error(MOEC_INVALID_ARGUMENT, "package: backward has other weights than forward");
  for (uint32_t i = 0; i < MOEC_MAX_SAVED; ++i) {
    int32_t made = forward->buffer_of_role[MOEC_ROLE_SAVED + i], read = backward->buffer_of_role[MOEC_ROLE_SAVED + i];
    if ((made < 0) != (read < 0) ||
        (made >= 0 && (forward->buffers[made].dtype != backward->buffers[read].dtype ||
                       memcmp(&forward->buffers[made].bytes, &backward->buffers[read].bytes, sizeof(moec_extent)))))
      return moec_error(MOEC_INVALID_ARGUMENT, "package: saved value %d differs between the passes", (int)i);
  }
  return MOEC_OK;
}

/* Backward runs on the threads, with the instruction set and on the device of forward. */
static moec_status create_backward(const moec_package *package, const moec_layer_options *options, moec_layer *layer) {
  moec_layer_options shared = *options;
  if (layer->pool) {
    shared.pool = layer->pool;
    shared.max_threads = shared.spin_us = 0;
  }
  if (!layer->cuda)
    shared.max_isa = layer->isa + 1;
  moec_status status = create_pass(package, &shared, &layer->backward);
  return status == MOEC_OK ? check_backward(layer) : status;
}

moec_status moec_layer_create(const moec_package *package, const moec_layer_options *options, moec_layer **out_layer) {
  moec_layer_options chosen = {.struct_size = sizeof(chosen)};
  if (!package || !out_layer)
    return moec_error(MOEC_NULL_POINTER, "%s is NULL", package ? "out_layer" : "package");
  moec_status status = options ? read_options(options, &chosen) : MOEC_OK;
  moec_layer *layer = NULL;
  if (status == MOEC_OK)
    status = create_pass(package, &chosen, &layer);
  if (status == MOEC_OK && package->backward)
    status = create_backward(package->backward, &chosen, layer);
  if (status == MOEC_OK)
    *out_layer = layer;
  else
    moec_layer_destroy(layer);
  return status;
}

void moec_layer_destroy(moec_layer *layer) {
  if (!layer || layer->magic != MOEC_LAYER_MAGIC)
    return;
  layer->magic = 0;
  moec_layer_destroy(layer->backward);
  moec_pool_release(layer->pool);
  moec_cuda_layer_destroy(layer->cuda);
  free(layer);
}

/* Values of an optional output that is one vector per call. */
static int32_t report_count(const moec_plan *plan, uint32_t role) {
  int32_t buffer = plan->buffer_of_role[role];
  return buffer < 0 ? 0 : (int32_t)(plan->buffers[buffer].bytes.fixed / 4);
}

#define BIT_OF_ROLE(ROLE, name, DTYPE, SHAPE, NEEDS, text)                                                             \
  _Static_assert(MOEC_REPORT_##ROLE == 1 << (MOEC_ROLE_##ROLE - MOEC_FIRST_REPORT), #ROLE);
MOEC_REPORTS(BIT_OF_ROLE)
#undef BIT_OF_ROLE

static uint32_t reports_of(const moec_plan *plan) {
  uint32_t reports = 0;
  for (size_t i = 0; i < sizeof(moec_outputs) / sizeof(moec_outputs[0]); ++i)
    if (moec_is_report(&moec_outputs[i]) && plan->buffer_of_role[moec_outputs[i].role] >= 0)
      reports |= moec_report_bit(&moec_outputs[i]);
  return reports;
}

moec_status moec_layer_get_info(const moec_layer *layer, moec_layer_info *out_info) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  if (!out_info)
    return moec_error(MOEC_NULL_POINTER, "out_info is NULL");
  if (out_info->struct_size < sizeof(*out_info) && out_info->struct_size != offsetof(moec_layer_info, cuda_sm) &&
      out_info->struct_size != offsetof(moec_layer_info, num_losses) + 4) /* with its padding */
    return moec_error(MOEC_INVALID_ARGUMENT, "out_info: struct_size is %zu, expected %zu", out_info->struct_size,
                      sizeof(*out_info));
  const moec_plan *plan = &layer->plan;
  const moec_plan_header *header = plan->header;
  size_t struct_size = out_info->struct_size;
  const moec_layer_info info = {
      .struct_size = struct_size,
      .name = plan->strings + header->name,
      .hidden = header->hidden,
      .num_experts = header->num_experts,
      .top_k = header->top_k,
      .max_tokens = header->max_tokens,
      .num_logits = moec_logit_columns(plan),
      .x_dtype = (moec_dtype)header->x_dtype,
      .y_dtype = (moec_dtype)header->y_dtype,
      .isa = layer->cuda ? -1 : layer->isa,
      .isa_name = layer->cuda ? layer->cuda->name : moec_isa_name(layer->isa),
      /* what CUDA kernels may do in any order, CPU kernels do not */
      .determinism = (int32_t)(header->determinism || layer->cuda ? header->determinism : 1),
      .max_threads = layer->max_threads,
      .num_roles = (int32_t)header->roles.count,
      .device = layer->cuda ? MOEC_DEVICE_CUDA : MOEC_DEVICE_CPU,
      .cuda_sm = layer->cuda ? (int32_t)layer->cuda->target.target->sm : 0,
      .num_losses = report_count(plan, MOEC_ROLE_LOSSES),
      .num_choice_counts = report_count(plan, MOEC_ROLE_CHOICE_COUNTS),
      .reports = reports_of(plan),
      .trains = layer->backward != NULL,
  };
  memcpy(out_info, &info, struct_size < sizeof(info) ? struct_size : sizeof(info));
  return MOEC_OK;
}

moec_status moec_layer_role(const moec_layer *layer, int32_t index, const char **out_name, int32_t *out_rank,
                            int64_t out_dims[4]) {
  moec_status status = moec_check_layer(layer);
  if (status != MOEC_OK)
    return status;
  if (!out_name || !out_rank || !out_dims)
    return moec_error(MOEC_NULL_POINTER, "%s is NULL", !out_name ? "out_name" : !out_rank ? "out_rank" : "out_dims");
  const moec_plan *plan = &layer->plan;
  if (index < 0 || (uint32_t)index >= plan->header->roles.count)
    return moec_error(MOEC_INVALID_ARGUMENT, "role %d, the layer has %d", (int)index, (int)plan->header->roles.count);
  const moec_role *role = &plan->roles[index];
  *out_name = plan->strings + role->name;
  *out_rank = role->rank;
  for (int i = 0; i < 4; ++i)
    out_dims[i] = i < role->rank ? role->dims[i] : 0;
  return MOEC_OK;
}

moec_status moec_layer_forward_aliased(const moec_layer *layer, const moec_weights *weights,
                                       const moec_forward_args *args, uint32_t distinct_groups) {
  moec_forward_args checked;
  moec_status status = moec_check_forward(layer, weights, args, &checked);
  if (status != MOEC_OK || checked.num_tokens == 0)
    return status;
  if (layer->cuda && distinct_groups)
    return moec_error(MOEC_UNSUPPORTED_DEVICE, "groups are shared in CPU layers only");
  const moec_pass_args pass = {&checked, NULL};
  if (layer->cuda)
    return moec_cuda_walk(layer, weights, &pass);
  uint32_t mode = moec_fp_mode_enter();
  status = moec_plan_walk(layer, weights, &pass, distinct_groups);
  moec_fp_mode_leave(mode);
  return status;
}

moec_status moec_layer_forward(const moec_layer *layer, const moec_weights *weights, const moec_forward_args *args) {
  return moec_layer_forward_aliased(layer, weights, args, 0);
}

moec_status moec_layer_run(const moec_layer *layer, const moec_region *region) {
  if (layer->max_threads == 1)
    moec_region_run_alone(region);
  else if (layer->parallel_for)
    return moec_region_run_hosted(region, layer->parallel_for, layer->parallel_for_context, layer->max_threads);
  else
    moec_pool_run(layer->pool, region);
  return MOEC_OK;
}
