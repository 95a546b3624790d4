// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An empty MLIR context in -> one with every dialect, conversion and translation that kernels need.

#ifndef MOEC_CODEGEN_PIPELINE_KERNELCONTEXT_H
#define MOEC_CODEGEN_PIPELINE_KERNELCONTEXT_H

#include "mlir/IR/MLIRContext.h"

namespace moec {

// For a context that one thread uses.
void prepareKernelContext(mlir::MLIRContext &context);

} // namespace moec

#endif
