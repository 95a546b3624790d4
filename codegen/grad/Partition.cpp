// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that results of forward need -> forward; all others -> backward; a decision for every value between them.

#include "codegen/grad/Partition.h"

#include "codegen/moe/MoeDialect.h"
#include "codegen/moe/PassArguments.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace moec {

using namespace moe;

int64_t SavedValue::bytesPerToken() const {
  int64_t elements = 1;
  for (int64_t extent : type.getShape().drop_front())
    elements *= extent;
  return rowsPerToken * elements * std::max<int64_t>(1, type.getElementTypeBitWidth() / 8);
}

namespace {

RankedTensorType tensorOf(Value value) { return cast<RankedTensorType>(value.getType()); }

StringRef roleOf(func::FuncOp layer, Value argument) {
  return layer.getArgAttrOfType<StringAttr>(cast<BlockArgument>(argument).getArgNumber(), "moe.role").getValue();
}

bool isGradient(StringRef role) { return role.starts_with("grad."); }

int64_t rowsPerToken(Value value) {
  RowSpace route = rowSpaceOf(value);
  return route ? cast<RouteType>(route.getType()).getRowsPerToken() : 1;
}

class Partitioner {
public:
  Partitioner(func::FuncOp layer, SavePolicy policy) : layer(layer), policy(policy), builder(layer.getContext()) {}

  Partition run() {
    findForward();
    for (Operation &op : body().without_terminator())
      if (!forward.contains(&op))
        for (Value operand : op.getOperands())
          need(operand);
    Partition out;
    out.forward = layer;
    out.backward = makeBackward(out);
    finishForward(out);
    return out;
  }

private:
  Block &body() { return layer.getBody().front(); }
  Operation *end() { return body().getTerminator(); }
  StringRef resultRole(unsigned i) { return layer.getResultAttrOfType<StringAttr>(i, "moe.role").getValue(); }

  // Everything that a result which is not a gradient depends on.
  void findForward() {
    SmallVector<Value> open;
    for (unsigned i = 0; i < layer.getNumResults(); ++i)
      if (!isGradient(resultRole(i)))
        open.push_back(end()->getOperand(i));
    while (!open.empty())
      if (Operation *op = open.pop_back_val().getDefiningOp(); op && forward.insert(op).second)
        open.append(op->operand_begin(), op->operand_end());
    for (Operation *op : forward)
      if (auto matmul = dyn_cast<GroupedMatmulOp>(op))
        flops += flopsOf(matmul);
  }

  static double flopsOf(GroupedMatmulOp op) {
    return 2.0 * double(rowsPerToken(op.getResult())) * double(op.depth()) * double(op.columns());
  }

  // Backward reads `value`: it is saved, or its op is done again, which may need others.
  void need(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op || !forward.contains(op) || saved.contains(value) || again.contains(op))
      return;
    if (isSaved(op)) {
      saved.insert(value);
      if (RowSpace route = rowSpaceOf(value))
        need(route);
      return;
    }
    again.insert(op);
    for (Value operand : op->getOperands())
      need(operand);
  }

  // Numbers in, integers out: a limit of shares, a threshold, a chance.
  static bool decides(Operation *op) {
    auto isInteger = [](Type type) { return getElementTypeOrSelf(type).isInteger(); };
    return op->getNumResults() == 1 && isInteger(op->getResult(0).getType()) &&
           llvm::any_of(op->getOperandTypes(),
                        [&](Type type) { return isa<RankedTensorType>(type) && !isInteger(type); });
  }

  bool isSaved(Operation *op) {
    if (isa<TopKOp, CapacityOp, TopTokensOp>(op) || decides(op)) // P1
      return true;
    if (isa<DispatchOp, SlotsOp, SlotRowsOp, GatherOp, SquareSumsOp, ColumnsOp>(op)) // P2
      return false;
    if (policy == SavePolicy::Choices)
      return false;
    if (auto matmul = dyn_cast<GroupedMatmulOp>(op)) // P4
      return flopsOf(matmul) > flops / 20;
    return isa<CombineOp, SlotInputsOp>(op); // P5
  }

  bool makesLogits(Operation *op) {
    auto matmul = dyn_cast<GroupedMatmulOp>(op);
    return matmul && isa<BlockArgument>(matmul.getB().front()) &&
           roleOf(layer, matmul.getB().front()).starts_with("router.");
  }

  // The type in which `value` is kept.
  RankedTensorType storedType(Value value) {
    auto type = tensorOf(value);
    Type element = type.getElementType();
    Operation *op = value.getDefiningOp();
    if (isa<GroupedMatmulOp, CombineOp>(op) && !makesLogits(op))
      element = tensorOf(op->getOperand(0)).getElementType();
    return RankedTensorType::get(type.getShape(), element);
  }

  // `value` as `type`, at the builder's place.
  Value converted(Value value, RankedTensorType type) {
    if (value.getType() == type)
      return value;
    Location loc = value.getLoc();
    auto map = MapOp::create(builder, loc, type, value, kindArray(builder.getContext(), {OperandKind::elem}));
    OpBuilder::InsertionGuard guard(builder);
    Block *block = builder.createBlock(&map.getBody());
    Value v = block->addArgument(tensorOf(value).getElementType(), loc);
    if (type.getElementTypeBitWidth() < tensorOf(value).getElementTypeBitWidth())
      v = arith::TruncFOp::create(builder, loc, type.getElementType(), v);
    else
      v = arith::ExtFOp::create(builder, loc, type.getElementType(), v);
    YieldOp::create(builder, loc, v);
    return map;
  }

  std::string describe(Value value) {
    Operation *op = value.getDefiningOp();
    if (auto matmul = dyn_cast<GroupedMatmulOp>(op))
      if (isa<BlockArgument>(matmul.getB().front()))
        return roleOf(layer, matmul.getB().front()).str();
    return op->getName().stripDialect().str();
  }

  // The gradient of an input that is not f32 has the input's type.
  RankedTensorType resultType(StringRef role, Value gradient) {
    for (BlockArgument argument : layer.getArguments())
      if (role.drop_front(StringRef("grad.").size()) == roleOf(layer, argument) && !tensorOf(argument).hasStaticShape())
        return tensorOf(argument);
    return tensorOf(gradient);
  }

  func::FuncOp makeBackward(Partition &out) {
    SmallVector<Value> given(layer.getArguments().begin(), layer.getArguments().end());
    for (Operation &op : body().without_terminator())
      for (Value result : op.getResults())
        if (saved.contains(result))
          stored.push_back(result);
    SmallVector<Type> types = llvm::to_vector(layer.getArgumentTypes()), results;
    SmallVector<Value> gradients;
    for (Value value : stored)
      types.push_back(storedType(value));
    for (unsigned i = 0; i < layer.getNumResults(); ++i)
      if (isGradient(resultRole(i))) {
        gradients.push_back(end()->getOperand(i));
        results.push_back(resultType(resultRole(i), gradients.back()));
      }
    builder.setInsertionPointAfter(layer);
    auto backward = func::FuncOp::create(builder, layer.getLoc(), (layer.getSymName() + "_backward").str(),
                                         builder.getFunctionType(types, results));
    for (StringRef name : {"moe.layer"})
      if (Attribute facts = layer->getAttr(name))
        backward->setAttr(name, facts);
    backward->setAttr(backwardAttr, builder.getUnitAttr());
    for (unsigned i = 0; i < layer.getNumArguments(); ++i)
      backward.setArgAttrs(i, layer.getArgAttrDict(i));
    for (auto [i, value] : llvm::enumerate(stored)) {
      out.saved.push_back({"saved." + std::to_string(i), describe(value), storedType(value), rowsPerToken(value)});
      backward.setArgAttr(unsigned(layer.getNumArguments() + i), "moe.role", builder.getStringAttr(out.saved[i].role));
    }
    for (unsigned i = 0, next = 0; i < layer.getNumResults(); ++i)
      if (isGradient(resultRole(i)))
        backward.setResultAttr(next++, "moe.role", builder.getStringAttr(resultRole(i)));
    fill(backward, gradients, out);
    return backward;
  }

  void fill(func::FuncOp backward, ArrayRef<Value> gradients, Partition &out) {
    Block *block = backward.addEntryBlock();
    IRMapping mapping;
    for (BlockArgument argument : layer.getArguments())
      mapping.map(argument, block->getArgument(argument.getArgNumber()));
    builder.setInsertionPointToEnd(block);
    DenseMap<Value, unsigned> places;
    for (auto [i, value] : llvm::enumerate(stored))
      places[value] = layer.getNumArguments() + unsigned(i);
    for (Operation &op : body().without_terminator()) {
      for (Value result : op.getResults())
        if (saved.contains(result)) {
          Value back = block->getArgument(places[result]);
          if (RowSpace route = rowSpaceOf(result))
            back = RowsOfOp::create(builder, op.getLoc(), back, mapping.lookup(route));
          mapping.map(result, converted(back, tensorOf(result)));
        }
      if (forward.contains(&op) && !again.contains(&op))
        continue;
      if (forward.contains(&op))
        out.again.push_back(describe(op.getResult(0)));
      builder.clone(op, mapping);
    }
    SmallVector<Value> values;
    for (auto [gradient, type] : llvm::zip_equal(gradients, backward.getResultTypes()))
      values.push_back(converted(mapping.lookup(gradient), cast<RankedTensorType>(type)));
    func::ReturnOp::create(builder, layer.getLoc(), values);
  }

  // Leaves the layer's own ops and results, and adds what is saved.
  void finishForward(const Partition &out) {
    llvm::BitVector droppedResults(layer.getNumResults()), droppedArguments(layer.getNumArguments());
    for (unsigned i = 0; i < layer.getNumResults(); ++i)
      droppedResults[i] = isGradient(resultRole(i));
    for (unsigned i = 0; i < layer.getNumArguments(); ++i)
      droppedArguments[i] = isGradient(roleOf(layer, layer.getArgument(i)));
    for (unsigned i = layer.getNumResults(); i-- > 0;)
      if (droppedResults[i])
        end()->eraseOperand(i);
    (void)layer.eraseResults(droppedResults);
    SmallVector<Operation *> ops;
    for (Operation &op : body().without_terminator())
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops))
      if (!forward.contains(op))
        op->erase();
    (void)layer.eraseArguments(droppedArguments);
    builder.setInsertionPoint(end());
    for (auto [i, value] : llvm::enumerate(stored)) {
      Value kept = converted(value, out.saved[i].type);
      NamedAttribute role(builder.getStringAttr("moe.role"), builder.getStringAttr(out.saved[i].role));
      (void)layer.insertResult(layer.getNumResults(), kept.getType(), builder.getDictionaryAttr(role));
      end()->insertOperands(end()->getNumOperands(), kept);
    }
  }

  func::FuncOp layer;
  SavePolicy policy;
  OpBuilder builder;
  llvm::DenseSet<Operation *> forward, again;
  llvm::DenseSet<Value> saved;
  SmallVector<Value> stored; // in the order of the ops that make them
  double flops = 0;          // of forward's matmuls, per token
};

} // namespace

std::string describe(const Partition &partition) {
  std::string text;
  llvm::raw_string_ostream os(text);
  int64_t sum = 0;
  for (const SavedValue &value : partition.saved) {
    os << "// " << value.role << "  " << value.what << ", " << value.type.getElementType() << ", "
       << value.bytesPerToken() << " bytes per token\n";
    sum += value.bytesPerToken();
  }
  os << "// " << sum << " bytes per token are saved, beside x; computed again:";
  for (const std::string &op : partition.again)
    os << " " << op;
  os << (partition.again.empty() ? " nothing\n" : "\n");
  return text;
}

Partition partition(func::FuncOp layer, SavePolicy policy) { return Partitioner(layer, policy).run(); }

} // namespace moec
