/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_host.c - weak symbols first; a library that came later, or privately, by its name.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr, RTLD_NODELETE */
#endif
#include "runtime/bindings/tvm_ffi/ffi_host.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

/* NOTE: C has no conversion from a data pointer to a function; POSIX says that the bytes are the same. */
#define FIND(library, function, name)                                                                                  \
  do {                                                                                                                 \
    void *address = dlsym(library, name);                                                                              \
    memcpy(&(function), &address, sizeof(address));                                                                    \
  } while (0)

moec_ffi_host moec_ffi_find_host(void) {
  moec_ffi_host host = {TVMFFIErrorSetRaisedFromCStr, TVMFFIEnvGetStream, TVMFFIEnvTensorAlloc, TVMFFIObjectDecRef,
                        TVMFFIFunctionCreate};
  if (host.raise)
    return host;
  void *library = dlopen("libtvm_ffi.so", RTLD_LAZY | RTLD_NOLOAD);
  if (!library)
    return host;
  FIND(library, host.raise, "TVMFFIErrorSetRaisedFromCStr");
  FIND(library, host.stream_of, "TVMFFIEnvGetStream");
  FIND(library, host.allocate, "TVMFFIEnvTensorAlloc");
  FIND(library, host.release, "TVMFFIObjectDecRef");
  FIND(library, host.make_function, "TVMFFIFunctionCreate");
  dlclose(library); /* its other users keep it */
  return host;
}

void moec_ffi_stay_loaded(void) {
  static atomic_int done;
  Dl_info here;
  void *self;
  void (*const known)(void) = moec_ffi_stay_loaded;
  memcpy(&self, &known, sizeof(self));
  if (!atomic_exchange(&done, 1) && dladdr(self, &here) && here.dli_fname)
    (void)dlopen(here.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}
