// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LayerSpec + tensors -> outputs of the layer, in float64: the reference that every compiled kernel is compared to.
//
//   z = x·Wᵀ (+b) -> transforms -> noise -> s = score(z) -> c = s (+choice bias) -> groups -> select ids
//   w = s[ids] -> normalise -> scale -> capacity -> y = Σ_j w_j · expert_{id_j}(x) (+ output bias) (+ shared)
//
// One plain loop nest per stage and nothing shared with the compiler. No value is rounded anywhere, so the dtype and
// logit_dtype keys have no effect here, unless the inputs name a ReferenceRounding: then every value moves by the error
// that a kernel of those types may make of it. Files: ReferenceRouter stages 1-5, ReferenceSelect 6-10,
// ReferenceCapacity 11, ReferenceExperts 12-14, ReferenceActivation; ReferenceHierarchical, ReferenceMixing (soft,
// expert choice) and ReferenceWrap (layer.wrap) are the other kinds of routing.

#ifndef MOEC_DSL_REFERENCE_REFERENCE_H
#define MOEC_DSL_REFERENCE_REFERENCE_H

#include "dsl/LayerSpec.h"
#include "dsl/reference/ReferenceWeights.h"
#include "dsl/text/Result.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moec {

class ReferenceRounding; // ReferenceRounding.h

struct ReferenceTensor {
  std::vector<int64_t> shape;
  std::vector<double> data; // row-major
};

std::string shapeText(const std::vector<int64_t> &shape); // "[2,3]", for messages

// Names of `extra` and the keys that need them. Integers are exact in double.
//   residual       [T,H]      router.input.from, shared.input
//   noise          [T,L]      L columns of logits; standard normal draws (noise normal, learned), standard Gumbel draws
//                             (noise gumbel, select.second gumbel)
//   uniform        [T]        draws u in [0,1): select.second random_2p keeps the second expert where 2·w2 > u
//   token_ids      [T]        kind table
//   expert_ids     [T,K]      kind external and random, in training the samples of sparsemixer; outside 0..E-1: none
//   expert_weights [T,K]      kind external
//   group_ids      [T]        hierarchical with a given first level
//   priority       [T]        capacity.order random: larger first
//   capacity       [1]        capacity.mode dynamic: places per expert
//   top_k          [1]        inputs.top_k: choices to use, later ones are -1
// Those of training:
//   jitter         [T,H]      draws u in [0,1): the factor is 1 - jitter + 2·jitter·u
//   replace        [T,K]      random_replace: draws u in [0,1); an id is replaced where u < p ...
//   replace_ids    [T,K]      ... by this one
//   hidden_mask    [T,K·I]    experts.hidden_dropout: factors of the inner values of choice j, from column j·I on; I is
//                             the widest expert's
//   output_mask    [T,K·N]    experts.output_dropout: factors of the outputs of choice j, from column j·N on; N = H or
//                             latent.dim
//                             kind soft: [B·S,I] and [B·S,N], row b·S + s for slot s of sequence b; scope batch: B = 1
//   expert_mask    [T,R]      router.expert_dropout: 0 where the token does without the expert
//   midpoint_mask  [T,2]      sparsemixer: 0 where the weight is a third of its score, the midpoint of Heun's method
struct ReferenceInputs {
  int64_t numTokens = 0;                    // T
  int64_t batch = 0, tokensPerSequence = 0; // T = batch · tokensPerSequence; batch 0: one sequence of T tokens
  bool training = false;                    // inputs of training and noise with `when: train` act
  ReferenceTensor x;                        // [T,H] or [B,S,H]
  const ReferenceWeights *weights = nullptr;
  std::map<std::string, ReferenceTensor> extra;
  std::map<std::string, std::string> functions; // texts of function files for activations that are not built in
  ReferenceRounding *rounding = nullptr;        // errors to make; null: none
};

// T tokens, K = columns of ids (E for kind dense), R = routed plus zero experts. Kinds that choose tokens instead of
// experts (expert_choice, soft) leave ids, weights and kept empty.
struct ReferenceOutputs {
  int64_t choices = 0;               // K
  std::vector<double> logits;        // [T,R] after transforms, before noise; [T,2n] with product_key; empty where no
                                     // logits exist
  std::vector<int64_t> ids;          // [T,K] in selection order, -1 = none
  std::vector<double> weights;       // [T,K] final; 0 where there is no expert or the choice was dropped
  std::vector<uint8_t> kept;         // [T,K] 1 where the choice reaches its expert
  std::vector<int64_t> counts;       // [R] choices on each expert before drops
  std::vector<double> margins;       // [T] how clearly the chosen won: (last chosen - first not chosen) / max|c|, the
                                     // smaller one of experts and groups. Ids of less exact arithmetic agree where this
                                     // exceeds its error. Only for token_choice without sparsemixer
  std::vector<double> y;             // [T,H]
  int64_t expertCapacity = 0;        // expert_choice: C
  std::vector<int64_t> expertTokens; // [E,C], -1 = fewer tokens
  std::vector<double> expertWeights; // [E,C]
  std::vector<uint8_t> routed;       // [T] 1 where a wrapped layer runs its experts; empty without a wrap
  // What a call reports on request; means and sums are over the tokens that reach the router.
  std::vector<double> probabilities;  // [T,R] s / sum of s, softmax(z) for softmax and identity; empty without logits
  std::vector<double> losses;         // one value per entry of spec.losses, without its coefficient
  double logitMean = 0, logitMax = 0; // of |z|; NaN without logits
  double diversity = 0;               // of the experts' outputs, see ReferenceReports.cpp
  int64_t droppedTokens = 0;          // tokens that chose experts and reach none
  // [T] how clearly the wrap decided about the token: distance to its threshold, or to the value on the other side of
  // the choice, relative to max|r|; empty without a wrap
  std::vector<double> wrapMargins;
};

// Runs the layer. The error, E-REFERENCE, names the key or tensor: a tensor that is missing or of another shape, or a
// key that has no forward meaning here (router.kind depth, quantised experts). Reads only the weights it needs and only
// experts that tokens reach. Thread-safe, except for runs that share a rounding.
Result<ReferenceOutputs> runReference(const LayerSpec &spec, const ReferenceInputs &inputs);

// A report by its name in a spec: its numbers, row-major.
std::vector<double> reportValues(const ReferenceOutputs &outputs, std::string_view name);

// act(v) of a built-in activation, from its own formula; Custom gives NaN.
double referenceActivation(Activation activation, double v);
// A score function of one logit; softmax needs all logits and gives NaN.
double referenceScore(Score score, double z);

} // namespace moec

#endif
