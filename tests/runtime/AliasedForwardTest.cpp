// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls whose experts share weights.

#include "TinyLayer.h"

#include "runtime/layer/aliased_forward.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace moec::test;

namespace {

std::vector<float> aliased(const TinyLayer &tiny, const std::vector<float> &x, uint32_t distinctGroups) {
  int64_t tokens = int64_t(x.size()) / hidden;
  AlignedBytes workspace(tiny.workspaceBytes(tokens), 0xff), input(x.size() * 4), output(x.size() * 4, 0xff);
  std::memcpy(input.data(), x.data(), x.size() * 4);
  moec_forward_args args = {};
  args.struct_size = sizeof(args);
  args.num_tokens = tokens;
  args.x = input.data();
  args.y = output.data();
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size();
  EXPECT_EQ(moec_layer_forward_aliased(tiny.layer, tiny.weights, &args, distinctGroups), MOEC_OK) << lastError();
  auto *y = static_cast<const float *>(output.data());
  return {y, y + x.size()};
}

} // namespace

// Experts 2 and 3 read what experts 0 and 1 hold: the same as a layer in which they are equal to these.
TEST(AliasedForward, experts_share_the_storage_of_the_first) {
  TinyWeights own(3), equal = own;
  for (std::vector<float> *matrix : {&equal.gate, &equal.up, &equal.down})
    std::copy(matrix->begin(), matrix->begin() + std::ptrdiff_t(matrix->size() / 2),
              matrix->begin() + std::ptrdiff_t(matrix->size() / 2));
  TinyLayer layer(own), wanted(equal);
  std::vector<float> x = randomInput(64, 4);
  EXPECT_EQ(aliased(layer, x, 2), runTiny(wanted, x).y);
  EXPECT_NE(aliased(layer, x, 0), runTiny(wanted, x).y);
}
