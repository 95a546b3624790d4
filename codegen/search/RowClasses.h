// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stage, its schedule and the calls that matter -> the row ranges worth tuning, with the share of work each has.
//
// An expert that a token chooses with probability p gets a binomial number of the T rows of a call; of that number the
// middle 95 % count. A stage without a route has all T rows in one group. Groups larger than the kernels' panel_m are
// cut as runtime/layer/items.c cuts them.

#ifndef MOEC_CODEGEN_SEARCH_ROWCLASSES_H
#define MOEC_CODEGEN_SEARCH_ROWCLASSES_H

#include "codegen/schedule/Schedule.h"
#include "codegen/tile/MatmulStage.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moec {

// How often tokens choose each expert.
struct TuneRouting {
  std::string name = "uniform";    // as a record says it: "uniform", "zipf", "histogram:HASH"
  std::vector<double> counts = {}; // of a histogram, by expert: how often each was chosen
};

// The probability that a token chooses each of `groups` experts, if it chooses `choices` different ones; their sum is
// `choices`. zipf: p(e) as 1 / (1 + e). A histogram of another number of experts counts as uniform.
std::vector<double> choiceProbabilities(const TuneRouting &routing, int64_t groups, int64_t choices);

struct RowClass {
  size_t entry = 0;             // of the schedule: its range
  int64_t rows = 0;             // of a timed block: the number of rows with the most work in the range
  double weight = 0;            // share of the stage's work in the calls asked for
  std::vector<int64_t> checked; // row counts of a block at which a candidate must compute what the default computes
};

// How often a block has each number of rows in a call of `tokens`: rows -> expected blocks of the call. `maxRows` and
// `multiple`: panel_m and block_m of the schedule's last entry.
std::map<int64_t, double> blockRows(const MatmulStage &stage, int64_t tokens, int64_t maxRows, int64_t multiple,
                                    const TuneRouting &routing = {});

// The ranges of `schedule` that calls of `tokens` meet, ascending.
std::vector<RowClass> rowClasses(const MatmulStage &stage, const StageSchedule &schedule,
                                 const std::vector<int64_t> &tokens, const TuneRouting &routing = {});

} // namespace moec

#endif
