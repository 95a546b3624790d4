// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// trainer.h - the loop: batch, forward, loss, backward, step of the optimiser, and what the experts need between steps.
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "session.h"

#include <functional>

namespace train {

struct TrainOptions {
  std::string out;           // checkpoint; its picture is beside it, with .svg in place of the ending
  int64_t report_every = 10; // steps between lines, and rows of the history
  int64_t check_every = 50;  // steps between losses on held-out text
  int64_t save_every = 200;
  int64_t stop_after = 0; // this many steps of the schedule; 0: all
};

// The loss of a batch and, if `grad` is not NULL, the gradient of the logits.
using Objective = std::function<double(const Batch &batch, const Values &logits, Values *grad)>;

// From the session's step to the schedule's last one. Writes the checkpoint and the picture and prints
// lines.
void train(Session &session, const Text &text, const TrainOptions &options, const Objective &objective);

// Mean cross entropy on the first `sequences` sequences of the held-out text; 0: on all of it.
double held_out_loss(Session &session, const Text &text, int64_t sequences);

// Cross entropy with the next character.
Objective next_character(const Session &session);
// The same mixed with what the teacher's model says, which must outlive the objective.
Objective from_teacher(const Session &session, Session &teacher);

} // namespace train
#endif
