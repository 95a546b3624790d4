// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A template's loops and scalar ops -> the same on lowered values.

#include "codegen/lower/TemplateWalk.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace moec {

void TemplateWalk::lowerBlock(Block &block) {
  for (Operation &op : block) {
    walker.loc = op.getLoc();
    if (lowerOp(&op) || op.hasTrait<OpTrait::IsTerminator>())
      continue;
    if (auto loop = dyn_cast<scf::ForOp>(op))
      lowerFor(loop);
    else
      lowerOther(&op);
  }
}

// Integer glue of a template: the same op on the lowered operands.
void TemplateWalk::lowerOther(Operation *op) {
  IRMapping mapping;
  for (Value operand : op->getOperands()) {
    Value lowered = value(operand);
    if (operand.getType().isIndex() && !lowered.getType().isIndex())
      lowered = arith::IndexCastOp::create(walker.b, walker.loc, walker.b.getIndexType(), lowered);
    mapping.map(operand, lowered);
  }
  Operation *clone = walker.b.clone(*op, mapping);
  for (auto [from, to] : llvm::zip(op->getResults(), clone->getResults()))
    values[from] = {to};
}

void TemplateWalk::lowerFor(scf::ForOp op) {
  SmallVector<Value> inits;
  for (Value init : op.getInitArgs())
    llvm::append_range(inits, values[init]);
  auto bound = [&](Value v) { return walker.toI64(value(v)); };
  auto loop = scf::ForOp::create(walker.b, walker.loc, bound(op.getLowerBound()), bound(op.getUpperBound()),
                                 bound(op.getStep()), inits);
  unsigned next = 0;
  auto take = [&](ValueRange from, size_t count) {
    Accumulator group(from.begin() + next, from.begin() + next + count);
    next += count;
    return group;
  };
  for (auto [arg, init] : llvm::zip(op.getRegionIterArgs(), op.getInitArgs()))
    values[arg] = take(loop.getRegionIterArgs(), values[init].size());
  values[op.getInductionVar()] = {loop.getInductionVar()};
  {
    OpBuilder::InsertionGuard guard(walker.b);
    Block *body = loop.getBody();
    if (inits.empty())
      walker.b.setInsertionPoint(body->getTerminator());
    else
      walker.b.setInsertionPointToEnd(body);
    lowerBlock(*op.getBody());
    if (!inits.empty()) {
      SmallVector<Value> yields;
      for (Value v : op.getBody()->getTerminator()->getOperands())
        llvm::append_range(yields, values[v]);
      scf::YieldOp::create(walker.b, walker.loc, yields);
    }
  }
  next = 0;
  for (auto [result, init] : llvm::zip(op.getResults(), op.getInitArgs())) {
    size_t count = values[init].size();
    values[result] = take(loop.getResults(), count);
  }
}

} // namespace moec
