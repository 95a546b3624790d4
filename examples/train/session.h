// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// session.h - a model, its optimiser, and how far its training has come: everything that a checkpoint holds.
#ifndef TRAIN_SESSION_H
#define TRAIN_SESSION_H

#include "adam.h"
#include "history.h"
#include "model.h"
#include "moe_layer.h"
#include "safetensors.h"
#include "schedule.h"
#include "text.h"

#include <memory>
#include <string>

namespace train {

struct Settings {
  ModelShape shape;
  Schedule schedule;
  int64_t experts = 8;    // of a layer: decides which package is used; 0: no layer has experts
  int64_t frozen = 0;     // the first so many of them never change
  int64_t sequences = 16; // of a batch
};

class Session {
public:
  Session(const Settings &settings, const Vocabulary &vocabulary, int threads);
  // A checkpoint as it was written: parameters, moments, counters.
  static std::unique_ptr<Session> open(const std::string &path, int threads);
  void save(const std::string &path);

  // A model with more experts than the checkpoint's: the old ones are frozen, the new ones begin as changed copies of
  // them. Training begins anew.
  static std::unique_ptr<Session> grow(const std::string &path, int64_t experts, int threads);

  // How the model is called outside of training.
  Routing inference() const;

  Settings settings;
  Vocabulary vocabulary;
  Threads threads;
  std::unique_ptr<MoePackage> package; // or NULL
  std::vector<MoeLayer *> mixtures;    // the model's layers of experts
  Model model;
  Adam adam;
  int64_t step = 0;
  std::vector<Row> history;

private:
  Model::MakeExperts make_experts();
  void read(const std::string &path, const SafeTensors &file);
};

} // namespace train
#endif
