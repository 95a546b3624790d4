/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_value.h - arguments of a tvm-ffi call -> numbers, texts and tensors; a status -> the exception of the caller.
 */
#ifndef MOEC_BINDINGS_FFI_VALUE_H
#define MOEC_BINDINGS_FFI_VALUE_H

#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

#include "runtime/moec.h"

/* NULL: the value is not a tensor. */
const moec_ffi_tensor *moec_ffi_tensor_of(const moec_ffi_value *value);

/* 1 and the text, which lives as long as the value; 0: the value is not a text. */
int moec_ffi_text_of(const moec_ffi_value *value, moec_ffi_bytes *out_text);

/* The next name of a list "x, weights,y" without spaces around it, and in *rest the rest of the list. */
moec_ffi_bytes moec_ffi_next_name(moec_ffi_bytes *rest);

/* 1 and the number, 0: the value is something else. Addresses count as integers. */
int moec_ffi_integer_of(const moec_ffi_value *value, int64_t *out_number);

/* A copy that ends with NUL, for the caller to free. MOEC_DTYPE: another kind of value; MOEC_INVALID_ARGUMENT: the text
 * holds a NUL; MOEC_OUT_OF_MEMORY. `name` names the argument in errors. */
moec_status moec_ffi_copy_text(const char *name, const moec_ffi_value *value, char **out_text);
moec_status moec_ffi_copy_bytes(const char *name, moec_ffi_bytes text, char **out_text); /* the same of a text */

/* "a string", "None", "i32 [4, 2] on cuda:0": what an error says that it found. At most `n` bytes, NUL included. */
void moec_ffi_describe(const moec_ffi_value *value, char *buffer, size_t n);

/* A new string object as a function's result. MOEC_OUT_OF_MEMORY. */
moec_status moec_ffi_return_text(const char *text, size_t length, moec_ffi_value *result);
void moec_ffi_return_integer(int64_t number, moec_ffi_value *result);

/* MOEC_OK: 0. Otherwise -1, and the text of moec_last_error behind the function's name as a ValueError, TypeError,
 * MemoryError or RuntimeError of the framework; without libtvm_ffi only moec_last_error has it. */
int moec_ffi_finish(const char *function, moec_status status);

#endif
