// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Arguments are checked, ops run in order, results and counts are read off.

#include "codegen/interpret/Interpreter.h"

#include "codegen/interpret/InterpreterFrame.h"
#include "codegen/moe/LayerInputs.h"
#include "codegen/moe/SlotInputRows.h"

#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace moec::interpret {

using namespace moe;

// Elements of one value; keeps a text of a few bytes from asking for all memory.
static constexpr int64_t maxElements = int64_t(1) << 31;

int64_t Route::groupOf(int64_t row) const {
  return int64_t(std::upper_bound(offsets.begin() + 1, offsets.end(), row) - offsets.begin()) - 1;
}

Tensor Frame::make(Value value, int64_t rows, RouteRef route) {
  Tensor tensor;
  auto type = cast<RankedTensorType>(value.getType());
  int64_t count = 1;
  for (int64_t extent : type.getShape()) {
    tensor.shape.push_back(ShapedType::isDynamic(extent) ? rows : extent);
    count *= tensor.shape.back();
  }
  tensor.data.resize(size_t(count));
  tensor.route = std::move(route);
  return tensor;
}

std::optional<Tensor> Frame::makeRows(Operation *op) {
  const Tensor *first = nullptr;
  bool rounded = false;
  for (Value operand : op->getOperands()) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type)
      continue;
    const Tensor &given = tensor(operand);
    rounded |= given.rounded;
    if (type.getRank() == 0 || !type.isDynamicDim(0))
      continue;
    if (first && (first->rows() != given.rows() || first->route != given.route)) {
      op->emitOpError("operands have ") << first->rows() << " and " << given.rows() << " rows"
                                        << (first->route != given.route ? " of different routes" : "");
      return std::nullopt;
    }
    first = &given;
  }
  Tensor out = make(op->getResult(0), first ? first->rows() : defaultRows(), first ? first->route : rowsOfProgram);
  out.rounded = rounded;
  return out;
}

void Frame::noteMargin(const Tensor &of, int64_t row, double gap, double size) {
  // Equal values are decided by their places, and infinite ones far from anything.
  if (!(gap > 0) || !std::isfinite(gap) || !std::isfinite(size))
    return;
  double margin = gap / std::max(size, 1e-300);
  if (of.rounded) // a last bit of bf16 is worth 2^-8: what is clear in f32 is not clear behind it
    margin *= 1e-3;
  int64_t token = of.route ? of.route->rowToken[size_t(row)] : row;
  if (token >= 0 && token < int64_t(margins.size()))
    margins[size_t(token)] = std::min(margins[size_t(token)], margin);
}

double Frame::summed(Value result, double sum, double squares, double count) const {
  if (cast<RankedTensorType>(result.getType()).getElementType().isInteger())
    return sum;
  if (sum == std::nearbyint(sum) && squares == std::nearbyint(squares) && squares < 0x1p24)
    return sum; // of whole numbers, which f32 adds exactly
  return shape.round.sum(sum, std::sqrt(squares), std::sqrt(count), count);
}

// exp(x - max) is off by the error of its argument and its own, the sum of `count` of them by an f32 sum's.
double Frame::softmaxed(double v, double below, double count) const {
  return shape.round.errors ? shape.round.errors->operation(v, (5 + below + std::sqrt(count)) * v) : v;
}

bool isLarger(double a, double b) { return !std::isnan(a) && (std::isnan(b) || a > b); }

LogicalResult Frame::run(Operation *op) {
  for (Value operand : op->getOperands())
    if (!values.count(operand))
      return op->emitOpError("reads a value that has not been computed");
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](MapOp o) { return interpretMap(*this, o); })
      .Case([&](ReduceOp o) { return interpretReduce(*this, o); })
      .Case([&](SoftmaxOp o) { return interpretSoftmax(*this, o); })
      .Case([&](ColumnsOp o) { return interpretColumns(*this, o); })
      .Case([&](PrefixSumOp o) { return interpretPrefixSum(*this, o); })
      .Case([&](LookupOp o) { return interpretLookup(*this, o); })
      .Case([&](TopKOp o) { return interpretTopK(*this, o); })
      .Case([&](MemberOp o) { return interpretMember(*this, o); })
      .Case([&](TakeOp o) { return interpretTake(*this, o); })
      .Case([&](PutOp o) { return interpretPut(*this, o); })
      .Case([&](RowProgramOp o) { return interpretRowProgram(*this, o); })
      .Case([&](DispatchOp o) { return interpretDispatch(*this, o); })
      .Case([&](SlotsOp o) { return interpretSlots(*this, o); })
      .Case([&](GatherOp o) { return interpretGather(*this, o); })
      .Case([&](SlotRowsOp o) { return interpretSlotRows(*this, o); })
      .Case([&](SlotInputsOp o) { return interpretSlotInputs(*this, o); })
      .Case([&](CombineOp o) { return interpretCombine(*this, o); })
      .Case([&](GroupedMatmulOp o) { return interpretGroupedMatmul(*this, o); })
      .Case([&](SquareSumsOp o) { return interpretSquareSums(*this, o); })
      .Case([&](GroupedOuterOp o) { return interpretGroupedOuter(*this, o); })
      .Case([&](GroupSumOp o) { return interpretGroupSum(*this, o); })
      .Case([&](RowsOfOp o) { return interpretRowsOf(*this, o); })
      .Case([&](SlotValuesOp o) { return interpretSlotValues(*this, o); })
      .Case([&](SlotProductsOp o) { return interpretSlotProducts(*this, o); })
      .Case([&](ParameterSumOp o) { return interpretParameterSum(*this, o); })
      .Case([&](ScaledRowsOp o) { return interpretScaledRows(*this, o); })
      .Case([&](CapacityOp o) { return interpretCapacity(*this, o); })
      .Case([&](TopTokensOp o) { return interpretTopTokens(*this, o); })
      .Case([&](TokenReduceOp o) { return interpretTokenReduce(*this, o); })
      .Case([&](TokenTotalOp o) { return interpretTokenTotal(*this, o); })
      .Default([](Operation *other) { return other->emitOpError("the interpreter does not know this op"); });
}

// Whether `given` is a value of `type` with `rows` rows.
static bool fits(const Evaluated &given, Type type, int64_t rows) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !given.tensor || given.tensor->shape.size() != size_t(tensor.getRank()))
    return false;
  int64_t count = 1;
  for (auto [found, extent] : llvm::zip(given.tensor->shape, tensor.getShape())) {
    if (found != (ShapedType::isDynamic(extent) ? rows : extent))
      return false;
    count *= found;
  }
  return int64_t(given.tensor->data.size()) == count;
}

// Refuses a function whose values would take all memory.
static LogicalResult checkSizes(func::FuncOp function, int64_t tokens) {
  WalkResult walked = function.walk([&](Operation *op) {
    for (Type type : op->getResultTypes()) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      int64_t rows = std::max<int64_t>(tokens, 1), count = 1;
      for (int64_t extent : tensor ? tensor.getShape() : ArrayRef<int64_t>()) {
        extent = std::max<int64_t>(ShapedType::isDynamic(extent) ? rows : extent, 1);
        if (extent > maxElements / count) { // the product may be beyond 64 bits
          op->emitOpError("has more than 2^31 elements at ") << tokens << " tokens; the interpreter stops here";
          return WalkResult::interrupt();
        }
        count *= extent;
      }
    }
    return WalkResult::advance();
  });
  return failure(walked.wasInterrupted());
}

static DispatchOp countedDispatch(func::FuncOp function) {
  Value ids;
  Operation *end = function.getBody().front().getTerminator();
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    if (auto role = function.getResultAttrOfType<StringAttr>(i, "moe.role"); role && role.getValue() == "ids")
      ids = end->getOperand(i);
  DispatchOp found;
  for (DispatchOp dispatch : function.getBody().front().getOps<DispatchOp>())
    if (dispatch->hasAttr("moe.experts") || (!found && dispatch.getIds() == ids))
      found = dispatch;
  return found;
}

LogicalResult interpret(func::FuncOp function, ArrayRef<Evaluated> arguments, const CallShape &shape,
                        CallResults &out) {
  if (!function.getBody().hasOneBlock() || arguments.size() != function.getNumArguments())
    return function.emitOpError("the interpreter runs a function of one block with all of its ")
           << function.getNumArguments() << " arguments, found " << arguments.size();
  if (shape.tokens < 0 || (shape.tokensPerSequence && shape.tokens % shape.tokensPerSequence))
    return function.emitOpError("sequences of ")
           << shape.tokensPerSequence << " tokens do not divide " << shape.tokens << " tokens";
  if (failed(checkSizes(function, shape.tokens)))
    return failure();
  out.margins.assign(size_t(shape.tokens), HUGE_VAL);
  out.choices.assign(size_t(shape.tokens), 0);
  Frame frame(shape, out.margins, out.choices);
  Block &block = function.getBody().front();
  for (auto [i, argument] : llvm::enumerate(block.getArguments())) {
    int64_t rows = rowsOfInput(argument, shape.tokens, shape.tokensPerSequence);
    bool known = !argument.use_empty() || !inputOf(argument); // what reads an input says how many rows it has
    if (known && !fits(arguments[i], argument.getType(), rows))
      return function.emitOpError("the value of argument ")
             << i << " does not have the shape " << argument.getType() << " at " << shape.tokens << " tokens";
    frame.values[argument] = arguments[i];
  }
  for (Operation &op : block.without_terminator())
    if (failed(frame.run(&op)))
      return failure();
  for (Value result : block.getTerminator()->getOperands())
    out.results.push_back(frame.values[result]);
  if (DispatchOp dispatch = countedDispatch(function)) {
    const Route &route = *frame.route(dispatch.getRoute());
    for (int64_t g = 0; g < route.groups; ++g)
      out.counts.push_back(route.offsets[size_t(g + 1)] - route.offsets[size_t(g)]);
  }
  return success();
}

} // namespace moec::interpret
