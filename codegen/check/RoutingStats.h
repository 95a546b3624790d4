// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Recorded routing decisions -> how much each expert is used, how evenly, and warnings.

#ifndef MOEC_CODEGEN_CHECK_ROUTINGSTATS_H
#define MOEC_CODEGEN_CHECK_ROUTINGSTATS_H

#include "dsl/text/Result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

// Routing of T tokens. ids: the expert of each choice, -1: none. All other fields may be empty.
struct RoutingRecord {
  int64_t tokens = 0, choices = 0; // T, K
  std::vector<int32_t> ids;        // [T,K]
  std::vector<float> weights;      // [T,K] final; 0: the choice was dropped, unless `kept` says otherwise
  std::vector<float> logits;       // [T,n], any n
  std::vector<int32_t> labels;     // [T] from 0: what kind of token it is
  std::vector<int64_t> kept;       // [E] choices that reached each expert
};

// Sums over records. n_e: choices on expert e, of them dropped_e; n_el: tokens of label l that chose e.
struct RoutingStats {
  explicit RoutingStats(int64_t experts) : experts(experts), chosen(size_t(experts)), dropped(size_t(experts)) {}

  int64_t experts, choices = 0; // E, K; K is 0 before the first record
  int64_t tokens = 0, none = 0; // none: choices with id -1
  std::vector<int64_t> chosen;  // [E] n_e
  std::vector<int64_t> dropped; // [E], meaningful where dropsKnown
  bool dropsKnown = true;
  double largestLogit = 0;                   // largest finite |z|
  int64_t largeLogits = 0, brokenLogits = 0; // tokens with |z| above the limit; with a NaN or an infinity
  std::vector<int64_t> labelTokens;          // [L]
  std::vector<std::vector<int64_t>> byLabel; // [L][E] n_el

  // Adds a record. The error, E-ROUTINGS, says how the record contradicts itself or earlier ones; then nothing was
  // added.
  Result<> add(const RoutingRecord &record);
  int64_t choicesMade() const; // sum of n_e
};

// Of the loads p_e = n_e / sum of n:
//   entropy   H = -sum p ln p
//   balance   (H - ln K) / (ln E - ln K): 0 where K experts take everything, 1 where all take the same; 1 for K = E
//   cv        standard deviation of n over its mean
//   largest   max n_e / T, the share of the tokens that choose the busiest expert
struct RoutingSummary {
  double entropy = 0, balance = 1, cv = 0, largest = 0;
  double even = 0; // sum of n / (E T): every expert's share of the tokens if all had the same; K/E with no -1
  int64_t busiest = -1, dead = 0; // dead: experts no token chose
};
RoutingSummary summaryOf(const RoutingStats &stats);

// Share of the label's tokens that chose the expert.
double labelShare(const RoutingStats &stats, size_t label, int64_t expert);
// The expert with the largest share of the label's tokens, the lower one if equal; -1: the label has no tokens.
int64_t bestExpert(const RoutingStats &stats, size_t label);
// labelShare divided by the share of all labelled tokens that chose the expert; 1: the label makes no difference.
double labelLift(const RoutingStats &stats, size_t label, int64_t expert);

// With at least 10 choices per expert:
//   W-COLLAPSE  balance below 0.5, or an expert chosen by more than half of the tokens and 4 times the even share
//   W-IDLE      experts chosen by less than 1 % of the tokens, or by less than half of the even share if that is below
// 2 % and always
//   W-LOGITS    |z| above 10, or not a number
constexpr double collapseBalance = 0.5, collapseShare = 0.5, collapseTimesEven = 4, idleShare = 0.01, logitLimit = 10;
constexpr int64_t choicesToJudge = 10;
bool enoughToJudge(const RoutingStats &stats);
std::vector<Diagnostic> warningsOf(const RoutingStats &stats);

} // namespace moec

#endif
