/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_bind.h - a function of the package and the texts among its arguments -> a function of the others: for frameworks
 * that pass nothing but tensors.
 */
#ifndef MOEC_BINDINGS_FFI_BIND_H
#define MOEC_BINDINGS_FFI_BIND_H

#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

#include "runtime/moec.h"

/* Puts a function object into *result that calls `function` with its own arguments and copies of texts[0 .. count-1]:
 * these first, or behind the own ones. MOEC_DTYPE: one is another kind of value; MOEC_UNSUPPORTED_DEVICE: the program
 * does not have libtvm_ffi, whose objects functions are; MOEC_OUT_OF_MEMORY. */
moec_status moec_ffi_bind(moec_ffi_function *function, const moec_ffi_value *texts, int32_t count, int behind,
                          moec_ffi_value *result);

#endif
