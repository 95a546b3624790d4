// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Logits, choices with their weights, y and reports, of the tokens about which rounding does not decide.

#include "codegen/check/OracleCheck.h"

#include "codegen/check/RandomSource.h"
#include "codegen/check/RowsToCompare.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace moec {

static bool isTable(const Role &role) { return role.name == "router.table"; }

DataType drawnType(const LayerSpec &spec, const Role &role) {
  if (isTable(role))
    return DataType::F32;
  return role.matrix ? storedType(spec, role) : spec.dtype.weight;
}

bool RandomLayer::make(const LayerSpec &spec, uint64_t seed) {
  for (const Role &role : tensorsOf(spec)) {
    int64_t count = 1;
    for (int64_t extent : role.shape)
      count *= extent;
    DataType type = drawnType(spec, role);
    PageBuffer buffer(size_t(count) * size_t(dataTypeBits(type)) / 8);
    if (!buffer.data())
      return false;
    if (isTable(role)) { // ids of experts
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
    fillNormal(buffer.data(), type, count, distribution.mean, distribution.deviation, seed * 1000 + memory.size());
    tensors[role.name] = {type, buffer.data(), role.shape};
    view.add(role, type, buffer.data());
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

// f32 may decide about the wrap of the token otherwise.
static bool isWrapTied(const ReferenceOutputs &want, int64_t row) {
  return !want.wrapMargins.empty() && want.wrapMargins[size_t(row)] < 1e-6;
}

// Whether rounding decides about the token: by its wrap, by a choice, because every disturbed run of the reference
// routed it otherwise, or because some run did and the layer does. Jitter rounds what the router reads to the type of
// x, and an expert may then take another token.
static bool isTied(const LayerSpec &spec, const CallOutputs &out, int64_t token, const ReferenceOutputs &want,
                   int64_t row, bool absent, const Sensitivity &sensitivity) {
  if (isWrapTied(want, row))
    return true;
  if (want.ids.empty() || out.ids.empty())
    return sensitivity.undecided[size_t(row)];
  int64_t k = out.choices;
  std::vector<int64_t> got = rowOf(out.ids, token, k), ids = rowOf(want.ids, row, k);
  std::set<int64_t> gotSet(got.begin(), got.end());
  if (gotSet == std::set<int64_t>(ids.begin(), ids.end()))
    return sensitivity.undecided[size_t(row)];
  if (sensitivity.moved[size_t(row)])
    return true;
  bool comparable = int64_t(want.logits.size()) > row && !absent;
  return comparable && isTie(spec, want, row, rowOf(out.logits, token, out.numLogits), gotSet, 1e-5);
}

// Rows `tokens` of `out` against the oracle's answer.
static bool compareTokens(const LayerSpec &spec, const CallOutputs &out, const std::vector<int64_t> &tokens,
                          const ReferenceOutputs &want, const Sensitivity &sensitivity, OracleResult &result,
                          std::string &reason) {
  RowsToCompare logits(sensitivity.logits), weights(sensitivity.weights), y(sensitivity.y);
  // Weights may be 0 / 0, and y with them; verifyMachine looks at all calls.
  y.options.mayBeUndefined =
      std::any_of(want.weights.begin(), want.weights.end(), [](double v) { return std::isnan(v); });
  for (int64_t row = 0; row < int64_t(tokens.size()); ++row) {
    int64_t token = tokens[size_t(row)];
    bool absent = !want.routed.empty() && !want.routed[size_t(row)]; // by a wrap: the oracle has no logits for it
    bool tied = isTied(spec, out, token, want, row, absent, sensitivity);
    if (!want.logits.empty() && !absent && !isWrapTied(want, row))
      logits.add(row, token, rowOf(out.logits, token, out.numLogits), rowOf(want.logits, row, out.numLogits));
    if (tied) {
      ++result.tied;
      continue;
    }
    if (!want.ids.empty()) {
      std::vector<int64_t> got = rowOf(out.ids, token, out.choices), ids = rowOf(want.ids, row, out.choices);
      weights.add(row, token, rowOf(out.weights, token, out.choices), rowOf(want.weights, row, out.choices));
      weights.actualIds.insert(weights.actualIds.end(), got.begin(), got.end());
      weights.expectedIds.insert(weights.expectedIds.end(), ids.begin(), ids.end());
    }
    y.add(row, token, out.yRow(token), rowOf(want.y, row, out.hidden));
  }
  // A call of ties alone compares nothing and says so: compared does not grow.
  bool good = (logits.options.names.empty() ||
               result.worst.take(compareRows(logits.actual, logits.expected, out.numLogits, logits.options), "logits",
                                 reason)) &&
              (weights.options.names.empty() ||
               result.worst.take(compareChoices(weights.actualIds, weights.actual, weights.expectedIds,
                                                weights.expected, out.choices, weights.options),
                                 "ids and weights", reason));
  if (!good || y.options.names.empty())
    return good;
  Comparison ofY = compareRows(y.actual, y.expected, out.hidden, y.options);
  result.compared.rows += size_t(ofY.rows);
  result.compared.values += size_t(ofY.values);
  return result.worst.take(ofY, "y", reason);
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
    bool whole = int64_t(tokens.size()) == all.numTokens; // so are layers whose inputs have rows of slots
    if (name == "capacity" || name == "top_k" || whole) {
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

bool compareToOracle(const LayerSpec &spec, const RandomLayer &weights, const void *x, const ReferenceInputs &given,
                     const CallOutputs &out, OracleResult &result, std::string &reason) {
  if (out.tokens == 0) {
    ++result.compared.empty;
    return true;
  }
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
  inputs.training = given.training;
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
  auto cannot = [&](const Diagnostic &error) {
    reason = error.placedMessage();
    return false;
  };
  Result<ReferenceOutputs> ran = runReference(spec, inputs);
  if (!ran)
    return cannot(ran.error());
  ReferenceOutputs &want = *ran;
  spreadTaken(spec, inputs.numTokens, want);
  Result<Sensitivity> measured = measureSensitivity(spec, inputs, want, weights.tf32);
  if (!measured)
    return cannot(measured.error());
  const Sensitivity &sensitivity = *measured;
  size_t tied = result.tied;
  if (!compareTokens(spec, out, tokens, want, sensitivity, result, reason) ||
      (all && !compareReports(spec, out, want, sensitivity, result.tied != tied, result, reason))) {
    reason = "T=" + std::to_string(out.tokens) + " " + reason;
    return false;
  }
  return true;
}

} // namespace moec
