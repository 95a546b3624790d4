// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Arguments, results and ops of a layer's function in -> its sizes, tensors and random inputs out.

#include "TextLayer.h"

#include "codegen/check/RandomSource.h"
#include "codegen/check/RandomTensors.h"
#include "codegen/interpret/LayerParameters.h"
#include "codegen/moe/LayerInputs.h"
#include "codegen/moe/MoeDialect.h"
#include "codegen/moe/SlotInputRows.h"

#include <algorithm>

using namespace mlir;

namespace moec {

DataType dataTypeOf(Type element) {
  return element.isF32()    ? DataType::F32
         : element.isBF16() ? DataType::BF16
         : element.isF16()  ? DataType::F16
                            : DataType::I32;
}

Distribution distributionOf(const TextTensor &tensor) {
  if (tensor.role.name.find("temperature") != std::string::npos)
    return {1, 0.1};
  return distributionOf(tensor.role);
}

static RankedTensorType typeOf(func::FuncOp layer, unsigned argument) {
  return cast<RankedTensorType>(layer.getArgumentTypes()[argument]);
}

static StringRef roleOf(func::FuncOp layer, unsigned argument) {
  return layer.getArgAttrOfType<StringAttr>(argument, "moe.role").getValue();
}

static void readSizes(TextLayer &out) {
  func::FuncOp layer = out.layer();
  for (unsigned i = 0; i < layer.getNumArguments(); ++i)
    if (roleOf(layer, i) == "x") {
      out.hidden = typeOf(layer, i).getDimSize(1);
      out.activation = dataTypeOf(typeOf(layer, i).getElementType());
    }
  out.experts = interpret::numGroups(layer);
  for (unsigned i = 0; i < layer.getNumResults(); ++i) {
    StringRef role = layer.getResultAttrOfType<StringAttr>(i, "moe.role").getValue();
    auto type = cast<RankedTensorType>(layer.getResultTypes()[i]);
    if (role == "ids")
      out.choices = type.getDimSize(1);
    if (role == "logits")
      out.experts = std::max(out.experts, type.getDimSize(1));
  }
}

static void readOps(TextLayer &out) {
  for (Operation &op : out.layer().getBody().front()) {
    out.looksAtAllTokens |= isa<moe::CapacityOp, moe::TopTokensOp, moe::TokenReduceOp, moe::SlotsOp>(op);
    if (auto matmul = dyn_cast<moe::GroupedMatmulOp>(op)) {
      auto route = matmul.getRoute() ? cast<moe::RouteType>(matmul.getRoute().getType()) : moe::RouteType();
      double rows = route ? double(std::max<int64_t>(1, route.getRowsPerToken())) : 1;
      out.freedom = std::min(out.freedom, rows * double(matmul.depth()));
      out.flopsPerToken += 2.0 * rows * double(matmul.depth()) * double(matmul.columns()) * matmul.parts();
    }
  }
}

std::unique_ptr<TextLayer> TextLayer::parse(Session &session, const SpecInput &input) {
  auto out = std::make_unique<TextLayer>();
  std::vector<Diagnostic> errors;
  out->parsed = parseLayerText(input.text, input.fileName, errors);
  if (!out->parsed) {
    reportCompileErrors(session, input, errors);
    return nullptr;
  }
  readSizes(*out);
  readOps(*out);
  for (const interpret::LayerParameter &parameter : interpret::parametersOf(out->layer())) {
    TextTensor tensor;
    tensor.role.name = parameter.role;
    tensor.role.shape = parameter.shape;
    tensor.role.matrix = parameter.matrix;
    tensor.type = dataTypeOf(parameter.element);
    tensor.idsBelow = parameter.idsBelow;
    out->tensors.push_back(std::move(tensor));
  }
  return out;
}

namespace {

// Values of one input, as its name says.
class InputDraws {
public:
  InputDraws(const TextLayer &layer, int64_t tokens, uint64_t seed)
      : layer(layer), tokens(tokens), random(seed ^ 0x5bd1e995) {}
  int64_t tokensPerSequence = 0;

  RandomSource &source() { return random; }

  std::vector<double> of(unsigned argument, StringRef name) {
    RankedTensorType type = typeOf(layer.layer(), argument);
    int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : 1, count = 1;
    if (type.isDynamicDim(0))
      count = columns * rowsOfInput(layer.layer().getArgument(argument), tokens, tokensPerSequence);
    if (name == "expert_ids")
      return ids(columns);
    std::vector<double> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(one(argument, name));
    return values;
  }

private:
  double one(unsigned argument, StringRef name) {
    if (name == "residual" || name == "noise")
      return random.normal();
    if (name == "capacity")
      return double(random.in(0, 8));
    if (name == "top_k")
      return double(random.in(1, std::max<int64_t>(1, layer.choices)));
    if (name == "token_ids")
      return double(random.in(0, tableRows(argument) - 1));
    if (name == "group_ids") // a layer has few groups
      return double(random.in(0, std::min<int64_t>(4, layer.experts) - 1));
    return random.unit();
  }

  // Every token gets distinct experts, some none.
  std::vector<double> ids(int64_t columns) {
    std::vector<double> values;
    for (int64_t t = 0; t < tokens; ++t) {
      int64_t first = random.in(0, layer.experts - 1);
      for (int64_t j = 0; j < columns; ++j)
        values.push_back(random.chance(10) ? -1.0 : double((first + j) % layer.experts));
    }
    return values;
  }

  // Rows of the table that the argument indexes.
  int64_t tableRows(unsigned argument) {
    for (Operation *user : layer.layer().getArgument(argument).getUsers())
      if (auto lookup = dyn_cast<moe::LookupOp>(user))
        return cast<RankedTensorType>(lookup.getTable().getType()).getDimSize(0);
    return 32;
  }

  const TextLayer &layer;
  int64_t tokens;
  RandomSource random;
};

} // namespace

void TextLayer::randomInputs(int64_t tokens, uint64_t seed, CallInputs &call,
                             std::map<std::string, std::vector<double>> &values) const {
  InputDraws draws(*this, tokens, seed);
  call = {};
  values.clear();
  if (tokens > 1 && draws.source().chance(60)) {
    call.tokensPerSequence = draws.source().in(1, tokens);
    while (tokens % call.tokensPerSequence)
      --call.tokensPerSequence;
    draws.tokensPerSequence = call.tokensPerSequence;
  }
  for (unsigned i = 0; i < layer().getNumArguments(); ++i) {
    StringRef name = roleOf(layer(), i);
    if (!findLayerInput(name))
      continue;
    std::vector<double> drawn = draws.of(i, name);
    DataType type = name == "residual" ? activation : DataType::F32;
    for (double &value : drawn) { // as the layer will read it
      uint64_t room = 0;
      storeElement(&room, type, 0, value);
      value = loadElement(&room, type, 0);
    }
    call.set(name.str(), drawn, activation);
    values[name.str()] = std::move(drawn);
  }
}

} // namespace moec
