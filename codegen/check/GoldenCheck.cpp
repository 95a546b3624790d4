// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every stored tensor that a package can produce is compared.

#include "codegen/check/GoldenCheck.h"

namespace moec {

RoleTensors tensorsOf(const GoldenCase &golden) {
  RoleTensors tensors;
  for (const auto &[role, tensor] : golden.weights)
    tensors[role] = {tensor.type, tensor.bytes.data(), tensor.shape};
  return tensors;
}

// semantics of the tolerance: a fraction of max|y|; bf16 storage rounds the hidden values.
static double toleranceOf(const GoldenCase &golden) {
  if (golden.tolerance)
    return *golden.tolerance;
  return golden.dtype == DataType::F32 ? 2e-5 : 2e-2;
}

static std::vector<double> asDoubles(const std::vector<float> &values) { return {values.begin(), values.end()}; }

static bool compareBatch(const GoldenCase &golden, const GoldenBatch &batch, const CallOutputs &out, WorstError &worst,
                         std::string &reason) {
  CompareOptions options, exact;
  options.maxRel = toleranceOf(golden);
  exact.maxRel = 0;
  const GoldenTensor *logits = batch.find("logits"), *ids = batch.find("ids"), *weights = batch.find("weights");
  const GoldenTensor *counts = batch.find("counts");
  if (logits && !worst.take(compareRows(asDoubles(out.logits), logits->values(), out.numLogits, options), "logits", reason))
    return false;
  if (ids) {
    std::vector<int64_t> wanted;
    for (double id : ids->values())
      wanted.push_back(int64_t(id));
    std::vector<double> wantedWeights = weights ? weights->values() : std::vector<double>(wanted.size(), 1.0);
    std::vector<double> got = weights ? asDoubles(out.weights) : std::vector<double>(out.ids.size(), 1.0);
    if (!worst.take(compareChoices({out.ids.begin(), out.ids.end()}, got, wanted, wantedWeights, out.choices, options),
                    "ids and weights", reason))
      return false;
  }
  if (counts && counts->numElements() == out.experts &&
      !worst.take(compareRows({out.counts.begin(), out.counts.end()}, counts->values(), out.experts, exact), "counts", reason))
    return false;
  return worst.take(compareRows(out.yValues(), batch.find("y")->values(), out.hidden, options), "y", reason);
}

// One batch on the layer as it is prepared: once, and again for the same bits.
bool runBatch(const GoldenCase &golden, const GoldenBatch &batch, LayerRun &layer, WorstError &worst,
                     std::string &reason) {
  const moec_layer_info &info = layer.info();
  std::vector<double> values = batch.find("x")->values();
  PageBuffer x(values.size() * 4);
  CallOutputs out(info, batch.numTokens()), again(info, batch.numTokens());
  if (!x.data() || !out.ready() || !again.ready()) {
    reason = "out of memory";
    return false;
  }
  for (size_t i = 0; i < values.size(); ++i)
    storeElement(x.data(), DataType(info.x_dtype), int64_t(i), values[i]);
  layer.poisonWorkspace(true);
  if (!out.run(layer, x.data(), reason))
    return false;
  layer.poisonWorkspace(false);
  if (!again.run(layer, x.data(), reason))
    return false;
  if (!out.sameBits(again)) {
    reason = "two runs on the same input differ in their bits";
    return false;
  }
  return compareBatch(golden, batch, out, worst, reason);
}

} // namespace moec
