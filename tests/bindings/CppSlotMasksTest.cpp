// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp and moec.h: masks with a row for each slot of a sequence (slotted.json).

#include "slotted.h"

#include "CppNumbers.h"

#include <moec.hpp>

#include <gtest/gtest.h>

#include <map>

using namespace moec;

namespace {

constexpr size_t T = 6, H = SLOTTED_HIDDEN, S = 6, I = 6, B = 2;
constexpr int64_t perSequence = 3;

class CppSlotMasks : public testing::Test {
protected:
  Layer layer = *Layer::create(slotted_package());
  Weights weights = packedNumbers(layer);
  Values x = numbers(T * H, 1), dy = numbers(T * H, 2), ones = Values(B * S * H, 1);
  Buffer kept = *layer.saved(T, perSequence), workspace = *layer.workspace(T, perSequence);
  Buffer space = *layer.backward_workspace(T, perSequence);

  Values forward(const Values &hidden, const Values &output) {
    Values y(T * H);
    Result<void> ran = layer.forward(weights)
                           .x(x)
                           .y(y)
                           .tokens_per_sequence(perSequence)
                           .hidden_mask(hidden)
                           .output_mask(output)
                           .saved(kept)
                           .run(workspace);
    EXPECT_TRUE(ran) << messageOf(ran);
    return y;
  }
  Values row(size_t number, size_t width, float value) const { // ones but in one row
    Values mask(B * S * width, 1);
    std::fill_n(mask.begin() + static_cast<std::ptrdiff_t>(number * width), width, value);
    return mask;
  }
};

} // namespace

TEST_F(CppSlotMasks, lengths_follow_from_the_sequences) {
  EXPECT_EQ(layer.mask_columns().hidden, static_cast<int64_t>(S * I));
  EXPECT_EQ(layer.mask_columns().output, static_cast<int64_t>(S * H));
  EXPECT_EQ(*layer.input_elements("hidden_mask", T, perSequence), B * S * I);
  EXPECT_EQ(*layer.input_elements("output_mask", T), S * H);
  EXPECT_EQ(*layer.input_elements("output_mask", 0), 0u);
  EXPECT_EQ(*layer.input_elements("x", T), T * H);
  EXPECT_EQ(layer.input_elements("noise", T).error().message(),
            "MOEC_INVALID_ARGUMENT: package slotted does not have an input noise");
  EXPECT_EQ(layer.input_elements("x", T, 4).error().message(),
            "MOEC_INVALID_ARGUMENT: tokens_per_sequence is 4, expected 0 or a divisor of 6 tokens");
  int64_t count = 0;
  EXPECT_EQ(moec_layer_input_elements(layer.get(), nullptr, 1, 0, &count), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_input_elements(layer.get(), "x", 1, 0, nullptr), MOEC_NULL_POINTER);
  Values y(T * H), hidden(B * S * I, 1), shorter(S * I, 1);
  Forward call = layer.forward(weights).x(x).y(y).tokens_per_sequence(perSequence).output_mask(ones);
  EXPECT_EQ(messageOf(call.hidden_mask(shorter).run(workspace)),
            "MOEC_SHAPE: hidden_mask has 36 elements, expected 72 for 6 tokens");
  Backward back = layer.backward(weights).x(x).grad_y(dy).saved(kept).tokens_per_sequence(perSequence);
  EXPECT_EQ(messageOf(back.output_mask(ones).hidden_mask(shorter).run(space)),
            "MOEC_SHAPE: hidden_mask has 36 elements, expected 72 for 6 tokens");
}

TEST_F(CppSlotMasks, a_call_without_one_is_refused) {
  Values y(T * H);
  EXPECT_EQ(messageOf(layer.forward(weights).x(x).y(y).hidden_mask(Values(S * I, 1)).run(workspace)),
            "MOEC_NULL_POINTER: output_mask is NULL, package slotted reads it");
  EXPECT_EQ(messageOf(layer.backward(weights).x(x).grad_y(dy).saved(kept).output_mask(Values(S * H, 1)).run(space)),
            "MOEC_NULL_POINTER: hidden_mask is NULL, package slotted reads it");
}

// Rows of sequence 1 are those behind the slots of sequence 0; experts have no bias, so both masks can silence a slot.
TEST_F(CppSlotMasks, each_row_is_that_of_its_slot) {
  const Values hidden(B * S * I, 1), plain = forward(hidden, ones);
  for (size_t number = 0; number < B * S; ++number) {
    SCOPED_TRACE(number);
    const Values silent = forward(row(number, I, 0), ones);
    EXPECT_EQ(silent, forward(hidden, row(number, H, 0)));
    for (size_t t = 0; t < T; ++t) {
      bool same = std::equal(&plain[t * H], &plain[t * H] + H, &silent[t * H]);
      EXPECT_EQ(same, t / perSequence != number / S) << t;
    }
  }
}

// Without the slots 2 and 3 of both sequences expert 1 learns nothing.
TEST_F(CppSlotMasks, backward_reads_them_again) {
  const size_t down = H * I; // of expert 1, the widest
  Values hidden(B * S * I, 1), output = ones, gradient(down, 7);
  for (size_t b = 0; b < B; ++b)
    std::fill_n(output.begin() + static_cast<std::ptrdiff_t>((b * S + 2) * H), 2 * H, 0.0f);
  for (bool silenced : {true, false}) {
    const Values &mask = silenced ? output : ones;
    (void)forward(hidden, mask);
    Backward call = layer.backward(weights).x(x).grad_y(dy).saved(kept).tokens_per_sequence(perSequence);
    Result<void> ran = call.hidden_mask(hidden).output_mask(mask).gradient("experts.down.1", gradient).run(space);
    ASSERT_TRUE(ran) << messageOf(ran);
    EXPECT_EQ(gradient == Values(down), silenced);
  }
}
