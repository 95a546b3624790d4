// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tagged instruction -> llvm.inline_asm. Several results come back as one struct, which is taken apart here.

#include "codegen/cuda/Ptx.h"

using namespace mlir;

namespace moec {

SmallVector<Value> emitPtx(OpBuilder &builder, Location loc, const PtxOp &op, TypeRange results, ValueRange operands) {
  MLIRContext *context = builder.getContext();
  Type type;
  if (results.size() == 1)
    type = results.front();
  else if (results.size() > 1)
    type = LLVM::LLVMStructType::getLiteral(context, llvm::to_vector(results));
  std::string constraints = op.constraints;
  if (!op.pure)
    constraints += constraints.empty() ? "~{memory}" : ",~{memory}";
  auto assembly = LLVM::InlineAsmOp::create(
      builder, loc, type ? TypeRange(type) : TypeRange(), operands, "/*moec " + op.tag + "*/ " + op.text, constraints,
      /*has_side_effects=*/!op.pure, /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None,
      LLVM::AsmDialectAttr::get(context, LLVM::AsmDialect::AD_ATT), /*operand_attrs=*/ArrayAttr());
  if (results.empty())
    return {};
  if (results.size() == 1)
    return {assembly.getRes()};
  SmallVector<Value> values;
  for (size_t i = 0; i < results.size(); ++i)
    values.push_back(LLVM::ExtractValueOp::create(builder, loc, assembly.getRes(), ArrayRef<int64_t>{int64_t(i)}));
  return values;
}

} // namespace moec
