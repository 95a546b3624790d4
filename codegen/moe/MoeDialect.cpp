// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The moe dialect's types, attributes and registration.

#include "codegen/moe/MoeDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "codegen/moe/MoeOpsDialect.cpp.inc"
#include "codegen/moe/MoeOpsEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "codegen/moe/MoeOpsAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "codegen/moe/MoeOpsTypes.cpp.inc"
#define GET_OP_CLASSES
#include "codegen/moe/MoeOps.cpp.inc"

using namespace mlir;

namespace moec::moe {

void MoeDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "codegen/moe/MoeOpsAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "codegen/moe/MoeOpsTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "codegen/moe/MoeOps.cpp.inc"
      >();
}

bool isRowOp(Operation *op) {
  return isa<MapOp, ReduceOp, SoftmaxOp, ColumnsOp, PrefixSumOp, LookupOp, TopKOp, MemberOp, TakeOp, PutOp, GatherOp,
             SlotRowsOp>(op);
}

OperandKind kindAt(ArrayAttr kinds, unsigned i) { return cast<OperandKindAttr>(kinds[i]).getValue(); }

ArrayAttr kindArray(MLIRContext *context, ArrayRef<OperandKind> kinds) {
  SmallVector<Attribute> attributes;
  for (OperandKind kind : kinds)
    attributes.push_back(OperandKindAttr::get(context, kind));
  return ArrayAttr::get(context, attributes);
}

} // namespace moec::moe
