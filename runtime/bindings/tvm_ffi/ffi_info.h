/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * ffi_info.h - a layer -> its facts as JSON text, in which every name and number is one that calls take.
 */
#ifndef MOEC_BINDINGS_FFI_INFO_H
#define MOEC_BINDINGS_FFI_INFO_H

#include "runtime/bindings/tvm_ffi/ffi_layer.h"

/* The text, for the caller to free, and its length. MOEC_OUT_OF_MEMORY. */
moec_status moec_ffi_info_text(const moec_ffi_layer *layer, char **out_text, size_t *out_length);

#endif
