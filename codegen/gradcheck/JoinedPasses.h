// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Forward and backward functions -> one function with the arguments of the layer and its gradients among its results,
// in which what forward saves is handed on as it is kept. It can be interpreted like a layer.

#ifndef MOEC_CODEGEN_GRADCHECK_JOINEDPASSES_H
#define MOEC_CODEGEN_GRADCHECK_JOINEDPASSES_H

#include "codegen/grad/Partition.h"

namespace moec {

// The function is added behind the two; they stay as they are.
mlir::func::FuncOp joinPasses(const Partition &parts);

} // namespace moec

#endif
