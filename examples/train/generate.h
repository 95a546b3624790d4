// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// generate.h - a beginning -> how the model goes on, character by character.
#ifndef TRAIN_GENERATE_H
#define TRAIN_GENERATE_H

#include "session.h"

#include <functional>

namespace train {

struct GenerateOptions {
  int64_t length = 400;     // characters
  double temperature = 0.7; // 0: always the likeliest one
  uint64_t seed = 1;
};

// Calls `each` with every new character. For each one the model reads all characters before it, at most the
// last `context` ones.
void generate(Session &session, const std::string &prompt, const GenerateOptions &options,
              const std::function<void(char)> &each);

} // namespace train
#endif
