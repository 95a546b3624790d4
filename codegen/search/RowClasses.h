// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stage, its schedule and the calls that matter -> the row ranges worth tuning, with the share of time each has.
//
// A call of T tokens over E groups, K choices each, gives a group about T*K/E rows: a binomial number, and its middle
// 95 % count. A stage without a route has all T rows in one group. Groups larger than the kernels' panel_m are cut into
// equal parts (runtime/layer/items.c).

#ifndef MOEC_CODEGEN_SEARCH_ROWCLASSES_H
#define MOEC_CODEGEN_SEARCH_ROWCLASSES_H

#include "codegen/schedule/Schedule.h"
#include "codegen/tile/MatmulStage.h"

#include <cstdint>
#include <map>
#include <vector>

namespace moec {

struct RowClass {
  size_t entry = 0;             // of the schedule: its range
  int64_t rows = 0;             // of a timed block: the most likely number of rows of the range
  double weight = 0;            // share of the stage's work in the calls asked for
  std::vector<int64_t> checked; // row counts of a block at which a candidate must compute what the default computes
};

// How often a block has each number of rows in a call of `tokens`: rows -> expected blocks of the call.
std::map<int64_t, double> blockRows(const MatmulStage &stage, int64_t tokens, int64_t maxRows);

// The ranges of `schedule` that calls of `tokens` meet, ascending.
std::vector<RowClass> rowClasses(const MatmulStage &stage, const StageSchedule &schedule,
                                 const std::vector<int64_t> &tokens);

} // namespace moec

#endif
