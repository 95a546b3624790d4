// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Logits and choices of a run -> what a call reports beside y: probabilities, counts, magnitudes, diversity of the
// experts' outputs, and the values of the losses (without their coefficients).
//
// Letters: n tokens of a scope, R columns of logits, K choices, p = softmax(z), n_e choices on column e before drops.

#include "dsl/reference/ReferenceStages.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace moec {

namespace {

// Sums over the tokens of one scope that losses are made of.
struct ScopeSums {
  int64_t tokens = 0;
  Doubles probabilities, counts; // [R]
};

class Losses {
public:
  Losses(ReferenceRun &run, const Routing &routing)
      : run(run), routing(routing), rows(routing.rows), choices(routing.choices) {}

  bool value(const LossSpec &loss, double &out);

private:
  double loadBalance(const LossSpec &loss, const Doubles &p) const;
  double balanceOf(const LossSpec &loss, const ScopeSums &sums) const;
  double squaredVariation(const LossSpec &loss, const Doubles &v) const;
  bool load(Doubles &out);
  double uniform(const LossSpec &loss, const Doubles &p) const;
  double entropy(const LossSpec &loss, const Doubles &p) const;
  double positiveLoad(const Doubles &p) const;
  Doubles countsOf(bool firstOnly, bool droppedToZero, int64_t first, int64_t last) const;
  Doubles means(const Doubles &p) const; // over the run's tokens
  double tokens() const { return double(std::max<int64_t>(1, run.numTokens)); }

  ReferenceRun &run;
  const Routing &routing;
  int64_t rows, choices;
};

double variance(const Doubles &v, bool sample) {
  double mean = 0, sum = 0, n = double(v.size());
  for (double x : v)
    mean += x / n;
  for (double x : v)
    sum += (x - mean) * (x - mean);
  return sum / (sample ? std::max(1.0, n - 1) : n); // one value: 0, and NaN if it is NaN
}

// n_e over tokens [first, last): wanted choices, the first ones only, or those kept with a dropped one counted for
// column 0
Doubles Losses::countsOf(bool firstOnly, bool droppedToZero, int64_t first, int64_t last) const {
  Doubles counts(size_t(rows), 0.0);
  for (int64_t t = first; t < last; ++t)
    for (int64_t j = 0; j < (firstOnly ? std::min<int64_t>(1, choices) : choices); ++j) {
      int64_t id = routing.wanted[size_t(t * choices + j)];
      if (id >= 0 && droppedToZero)
        id = routing.kept[size_t(t * choices + j)] ? routing.ids[size_t(t * choices + j)] : 0;
      if (id >= 0)
        counts[size_t(id)] += 1;
    }
  return counts;
}

Doubles Losses::means(const Doubles &p) const {
  Doubles mean(size_t(rows), 0.0);
  for (size_t i = 0; i < p.size(); ++i)
    mean[i % size_t(rows)] += p[i] / tokens();
  return mean;
}

// G · Σ_g F_g · P_g, F and P summed over the R / G columns of a group; G = R without groups.   f_e = n_e / n or n_e /
// (K n), K = 1 where first choices count
double Losses::balanceOf(const LossSpec &loss, const ScopeSums &sums) const {
  int64_t groups = loss.integer("groups", 1);
  if (groups <= 1)
    groups = rows;
  double n = double(std::max<int64_t>(1, sums.tokens)),
         per = n * (loss.flag("per_choice") && !loss.is("count", "first") ? double(choices) : 1), value = 0;
  for (int64_t g = 0; g < groups; ++g) {
    double f = 0, p = 0;
    for (int64_t e = g * (rows / groups); e < (g + 1) * (rows / groups); ++e) {
      f += sums.counts[size_t(e)] / per;
      p += sums.probabilities[size_t(e)] / n;
    }
    value += double(groups) * f * p;
  }
  return value;
}

// The mean over sequences, those without a token of the run included, or one value of the batch.
double Losses::loadBalance(const LossSpec &loss, const Doubles &p) const {
  bool sequences = loss.is("scope", "sequence");
  double value = 0;
  for (auto [first, last] : run.scopes(sequences)) {
    ScopeSums sums;
    sums.tokens = last - first;
    sums.counts = countsOf(loss.is("count", "first"), loss.flag("dropped_as_expert0"), first, last);
    sums.probabilities.assign(size_t(rows), 0.0);
    for (int64_t i = first * rows; i < last * rows; ++i)
      sums.probabilities[size_t(i % rows)] += p[size_t(i)];
    value += balanceOf(loss, sums);
  }
  return sequences ? value / double(std::max<int64_t>(1, run.inputs.batch)) : value;
}

// Var(v) / (mean(v)² + ε), 0 where all are the same
double Losses::squaredVariation(const LossSpec &loss, const Doubles &v) const {
  double mean = 0;
  for (double x : v)
    mean += x / double(v.size());
  double spread = variance(v, loss.is("variance", "sample"));
  return spread == 0 ? 0 : spread / (mean * mean + loss.number("eps", 1e-10));
}

// load_e = Σ_t Φ((z_te - θ_te) / σ_te), θ the K-th largest of h_t without e: the chance that e is chosen under the
// noise
bool Losses::load(Doubles &out) {
  Doubles deviation;
  if (!noiseDeviation(run, rows, deviation))
    return false;
  out.assign(size_t(rows), 0.0);
  for (int64_t t = 0; t < run.numTokens; ++t) {
    const double *z = &routing.logits[size_t(t * rows)], *h = &routing.noisy[size_t(t * rows)];
    std::vector<int64_t> order = topIndices(h, rows, std::min(rows, choices + 1));
    for (int64_t e = 0; e < rows; ++e) {
      bool chosen = std::find(order.begin(), order.begin() + std::min(rows, choices), e) !=
                    order.begin() + std::min(rows, choices);
      double theta = !chosen ? h[order[size_t(choices - 1)]] : rows > choices ? h[order[size_t(choices)]] : -HUGE_VAL;
      out[size_t(e)] +=
          0.5 * std::erfc(-(z[e] - theta) / std::max(deviation[size_t(t * rows + e)], 1e-20) / std::sqrt(2.0));
    }
  }
  return true;
}

// Σ_e or mean_e (P_e - 1/R)²; over selected: of the K columns of final weights, mean_t w_tj against 1/K
double Losses::uniform(const LossSpec &loss, const Doubles &p) const {
  bool selected = loss.is("over", "selected");
  int64_t n = selected ? choices : rows;
  Doubles mean(size_t(n), 0.0);
  if (!selected)
    mean = means(p);
  for (size_t i = 0; selected && i < routing.weights.size(); ++i)
    mean[i % size_t(n)] += routing.weights[i] / tokens();
  double value = 0;
  for (double m : mean)
    value += (m - 1.0 / double(n)) * (m - 1.0 / double(n));
  return loss.is("reduce", "mean") ? value / double(n) : value;
}

// Σ_e p log(p + ε), the mean over tokens of it, or of the mean of p
double Losses::entropy(const LossSpec &loss, const Doubles &p) const {
  double eps = loss.number("eps", 1e-10), value = 0;
  if (loss.is("of", "marginal")) {
    for (double m : means(p))
      value += m * std::log(m + eps);
    return value;
  }
  for (double v : p)
    value += v * std::log(v + eps) / tokens();
  return value;
}

// mean_e((Σ_t p_te) · #{t: z_te > 0}) · R
double Losses::positiveLoad(const Doubles &p) const {
  Doubles sums(size_t(rows), 0.0), above(size_t(rows), 0.0);
  for (size_t i = 0; i < p.size(); ++i) {
    sums[i % size_t(rows)] += p[i];
    above[i % size_t(rows)] += routing.logits[i] > 0;
  }
  double value = 0;
  for (int64_t e = 0; e < rows; ++e)
    value += sums[size_t(e)] * above[size_t(e)];
  return value;
}

bool Losses::value(const LossSpec &loss, double &out) {
  Doubles p;
  if (run.spec.hasExpertLogits())
    p = loss.is("probs", "normalized_score") ? normalizedScores(run.spec.router.score, routing.logits, rows)
                                             : normalizedScores(Score::Softmax, routing.logits, rows);
  if (loss.kind == "load_balance") {
    out = loadBalance(loss, p);
  } else if (loss.kind == "z") {
    out = 0;
    for (int64_t t = 0; t < run.numTokens; ++t) {
      const double *z = &routing.logits[size_t(t * rows)];
      double high = *std::max_element(z, z + rows), sum = 0;
      for (int64_t e = 0; e < rows; ++e)
        sum += std::exp(z[e] - high);
      out += (high + std::log(sum)) * (high + std::log(sum)) / tokens();
    }
  } else if (loss.kind == "cv2") {
    Doubles v(size_t(rows), 0.0);
    if (loss.is("of", "load")) {
      if (!load(v))
        return false;
    } else if (loss.is("of", "counts")) {
      v = countsOf(false, false, 0, run.numTokens);
    } else {
      for (size_t i = 0; i < routing.ids.size(); ++i)
        if (routing.ids[i] >= 0)
          v[size_t(routing.ids[i])] += routing.weights[i];
    }
    out = squaredVariation(loss, v);
  } else if (loss.kind == "entropy") {
    out = entropy(loss, p);
  } else if (loss.kind == "uniform_mse") {
    out = uniform(loss, p);
  } else if (loss.kind == "importance_x_load") {
    out = positiveLoad(p);
  } else { // count_variance
    out = variance(countsOf(false, false, 0, run.numTokens), false);
  }
  return true;
}

// D_t = Σ_{i<j} |o_i - o_j|² / ((K_t - 1) Σ_j |o_j|²) of the K_t >= 2 experts of a token; the mean over such tokens, 0
// where there is none. 0: all say the same, 1: orthogonal outputs of one length.
double diversityOf(const OutputSums &sums) {
  double total = 0, tokens = 0;
  for (size_t t = 0; t < sums.rows.size(); ++t) {
    double k = double(sums.rows[t]), together = 0;
    if (k < 2)
      continue;
    tokens += 1;
    for (int64_t c = 0; c < sums.width; ++c) {
      double v = sums.sum[t * size_t(sums.width) + size_t(c)];
      together += v * v;
    }
    if (sums.squares[t] > 0)
      total += (k * sums.squares[t] - together) / ((k - 1) * sums.squares[t]);
  }
  return tokens ? total / tokens : 0;
}

} // namespace

// s / Σ s; softmax for softmax and for raw logits, which may be negative
Doubles normalizedScores(Score score, const Doubles &logits, int64_t rows) {
  Doubles p = logits;
  for (size_t start = 0; start < p.size(); start += size_t(rows)) {
    if (score == Score::Softmax || score == Score::Identity) {
      softmaxInPlace(&p[start], rows);
      continue;
    }
    double sum = 1e-20;
    scoreInPlace(score, &p[start], rows);
    for (int64_t e = 0; e < rows; ++e)
      sum += p[start + size_t(e)];
    for (int64_t e = 0; e < rows; ++e)
      p[start + size_t(e)] /= sum;
  }
  return p;
}

bool reportRun(ReferenceRun &run, const Routing &routing, const OutputSums &sums, ReferenceOutputs &outputs) {
  outputs.logitMean = outputs.logitMax = std::numeric_limits<double>::quiet_NaN();
  if (!routing.logits.empty()) {
    if (run.spec.hasExpertLogits())
      outputs.probabilities = normalizedScores(run.spec.router.score, routing.logits, routing.rows);
    outputs.logitMean = outputs.logitMax = 0;
    for (double z : routing.logits) {
      outputs.logitMean += std::fabs(z) / double(routing.logits.size());
      outputs.logitMax = std::max(outputs.logitMax, std::fabs(z));
    }
  }
  outputs.droppedTokens = 0;
  for (int64_t t = 0; t < run.numTokens && routing.choices; ++t) {
    bool wanted = false, kept = false;
    for (int64_t i = t * routing.choices; i < (t + 1) * routing.choices; ++i) {
      wanted |= routing.wanted[size_t(i)] >= 0;
      kept |= routing.kept[size_t(i)] != 0;
    }
    outputs.droppedTokens += wanted && !kept;
  }
  outputs.diversity = diversityOf(sums);
  outputs.losses.clear();
  Losses losses(run, routing);
  for (const LossSpec &loss : run.spec.losses) {
    outputs.losses.push_back(0);
    if (!losses.value(loss, outputs.losses.back()))
      return false;
  }
  return true;
}

std::vector<double> reportValues(const ReferenceOutputs &outputs, std::string_view name) {
  if (name == "probabilities")
    return outputs.probabilities;
  if (name == "losses")
    return outputs.losses;
  if (name == "choice_counts")
    return {outputs.counts.begin(), outputs.counts.end()};
  if (name == "logit_mean")
    return {outputs.logitMean};
  if (name == "logit_max")
    return {outputs.logitMax};
  if (name == "diversity")
    return {outputs.diversity};
  if (name == "dropped_tokens")
    return {double(outputs.droppedTokens)};
  return {};
}

} // namespace moec
