/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_bind.c - functions with some arguments fixed.
 */
#include "runtime/bindings/tvm_ffi/ffi_bind.h"

#include "runtime/bindings/tvm_ffi/ffi_host.h"
#include "runtime/bindings/tvm_ffi/ffi_value.h"

#include "runtime/status.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXTS = 2, ARGS_ON_STACK = 32 };

typedef struct bound_function {
  moec_ffi_function *function;
  int behind;
  int32_t count;
  char *texts[MAX_TEXTS];
} bound_function;

static void destroy_bound(void *self) {
  bound_function *bound = self;
  for (int i = 0; i < MAX_TEXTS; ++i)
    free(bound->texts[i]);
  free(bound);
}

static int call_with(const bound_function *bound, const moec_ffi_value *args, int32_t count, moec_ffi_value *all,
                     moec_ffi_value *result) {
  moec_ffi_value *texts = bound->behind ? all + count : all, *own = bound->behind ? all : all + bound->count;
  if (count)
    memcpy(own, args, (size_t)count * sizeof(*args));
  for (int32_t i = 0; i < bound->count; ++i)
    texts[i] = (moec_ffi_value){.type = MOEC_FFI_C_STRING, .as.pointer = bound->texts[i]};
  return bound->function(NULL, all, bound->count + count, result);
}

static int call_bound(void *self, const moec_ffi_value *args, int32_t count, moec_ffi_value *result) {
  const bound_function *bound = self;
  moec_ffi_value on_stack[ARGS_ON_STACK];
  if (count + bound->count <= ARGS_ON_STACK)
    return call_with(bound, args, count, on_stack, result);
  moec_ffi_value *all = malloc((size_t)(count + bound->count) * sizeof(*all));
  if (!all)
    return moec_ffi_finish("bind", moec_error(MOEC_OUT_OF_MEMORY, "no memory for %d arguments", (int)count));
  int code = call_with(bound, args, count, all, result);
  free(all);
  return code;
}

moec_status moec_ffi_bind(moec_ffi_function *function, const moec_ffi_value *texts, int32_t count, int behind,
                          moec_ffi_value *result) {
  moec_ffi_host host = moec_ffi_find_host();
  if (!host.make_function)
    return moec_error(MOEC_UNSUPPORTED_DEVICE, "libtvm_ffi is not in this program: it has no functions to return");
  if (count > MAX_TEXTS)
    return moec_error(MOEC_INVALID_ARGUMENT, "%d texts, expected at most %d", (int)count, MAX_TEXTS);
  bound_function *bound = calloc(1, sizeof(*bound));
  if (!bound)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a function");
  moec_status status = MOEC_OK;
  *bound = (bound_function){.function = function, .behind = behind, .count = count};
  for (int32_t i = 0; i < count && status == MOEC_OK; ++i)
    status = moec_ffi_copy_text("a bound argument", &texts[i], &bound->texts[i]);
  void *object = NULL;
  moec_ffi_stay_loaded(); /* call_bound and destroy_bound must be there as long as the object */
  if (status == MOEC_OK && host.make_function(bound, call_bound, destroy_bound, &object) != 0)
    status = moec_error(MOEC_OUT_OF_MEMORY, "libtvm_ffi made no function");
  if (status != MOEC_OK) {
    destroy_bound(bound);
    return status;
  }
  *result = (moec_ffi_value){.type = MOEC_FFI_FUNCTION, .as.pointer = object};
  return MOEC_OK;
}
