// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moe.value attributes in -> tensors -> results printed, numbers with 7 digits.

#include "codegen/interpret/EvaluateText.h"

#include "codegen/interpret/Interpreter.h"

#include "llvm/Support/Format.h"

#include <cmath>

using namespace mlir;

namespace moec::interpret {

static constexpr int64_t maxTokens = 65536;

// nullptr: the attribute is not a value of `type`.
static TensorRef tensorOf(Attribute attribute, Type type) {
  auto dense = dyn_cast_or_null<DenseElementsAttr>(attribute);
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!dense || !tensor || dense.getElementType() != tensor.getElementType() ||
      dense.getType().getRank() != tensor.getRank())
    return nullptr;
  auto out = std::make_shared<Tensor>();
  out->shape.assign(dense.getType().getShape().begin(), dense.getType().getShape().end());
  if (isa<FloatType>(dense.getElementType())) {
    for (APFloat v : dense.getValues<APFloat>()) {
      bool inexact;
      v.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &inexact);
      out->data.push_back(v.convertToDouble());
    }
    return out;
  }
  if (!dense.getElementType().isInteger(1) && !dense.getElementType().isInteger(32))
    return nullptr;
  for (const APInt &v : dense.getValues<APInt>())
    out->data.push_back(v.getBitWidth() == 1 ? double(v.getZExtValue()) : double(v.getSExtValue()));
  return out;
}

static void printNumber(double v, llvm::raw_ostream &os) {
  if (std::isnan(v))
    os << "nan";
  else if (std::isinf(v))
    os << (v < 0 ? "-inf" : "inf");
  else
    os << llvm::format("%.7g", v);
}

static void printNumbers(const std::vector<int64_t> &numbers, llvm::raw_ostream &os) {
  os << "[";
  llvm::interleaveComma(numbers, os);
  os << "]";
}

// The elements of dimension `dim` from `at` on, in brackets.
static void printElements(const Tensor &tensor, size_t dim, size_t &at, llvm::raw_ostream &os) {
  if (dim == tensor.shape.size()) {
    printNumber(tensor.data[at++], os);
    return;
  }
  os << "[";
  for (int64_t i = 0; i < tensor.shape[dim]; ++i) {
    os << (i ? ", " : "");
    printElements(tensor, dim + 1, at, os);
  }
  os << "]";
}

static void print(const Evaluated &value, llvm::raw_ostream &os) {
  if (value.tensor) {
    os << "tensor<";
    llvm::interleave(value.tensor->shape, os, "x");
    os << "> ";
    size_t at = 0;
    printElements(*value.tensor, 0, at, os);
    return;
  }
  os << "route offsets ";
  printNumbers(value.route->offsets, os);
  os << " tokens ";
  printNumbers(value.route->rowToken, os);
  os << " choices ";
  printNumbers(value.route->rowChoice, os);
  os << " rows ";
  printNumbers(value.route->slotRow, os);
}

static int64_t numberOf(func::FuncOp function, StringRef name, int64_t otherwise) {
  auto number = function->getAttrOfType<IntegerAttr>(name);
  return number && number.getValue().getBitWidth() <= 64 ? number.getInt() : otherwise;
}

static LogicalResult evaluate(func::FuncOp function, llvm::raw_ostream &os) {
  CallShape shape;
  shape.tokens = numberOf(function, "moe.tokens", -1);
  shape.tokensPerSequence = numberOf(function, "moe.sequence", 0);
  std::vector<Evaluated> arguments;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    auto type = dyn_cast<RankedTensorType>(function.getArgumentTypes()[i]);
    TensorRef value = type ? tensorOf(function.getArgAttr(i, "moe.value"), type) : nullptr;
    if (!value)
      return function.emitOpError("moe.value of argument ")
             << i << " must be a dense value of type " << function.getArgumentTypes()[i];
    if (shape.tokens < 0 && type.getRank() && type.isDynamicDim(0))
      shape.tokens = value->rows();
    arguments.push_back({value, nullptr});
  }
  if (shape.tokens < 0 || shape.tokens > maxTokens || shape.tokensPerSequence < 0)
    return function.emitOpError("moe.tokens must say how many tokens there are, 0..") << maxTokens;
  CallResults results;
  if (failed(interpret(function, arguments, shape, results)))
    return failure();
  os << "@" << function.getSymName() << "\n";
  for (auto [i, value] : llvm::enumerate(results.results)) {
    os << "  " << i << ": ";
    print(value, os);
    os << "\n";
  }
  return success();
}

LogicalResult evaluateText(ModuleOp module, llvm::raw_ostream &os) {
  for (func::FuncOp function : module.getOps<func::FuncOp>()) {
    bool given = function.getNumArguments() > 0 || function->hasAttr("moe.tokens");
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      given &= bool(function.getArgAttr(i, "moe.value"));
    if (given && failed(evaluate(function, os)))
      return failure();
  }
  return success();
}

} // namespace moec::interpret
