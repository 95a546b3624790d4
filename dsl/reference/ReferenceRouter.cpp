// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tokens -> logits z [T,R] -> scores s and choice values c [T,R]: stages 1 to 5 of the oracle.

#include "dsl/reference/ReferenceStages.h"

#include <algorithm>
#include <cmath>

namespace moec {

// x · (1 - ε + 2ε·u), u drawn from [0,1)
bool applyJitter(ReferenceRun &run, const RouterInput &options, Doubles &rows) {
  if (options.jitter == 0 || !run.inputs.training)
    return true;
  Doubles draws;
  if (!run.extra("jitter", run.spec.hidden, "router.input.jitter", draws))
    return false;
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] *= 1 - options.jitter + 2 * options.jitter * draws[i];
  return true;
}

// What the router reads: x or the residual, jittered, then x / sqrt(mean(x²) + eps) · scale ∘ input_scale.
bool routerInput(ReferenceRun &run, Doubles &out) {
  const RouterInput &options = run.spec.router.input;
  int64_t hidden = run.spec.hidden;
  bool fromResidual = options.from == BranchInput::Residual;
  if (fromResidual && !run.extra("residual", hidden, "router.input.from", out))
    return false;
  if (!fromResidual)
    out = run.x;
  // With scope layer run.x is jittered already.
  if ((options.jitterScope == JitterScope::Router || fromResidual) && !applyJitter(run, options, out))
    return false;
  if (!options.norm)
    return true;
  Doubles scale(hidden, 1.0);
  if (options.norm->weight && !run.vector("router.input_scale", 0, hidden, scale))
    return false;
  for (int64_t t = 0; t < run.numTokens; ++t) {
    double *row = &out[t * hidden], sum = 0;
    for (int64_t c = 0; c < hidden; ++c)
      sum += row[c] * row[c];
    double factor = options.norm->scale / std::sqrt(sum / hidden + options.norm->eps);
    for (int64_t c = 0; c < hidden; ++c)
      row[c] *= factor * scale[c];
  }
  run.operations(out, 4);
  return true;
}

namespace {

// v / sqrt(Σ v² + eps), row by row
void unitRows(Doubles &rows, int64_t width, double eps) {
  for (size_t start = 0; start < rows.size(); start += width) {
    double sum = eps;
    for (int64_t c = 0; c < width; ++c)
      sum += rows[start + c] * rows[start + c];
    for (int64_t c = 0; c < width; ++c)
      rows[start + c] /= std::sqrt(sum);
  }
}

Doubles allRows(const MatrixView &m) {
  Doubles values(m.rows * m.cols);
  for (int64_t r = 0; r < m.rows; ++r)
    m.row(r, &values[r * m.cols]);
  return values;
}

MatrixView viewOf(const Doubles &values, int64_t rows, int64_t cols) {
  return MatrixView{values.data(), DataType::F64, rows, cols, cols, 1};
}

// z = ⟨x, w⟩, or scale · ⟨x/‖x‖, w/‖w‖⟩ where the first transform is cosine
bool rawLogits(ReferenceRun &run, const RouterSpec &router, const MatrixView &weight, Doubles input, Doubles &out) {
  if (router.transform.empty() || router.transform[0].op != TransformOp::Cosine) {
    out = run.product(input, weight, false);
    return true;
  }
  const LogitTransform &cosine = router.transform[0];
  Doubles learned{cosine.value};
  if (cosine.learned && !run.vector("router.scale", 0, 1, learned))
    return false;
  Doubles rows = allRows(weight);
  unitRows(input, weight.cols, cosine.eps);
  unitRows(rows, weight.cols, cosine.eps);
  run.operations(input, 4);
  out = run.product(input, viewOf(rows, weight.rows, weight.cols), false);
  for (double &z : out)
    z *= learned[0];
  return true;
}

// clamp: min(max(z, lo), hi) · softcap: cap·tanh(z/cap) · temperature: z/τ
bool transform(ReferenceRun &run, const LogitTransform &step, Doubles &logits) {
  Doubles tau{step.value};
  if (step.op == TransformOp::Temperature && step.learned && !run.vector("router.temperature", 0, 1, tau))
    return false;
  for (double &z : logits)
    switch (step.op) {
    case TransformOp::Clamp:
      z = z < step.min ? step.min : z > step.max ? step.max : z;
      break;
    case TransformOp::SoftCap:
      z = step.value * std::tanh(z / step.value);
      break;
    case TransformOp::Temperature:
      z /= tau[0];
      break;
    case TransformOp::Cosine:
      break; // rawLogits
    }
  return true;
}

} // namespace

bool transformedLogits(ReferenceRun &run, const RouterSpec &router, const std::string &role, int64_t rows, Doubles &out,
                       const std::string &biasRole) {
  Doubles input;
  MatrixView weight;
  if (!routerInput(run, input) || !run.matrix(role, 0, rows, run.spec.hidden, weight) ||
      !rawLogits(run, router, weight, std::move(input), out))
    return false;
  Doubles bias(rows, 0.0);
  if (router.bias && !run.vector(biasRole, 0, rows, bias))
    return false;
  for (size_t i = 0; i < out.size(); ++i)
    out[i] += bias[i % rows];
  bool transformed = std::all_of(router.transform.begin(), router.transform.end(),
                                 [&](const LogitTransform &step) { return transform(run, step, out); });
  run.operations(out, 1 + 4 * double(router.transform.size()));
  return transformed;
}

// σ of the noise: the constant, f(x·W_n) + eps, or 1
bool noiseDeviation(ReferenceRun &run, int64_t rows, Doubles &out) {
  const RouterNoise &noise = run.spec.router.noise;
  out.assign(size_t(run.numTokens * rows), noise.kind == NoiseKind::Normal ? noise.std : 1.0);
  if (noise.kind != NoiseKind::Learned)
    return true;
  MatrixView weight;
  Doubles input;
  if (!run.matrix("router.noise_weight", 0, rows, run.spec.hidden, weight) || !routerInput(run, input))
    return false;
  out = run.product(input, weight, false);
  for (int64_t t = 0; t < run.numTokens && noise.stdFn == NoiseStdFn::Softmax; ++t)
    softmaxInPlace(&out[t * rows], rows);
  for (double &d : out)
    d = (noise.stdFn == NoiseStdFn::Softmax ? d : softplus(d)) + noise.eps;
  run.operations(out, 8);
  return true;
}

// h = z + σ·n · learned: h = z + n·(f(x·W_n) + eps) · gumbel: for choosing only, so that weights stay those of z.
// Leaves what weights are made of in `noisy` and what is compared in `choice`.
bool addNoise(ReferenceRun &run, Routing &routing) {
  const RouterNoise &noise = run.spec.router.noise;
  routing.noisy = routing.choice = routing.logits;
  if (noise.kind == NoiseKind::None || (noise.when == NoiseWhen::Train && !run.inputs.training))
    return true;
  int64_t columns = run.spec.logitColumns();
  Doubles draws, deviation;
  if (!run.extra("noise", columns, "router.noise", draws) || !noiseDeviation(run, columns, deviation))
    return false;
  for (size_t i = 0; i < draws.size(); ++i)
    routing.choice[i] = run.operation(routing.choice[i] + deviation[i] * draws[i], routing.choice[i]);
  if (noise.kind != NoiseKind::Gumbel)
    routing.noisy = routing.choice;
  return true;
}

void softmaxInPlace(double *v, int64_t n) {
  double high = n ? *std::max_element(v, v + n) : 0, sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += v[i] = std::exp(v[i] - high);
  for (int64_t i = 0; i < n; ++i)
    v[i] /= sum;
}

void scoreInPlace(Score score, double *row, int64_t n) {
  if (score == Score::Softmax)
    return softmaxInPlace(row, n);
  for (int64_t i = 0; i < n; ++i)
    row[i] = referenceScore(score, row[i]);
}

// score_over all: s = f(h), c = f(h or its Gumbel form) + b. score_over selected: selection is on h itself.
bool computeScores(ReferenceRun &run, Routing &routing) {
  const RouterSpec &router = run.spec.router;
  std::vector<int64_t> groups;
  if (!groupsOfTokens(run, groups))
    return false;
  hideOtherGroups(run.spec, groups, routing.noisy);
  hideOtherGroups(run.spec, groups, routing.choice);
  routing.scores = routing.noisy;
  int64_t columns = routing.rows + run.spec.sharedRows();
  for (int64_t t = 0; t < routing.numTokens && router.scoreOver == ScoreOver::All; ++t) {
    scoreInPlace(router.score, &routing.scores[t * columns], columns);
    scoreInPlace(router.score, &routing.choice[t * columns], columns);
  }
  splitShared(run.spec, routing);
  if (router.choiceBias && !addChoiceBias(run, groups, routing))
    return false;
  hideOtherGroups(run.spec, groups, routing.choice); // a score of 0 could win against one of the own group
  return true;
}

} // namespace moec
