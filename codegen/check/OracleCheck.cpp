// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Token by token: logits, choices with their weights, y.

#include "codegen/check/OracleCheck.h"

#include "codegen/check/RandomSource.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace moec {

bool RandomLayer::make(const LayerSpec &spec, uint64_t seed) {
  for (const Role &role : tensorsOf(spec)) {
    int64_t count = 1;
    for (int64_t extent : role.shape)
      count *= extent;
    PageBuffer buffer(size_t(count) * 4);
    if (!buffer.data())
      return false;
    if (role.name == "router.table") { // ids of experts
      RandomSource random(seed);
      int64_t columns = role.shape.back();
      for (int64_t i = 0, first = 0; i < count; ++i) { // distinct in a row
        first = i % columns ? first + 1 : random.in(0, spec.routerRows() - 1);
        storeElement(buffer.data(), DataType::F32, i, double(first % spec.routerRows()));
      }
      tensors[role.name] = {DataType::F32, buffer.data(), role.shape};
      view.add(role, DataType::F32, buffer.data());
      memory.push_back(std::move(buffer));
      continue;
    }
    Distribution distribution = distributionOf(role);
    fillNormal(buffer.data(), spec.dtype.weight, count, distribution.mean, distribution.deviation,
               seed * 1000 + memory.size());
    tensors[role.name] = {spec.dtype.weight, buffer.data(), role.shape};
    view.add(role, spec.dtype.weight, buffer.data());
    memory.push_back(std::move(buffer));
  }
  return true;
}

// The oracle costs about 6*H*I*K multiplications per token: it looks at all tokens of small layers, at 2 or more of
// others.
static std::vector<int64_t> sampledTokens(const LayerSpec &spec, int64_t tokens) {
  bool linear = spec.experts.form == ExpertForm::Linear; // without an inner width
  double width = double(linear ? spec.hidden : spec.experts.width(0));
  double perToken = 3.0 * double(spec.hidden) * double(std::max<int64_t>(1, spec.choices())) * width;
  int64_t most = std::min<int64_t>(tokens, std::max<int64_t>(2, int64_t(4e7 / std::max(1.0, perToken))));
  std::set<int64_t> chosen;
  for (int64_t i = 0; i < most; ++i)
    chosen.insert(most == 1 ? 0 : i * (tokens - 1) / (most - 1));
  return {chosen.begin(), chosen.end()};
}

static std::vector<int64_t> allTokens(int64_t tokens) {
  std::vector<int64_t> all;
  for (int64_t t = 0; t < tokens; ++t)
    all.push_back(t);
  return all;
}

// Two experts whose logits differ by rounding only may change places; everything else that differs is wrong, equal
// logits included: there the lower id wins. `own` are the kernel's logits of the token.
static bool isTie(const LayerSpec &spec, const ReferenceOutputs &want, int64_t row, const std::vector<double> &own,
                  const std::set<int64_t> &got, double tolerance) {
  int64_t columns = want.choices,
          width = int64_t(want.logits.size()) * columns / std::max<int64_t>(1, int64_t(want.ids.size()));
  bool keys = spec.router.kind == RouterKind::ProductKey;
  int64_t experts = keys ? spec.experts.count : width, half = width / 2;
  std::vector<std::pair<double, double>> in, out; // by the oracle and by the kernel
  double scale = 1e-30;
  const double *logits = &want.logits[size_t(row * width)];
  for (int64_t e = 0; e < width; ++e)
    scale = std::max(scale, std::fabs(logits[e]));
  auto of = [&](const double *z, int64_t id) { return keys ? z[id / half] + z[half + id % half] : z[id]; };
  auto logit = [&](int64_t id) { return std::make_pair(of(logits, id), of(own.data(), id)); };
  std::set<int64_t> wanted(want.ids.begin() + row * columns, want.ids.begin() + (row + 1) * columns);
  for (int64_t id : wanted)
    if (!got.count(id) && id >= 0 && id < experts)
      in.push_back(logit(id));
  for (int64_t id : got)
    if (!wanted.count(id)) {
      if (id < 0 || id >= experts)
        return false;
      out.push_back(logit(id));
    }
  std::sort(in.begin(), in.end());
  std::sort(out.begin(), out.end());
  bool close = in.size() == out.size();
  for (size_t i = 0; close && i < in.size(); ++i)
    close = std::fabs(in[i].first - out[i].first) <= tolerance * scale && in[i] != out[i];
  return close;
}

// How far a token may be off. A row that cancels to almost nothing is measured by the size of its neighbours.
struct Tolerance {
  CompareOptions values, logits, y;
};

// Of the values there are: tokens that a wrap leads around the layer have none.
static double rootMeanSquare(const std::vector<double> &values) {
  double sum = 0, count = 0;
  for (double v : values)
    if (std::isfinite(v)) {
      sum += v * v;
      ++count;
    }
  return count > 0 && std::isfinite(sum) ? std::sqrt(sum / count) : 0;
}

static Tolerance toleranceOf(const LayerSpec &spec, const ReferenceOutputs &want, bool tf32) {
  bool narrow = spec.dtype.activation != DataType::F32 || spec.dtype.output != DataType::F32;
  Tolerance tolerance;
  tolerance.values.maxRel = tolerance.y.maxRel = narrow ? 2e-2 : 2e-5;
  // A weight on the input is rounded, and so is its product with x, before both factors of an expert read it: in f32
  // such layers agree like all others, in bf16 the errors of few columns add up to a little over 2e-2 in one of some
  // thousand layers.
  if (narrow && spec.combine.apply == CombineApply::Input)
    tolerance.y.maxRel = 3e-2;
  if (tf32)
    tolerance.y.maxRel = std::max(tolerance.y.maxRel, tf32Tolerance);
  tolerance.logits.maxRel = 2e-5;
  tolerance.values.scale = rootMeanSquare(want.weights);
  if (spec.router.score == Score::Identity) // weights are logits, which may cancel
    tolerance.values.scale = std::max({tolerance.values.scale, rootMeanSquare(want.logits), 1.0});
  tolerance.logits.scale = rootMeanSquare(want.logits);
  tolerance.y.scale = rootMeanSquare(want.y);
  return tolerance;
}

// Row `token` of `out` against row `row` of the oracle's answer.
static bool compareToken(const LayerSpec &spec, const CallOutputs &out, int64_t token, const ReferenceOutputs &want,
                         int64_t row, const Tolerance &tolerance, OracleResult &result, std::string &reason) {
  auto part = [](const auto &from, int64_t index, int64_t columns) {
    return std::vector<double>(from.begin() + index * columns, from.begin() + (index + 1) * columns);
  };
  if (!want.wrapMargins.empty() && want.wrapMargins[size_t(row)] < 1e-6) { // f32 may decide otherwise
    ++result.tied;
    return true;
  }
  bool absent = !want.routed.empty() && !want.routed[size_t(row)]; // by a wrap: the oracle has no logits for it
  if (!want.logits.empty() && !absent &&
      !result.worst.take(compareRows(part(out.logits, token, out.numLogits), part(want.logits, row, out.numLogits),
                                     out.numLogits, tolerance.logits),
                         "logits", reason))
    return false;
  if (!want.ids.empty()) {
    int64_t k = out.choices;
    std::vector<int64_t> got(out.ids.begin() + token * k, out.ids.begin() + (token + 1) * k);
    std::vector<int64_t> ids(want.ids.begin() + row * k, want.ids.begin() + (row + 1) * k);
    std::set<int64_t> gotSet(got.begin(), got.end());
    bool comparable = int64_t(want.logits.size()) > row && !absent;
    if (comparable && gotSet != std::set<int64_t>(ids.begin(), ids.end()) &&
        isTie(spec, want, row, part(out.logits, token, out.numLogits), gotSet, 1e-5)) {
      ++result.tied;
      return true;
    }
    if (!result.worst.take(
            compareChoices(got, part(out.weights, token, k), ids, part(want.weights, row, k), k, tolerance.values),
            "ids and weights", reason))
      return false;
  }
  return result.worst.take(compareRows(out.yRow(token), part(want.y, row, out.hidden), out.hidden, tolerance.y), "y",
                           reason);
}

// Whether what a token gets depends on the other tokens of its call.
static bool looksAtAllTokens(const LayerSpec &spec) {
  RouterKind kind = spec.router.kind;
  return spec.capacity || kind == RouterKind::ExpertChoice || kind == RouterKind::Soft ||
         spec.layer.wrap == LayerWrap::Depth;
}

// The oracle's inputs for `tokens` of the call's T.
static void takeTokens(const ReferenceInputs &all, const std::vector<int64_t> &tokens, ReferenceInputs &out) {
  for (const auto &[name, tensor] : all.extra) {
    ReferenceTensor &part = out.extra[name];
    int64_t size = int64_t(tensor.data.size());
    if (name == "capacity" || name == "top_k" || all.numTokens == 0) {
      part = tensor;
      continue;
    }
    int64_t columns = size / all.numTokens;
    for (int64_t token : tokens)
      part.data.insert(part.data.end(), tensor.data.begin() + token * columns,
                       tensor.data.begin() + (token + 1) * columns);
    part.shape = {int64_t(part.data.size())};
  }
}

// ids and weights [T,E] where experts took tokens, as packages give them.
static void spreadTaken(const LayerSpec &spec, ReferenceOutputs &want, int64_t numTokens) {
  if (spec.router.kind != RouterKind::ExpertChoice)
    return;
  int64_t experts = spec.experts.count;
  want.choices = experts;
  want.ids.assign(size_t(numTokens * experts), -1);
  want.weights.assign(size_t(numTokens * experts), 0);
  for (size_t i = 0; i < want.expertTokens.size(); ++i) {
    int64_t token = want.expertTokens[i], expert = int64_t(i) / want.expertCapacity;
    if (token < 0)
      continue;
    want.ids[size_t(token * experts + expert)] = expert;
    want.weights[size_t(token * experts + expert)] = want.expertWeights[i];
  }
}

bool compareToOracle(const LayerSpec &spec, const RandomLayer &weights, const void *x, const ReferenceInputs &given,
                     const CallOutputs &out, OracleResult &result, std::string &reason) {
  if (out.tokens == 0)
    return true;
  bool kept = !weights.unordered || (out.reports & MOEC_REPORT_DIVERSITY); // --det off changes packages for CUDA only
  if (uint32_t expected = reportsOf(spec, kept); out.asked == ~0u && out.reports != expected) {
    reason = "the package has reports " + std::to_string(out.reports) + ", its spec " + std::to_string(expected);
    return false;
  }
  bool all = looksAtAllTokens(spec);
  std::vector<int64_t> tokens = all ? allTokens(out.tokens) : sampledTokens(spec, out.tokens);
  all = int64_t(tokens.size()) == out.tokens;
  ReferenceInputs inputs;
  inputs.functions = weights.functions;
  inputs.numTokens = int64_t(tokens.size());
  if (all) {
    inputs.batch = given.batch;
    inputs.tokensPerSequence = given.tokensPerSequence;
  }
  takeTokens(given, tokens, inputs);
  inputs.x.shape = {inputs.numTokens, out.hidden};
  for (int64_t token : tokens)
    for (int64_t i = 0; i < out.hidden; ++i)
      inputs.x.data.push_back(loadElement(x, spec.dtype.activation, token * out.hidden + i));
  inputs.weights = &weights.view;
  ReferenceOutputs want;
  if (!runReference(spec, inputs, want, reason))
    return false;
  spreadTaken(spec, want, out.tokens);
  Tolerance tolerance = toleranceOf(spec, want, weights.tf32);
  size_t tied = result.tied;
  for (size_t i = 0; i < tokens.size(); ++i)
    if (!compareToken(spec, out, tokens[i], want, int64_t(i), tolerance, result, reason)) {
      reason = "T=" + std::to_string(out.tokens) + " token " + std::to_string(tokens[i]) + " " + reason;
      return false;
    }
  if (all && !compareReports(spec, out, want, weights.tf32, result.tied != tied, result, reason)) {
    reason = "T=" + std::to_string(out.tokens) + " " + reason;
    return false;
  }
  return true;
}

} // namespace moec
