/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 * Both public headers as C99, in this order; nothing to run. */
#include "runtime/moec.h"
#include "runtime/moec_abi.h"

extern int moec_header_c99(moec_layer_options *options);
int moec_header_c99(moec_layer_options *options) {
  options->struct_size = sizeof(*options);
  return MOEC_OK;
}
