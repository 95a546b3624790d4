// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tile dialect's C++ classes, generated from TileOps.td.

#ifndef MOEC_CODEGEN_TILE_TILEDIALECT_H
#define MOEC_CODEGEN_TILE_TILEDIALECT_H

#include "codegen/plan/StepArgs.h"
#include "codegen/tile/MatmulMode.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "codegen/tile/TileOpsDialect.h.inc"
#include "codegen/tile/TileOpsEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "codegen/tile/TileOpsAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "codegen/tile/TileOpsTypes.h.inc"
#define GET_OP_CLASSES
#include "codegen/tile/TileOps.h.inc"

#endif
