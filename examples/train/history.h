// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// history.h - what a run looked like, row by row, and its picture.
#ifndef TRAIN_HISTORY_H
#define TRAIN_HISTORY_H

#include <string>
#include <vector>

namespace train {

struct Row {
  float step = 0;
  float loss = 0;        // mean since the row before, nats per character
  float held_out = 0;    // loss on text that is held out
  float utilisation = 1; // exp(entropy of the load) / experts: 1 if all are chosen equally often
  float largest = 0;     // largest share of the choices that one expert has
  float dropped = 0;     // share of tokens that reach no expert
  float phase = 0;       // Phase as a number
};
constexpr int ROW_VALUES = 7;

// Two charts above each other in one SVG: losses, and utilisation with the largest share. `entropy`: ln(vocabulary).
void draw_history(const std::string &path, const std::vector<Row> &history, double entropy);

} // namespace train
#endif
