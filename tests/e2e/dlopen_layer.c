/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * dlopen_layer.c - layer_package() of a shared package that is found by the path in LAYER_LIBRARY, for programs that
 * are not linked to it.
 */
#include <moec.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const moec_package *layer_package(void);

const moec_package *layer_package(void) {
  const char *path = getenv("LAYER_LIBRARY");
  void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  void *symbol = library ? dlsym(library, "layer_package") : NULL;
  const moec_package *(*entry)(void);
  if (!symbol) {
    fprintf(stderr, "cannot load %s: %s\n", path ? path : "(LAYER_LIBRARY is not set)", dlerror());
    exit(1);
  }
  memcpy(&entry, &symbol, sizeof entry);
  return entry();
}
