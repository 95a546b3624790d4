/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_layer.c - layers made once per device. Two threads that come first make two; one of them is kept. So nothing is
 * locked that a fork could leave locked.
 */
#include "runtime/bindings/tvm_ffi/ffi_layer.h"

#include "runtime/bindings/tvm_ffi/ffi_host.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"

#include "runtime/layer/layer.h"
#include "runtime/status.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CUDA_DEVICES = 64 };

static _Atomic(moec_ffi_layer *) cpu_layer, cuda_layers[MAX_CUDA_DEVICES];
static atomic_int option_threads, option_spin_us, option_when_busy;
static _Atomic(const void *) option_cuda_driver;

const char *moec_ffi_role_name(uint32_t role) {
  const char *name = moec_argument_name(role);
  int is_output = strncmp(name, "out_", 4) == 0;
  return is_output && role != MOEC_ROLE_WEIGHTS ? name + 4 : name;
}

static void read_buffers(const moec_plan_header *plan, moec_ffi_buffer *out) {
  const moec_buffer *buffers = (const moec_buffer *)((const char *)plan + plan->buffers.offset);
  for (uint32_t i = 0; i < plan->buffers.count; ++i) {
    const moec_buffer *buffer = &buffers[i];
    int64_t element = moec_dtype_bytes(buffer->dtype);
    if (buffer->role == MOEC_ROLE_NONE || buffer->role >= MOEC_NUM_FORWARD_ROLES || !element)
      continue;
    int64_t count = buffer->bytes.fixed / element;
    out[buffer->role] = (moec_ffi_buffer){.exists = 1,
                                          .is_input = buffer->kind == MOEC_BUFFER_INPUT,
                                          .dtype = buffer->dtype,
                                          .columns = buffer->bytes.per_token / element,
                                          .count = count > 0 ? count : 1};
    int is_mask = buffer->role == MOEC_ROLE_HIDDEN_MASK || buffer->role == MOEC_ROLE_OUTPUT_MASK;
    if (is_mask && !buffer->bytes.per_token && buffer->row_stride) {
      out[buffer->role].columns = buffer->row_stride / element;
      out[buffer->role].rows = buffer->bytes.fixed / buffer->row_stride;
      out[buffer->role].rows_per_sequence = buffer->bytes.per_sequence / buffer->row_stride;
    }
  }
}

static moec_status create(moec_ffi_device device, moec_layer **out_layer) {
  const moec_package *package = moec_bound_package();
  moec_layer_options options = {.struct_size = sizeof(options)};
  if (device.type == MOEC_FFI_CUDA) {
    options.device = MOEC_DEVICE_CUDA;
    options.cuda_device = 1 + device.id;
    options.cuda_driver = atomic_load(&option_cuda_driver);
    return moec_layer_create(package, &options, out_layer);
  }
  const moec_pool_options pool_options = {.struct_size = sizeof(pool_options),
                                          .threads = atomic_load(&option_threads),
                                          .spin_us = atomic_load(&option_spin_us),
                                          .when_busy = atomic_load(&option_when_busy)};
  moec_status status = moec_pool_create(&pool_options, &options.pool);
  if (status == MOEC_OK)
    status = moec_layer_create(package, &options, out_layer);
  moec_pool_destroy(options.pool); /* the layer keeps it */
  return status;
}

static moec_status make(moec_ffi_device device, moec_ffi_layer **out_layer) {
  moec_ffi_layer *made = calloc(1, sizeof(*made));
  if (!made)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a layer");
  moec_status status = create(device, &made->layer);
  made->device = device;
  made->info.struct_size = sizeof(made->info);
  if (status == MOEC_OK)
    status = moec_layer_get_info(made->layer, &made->info);
  if (status == MOEC_OK)
    status = moec_layer_weights_bytes(made->layer, &made->weights_bytes);
  if (status != MOEC_OK) {
    moec_layer_destroy(made->layer);
    free(made);
    return status;
  }
  made->plan = moec_bound_package()->plan; /* moec_layer_create has checked it */
  read_buffers(made->plan, made->buffers);
  *out_layer = made;
  return MOEC_OK;
}

moec_status moec_ffi_layer_on(moec_ffi_device device, moec_ffi_layer **out_layer) {
  if (device.type == MOEC_FFI_CUDA && (device.id < 0 || device.id >= MAX_CUDA_DEVICES))
    return moec_error(MOEC_UNSUPPORTED_DEVICE, "CUDA device %d, expected 0 to %d", (int)device.id,
                      MAX_CUDA_DEVICES - 1);
  _Atomic(moec_ffi_layer *) *place = device.type == MOEC_FFI_CUDA ? &cuda_layers[device.id] : &cpu_layer;
  *out_layer = atomic_load_explicit(place, memory_order_acquire);
  if (*out_layer)
    return MOEC_OK;
  moec_ffi_stay_loaded();
  moec_ffi_layer *made = NULL, *first = NULL;
  moec_status status = make(device, &made);
  if (status != MOEC_OK)
    return status;
  if (!atomic_compare_exchange_strong(place, &first, made)) {
    moec_layer_destroy(made->layer);
    free(made);
    made = first;
  }
  *out_layer = made;
  return MOEC_OK;
}

moec_ffi_device moec_ffi_default_device(void) {
  const moec_plan_header *plan = moec_bound_package()->plan;
  return (moec_ffi_device){plan->isa_mask ? MOEC_FFI_CPU : MOEC_FFI_CUDA, 0};
}

static int is(moec_ffi_bytes text, const char *word) {
  return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static moec_status check_unmade(_Atomic(moec_ffi_layer *) *layers, int count) {
  for (int i = 0; i < count; ++i) {
    moec_ffi_layer *made = atomic_load(&layers[i]);
    if (made) {
      char device[32];
      moec_ffi_device_text(made->device, device);
      return moec_error(MOEC_INVALID_HANDLE, "the layer on %s exists already; set options before the first call",
                        device);
    }
  }
  return MOEC_OK;
}

moec_status moec_ffi_set_option(moec_ffi_bytes name, int64_t value) {
  if (is(name, "cuda_driver")) {
    moec_status status = check_unmade(cuda_layers, MAX_CUDA_DEVICES);
    if (status == MOEC_OK)
      atomic_store(&option_cuda_driver, (const void *)(intptr_t)value);
    return status;
  }
  atomic_int *option = is(name, "threads")     ? &option_threads
                       : is(name, "spin_us")   ? &option_spin_us
                       : is(name, "when_busy") ? &option_when_busy
                                               : NULL;
  if (!option)
    return moec_error(MOEC_INVALID_ARGUMENT,
                      "\"%.*s\" is not an option, expected threads, spin_us, when_busy or cuda_driver",
                      name.size < 64 ? (int)name.size : 64, name.data);
  if (value < INT32_MIN || value > INT32_MAX)
    return moec_error(MOEC_INVALID_ARGUMENT, "%.*s is %lld, out of the range of an option", (int)name.size, name.data,
                      (long long)value);
  /* Values are checked as those of moec_pool_create, here rather than in the first call. */
  const moec_pool_options tried = {.struct_size = sizeof(tried),
                                   .threads = option == &option_threads ? (int32_t)value : 1,
                                   .spin_us = option == &option_spin_us ? (int32_t)value : 0,
                                   .when_busy = option == &option_when_busy ? (int32_t)value : 0};
  moec_pool *pool = NULL;
  moec_status status = check_unmade(&cpu_layer, 1);
  if (status == MOEC_OK)
    status = moec_pool_create(&tried, &pool);
  moec_pool_destroy(pool);
  if (status == MOEC_OK)
    atomic_store(option, (int)value);
  return status;
}
