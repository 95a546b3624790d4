// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "rope.h"

namespace train {

Rope::Rope(int64_t positions, int64_t head_width) : half(head_width / 2) {
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < half; ++i) {
      double angle = static_cast<double>(p) * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
      cosine.push_back(static_cast<real>(std::cos(angle)));
      sine.push_back(static_cast<real>(std::sin(angle)));
    }
}

} // namespace train
