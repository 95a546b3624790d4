// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every stored tensor that a package can produce is compared.

#include "codegen/check/GoldenCheck.h"

#include "codegen/check/RowsToCompare.h"

#include "codegen/check/Sensitivity.h"

#include <algorithm>
#include <cmath>

namespace moec {

RoleTensors tensorsOf(const GoldenCase &golden) {
  RoleTensors tensors;
  for (const auto &[role, tensor] : golden.weights)
    tensors[role] = {tensor.type, tensor.bytes.data(), tensor.shape};
  return tensors;
}

CallInputs inputsOf(const GoldenCase &golden, const GoldenBatch &batch) {
  MemoryWeights none;
  CallInputs inputs;
  if (batch.batch > 1)
    inputs.tokensPerSequence = batch.tokensPerSequence;
  ReferenceInputs given = referenceInputs(golden, batch, none);
  for (const std::string &name : golden.spec.inputNames())
    if (auto found = given.extra.find(name); found != given.extra.end())
      inputs.set(name, found->second.data, golden.spec.dtype.activation);
  return inputs;
}

bool fitPackage(GoldenCase &golden, std::string &reason) {
  MemoryWeights none;
  for (const GoldenBatch &batch : golden.batches)
    for (const auto &[name, tensor] : referenceInputs(golden, batch, none).extra) {
      moec_forward_args args = {};
      if (!inputField(args, name)) {
        reason = "needs an input that packages do not take: " + name;
        return false;
      }
      if (name == "noise" && golden.spec.router.noise.kind != NoiseKind::None)
        golden.spec.router.noise.when = NoiseWhen::Always; // the case was made in training
    }
  if (auto table = golden.weights.find("router.table"); table != golden.weights.end())
    golden.spec.router.vocab = table->second.shape.front();
  return true;
}

static std::vector<double> asDoubles(const std::vector<float> &values) { return {values.begin(), values.end()}; }

// Which tokens every expert took, where the case says it: expert_tokens and expert_weights [E,C].
static bool compareTaken(const GoldenBatch &batch, const CallOutputs &out, const CompareOptions &options,
                         WorstError &worst, std::string &reason) {
  const GoldenTensor *tokens = batch.find("expert_tokens"), *weights = batch.find("expert_weights");
  if (!tokens || !weights || tokens->shape.size() != 2 || tokens->shape[0] != out.choices)
    return true;
  std::vector<double> taken = tokens->values(), given = weights->values();
  std::vector<int64_t> ids(out.ids.size(), -1);
  std::vector<double> own(out.ids.size(), 0);
  int64_t columns = tokens->shape[1];
  for (int64_t i = 0; i < int64_t(taken.size()); ++i) {
    int64_t token = int64_t(taken[size_t(i)]), expert = i / columns;
    if (token < 0 || token >= out.tokens)
      continue;
    ids[size_t(token * out.choices + expert)] = expert;
    own[size_t(token * out.choices + expert)] = given[size_t(i)];
  }
  return worst.take(
      compareChoices({out.ids.begin(), out.ids.end()}, asDoubles(out.weights), ids, own, out.choices, options),
      "tokens of experts", reason);
}

// The stored values are of another program's f32 arithmetic and may be off as the kernel may: a share of the row twice
// that of RowsToCompare.h; f32's part of the slack is several times what either side makes of it.
static CompareOptions optionsOf(const RowSlack &slack) {
  CompareOptions options;
  options.maxRel = 2 * shareOfRow;
  options.slack = slack;
  return options;
}

// What the case itself allows: a share of max|y| of the batch.
static bool keepsTolerance(const GoldenCase &golden, const std::vector<double> &got, const std::vector<double> &want,
                           bool tf32, std::string &reason) {
  double most = 0, off = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    most = std::max(most, std::fabs(want[i]));
    off = std::max(off, std::fabs(got[i] - want[i]));
  }
  bool keeps = !golden.tolerance || tf32 || off <= *golden.tolerance * most;
  if (!keeps)
    reason = "y is off by " + std::to_string(off / most) + " of its largest value; the case allows " +
             std::to_string(*golden.tolerance);
  return keeps;
}

static bool compareBatch(const GoldenCase &golden, const GoldenBatch &batch, const CallOutputs &out,
                         const Sensitivity &sensitivity, bool tf32, CheckResult &result, std::string &reason) {
  WorstError &worst = result.worst;
  CompareOptions exact, ofWeights = optionsOf(sensitivity.weights), losses;
  exact.maxRel = 0;
  const GoldenTensor *logits = batch.find("logits"), *ids = batch.find("ids"), *weights = batch.find("weights");
  const GoldenTensor *counts = batch.find("counts");
  if (logits &&
      !worst.take(compareRows(asDoubles(out.logits), logits->values(), out.numLogits, optionsOf(sensitivity.logits)),
                  "logits", reason))
    return false;
  if (ids) {
    std::vector<int64_t> wanted;
    for (double id : ids->values())
      wanted.push_back(int64_t(id));
    std::vector<double> wantedWeights = weights ? weights->values() : std::vector<double>(wanted.size(), 1.0);
    std::vector<double> got = weights ? asDoubles(out.weights) : std::vector<double>(out.ids.size(), 1.0);
    if (!worst.take(
            compareChoices({out.ids.begin(), out.ids.end()}, got, wanted, wantedWeights, out.choices, ofWeights),
            "ids and weights", reason))
      return false;
  }
  if (!compareTaken(batch, out, ofWeights, worst, reason))
    return false;
  if (counts && counts->numElements() == out.experts &&
      !worst.take(compareRows({out.counts.begin(), out.counts.end()}, counts->values(), out.experts, exact), "counts",
                  reason))
    return false;
  for (size_t i = 0; i < out.losses.size(); ++i)
    if (std::optional<double> wanted = golden.lossOf(i, batch.index)) {
      losses.slack.most = {sensitivity.totals.at("losses")[i]};
      losses.slack.gain = losses.slack.most[0] / std::max(std::fabs(*wanted), 1e-30);
      if (!worst.take(compareRows({out.losses[i]}, {*wanted}, 1, losses), golden.spec.losses[i].kind.c_str(), reason))
        return false;
    }
  std::vector<double> got = out.yValues(), want = batch.find("y")->values();
  Comparison ofY = compareRows(got, want, out.hidden, optionsOf(sensitivity.y));
  result.compared.rows += size_t(ofY.rows);
  result.compared.values += size_t(ofY.values);
  return worst.take(ofY, "y", reason) && keepsTolerance(golden, got, want, tf32, reason);
}

// The layer's sensitivity on the batch's own tensors.
static Result<Sensitivity> sensitivityOf(const GoldenCase &golden, const GoldenBatch &batch, bool tf32) {
  MemoryWeights weights = golden.view();
  ReferenceInputs inputs = referenceInputs(golden, batch, weights);
  Result<ReferenceOutputs> want = runReference(golden.spec, inputs);
  if (!want)
    return want.takeError();
  spreadTaken(golden.spec, inputs.numTokens, *want);
  return measureSensitivity(golden.spec, inputs, *want, tf32);
}

bool runBatch(const GoldenCase &golden, const GoldenBatch &batch, LayerRun &layer, CheckResult &result,
              std::string &reason, bool tf32) {
  const moec_layer_info &info = layer.info();
  std::vector<double> values = batch.find("x")->values();
  PageBuffer x(values.size() * 4);
  int64_t tokens = batch.numTokens();
  CallOutputs out(info, tokens);
  CallOutputs again = info.determinism != 0 ? CallOutputs::onlyY(info, tokens) : CallOutputs(info, tokens, /*ask=*/0);
  if (!x.data() || !out.ready() || !again.ready()) {
    reason = "out of memory";
    return false;
  }
  for (size_t i = 0; i < values.size(); ++i)
    storeElement(x.data(), DataType(info.x_dtype), int64_t(i), values[i]);
  CallInputs inputs = inputsOf(golden, batch);
  layer.setInputs(&inputs);
  layer.poisonWorkspace(true);
  Result<> ran = out.run(layer, x.data());
  layer.poisonWorkspace(false);
  if (ran)
    ran = again.run(layer, x.data());
  layer.setInputs(nullptr);
  if (!ran) {
    reason = ran.error().placedMessage();
    return false;
  }
  if (info.determinism != 0 && !out.sameBits(again)) {
    reason = "two runs on the same input, with every output and with y alone, differ in their bits";
    return false;
  }
  Result<Sensitivity> sensitivity = sensitivityOf(golden, batch, tf32);
  if (!sensitivity) {
    reason = sensitivity.error().placedMessage();
    return false;
  }
  CheckResult second; // of the same rows
  return compareBatch(golden, batch, out, *sensitivity, tf32, result, reason) &&
         (info.determinism != 0 || compareBatch(golden, batch, again, *sensitivity, tf32, second, reason));
}

} // namespace moec
