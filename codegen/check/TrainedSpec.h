// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec that asks for no backward pass -> the same layer with one.

#ifndef MOEC_CODEGEN_CHECK_TRAINEDSPEC_H
#define MOEC_CODEGEN_CHECK_TRAINEDSPEC_H

#include "dsl/LayerSpec.h"
#include "dsl/text/Result.h"

namespace moec {

// A spec that has a backward pass stays as it is. Parameters of hard choices, which have no gradient, are frozen. The
// error: why the layer cannot be trained, at its key.
Result<LayerSpec> withBackwardPass(const LayerSpec &spec);

} // namespace moec

#endif
