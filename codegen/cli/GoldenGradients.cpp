// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The call that the stored gradients are of, and both beside each other.

#include "GoldenGradients.h"

#include "codegen/check/GoldenCheck.h"

#include <algorithm>
#include <cmath>

namespace moec {

Result<std::unique_ptr<GoldenGradients>> GoldenGradients::make(const GoldenCase &golden,
                                                               const std::string &templatesDir) {
  std::unique_ptr<GoldenGradients> out(new GoldenGradients(golden));
  Result<std::unique_ptr<SpecGradients>> oracle = SpecGradients::make(golden.spec, templatesDir, {});
  if (!oracle)
    return oracle.takeError();
  out->oracle = std::move(*oracle);
  auto call = std::make_unique<GradientExpectation>();
  for (const GoldenBatch &batch : golden.batches)
    if (batch.index == golden.lossBatch) {
      call->call.tokens = batch.numTokens();
      call->call.inputs = inputsOf(golden, batch);
      call->inputs = referenceInputs(golden, batch, out->weights);
    }
  if (call->inputs.x.data.empty())
    return Diagnostic::error("E-GOLDEN", "the gradients are of batch " + std::to_string(golden.lossBatch) +
                                             ", which the case does not store");
  call->dy = golden.dy.values();
  if (call->dy.size() != call->inputs.x.data.size())
    return Diagnostic::error("E-GOLDEN", "g.dy has " + std::to_string(call->dy.size()) + " elements, expected " +
                                             std::to_string(call->inputs.x.data.size()));
  for (const LossSpec &loss : golden.spec.losses)
    call->coefficients.push_back(golden.lossCoef.value_or(loss.coef));
  if (Result<> taken = out->oracle->take(tensorsOf(golden), std::move(call)); !taken)
    return taken.takeError();
  return out;
}

// Within f32's arithmetic of the largest element of a tensor, or within that of bf16. Nothing depends on a stored one
// that the layer has not: it is 0.
bool GoldenGradients::compareStored(const CallGradients &got, std::string &reason) const {
  double relative = golden.dtype == DataType::F32 ? 2e-5 : 2e-2;
  for (const auto &[name, stored] : golden.gradients) {
    const Gradient *gradient = got.find(name);
    std::vector<double> want = stored.values(), own = gradient ? gradient->values() : std::vector<double>(want.size());
    if (own.size() != want.size()) {
      reason = "the gradient of " + name + " has " + std::to_string(own.size()) + " elements, the case " +
               std::to_string(want.size());
      return false;
    }
    double most = 0, worst = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      most = std::max(most, std::fabs(want[i]));
      worst = std::max(worst, std::fabs(own[i] - want[i]));
    }
    if (!(worst <= relative * most)) {
      reason = "the gradient of " + name + " is off by " + std::to_string(worst) + " from the stored one, whose " +
               "largest element is " + std::to_string(most);
      return false;
    }
  }
  return true;
}

Result<bool> GoldenGradients::run(LayerRun &layer, int threads, const PrepareThreads &prepare, CheckResult &result,
                                  std::string &reason) {
  std::unique_ptr<CallGradients> first;
  Result<bool> good = verifyGradients(*oracle, layer, threads, prepare, result, reason, &first);
  if (!good || !*good)
    return good;
  return compareStored(*first, reason);
}

} // namespace moec
