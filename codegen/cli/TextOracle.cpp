// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random weights in, the interpreter's results beside the package's, token by token.

#include "TextOracle.h"

#include "TextExpectation.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/check/RandomSource.h"
#include "codegen/fuse/NumericModes.h"
#include "codegen/interpret/LayerParameters.h"
#include "codegen/moe/LayerInputs.h"
#include "codegen/moe/SlotInputRows.h"

#include <algorithm>
#include <set>

using namespace mlir;

namespace moec {

using interpret::Tensor;
using interpret::TensorRef;
using Doubles = std::vector<double>;

double TextOracle::weightBytes() const {
  double bytes = 0;
  for (const TextTensor &tensor : text.tensors) {
    double count = 1;
    for (int64_t extent : tensor.role.shape)
      count *= double(extent);
    bytes += count * (dataTypeBits(tensor.type) / 8 + sizeof(double));
  }
  return bytes;
}

bool TextOracle::drawWeights(uint64_t seed, bool roundsTo32, bool) {
  memory.clear();
  tensors.clear();
  parameters.clear();
  tf32 = roundsTo32;
  std::map<std::string, TensorRef> drawn;
  for (const TextTensor &tensor : text.tensors) {
    int64_t count = 1;
    for (int64_t extent : tensor.role.shape)
      count *= extent;
    PageBuffer buffer(size_t(count) * size_t(dataTypeBits(tensor.type)) / 8);
    if (!buffer.data())
      return false;
    Distribution distribution = distributionOf(tensor);
    fillNormal(buffer.data(), tensor.type, count, distribution.mean, distribution.deviation,
               seed * 1000 + memory.size());
    RandomSource random(seed);
    int64_t columns = tensor.role.shape.back();
    for (int64_t i = 0, id = 0; tensor.idsBelow && i < count; ++i) { // distinct in a row
      id = i % columns ? id + 1 : random.in(0, tensor.idsBelow - 1);
      storeElement(buffer.data(), tensor.type, i, double(id % tensor.idsBelow));
    }
    auto value = std::make_shared<Tensor>();
    value->shape = tensor.role.shape;
    for (int64_t i = 0; i < count; ++i)
      value->data.push_back(loadElement(buffer.data(), tensor.type, i));
    drawn[tensor.role.name] = value;
    tensors[tensor.role.name] = {tensor.type, buffer.data(), tensor.role.shape};
    memory.push_back(std::move(buffer));
  }
  auto find = [&](const std::string &role) {
    auto found = drawn.find(role);
    return found == drawn.end() ? nullptr : found->second;
  };
  for (unsigned i = 0; i < text.layer().getNumArguments(); ++i) {
    StringRef role = text.layer().getArgAttrOfType<StringAttr>(i, "moe.role").getValue();
    bool parameter = role != "x" && !findLayerInput(role);
    parameters.push_back(parameter ? interpret::argumentValue(text.layer(), i, find) : nullptr);
  }
  return true;
}

void TextOracle::drawInputs(int64_t numTokens, uint64_t seed) { text.randomInputs(numTokens, seed, given, values); }

std::vector<int64_t> TextOracle::sampledTokens(int64_t numTokens) const {
  int64_t most = numTokens;
  if (!text.looksAtAllTokens)
    most = std::min<int64_t>(most, std::max<int64_t>(2, int64_t(8e7 / std::max(1.0, text.flopsPerToken))));
  std::set<int64_t> chosen;
  for (int64_t i = 0; i < most; ++i)
    chosen.insert(most == 1 ? 0 : i * (numTokens - 1) / (most - 1));
  return {chosen.begin(), chosen.end()};
}

static TensorRef wholeRows(const Doubles &all, RankedTensorType type) {
  auto out = std::make_shared<Tensor>();
  int64_t columns = type.getDimSize(1);
  out->shape = {int64_t(all.size()) / columns, columns};
  out->data = all;
  return out;
}

// Rows `tokens` of [numTokens, ...] values; what has another number of rows is the whole call's.
static TensorRef rowsAt(const Doubles &all, RankedTensorType type, const std::vector<int64_t> &tokens) {
  auto out = std::make_shared<Tensor>();
  int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
  for (int64_t extent : type.getShape())
    out->shape.push_back(ShapedType::isDynamic(extent) ? int64_t(tokens.size()) : extent);
  if (!type.isDynamicDim(0)) {
    out->data = all;
    return out;
  }
  for (int64_t token : tokens)
    out->data.insert(out->data.end(), all.begin() + token * columns, all.begin() + (token + 1) * columns);
  return out;
}

bool TextOracle::interpret(const void *x, const std::vector<int64_t> &tokens, int64_t numTokens,
                           ReferenceRounding *errors, const llvm::DenseSet<Operation *> &exact,
                           interpret::CallResults &out, std::string &reason) {
  func::FuncOp layer = text.layer();
  std::vector<interpret::Evaluated> arguments;
  for (unsigned i = 0; i < layer.getNumArguments(); ++i) {
    auto type = cast<RankedTensorType>(layer.getArgumentTypes()[i]);
    StringRef role = layer.getArgAttrOfType<StringAttr>(i, "moe.role").getValue();
    if (parameters[i]) {
      arguments.push_back({parameters[i], nullptr});
    } else if (role == "x") {
      Doubles all;
      for (int64_t n = 0; n < numTokens * text.hidden; ++n)
        all.push_back(loadElement(x, text.activation, n));
      arguments.push_back({rowsAt(all, type, tokens), nullptr});
    } else {
      // rows of slots are those of scopes, which are whole
      bool ofSlots = bool(slotReaderOf(layer.getArgument(i)));
      arguments.push_back(
          {ofSlots ? wholeRows(values[role.str()], type) : rowsAt(values[role.str()], type, tokens), nullptr});
    }
  }
  interpret::CallShape shape;
  shape.tokens = int64_t(tokens.size());
  shape.round.errors = errors;
  shape.exact = &exact;
  if (shape.tokens == numTokens)
    shape.tokensPerSequence = given.tokensPerSequence;
  CapturedDiagnostics said(*layer.getContext(), "E-MOE");
  if (succeeded(interpret::interpret(layer, arguments, shape, out)))
    return true;
  reason = "the interpreter: " + said.takeFirst("failed without a message").message;
  return false;
}

bool TextOracle::compare(const void *x, const CallOutputs &out, OracleResult &result, std::string &reason) {
  if (out.tokens == 0) {
    ++result.compared.empty;
    return true;
  }
  std::vector<int64_t> tokens = sampledTokens(out.tokens);
  llvm::DenseSet<Operation *> exact = decidingStages(text.layer());
  TextExpectation expectation(text, tokens);
  auto run = [&](ReferenceRounding *errors, interpret::CallResults &results, std::string &why) {
    return interpret(x, tokens, out.tokens, errors, exact, results, why);
  };
  if (expectation.make(tf32, run, reason) && expectation.compare(out, result, reason))
    return true;
  reason = "T=" + std::to_string(out.tokens) + " " + reason;
  return false;
}

} // namespace moec
