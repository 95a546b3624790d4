/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * cuda_driver.c - the name of a driver library in -> its function table or a status out; a CUresult in -> a text out.
 */
#include "runtime/cuda/cuda_driver.h"

#include "runtime/status.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct named_field {
  const char *symbol;
  size_t offset;
} named_field;

#define FIELD(name, symbol, parameters) {#symbol, offsetof(moec_cuda_driver, name)},
static const named_field fields[] = {MOEC_CUDA_FUNCTIONS(FIELD)};
#undef FIELD

enum { NUM_FIELDS = sizeof(fields) / sizeof(fields[0]) };

moec_status moec_cuda_driver_open(const char *library, moec_cuda_driver *out_driver) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *reason = dlerror();
    return moec_error(MOEC_UNSUPPORTED_DEVICE, "no NVIDIA driver: %s cannot be opened (%.512s)", library,
                      reason ? reason : "no reason given");
  }
  out_driver->struct_size = sizeof(*out_driver);
  for (int i = 0; i < NUM_FIELDS; ++i) {
    void *symbol = dlsym(handle, fields[i].symbol);
    if (!symbol) {
      dlclose(handle);
      return moec_error(MOEC_UNSUPPORTED_DEVICE,
                        "NVIDIA driver too old: %s has no %s, expected one for CUDA 12.0 or newer", library,
                        fields[i].symbol);
    }
    memcpy((char *)out_driver + fields[i].offset, &symbol, sizeof(symbol));
  }
  return MOEC_OK;
}

/* What the first call found, for all later ones. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static moec_cuda_driver machine_driver;
static moec_status machine_status;
static char machine_text[1024];

static void open_machine_driver(void) {
  machine_status = moec_cuda_driver_open("libcuda.so.1", &machine_driver);
  if (machine_status != MOEC_OK)
    moec_last_error(machine_text, sizeof(machine_text));
}

moec_status moec_cuda_driver_get(const moec_cuda_driver **out_driver) {
  pthread_once(&once, open_machine_driver);
  if (machine_status != MOEC_OK)
    return moec_error(machine_status, "%s", machine_text);
  *out_driver = &machine_driver;
  return MOEC_OK;
}

moec_status moec_cuda_driver_check(const moec_cuda_driver *driver) {
  if (driver->struct_size != sizeof(*driver))
    return moec_error(MOEC_VERSION_MISMATCH, "cuda_driver: struct_size is %zu, expected %zu", driver->struct_size,
                      sizeof(*driver));
  for (int i = 0; i < NUM_FIELDS; ++i) {
    void *function;
    memcpy(&function, (const char *)driver + fields[i].offset, sizeof(function));
    if (!function)
      return moec_error(MOEC_NULL_POINTER, "cuda_driver: %s is NULL", fields[i].symbol);
  }
  return MOEC_OK;
}

moec_status moec_cuda_error(const moec_cuda_driver *driver, int result, const char *format, ...) {
  const char *name = NULL, *words = NULL;
  char text[640];
  va_list list;
  va_start(list, format);
  if (vsnprintf(text, sizeof(text), format, list) < 0)
    text[0] = '\0';
  va_end(list);
  if (driver->get_error_name(result, &name) != MOEC_CUDA_SUCCESS || !name)
    name = "unknown error";
  if (driver->get_error_string(result, &words) != MOEC_CUDA_SUCCESS || !words)
    words = "no text";
  return moec_error(result == MOEC_CUDA_OUT_OF_MEMORY ? MOEC_OUT_OF_MEMORY : MOEC_DEVICE_ERROR, "%s: %.64s (%.200s)",
                    text, name, words);
}
