/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_arguments.h - a name and a value of a call -> its place in moec_ffi_call, or a status whose text says what was
 * found and what is expected.
 */
#ifndef MOEC_BINDINGS_FFI_ARGUMENTS_H
#define MOEC_BINDINGS_FFI_ARGUMENTS_H

#include "runtime/bindings/tvm_ffi/ffi_forward.h"
#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

/* The argument called `name`: 1 and its role, or MOEC_ROLE_NONE and one of the other words of moec_ffi_call_word. 0: no
 * such argument. */
enum moec_ffi_call_word { MOEC_FFI_WEIGHTS, MOEC_FFI_WORKSPACE, MOEC_FFI_SAVED, MOEC_FFI_SEQUENCE, MOEC_FFI_STREAM };
int moec_ffi_find_argument(moec_ffi_bytes name, uint32_t *out_role, enum moec_ffi_call_word *out_word);

int moec_ffi_equal(moec_ffi_bytes text, const char *word);

moec_status moec_ffi_expect_tensor(const char *name, const moec_ffi_value *value, const moec_ffi_tensor **out_tensor);
moec_status moec_ffi_expect_integer(const char *name, const moec_ffi_value *value, int64_t *out_number);

/* None counts as not passed. MOEC_INVALID_ARGUMENT: an unknown name, or one that was named before. */
moec_status moec_ffi_take_argument(moec_ffi_bytes name, const moec_ffi_value *value, moec_ffi_call *call);

#endif
