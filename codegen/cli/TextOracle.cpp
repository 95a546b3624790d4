// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random weights in, the interpreter's results beside the package's, token by token.

#include "TextOracle.h"

#include "codegen/check/RandomSource.h"
#include "codegen/interpret/LayerParameters.h"
#include "codegen/moe/LayerInputs.h"

#include <algorithm>
#include <cmath>
#include <set>

using namespace mlir;

namespace moec {

using interpret::Tensor;
using interpret::TensorRef;
using Doubles = std::vector<double>;

static constexpr double clearChoice = 1e-5; // what f32 decides as float64 does
// How far y may be from the interpreter, relative to its row: f32, bf16 or f16 between matmuls, f32 operands rounded to
// tf32, which keeps 2 bits more than bf16. Specs have limits of their own layer instead (check/Sensitivity.h).
static constexpr double exactLimit = 2e-5, narrowLimit = 2e-2, tf32Limit = 5e-3;

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
    PageBuffer buffer(size_t(count) * 4);
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
                           interpret::CallResults &want, std::string &reason) {
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
      arguments.push_back({rowsAt(values[role.str()], type, tokens), nullptr});
    }
  }
  interpret::CallShape shape;
  shape.tokens = int64_t(tokens.size());
  if (shape.tokens == numTokens)
    shape.tokensPerSequence = given.tokensPerSequence;
  std::string said;
  ScopedDiagnosticHandler handler(layer.getContext(), [&](mlir::Diagnostic &diagnostic) {
    said = diagnostic.str();
    return success();
  });
  if (succeeded(interpret::interpret(layer, arguments, shape, want)))
    return true;
  reason = "the interpreter: " + said;
  return false;
}

namespace {

double rootMeanSquare(const Doubles &all) {
  double sum = 0, count = 0;
  for (double v : all)
    if (std::isfinite(v)) {
      sum += v * v;
      ++count;
    }
  return count > 0 && std::isfinite(sum) ? std::sqrt(sum / count) : 0;
}

// The interpreter's results by role, and how far a package may be from them.
class Expected {
public:
  Expected(const TextLayer &text, const interpret::CallResults &want, bool tf32) : want(want) {
    func::FuncOp layer = text.layer();
    for (unsigned i = 0; i < layer.getNumResults(); ++i)
      roles[layer.getResultAttrOfType<StringAttr>(i, "moe.role").getValue().str()] = want.results[i].tensor.get();
    y.maxRel = values.maxRel = text.narrow ? narrowLimit : exactLimit;
    if (tf32)
      y.maxRel = std::max(y.maxRel, tf32Limit);
    y.scale = rootMeanSquare(roles["y"]->data);
    if (const Tensor *logits = find("logits"))
      plain.scale = rootMeanSquare(logits->data);
    if (const Tensor *weights = find("weights")) {
      values.scale = rootMeanSquare(weights->data);
      // weights that are no probabilities may be differences of logits, which cancel
      if (llvm::any_of(weights->data, [](double w) { return w < 0 || w > 1; }))
        values.scale = std::max({values.scale, plain.scale, 1.0});
    }
  }

  const Tensor *find(const std::string &role) const {
    auto found = roles.find(role);
    return found == roles.end() ? nullptr : found->second;
  }
  static Doubles row(const Tensor &tensor, int64_t r) {
    return {tensor.data.begin() + r * tensor.columns(), tensor.data.begin() + (r + 1) * tensor.columns()};
  }

  const interpret::CallResults &want;
  CompareOptions y, values, plain;

private:
  std::map<std::string, const Tensor *> roles;
};

template <typename T> Doubles rowOf(const std::vector<T> &all, int64_t row, int64_t columns) {
  return {all.begin() + row * columns, all.begin() + (row + 1) * columns};
}

// Row `token` of the call against row `row` of what is expected.
bool compareToken(const Expected &expected, const CallOutputs &out, int64_t token, int64_t row, OracleResult &result,
                  std::string &reason) {
  const Tensor *ids = expected.find("ids"), *weights = expected.find("weights");
  auto sameRow = [&](const char *name, const auto &values) {
    const Tensor *want = expected.find(name);
    return !want || values.empty() ||
           result.worst.take(compareRows(rowOf(values, token, want->columns()), Expected::row(*want, row),
                                         want->columns(), expected.plain),
                             name, reason);
  };
  if (!eachOutput(out, [&](const moec_output &output, const auto &values) {
        return output.shape != MOEC_SHAPE_TN || sameRow(output.name, values);
      }))
    return false;
  if (ids && !out.ids.empty()) {
    int64_t k = ids->columns();
    Doubles gotIds = rowOf(out.ids, token, k), wantIds = Expected::row(*ids, row), ones(size_t(k), 1.0);
    bool weighted = weights && !out.weights.empty();
    Comparison comparison = compareChoices(
        {gotIds.begin(), gotIds.end()}, weighted ? rowOf(out.weights, token, k) : ones,
        {wantIds.begin(), wantIds.end()}, weighted ? Expected::row(*weights, row) : ones, k, expected.values);
    if (!result.worst.take(comparison, "ids and weights", reason))
      return false;
  }
  const Tensor &y = *expected.find("y");
  Comparison ofY = compareRows(out.yRow(token), Expected::row(y, row), y.columns(), expected.y);
  result.compared.rows += size_t(ofY.rows);
  result.compared.values += size_t(ofY.values);
  return result.worst.take(ofY, "y", reason);
}

// Numbers of the whole call: counts exactly, sums of what was rounded more loosely than what was not.
bool compareTotals(const Expected &expected, const CallOutputs &out, bool loose, std::string &reason) {
  auto near = [&](double got, double want) {
    double relative = loose ? 3e-2 : 1e-4, absolute = loose ? 3e-2 : 2e-5;
    return !std::isfinite(want) || std::fabs(got - want) <= relative * std::fabs(want) + absolute;
  };
  auto compare = [&](const std::string &name, const auto &got, const Doubles &want, bool exact) {
    for (size_t i = 0; i < got.size() && i < want.size(); ++i)
      if (exact ? double(got[i]) != want[i] : !near(double(got[i]), want[i])) {
        reason = name + "[" + std::to_string(i) + "]: got " + std::to_string(got[i]) + ", expected " +
                 (exact ? std::to_string(int64_t(want[i])) : std::to_string(want[i]));
        return false;
      }
    return true;
  };
  Doubles counts(expected.want.counts.begin(), expected.want.counts.end());
  return eachOutput(out, [&](const moec_output &output, const auto &values) {
    bool rows = output.shape == MOEC_SHAPE_TN || output.shape == MOEC_SHAPE_TK;
    if (output.role == MOEC_ROLE_COUNTS)
      return compare(output.name, values, counts, true);
    const Tensor *want = expected.find(output.name);
    return rows || !want || compare(output.name, values, want->data, output.dtype == MOEC_I32);
  });
}

} // namespace

bool TextOracle::compare(const void *x, const CallOutputs &out, OracleResult &result, std::string &reason) {
  if (out.tokens == 0) {
    ++result.compared.empty;
    return true;
  }
  std::string place = "T=" + std::to_string(out.tokens);
  std::vector<int64_t> tokens = sampledTokens(out.tokens);
  interpret::CallResults want;
  if (!interpret(x, tokens, out.tokens, want, reason)) {
    reason = place + " " + reason;
    return false;
  }
  Expected expected(text, want, tf32);
  double closest = *std::min_element(want.margins.begin(), want.margins.end());
  bool tied = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    OracleResult own = result;
    if (compareToken(expected, out, tokens[i], int64_t(i), own, reason)) {
      result = own;
      continue;
    }
    if ((text.looksAtAllTokens ? closest : want.margins[i]) >= clearChoice) {
      reason = place + " token " + std::to_string(tokens[i]) + " " + reason;
      return false;
    }
    ++result.tied;
    tied = true;
  }
  if (!tied && int64_t(tokens.size()) == out.tokens && !compareTotals(expected, out, text.narrow || tf32, reason)) {
    reason = place + " " + reason;
    return false;
  }
  return true;
}

} // namespace moec
