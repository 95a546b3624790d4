/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_layer.c - a package's CUDA part and options in -> driver, device, context, image and kernels, or a status.
 */
#include "runtime/cuda/cuda_layer.h"

#include "runtime/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_ROOM = 512, DEVICE_NAME_ROOM = 96 };

/* ---- driver and device ----------------------------------------------------------------------------------------- */

static moec_status open_driver(moec_cuda_layer *layer, const moec_layer_options *options) {
  moec_status status;
  if (options->cuda_driver) {
    layer->driver = options->cuda_driver;
    status = moec_cuda_driver_check(layer->driver);
  } else {
    status = moec_cuda_driver_get(&layer->driver);
  }
  if (status != MOEC_OK)
    return status;
  int result = layer->driver->init(0);
  if (result == MOEC_CUDA_SUCCESS)
    return MOEC_OK;
  moec_cuda_error(layer->driver, result, "the NVIDIA driver cannot be used");
  return MOEC_UNSUPPORTED_DEVICE;
}

/* The device of the options, and the current context where it is one of that device. */
static moec_status choose_device(moec_cuda_layer *layer, const moec_layer_options *options) {
  const moec_cuda_driver *driver = layer->driver;
  void *current = NULL;
  int count = 0, device = 0, device_of_current = -1;
  int result = driver->device_get_count(&count);
  if (result != MOEC_CUDA_SUCCESS)
    return moec_cuda_error(driver, result, "the number of CUDA devices cannot be read");
  if (count < 1)
    return moec_error(MOEC_UNSUPPORTED_DEVICE, "the NVIDIA driver knows no CUDA device");
  int chosen = options->cuda_device - 1; /* its ordinal; below 0: none was chosen */
  if (chosen >= count)
    return moec_error(MOEC_INVALID_ARGUMENT,
                      "options: cuda_device is %d, 1 + the ordinal of a device, and the machine "
                      "has %d",
                      (int)options->cuda_device, count);
  if (driver->ctx_get_current(&current) != MOEC_CUDA_SUCCESS ||
      (current && driver->ctx_get_device(&device_of_current) != MOEC_CUDA_SUCCESS))
    current = NULL;
  if (chosen < 0 && current) {
    device = device_of_current;
  } else {
    result = driver->device_get(&device, chosen < 0 ? 0 : chosen);
    if (result != MOEC_CUDA_SUCCESS)
      return moec_cuda_error(driver, result, "CUDA device %d cannot be opened", chosen < 0 ? 0 : chosen);
  }
  layer->device = device;
  if (current && device_of_current == device)
    layer->context = current;
  return MOEC_OK;
}

static moec_status read_device(moec_cuda_layer *layer) {
  const moec_cuda_driver *driver = layer->driver;
  int major = 0, minor = 0, sms = 0;
  int result = driver->device_get_attribute(&major, MOEC_CUDA_CAPABILITY_MAJOR, layer->device);
  if (result == MOEC_CUDA_SUCCESS)
    result = driver->device_get_attribute(&minor, MOEC_CUDA_CAPABILITY_MINOR, layer->device);
  if (result == MOEC_CUDA_SUCCESS)
    result = driver->device_get_attribute(&sms, MOEC_CUDA_MULTIPROCESSORS, layer->device);
  if (result != MOEC_CUDA_SUCCESS)
    return moec_cuda_error(driver, result, "CUDA device %d: its attributes cannot be read", (int)layer->device);
  layer->capability = 10 * major + minor;
  layer->num_sms = sms < 1 ? 1 : sms;
  return MOEC_OK;
}

/* The exact target for the device's compute capability, else the highest that runs on it and later ones. */
static moec_status choose_target(moec_cuda_layer *layer, const moec_plan *plan) {
  uint32_t capability = (uint32_t)layer->capability, count = layer->plan.header->targets.count, best = count;
  const moec_cuda_target *targets = layer->plan.targets;
  for (uint32_t i = 0; i < count; ++i) {
    if (targets[i].exact ? targets[i].sm != capability : targets[i].sm > capability)
      continue;
    if (best == count || targets[i].exact > targets[best].exact ||
        (targets[i].exact == targets[best].exact && targets[i].sm > targets[best].sm))
      best = i;
  }
  if (best < count) {
    layer->target = moec_cuda_target_at(&layer->plan, best);
    moec_cuda_target_name(layer->target.target, layer->name);
    return MOEC_OK;
  }
  char have[MOEC_MAX_CUDA_TARGETS * (MOEC_CUDA_NAME_ROOM + 2)] = "", device[DEVICE_NAME_ROOM] = "",
                                                           name[MOEC_CUDA_NAME_ROOM];
  size_t used = 0;
  for (uint32_t i = 0; i < count; ++i)
    used +=
        (size_t)snprintf(have + used, sizeof(have) - used, i ? ", %s" : "%s", moec_cuda_target_name(&targets[i], name));
  if (layer->driver->device_get_name(device, DEVICE_NAME_ROOM, layer->device) != MOEC_CUDA_SUCCESS)
    device[0] = '\0';
  device[DEVICE_NAME_ROOM - 1] = '\0';
  return moec_error(MOEC_UNSUPPORTED_DEVICE, "package %.64s holds kernels for %s, CUDA device %d (%s) is sm_%d",
                    plan->strings + plan->header->name, have, (int)layer->device, device, (int)layer->capability);
}

/* ---- context --------------------------------------------------------------------------------------------------- */

static moec_status open_context(moec_cuda_layer *layer) {
  if (layer->context)
    return MOEC_OK;
  int result = layer->driver->primary_ctx_retain(&layer->context, layer->device);
  if (result != MOEC_CUDA_SUCCESS)
    return moec_cuda_error(layer->driver, result, "CUDA device %d: its primary context cannot be had",
                           (int)layer->device);
  layer->retained = 1;
  return MOEC_OK;
}

moec_status moec_cuda_enter(const moec_cuda_layer *layer, int *out_pushed) {
  void *current = NULL;
  *out_pushed = 0;
  if (layer->driver->ctx_get_current(&current) == MOEC_CUDA_SUCCESS && current == layer->context)
    return MOEC_OK;
  int result = layer->driver->ctx_push_current(layer->context);
  if (result != MOEC_CUDA_SUCCESS)
    return moec_cuda_error(layer->driver, result, "CUDA device %d: the layer's context cannot be made current",
                           (int)layer->device);
  *out_pushed = 1;
  return MOEC_OK;
}

void moec_cuda_leave(const moec_cuda_layer *layer, int pushed) {
  void *popped;
  if (pushed)
    layer->driver->ctx_pop_current(&popped);
}

moec_status moec_cuda_check_device_memory(const moec_cuda_layer *layer, const void *pointer, const char *name) {
  int type = 0, pushed;
  moec_status status = moec_cuda_enter(layer, &pushed);
  if (status != MOEC_OK)
    return status;
  int result =
      layer->driver->pointer_get_attribute(&type, MOEC_CUDA_POINTER_MEMORY_TYPE, (moec_cuda_pointer)(uintptr_t)pointer);
  moec_cuda_leave(layer, pushed);
  if (result == MOEC_CUDA_SUCCESS && type == MOEC_CUDA_MEMORY_DEVICE)
    return MOEC_OK;
  return moec_error(MOEC_INVALID_ARGUMENT, "%s is not device memory, expected memory of CUDA device %d", name,
                    (int)layer->device);
}

moec_status moec_cuda_read(const moec_cuda_layer *layer, const void *from, size_t bytes, void *to) {
  int pushed;
  moec_status status = moec_cuda_check_device_memory(layer, from, "buffer");
  if (status == MOEC_OK)
    status = moec_cuda_enter(layer, &pushed);
  if (status != MOEC_OK)
    return status;
  int result = layer->driver->memcpy_dtoh(to, (moec_cuda_pointer)(uintptr_t)from, bytes);
  moec_cuda_leave(layer, pushed);
  return result == MOEC_CUDA_SUCCESS ? MOEC_OK : moec_cuda_error(layer->driver, result, "buffer cannot be read");
}

/* ---- image and kernels ----------------------------------------------------------------------------------------- */

/* A driver older than the toolkit that made the images is the likeliest reason that it takes none: say both
 * versions. */
static moec_status refuse_images(const moec_cuda_layer *layer, const moec_plan *plan, int result, const char *log) {
  int have = 0;
  char age[160] = "";
  int need = (int)layer->plan.header->cuda_version;
  if (layer->driver->driver_get_version(&have) == MOEC_CUDA_SUCCESS && have < need) {
    const char *branch = need / 1000 == 13   ? " (version 580 or newer)"
                         : need / 1000 == 12 ? " (version 525 or newer)"
                                             : "";
    snprintf(age, sizeof(age), "; the driver is for CUDA %d.%d, expected CUDA %d.%d%s", have / 1000, have % 1000 / 10,
             need / 1000, need % 1000 / 10, branch);
  }
  moec_cuda_error(layer->driver, result, "package %.64s: the driver accepts none of the %u images for %s%s%s%.256s",
                  plan->strings + plan->header->name, (unsigned)layer->target.target->num_images, layer->name, age,
                  *log ? "; it says: " : "", log);
  return MOEC_UNSUPPORTED_DEVICE;
}

static moec_status load_module(moec_cuda_layer *layer, const moec_plan *plan) {
  const moec_cuda_target *target = layer->target.target;
  char log[LOG_ROOM];
  int options[] = {MOEC_CUDA_JIT_ERROR_LOG, MOEC_CUDA_JIT_ERROR_LOG_BYTES};
  void *values[] = {log, (void *)(uintptr_t)LOG_ROOM};
  int result = MOEC_CUDA_NO_BINARY;
  for (uint32_t i = 0; i < target->num_images; ++i) {
    log[0] = '\0';
    values[1] = (void *)(uintptr_t)LOG_ROOM; /* the driver puts the bytes it wrote here */
    result = layer->driver->module_load_data_ex(&layer->module, layer->plan.images[target->first_image + i].data, 2,
                                                options, values);
    if (result == MOEC_CUDA_SUCCESS)
      return MOEC_OK;
    layer->module = NULL;
    if (result == MOEC_CUDA_OUT_OF_MEMORY)
      return moec_cuda_error(layer->driver, result, "package %.64s: its image cannot be loaded",
                             plan->strings + plan->header->name);
  }
  log[LOG_ROOM - 1] = '\0';
  log[strcspn(log, "\r\n")] = '\0';
  return refuse_images(layer, plan, result, log);
}

/* The most dynamic shared memory any launch of the same kernel asks for.
 *
 * NOTE: the attribute belongs to the kernel, not to a launch. Set once to the maximum, no smaller launch can lower it
 * under another one that is being enqueued by a second thread. */
static uint32_t most_shared(const moec_cuda_layer *layer, const char *symbol) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < layer->target.target->launches.count; ++i) {
    const moec_cuda_launch *launch = &layer->target.launches[i];
    if (launch->shared_bytes > most && strcmp(layer->plan.strings + launch->symbol, symbol) == 0)
      most = launch->shared_bytes;
  }
  return most;
}

static int set_up_before(const moec_cuda_layer *layer, uint32_t index, const char *symbol) {
  for (uint32_t i = 0; i < index; ++i)
    if (strcmp(layer->plan.strings + layer->target.launches[i].symbol, symbol) == 0)
      return 1;
  return 0;
}

/* NOTE: asking for an attribute makes a driver that loads kernels lazily load this one here and not in a first call. */
static moec_status set_up_kernel(moec_cuda_layer *layer, uint32_t index) {
  const moec_cuda_driver *driver = layer->driver;
  const moec_cuda_launch *launch = &layer->target.launches[index];
  const char *symbol = layer->plan.strings + launch->symbol;
  void **function = &layer->functions[index];
  int threads = 0;
  int result = driver->module_get_function(function, layer->module, symbol);
  if (result != MOEC_CUDA_SUCCESS)
    return moec_cuda_error(driver, result, "the image for %s has no kernel %.200s", layer->name, symbol);
  result = driver->func_get_attribute(&threads, MOEC_CUDA_MAX_THREADS_PER_BLOCK, *function);
  if (result != MOEC_CUDA_SUCCESS)
    return moec_cuda_error(driver, result, "kernel %.200s cannot be loaded", symbol);
  if ((uint32_t)threads < launch->block_threads)
    return moec_error(MOEC_DEVICE_ERROR,
                      "kernel %.200s can have %d threads a block on CUDA device %d, its launch needs %u", symbol,
                      threads, (int)layer->device, (unsigned)launch->block_threads);
  uint32_t shared = most_shared(layer, symbol);
  if (!shared || set_up_before(layer, index, symbol))
    return MOEC_OK;
  result = driver->func_set_attribute(*function, MOEC_CUDA_MAX_DYNAMIC_SHARED, (int)shared);
  if (result != MOEC_CUDA_SUCCESS)
    return moec_cuda_error(driver, result, "kernel %.200s cannot have %u bytes of shared memory", symbol,
                           (unsigned)shared);
  return MOEC_OK;
}

/* Buffers of the plan that another target fills and reads, as rows that --det off adds up at once, need no workspace
 * here. */
static void note_buffers(moec_cuda_layer *layer) {
  const moec_cuda_target *target = layer->target.target;
  for (uint32_t i = 0; i < target->params.count; ++i)
    if (layer->target.params[i].kind == MOEC_CUDA_BUFFER)
      layer->names[layer->target.params[i].index] = 1;
  for (uint32_t i = 0; i < target->maps.count; ++i)
    if (layer->target.maps[i].source == MOEC_CUDA_MAP_BUFFER)
      layer->names[layer->target.maps[i].index] = 1;
}

static moec_status load_kernels(moec_cuda_layer *layer, const moec_plan *plan) {
  uint32_t count = layer->target.target->launches.count;
  layer->functions = calloc(count, sizeof(*layer->functions));
  if (!layer->functions)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for %u kernels", (unsigned)count);
  int pushed;
  moec_status status = moec_cuda_enter(layer, &pushed);
  if (status != MOEC_OK)
    return status;
  status = load_module(layer, plan);
  for (uint32_t i = 0; status == MOEC_OK && i < count; ++i)
    status = set_up_kernel(layer, i);
  moec_cuda_leave(layer, pushed);
  return status;
}

/* ---- create and destroy ---------------------------------------------------------------------------------------- */

moec_status moec_cuda_layer_create(const moec_package *package, const moec_plan *plan,
                                   const moec_layer_options *options, moec_cuda_layer **out_layer) {
  moec_cuda_layer *layer = calloc(1, sizeof(*layer));
  if (!layer)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a CUDA layer of %zu bytes", sizeof(*layer));
  moec_status status = moec_cuda_plan_open(package, plan, &layer->plan);
  if (status == MOEC_OK)
    status = open_driver(layer, options);
  if (status == MOEC_OK)
    status = choose_device(layer, options);
  if (status == MOEC_OK)
    status = read_device(layer);
  if (status == MOEC_OK)
    status = choose_target(layer, plan);
  if (status == MOEC_OK)
    note_buffers(layer);
  if (status == MOEC_OK)
    status = open_context(layer);
  if (status == MOEC_OK)
    status = load_kernels(layer, plan);
  if (status != MOEC_OK) {
    moec_cuda_layer_destroy(layer);
    return status;
  }
  *out_layer = layer;
  return MOEC_OK;
}

void moec_cuda_layer_destroy(moec_cuda_layer *layer) {
  if (!layer)
    return;
  if (layer->module && layer->driver->ctx_push_current(layer->context) == MOEC_CUDA_SUCCESS) {
    void *popped;
    layer->driver->module_unload(layer->module);
    layer->driver->ctx_pop_current(&popped);
  }
  if (layer->retained)
    layer->driver->primary_ctx_release(layer->device);
  free(layer->functions);
  free(layer);
}
