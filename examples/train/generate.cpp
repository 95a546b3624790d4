// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "generate.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace train {

// One of the ids, drawn by softmax(logits / temperature).
static int32_t draw(const real *logits, int64_t vocabulary, double temperature, Random &random) {
  const real *most = std::max_element(logits, logits + vocabulary);
  if (temperature <= 0)
    return static_cast<int32_t>(most - logits);
  double sum = 0;
  for (int64_t i = 0; i < vocabulary; ++i)
    sum += std::exp(double(logits[i] - *most) / temperature);
  double rest = random.uniform() * sum;
  for (int64_t i = 0; i < vocabulary; ++i)
    if ((rest -= std::exp(double(logits[i] - *most) / temperature)) < 0)
      return static_cast<int32_t>(i);
  return static_cast<int32_t>(most - logits); // rounding left a little
}

void generate(Session &session, const std::string &prompt, const GenerateOptions &options,
              const std::function<void(char)> &each) {
  std::vector<int32_t> ids = session.vocabulary.encode(prompt);
  if (ids.empty())
    throw std::runtime_error("the prompt is empty");
  int64_t context = session.settings.shape.context, vocabulary = session.vocabulary.size();
  Random random(options.seed, 4);
  for (int64_t i = 0; i < options.length; ++i) {
    int64_t length = std::min<int64_t>(context, static_cast<int64_t>(ids.size()));
    const Values &logits = session.model.forward(&ids[ids.size() - length], 1, length, session.inference());
    ids.push_back(draw(&logits[(length - 1) * vocabulary], vocabulary, options.temperature, random));
    each(session.vocabulary.decode(ids.back()));
  }
}

} // namespace train
