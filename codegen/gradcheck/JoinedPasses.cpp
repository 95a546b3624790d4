// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The body of backward behind that of forward, in one function of all arguments but the saved ones.

#include "codegen/gradcheck/JoinedPasses.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace moec {

func::FuncOp joinPasses(const Partition &parts) {
  func::FuncOp forward = parts.forward, backward = parts.backward;
  OpBuilder builder(forward.getContext());
  builder.setInsertionPointAfter(backward);
  unsigned own = forward.getNumResults() - unsigned(parts.saved.size());
  unsigned given = backward.getNumArguments() - unsigned(parts.saved.size());
  auto types = backward.getArgumentTypes().take_front(given);
  SmallVector<Type> results = llvm::to_vector(forward.getResultTypes().take_front(own));
  llvm::append_range(results, backward.getResultTypes());
  auto both = func::FuncOp::create(builder, forward.getLoc(), "both", builder.getFunctionType(types, results));
  for (unsigned i = 0; i < given; ++i)
    both.setArgAttrs(i, backward.getArgAttrDict(i));
  for (unsigned i = 0; i < both.getNumResults(); ++i)
    both.setResultAttrs(i, i < own ? forward.getResultAttrDict(i) : backward.getResultAttrDict(i - own));
  Block *block = both.addEntryBlock();
  builder.setInsertionPointToEnd(block);
  auto copy = [&](func::FuncOp from, ArrayRef<Value> arguments) {
    IRMapping mapping;
    mapping.map(from.getArguments(), arguments);
    SmallVector<Value> values;
    for (Operation &op : from.getBody().front().without_terminator())
      builder.clone(op, mapping);
    for (Value value : from.getBody().front().getTerminator()->getOperands())
      values.push_back(mapping.lookup(value));
    return values;
  };
  SmallVector<Value> arguments(both.getArguments().begin(), both.getArguments().end());
  SmallVector<Value> first = copy(forward, ArrayRef<Value>(arguments).take_front(forward.getNumArguments()));
  arguments.append(first.begin() + own, first.end());
  SmallVector<Value> all(first.begin(), first.begin() + own);
  llvm::append_range(all, copy(backward, arguments));
  func::ReturnOp::create(builder, both.getLoc(), all);
  return both;
}

} // namespace moec
