/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_weights.c - mappings of packed weights: one per call on the CPU, one per address on CUDA.
 */
#include "runtime/bindings/tvm_ffi/ffi_weights.h"

#include "runtime/bindings/tvm_ffi/ffi_tensor.h"

#include "runtime/status.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

enum { PACKED_ALIGN = 64, MAX_MAPPINGS = 1024 };

/* One address on a device, in the order of last use. Guarded by `lock`. */
struct moec_ffi_mapping {
  struct moec_ffi_mapping *next;
  const void *data;
  moec_weights *handle;
  int uses; /* calls that run with it */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* CUDA alone, which no forked child may use */

moec_status moec_ffi_packed_buffer(const char *name, const moec_ffi_layer *layer, const moec_ffi_tensor *tensor,
                                   void **out_data, size_t *out_bytes) {
  moec_dtype dtype;
  int64_t elements;
  moec_status status = moec_ffi_elements_of(name, tensor, &elements);
  if (status != MOEC_OK)
    return status;
  int is_u8 = moec_ffi_dtype_of(tensor, &dtype) && dtype == MOEC_U8;
  if (!is_u8 || (uint64_t)elements < layer->weights_bytes) {
    char found[192];
    moec_ffi_describe_tensor(tensor, found, sizeof(found));
    return moec_error(is_u8 ? MOEC_SHAPE : MOEC_DTYPE,
                      "%s is %s, expected u8 [%zu]: the packed weights of %.64s, which pack and load make", name, found,
                      layer->weights_bytes, layer->info.name);
  }
  const moec_ffi_wanted wanted = {name, MOEC_U8, -1, elements, PACKED_ALIGN};
  *out_bytes = (size_t)elements;
  status = moec_ffi_check_device(name, tensor, layer->device);
  if (status == MOEC_OK)
    status = moec_ffi_check_strides(name, tensor);
  if (status != MOEC_OK)
    return status;
  *out_data = moec_ffi_data_of(tensor, elements);
  if (!*out_data || (uintptr_t)*out_data % wanted.align)
    return moec_error(MOEC_ALIGNMENT, "%s begins %u bytes after a multiple of %u, expected a multiple: pass a copy",
                      name, (unsigned)((uintptr_t)*out_data % wanted.align), (unsigned)wanted.align);
  return MOEC_OK;
}

/* The mapping of an address, moved to the front. */
static struct moec_ffi_mapping *find(moec_ffi_layer *layer, const void *data) {
  for (struct moec_ffi_mapping **at = &layer->mappings; *at; at = &(*at)->next)
    if ((*at)->data == data) {
      struct moec_ffi_mapping *found = *at;
      *at = found->next;
      found->next = layer->mappings;
      layer->mappings = found;
      return found;
    }
  return NULL;
}

/* Ends the mapping that no call has used for the longest time, if there are too many. */
static void forget_one(moec_ffi_layer *layer) {
  struct moec_ffi_mapping **last = NULL;
  int count = 0;
  for (struct moec_ffi_mapping **at = &layer->mappings; *at; at = &(*at)->next, ++count)
    if (!(*at)->uses)
      last = at;
  if (count <= MAX_MAPPINGS || !last)
    return;
  struct moec_ffi_mapping *old = *last;
  *last = old->next;
  moec_weights_destroy(old->handle);
  free(old);
}

/* Puts a handle in front. NULL: there is no memory for it. */
static struct moec_ffi_mapping *insert(moec_ffi_layer *layer, const void *data, moec_weights *handle) {
  struct moec_ffi_mapping *mapping = malloc(sizeof(*mapping));
  if (!mapping)
    return NULL;
  *mapping = (struct moec_ffi_mapping){layer->mappings, data, handle, 0};
  layer->mappings = mapping;
  forget_one(layer);
  return mapping;
}

moec_status moec_ffi_use_weights(moec_ffi_layer *layer, const void *data, size_t bytes, moec_ffi_weights *out_weights) {
  *out_weights = (moec_ffi_weights){NULL, NULL};
  if (layer->device.type == MOEC_FFI_CPU)
    return moec_weights_map(layer->layer, data, bytes, 0, &out_weights->handle);
  moec_status status = MOEC_OK;
  pthread_mutex_lock(&lock);
  struct moec_ffi_mapping *mapping = find(layer, data);
  if (!mapping) {
    status = moec_weights_map(layer->layer, data, bytes, 0, &out_weights->handle);
    mapping = status == MOEC_OK ? insert(layer, data, out_weights->handle) : NULL;
  }
  if (mapping) {
    *out_weights = (moec_ffi_weights){mapping->handle, mapping};
    ++mapping->uses;
  }
  pthread_mutex_unlock(&lock);
  return status;
}

void moec_ffi_release_weights(moec_ffi_layer *layer, moec_ffi_weights *weights) {
  if (!weights->mapping) {
    moec_weights_destroy(weights->handle);
    return;
  }
  pthread_mutex_lock(&lock);
  --weights->mapping->uses;
  pthread_mutex_unlock(&lock);
}

void moec_ffi_keep_weights(moec_ffi_layer *layer, const void *data, moec_weights *handle) {
  struct moec_ffi_mapping *kept = NULL;
  if (layer->device.type == MOEC_FFI_CUDA) {
    pthread_mutex_lock(&lock);
    if (!find(layer, data))
      kept = insert(layer, data, handle);
    pthread_mutex_unlock(&lock);
  }
  if (!kept)
    moec_weights_destroy(handle);
}
