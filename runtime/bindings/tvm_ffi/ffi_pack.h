/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_pack.h - tensors by role, or a checkpoint -> a u8 tensor of packed weights, filled.
 */
#ifndef MOEC_BINDINGS_FFI_PACK_H
#define MOEC_BINDINGS_FFI_PACK_H

#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"

#include "runtime/moec.h"

/* args: the buffer, then role, tensor, role, tensor, ...; or, for frameworks that pass results last, "role,role", then
 * their tensors, then the buffer. Errors of moec_weights_pack. */
moec_status moec_ffi_pack(const moec_ffi_value *args, int32_t count);

/* args: the buffer, a path, and a prefix or nothing. Errors of moec_weights_load. */
moec_status moec_ffi_load(const moec_ffi_value *args, int32_t count);

#endif
