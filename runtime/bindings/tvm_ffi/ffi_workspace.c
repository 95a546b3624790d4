/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_workspace.c - memory of threads, tensors of a framework, tensors of the caller.
 */
#include "runtime/bindings/tvm_ffi/ffi_workspace.h"

#include "runtime/bindings/tvm_ffi/ffi_host.h"
#include "runtime/bindings/tvm_ffi/ffi_tensor.h"

#include "runtime/status.h"

#include <pthread.h>
#include <stdlib.h>

enum { GRANULE = 65536 };

/* What a thread keeps. */
typedef struct thread_memory {
  void *data;
  size_t bytes;
} thread_memory;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int has_key;

static void free_memory(void *argument) {
  thread_memory *memory = argument;
  free(memory->data);
  free(memory);
}

static void make_key(void) { has_key = pthread_key_create(&key, free_memory) == 0; }

/* The calling thread's memory; NULL: it can keep none. */
static thread_memory *memory_of_thread(void) {
  pthread_once(&once, make_key);
  if (!has_key)
    return NULL;
  thread_memory *memory = pthread_getspecific(key);
  if (memory)
    return memory;
  memory = calloc(1, sizeof(*memory));
  if (memory && pthread_setspecific(key, memory) != 0) {
    free(memory);
    memory = NULL;
  }
  return memory;
}

static moec_status no_memory(size_t bytes) {
  return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a workspace of %zu bytes", bytes);
}

static moec_status take_from_thread(size_t bytes, moec_ffi_workspace *out_workspace) {
  size_t rounded = (bytes + GRANULE - 1) / GRANULE * GRANULE;
  thread_memory *memory = memory_of_thread();
  if (!memory) {
    void *data = aligned_alloc(MOEC_WORKSPACE_ALIGN, rounded);
    *out_workspace = (moec_ffi_workspace){data, rounded, data};
    return data ? MOEC_OK : no_memory(rounded);
  }
  if (memory->bytes < bytes) {
    free(memory->data);
    memory->data = aligned_alloc(MOEC_WORKSPACE_ALIGN, rounded);
    memory->bytes = memory->data ? rounded : 0;
  }
  *out_workspace = (moec_ffi_workspace){memory->data, memory->bytes, NULL};
  return memory->data ? MOEC_OK : no_memory(rounded);
}

/* NOTE: allocators of frameworks align to what they like; the difference is added. */
static void align_up(moec_ffi_workspace *workspace) {
  size_t shift = (MOEC_WORKSPACE_ALIGN - (uintptr_t)workspace->data % MOEC_WORKSPACE_ALIGN) % MOEC_WORKSPACE_ALIGN;
  shift = shift < workspace->bytes ? shift : workspace->bytes;
  workspace->data = (char *)workspace->data + shift;
  workspace->bytes -= shift;
}

static moec_status take_from_framework(moec_ffi_device device, size_t bytes, moec_ffi_workspace *out_workspace) {
  moec_ffi_host host = moec_ffi_find_host();
  int64_t shape[] = {(int64_t)bytes + MOEC_WORKSPACE_ALIGN}, strides[] = {1};
  moec_ffi_tensor prototype = {
      .device = device, .rank = 1, .dtype = {MOEC_FFI_CODE_UINT, 8, 1}, .shape = shape, .strides = strides};
  void *object = NULL;
  if (!host.allocate || !host.release || host.allocate(&prototype, &object) != 0 || !object)
    return moec_error(MOEC_OUT_OF_MEMORY,
                      "the framework gave no memory for a workspace of %lld bytes on cuda:%d; pass a u8 tensor of that "
                      "size: call(\"x,weights,workspace,y\", ...)",
                      (long long)shape[0], (int)device.id);
  const moec_ffi_tensor *tensor = (const moec_ffi_tensor *)((const moec_ffi_object *)object + 1);
  *out_workspace = (moec_ffi_workspace){moec_ffi_data_of(tensor, shape[0]), (size_t)shape[0], object};
  align_up(out_workspace);
  return MOEC_OK;
}

moec_status moec_ffi_take_workspace(const moec_ffi_layer *layer, size_t bytes, moec_ffi_workspace *out_workspace) {
  return layer->device.type == MOEC_FFI_CUDA ? take_from_framework(layer->device, bytes, out_workspace)
                                             : take_from_thread(bytes, out_workspace);
}

void moec_ffi_return_workspace(const moec_ffi_layer *layer, moec_ffi_workspace *workspace) {
  if (!workspace->owned)
    return;
  if (layer->device.type == MOEC_FFI_CUDA)
    moec_ffi_find_host().release(workspace->owned);
  else
    free(workspace->owned);
  workspace->owned = NULL;
}

moec_status moec_ffi_given_memory(const char *name, const moec_ffi_layer *layer, const moec_ffi_tensor *tensor,
                                  moec_ffi_workspace *out_workspace) {
  int64_t elements;
  moec_status status = moec_ffi_elements_of(name, tensor, &elements);
  if (status != MOEC_OK)
    return status;
  const moec_ffi_wanted wanted = {name, MOEC_U8, -1, elements, 1};
  void *data = NULL;
  if (tensor->rank > 1) {
    char found[192];
    moec_ffi_describe_tensor(tensor, found, sizeof(found));
    return moec_error(MOEC_SHAPE, "%s is %s, expected u8 [n]", name, found);
  }
  status = moec_ffi_check_tensor(&wanted, tensor, layer->device, &data);
  *out_workspace = (moec_ffi_workspace){data, data ? (size_t)elements : 0, NULL};
  if (status == MOEC_OK)
    align_up(out_workspace);
  return status;
}

moec_status moec_ffi_given_saved(const moec_ffi_layer *layer, const moec_ffi_tensor *tensor, int written,
                                 moec_ffi_workspace *out_saved) {
  moec_status status = moec_ffi_given_memory("saved", layer, tensor, out_saved);
  if (status != MOEC_OK || layer->device.type == MOEC_FFI_CUDA || !out_saved->bytes)
    return status;
  unsigned char *last = (unsigned char *)out_saved->data + --out_saved->bytes;
  unsigned char shift = (unsigned char)((uintptr_t)out_saved->data - (uintptr_t)moec_ffi_data_of(tensor, 1));
  if (written)
    *last = shift;
  else if (*last != shift)
    return moec_error(MOEC_ALIGNMENT,
                      "saved was moved after the forward call, to memory that begins elsewhere between "
                      "multiples of %d bytes, or no call wrote it",
                      (int)MOEC_WORKSPACE_ALIGN);
  return MOEC_OK;
}
