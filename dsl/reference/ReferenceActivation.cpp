// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scalar functions of the oracle, each written from its formula and with its limits at ±infinity.

#include "dsl/reference/ReferenceStages.h"
#include "dsl/reference/ScalarFunction.h"

#include <cmath>
#include <limits>
#include <memory>

namespace moec {

// σ(v) = 1 / (1 + e^-v)
double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }

// max(v, 0) + log(1 + e^-|v|)
double softplus(double v) { return (v < 0 ? 0 : v) + std::log1p(std::exp(-std::fabs(v))); }

namespace {

// v·g for a g that goes to 0 at -infinity faster than 1/|v|: the product's limit is 0, not NaN.
double gated(double v, double g) { return g == 0 ? 0 : v * g; }

} // namespace

double referenceActivation(Activation activation, double v) {
  const double sqrt2 = 1.4142135623730950488, sqrt2OverPi = 0.79788456080286535588;
  switch (activation) {
  case Activation::Silu:
    return gated(v, sigmoid(v));
  case Activation::Gelu:
    return gated(v, 0.5 * std::erfc(-v / sqrt2));
  case Activation::GeluTanh:
    return gated(v, 0.5 * (1 + std::tanh(sqrt2OverPi * v * (1 + 0.044715 * v * v))));
  case Activation::QuickGelu:
    return gated(v, sigmoid(1.702 * v));
  case Activation::Relu:
    return v < 0 ? 0 : v;
  case Activation::Relu2:
    return v < 0 ? 0 : v * v;
  case Activation::Identity:
    return v;
  case Activation::Custom:
    break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double referenceScore(Score score, double z) {
  switch (score) {
  case Score::Sigmoid:
    return sigmoid(z);
  case Score::SqrtSoftplus:
    return std::sqrt(softplus(z));
  case Score::Softplus:
    return softplus(z);
  case Score::Relu:
    return z < 0 ? 0 : z;
  case Score::Identity:
    return z;
  case Score::Softmax:
    break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double softCapped(double v, double cap) { return cap * std::tanh(v / cap); }

// silu is v·σ(v): act_alpha makes it v·σ(alpha·v), softcap.gate cap·tanh(v/cap)·σ(alpha·v).
bool activationOf(ReferenceRun &run, const FeedForward &block, ScalarFn &out) {
  std::optional<double> cap = block.softcap ? block.softcap->gate : std::nullopt;
  if (block.act == Activation::Silu && (block.actAlpha != 1 || cap)) {
    out = [alpha = block.actAlpha, cap](double v) { return gated(cap ? softCapped(v, *cap) : v, sigmoid(alpha * v)); };
    return true;
  }
  if (block.act != Activation::Custom) {
    out = [act = block.act](double v) { return referenceActivation(act, v); };
    return true;
  }
  auto text = run.inputs.functions.find(block.actName);
  if (text == run.inputs.functions.end())
    return run.fail("activation '" + block.actName + "' is not built in and no function text was given for it");
  Result<ScalarFunction> function = ScalarFunction::parse(text->second, block.actName + ".mlir");
  if (!function) {
    run.error = function.takeError();
    return false;
  }
  out = *function;
  return true;
}

} // namespace moec
