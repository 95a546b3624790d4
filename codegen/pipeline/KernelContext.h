// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An empty MLIR context in -> the same with every dialect, conversion and translation that kernels need.

#ifndef MOEC_CODEGEN_PIPELINE_KERNELCONTEXT_H
#define MOEC_CODEGEN_PIPELINE_KERNELCONTEXT_H

#include "mlir/IR/MLIRContext.h"

namespace moec {

// The context must be used by only one thread.
void prepareKernelContext(mlir::MLIRContext &context);

} // namespace moec

#endif
