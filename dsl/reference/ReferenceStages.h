// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The stages of the oracle; each reads and extends Routing. Private to dsl/reference/Reference*.cpp.
//
// A stage that returns bool sets the run's error before it returns false. T tokens, R routed + zero experts, K choices.

#ifndef MOEC_DSL_REFERENCE_REFERENCESTAGES_H
#define MOEC_DSL_REFERENCE_REFERENCESTAGES_H

#include "dsl/reference/Reference.h"
#include "dsl/reference/ReferenceRounding.h"

#include <functional>

namespace moec {

using Doubles = std::vector<double>;

// Sums per token over the experts' outputs o before weighting.
struct OutputSums {
  int64_t width = 0;
  Doubles sum;               // [T,width] Σ_j o_j
  Doubles squares;           // [T] Σ_j |o_j|²
  std::vector<int64_t> rows; // [T] how many experts
};

// One call on some tokens: all tokens of the layer, or those a wrap lets through.
struct ReferenceRun {
  const LayerSpec &spec;
  const ReferenceInputs &inputs;    // tensors of tokens are taken through extra() and x
  Diagnostic &error;                // set before a stage returns false
  int64_t numTokens = 0;            // T of this run
  Doubles x;                        // [T,H] as the experts read it
  std::vector<int64_t> tokens;      // [T] row of each token in the inputs
  std::vector<int64_t> sequence;    // [T] the sequence it belongs to, ascending
  OutputSums *outputSums = nullptr; // runExperts adds to it
  Doubles sharedWeights;            // [T,S] of shared.gate router; finishOutput weighs with them
  int64_t slotScope = -1;           // the tokens are the slots of this scope, 0..B-1; -1: they are tokens

  ReferenceRun(const LayerSpec &spec, const ReferenceInputs &inputs, Diagnostic &error)
      : spec(spec), inputs(inputs), error(error) {}

  bool fail(std::string text) {
    error = Diagnostic::error("E-REFERENCE", std::move(text));
    return false;
  }
  // Finds the parameter matrix; it must be [rows, cols].
  bool matrix(const std::string &role, int64_t index, int64_t rows, int64_t cols, MatrixView &out);
  bool vector(const std::string &role, int64_t index, int64_t n, Doubles &out);
  // inputs.extra[name] for this run's tokens: [T, cols]. `reason` is the key that needs it.
  bool extra(const std::string &name, int64_t cols, const char *reason, Doubles &out);
  bool slotRows(const std::string &name, int64_t columns, const char *reason, Doubles &out);
  // in·mᵀ as a kernel may compute it: with the errors of the run's rounding, if it has one. `afterRouting`: no choice
  // follows from it, so operands may be tf32.
  Doubles product(const Doubles &in, const MatrixView &m, bool afterRouting);
  // The masks of training for this run's tokens or slots: [T, columns]; empty: none.
  bool dropoutMask(const char *name, const char *key, double p, int64_t columns, Doubles &out);
  // Without a rounding these do nothing.
  void round(Doubles &values, DataType type) const;     // stored in `type`
  void operations(Doubles &values, double count) const; // `count` f32 operations on values of that size
  double operation(double v, double size) const;
  // Runs of consecutive tokens [first, last) that share a scope.
  std::vector<std::pair<int64_t, int64_t>> scopes(bool bySequence) const;
};

struct Routing {
  int64_t numTokens = 0;           // T
  int64_t rows = 0;                // R
  int64_t choices = 0;             // K
  Doubles logits;                  // [T,R]
  Doubles noisy;                   // [T,R] the logits that weights are made of
  Doubles scores;                  // [T,R] s; `noisy` itself with score_over selected
  Doubles choice;                  // [T,R] c: what selection compares
  std::vector<int64_t> ids;        // [T,K]
  std::vector<int64_t> wanted;     // [T,K] ids before capacity, -1 where there is none
  Doubles weights;                 // [T,K]
  Doubles sharedScores;            // [T,S] of shared experts that the router weighs, or logits with score_over selected
  Doubles sharedWeights;           // [T,S]
  std::vector<uint8_t> kept;       // [T,K]
  std::vector<uint8_t> overflowed; // [T,K] dropped by capacity
  std::vector<int64_t> counts;     // [R]
  Doubles margins;                 // [T]
  Doubles expertMask;              // [T,R] 0 where a token does without the expert; empty: all have all
};

// One row of an expert's input: y[token] += weight * expert(x[token]).
struct Assignment {
  int64_t token, expert;
  double weight;
  int64_t choice; // of its token
};

// A weight that nothing but its rounding changes any more.
inline double finalWeight(const ReferenceRun &run, double weight) {
  bool rounds = run.spec.router.weightDType == WeightDType::Activation;
  weight = run.operation(weight, 8 * weight);
  return rounds && run.inputs.rounding ? run.inputs.rounding->rounded(weight, run.spec.dtype.activation) : weight;
}
// sum += term, each term with the error of its product and of the sum it joins
inline void addTerm(const ReferenceRun &run, double &sum, double term) { sum += run.operation(term, 2 * term); }

// Indices of the k largest of v[0..n), descending; equal values: lower index first; NaN behind every number.
std::vector<int64_t> topIndices(const double *v, int64_t n, int64_t k);
void softmaxInPlace(double *v, int64_t n); // exp(v - max v) / Σ
double sigmoid(double v);
double softplus(double v);
// out[t,r] = Σ_c in[t,c] · m[r,c] for the in.size()/m.cols rows of `in`.
Doubles product(const Doubles &in, const MatrixView &m);

// ReferenceRouter.cpp, stages 1-5
bool applyJitter(ReferenceRun &run, const RouterInput &options, Doubles &rows);
bool routerInput(ReferenceRun &run, Doubles &out);
bool transformedLogits(ReferenceRun &run, const RouterSpec &router, const std::string &role, int64_t rows, Doubles &out,
                       const std::string &biasRole = "router.bias");
bool addNoise(ReferenceRun &run, Routing &routing);
bool noiseDeviation(ReferenceRun &run, int64_t rows, Doubles &out); // [T,rows]
void scoreInPlace(Score score, double *row, int64_t n);
bool computeScores(ReferenceRun &run, Routing &routing);

// ReferenceGroups.cpp: columns of the router that not every token chooses among
bool routerLogits(ReferenceRun &run, Doubles &out);                // [T,R+S], S shared experts that the router weighs
bool groupsOfTokens(ReferenceRun &run, std::vector<int64_t> &out); // [T]; empty without router.token_groups
void hideOtherGroups(const LayerSpec &spec, const std::vector<int64_t> &groups, Doubles &values); // -inf
bool addChoiceBias(ReferenceRun &run, const std::vector<int64_t> &groups, Routing &routing);
void splitShared(const LayerSpec &spec, Routing &routing); // columns of shared experts leave the others

// ReferenceSelect.cpp, stages 6-10
// One pick of sparsemixer from a row of logits without the expert `removed` (-1: from all): p = softmax over the j with
// (m - z_j) / max(|z_j|, m) <= 2·eps, m the largest that is left; 0 elsewhere. Returns the expert of m.
int64_t sparseMixerScores(const double *z, int64_t rows, int64_t removed, double eps, Doubles &p);
bool selectExperts(ReferenceRun &run, const RouterSpec &router, int64_t choices, Routing &routing);
void gatherWeights(const RouterSpec &router, Routing &routing);
void normalizeInPlace(const RouterNormalize &normalize, double *weights, int64_t n); // all n values belong together
bool finishWeights(ReferenceRun &run, Routing &routing);
// The k largest of one row of choice values -> ids, -1 behind the last; returns the margin.
// Experts whose `mask` is 0 are behind all others; null: none.
double chooseRow(const RouterSpec &router, const double *scores, double *choice, int64_t rows, int64_t k, int64_t *ids,
                 const double *mask = nullptr);
bool routeHierarchical(ReferenceRun &run, Routing &routing);

// ReferenceTraining.cpp: what acts in training only
bool replaceIds(ReferenceRun &run, Routing &routing);      // router.random_replace
bool readExpertMask(ReferenceRun &run, Routing &routing);  // router.expert_dropout
void dropChoices(const LayerSpec &spec, Routing &routing); // ids of left out experts: -1
bool selectSampled(ReferenceRun &run, Routing &routing);   // sparsemixer

// ReferenceProductKeys.cpp: ids from two sets of sub-keys, and the weights of ids
void chooseProductKeys(const LayerSpec &spec, Routing &routing);
void gatherProductKeys(const LayerSpec &spec, Routing &routing);

// ReferenceCapacity.cpp, stage 11: clears kept (and moves ids with overflow next_best)
bool applyCapacity(ReferenceRun &run, Routing &routing);

// ReferenceExperts.cpp, stages 12-14
bool runExperts(ReferenceRun &run, const std::vector<Assignment> &assignments, Doubles &y);
// Rows of H, or of latent.dim; `rows` says whose they are.
bool runExpert(ReferenceRun &run, int64_t expert, const std::vector<Assignment> &rows, const Doubles &in, Doubles &out);
bool runDense(ReferenceRun &run, const Doubles &in, Doubles &out);
bool finishOutput(ReferenceRun &run, Doubles &y); // output.bias and shared

// ReferenceReports.cpp
Doubles normalizedScores(Score score, const Doubles &logits, int64_t rows);
bool reportRun(ReferenceRun &run, const Routing &routing, const OutputSums &sums, ReferenceOutputs &outputs);

// ReferenceActivation.cpp
using ScalarFn = std::function<double(double)>;
double softCapped(double v, double cap);                                       // cap·tanh(v/cap)
bool activationOf(ReferenceRun &run, const FeedForward &block, ScalarFn &out); // of the gate, clamps apart

// ReferenceMixing.cpp: routers in which experts or slots take tokens
bool runSoft(ReferenceRun &run, ReferenceOutputs &outputs);
bool runExpertChoice(ReferenceRun &run, ReferenceOutputs &outputs);

// Reference.cpp: the layer without its wrap. ReferenceWrap.cpp: with it.
bool runBody(ReferenceRun &run, ReferenceOutputs &outputs);
bool runWrapped(ReferenceRun &run, ReferenceOutputs &outputs);

} // namespace moec

#endif
