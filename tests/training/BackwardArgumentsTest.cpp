// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every error that moec.h promises for backward calls and the functions beside them, with its text; memory stays as it
// was.

#include "tests/training/TrainedLayer.h"

#include <gtest/gtest.h>

#include <cstring>

using namespace moec;

namespace {

constexpr int64_t tokens = 5;

class BackwardArguments : public testing::Test {
protected:
  static void SetUpTestSuite() { trained = TrainedLayer::make(smallTrainedSpec()).release(); }
  static void TearDownTestSuite() { delete trained; }

  // The call is refused with `status` and `text` and writes nothing.
  void expectRefused(const std::function<void(BackwardCall &)> &spoil, moec_status status, const std::string &text) {
    BackwardCall call(*trained, tokens);
    spoil(call);
    EXPECT_STREQ(moec_status_name(call.run()), moec_status_name(status)) << text;
    EXPECT_EQ(lastError(), text);
    for (const Gradient &gradient : call.gradients.all)
      for (double v : gradient.values())
        ASSERT_TRUE(std::isnan(v)) << gradient.name;
  }

  int32_t indexOf(const std::string &name) {
    BackwardCall call(*trained, 1);
    const char *role;
    int32_t rank;
    int64_t dims[4];
    for (int32_t i = 0; moec_layer_role(call.layer, i, &role, &rank, dims) == MOEC_OK; ++i)
      if (name == role)
        return i;
    return -1;
  }

  static TrainedLayer *trained;
};
TrainedLayer *BackwardArguments::trained = nullptr;

#define REFUSED(status, text, ...) expectRefused([&](BackwardCall &c) { __VA_ARGS__; }, status, text)

TEST_F(BackwardArguments, the_call_itself_is_accepted) {
  BackwardCall call(*trained, tokens);
  EXPECT_EQ(call.run(), MOEC_OK) << lastError();
  for (const Gradient &gradient : call.gradients.all)
    for (double v : gradient.values())
      ASSERT_FALSE(std::isnan(v)) << gradient.name;
  EXPECT_EQ(call.gradients.overrun(), "");
}

TEST_F(BackwardArguments, missing_pointers) {
  REFUSED(MOEC_NULL_POINTER, "x is NULL", c.args.x = nullptr);
  REFUSED(MOEC_NULL_POINTER, "grad_y is NULL", c.args.grad_y = nullptr);
  REFUSED(MOEC_NULL_POINTER, "saved is NULL", c.args.saved = nullptr);
  REFUSED(MOEC_NULL_POINTER, "workspace is NULL", c.args.workspace = nullptr);
  BackwardCall call(*trained, tokens);
  EXPECT_EQ(moec_layer_backward(nullptr, call.weights, &call.args), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_backward(call.layer, nullptr, &call.args), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_backward(call.layer, call.weights, nullptr), MOEC_NULL_POINTER);
}

TEST_F(BackwardArguments, sizes) {
  size_t need = 0;
  {
    BackwardCall call(*trained, tokens);
    need = call.args.workspace_bytes;
  }
  REFUSED(MOEC_WORKSPACE_TOO_SMALL,
          "workspace has " + std::to_string(need - 1) + " bytes, backward of 5 tokens needs " + std::to_string(need),
          --c.args.workspace_bytes);
  BackwardCall call(*trained, tokens);
  size_t saved = call.args.saved_bytes;
  REFUSED(MOEC_WORKSPACE_TOO_SMALL,
          "saved has " + std::to_string(saved - 1) + " bytes, 5 tokens need " + std::to_string(saved),
          --c.args.saved_bytes);
  REFUSED(MOEC_TOKENS_OUT_OF_RANGE, "num_tokens is 65, expected 0 to 64", c.args.num_tokens = 65);
  REFUSED(MOEC_TOKENS_OUT_OF_RANGE, "num_tokens is -1, expected 0 to 64", c.args.num_tokens = -1);
  REFUSED(MOEC_INVALID_ARGUMENT, "tokens_per_sequence is 2, expected 0 or a divisor of num_tokens 5",
          c.args.tokens_per_sequence = 2);
  REFUSED(MOEC_INVALID_ARGUMENT, "args: struct_size is 8, expected " + std::to_string(sizeof(moec_backward_args)),
          c.args.struct_size = 8);
  REFUSED(MOEC_VERSION_MISMATCH, "args: struct_size is 4096, expected " + std::to_string(sizeof(moec_backward_args)),
          c.args.struct_size = 4096);
}

TEST_F(BackwardArguments, alignment) {
  auto shift = [](auto &pointer, ptrdiff_t by) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(
        const_cast<char *>(reinterpret_cast<const char *>(pointer)) + by);
  };
  for (auto [name, spoil] : std::vector<std::pair<std::string, std::function<void(BackwardCall &)>>>{
           {"x", [&](BackwardCall &c) { shift(c.args.x, 4); }},
           {"grad_y", [&](BackwardCall &c) { shift(c.args.grad_y, 4); }},
           {"grad_x", [&](BackwardCall &c) { shift(c.args.grad_x, 4); }},
           {"saved", [&](BackwardCall &c) { shift(c.args.saved, 64); }},
           {"workspace", [&](BackwardCall &c) { shift(c.args.workspace, 64); }},
           {"grad_losses", [&](BackwardCall &c) { shift(c.args.grad_losses, 2); }}}) {
    BackwardCall call(*trained, tokens);
    spoil(call);
    EXPECT_EQ(call.run(), MOEC_ALIGNMENT) << name;
    EXPECT_EQ(lastError().rfind(name + " ", 0), 0u) << lastError();
  }
}

TEST_F(BackwardArguments, overlaps) {
  auto expectOverlap = [&](const std::function<void(BackwardCall &)> &spoil) {
    BackwardCall call(*trained, tokens);
    spoil(call);
    EXPECT_EQ(call.run(), MOEC_OVERLAP) << lastError();
    EXPECT_NE(lastError().find("share bytes"), std::string::npos) << lastError();
  };
  expectOverlap([](BackwardCall &c) { c.args.grad_x = const_cast<void *>(c.args.x); });
  expectOverlap([](BackwardCall &c) { c.args.grad_x = const_cast<void *>(c.args.grad_y); });
  expectOverlap([](BackwardCall &c) { c.args.grad_x = c.args.workspace; });
  expectOverlap([](BackwardCall &c) { c.args.grad_x = const_cast<void *>(c.args.saved); });
  expectOverlap([](BackwardCall &c) { c.args.workspace = const_cast<void *>(c.args.saved); });
  expectOverlap([&](BackwardCall &c) {
    const_cast<void **>(c.args.grad_parameters)[indexOf("router.weight")] = c.args.workspace;
  });
  expectOverlap([&](BackwardCall &c) { // two gradients in one place
    void **gradients = const_cast<void **>(c.args.grad_parameters);
    gradients[indexOf("experts.up")] = gradients[indexOf("experts.gate")];
  });
}

TEST_F(BackwardArguments, types_and_flags) {
  REFUSED(MOEC_DTYPE, "grad_dtype is 3, expected MOEC_F32 (0) or the weights' type", c.args.grad_dtype = MOEC_I32);
  REFUSED(MOEC_DTYPE, "grad_dtype is 1, expected MOEC_F32 (0) or the weights' type", c.args.grad_dtype = MOEC_BF16);
  REFUSED(MOEC_INVALID_ARGUMENT, "accumulate is 2, expected 0 or 1", c.args.accumulate = 2);
}

TEST_F(BackwardArguments, what_the_layer_does_not_have) {
  float some[64] = {};
  REFUSED(MOEC_INVALID_ARGUMENT, "residual: package trained does not have this input, expected NULL",
          c.args.residual = some);
  REFUSED(MOEC_INVALID_ARGUMENT, "grad_residual: package trained does not have this gradient, expected NULL",
          c.args.grad_residual = some);
  REFUSED(MOEC_INVALID_ARGUMENT, "grad_expert_weights: package trained does not have this gradient, expected NULL",
          c.args.grad_expert_weights = some);
}

TEST_F(BackwardArguments, a_frozen_role_has_no_gradient) {
  auto frozen = TrainedLayer::make(smallTrainedSpec(R"(, "frozen": ["experts.down"])"));
  ASSERT_TRUE(frozen);
  BackwardCall call(*frozen, tokens);
  int32_t index = indexOf("experts.down"), has = 7;
  EXPECT_EQ(moec_layer_role_gradient(call.layer, index, &has), MOEC_OK);
  EXPECT_EQ(has, 0);
  float some[4096] = {};
  const_cast<void **>(call.args.grad_parameters)[index] = some;
  EXPECT_EQ(call.run(), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "grad_parameters[" + std::to_string(index) +
                             "]: role experts.down of package trained has no gradient, expected NULL");
}

TEST_F(BackwardArguments, gradients_of_vectors_are_told_from_those_of_matrices) {
  BackwardCall call(*trained, tokens);
  int32_t has = 7;
  EXPECT_EQ(moec_layer_role_gradient(call.layer, indexOf("experts.up"), &has), MOEC_OK);
  EXPECT_EQ(has, 2);
  EXPECT_EQ(moec_layer_role_gradient(call.layer, indexOf("experts.up_bias"), &has), MOEC_OK);
  EXPECT_EQ(has, 1);
  EXPECT_EQ(moec_layer_role_gradient(call.layer, -1, &has), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(moec_layer_role_gradient(call.layer, 1000, &has), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(moec_layer_role_gradient(call.layer, 0, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_role_gradient(nullptr, 0, &has), MOEC_NULL_POINTER);
}

TEST_F(BackwardArguments, questions_about_memory) {
  BackwardCall call(*trained, tokens);
  size_t bytes = 7;
  EXPECT_EQ(moec_layer_saved_bytes(call.layer, 65, 0, &bytes), MOEC_TOKENS_OUT_OF_RANGE);
  EXPECT_EQ(moec_layer_saved_bytes(call.layer, -1, 0, &bytes), MOEC_TOKENS_OUT_OF_RANGE);
  EXPECT_EQ(moec_layer_saved_bytes(call.layer, 1, 0, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_saved_bytes(nullptr, 1, 0, &bytes), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_backward_workspace_bytes(call.layer, 65, 0, &bytes), MOEC_TOKENS_OUT_OF_RANGE);
  EXPECT_EQ(moec_layer_backward_workspace_bytes(call.layer, 1, 0, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_backward_workspace_bytes(nullptr, 1, 0, &bytes), MOEC_NULL_POINTER);
  EXPECT_EQ(bytes, 7u);
  size_t last = 0;
  for (int64_t t = 0; t <= 64; ++t) {
    EXPECT_EQ(moec_layer_saved_bytes(call.layer, t, 0, &bytes), MOEC_OK);
    EXPECT_GE(bytes, last);
    last = bytes;
  }
}

TEST_F(BackwardArguments, saved_of_a_forward_call) {
  BackwardCall call(*trained, tokens);
  moec_forward_args args = call.forwardArgs;
  --args.saved_bytes;
  EXPECT_EQ(moec_layer_forward(call.layer, call.weights, &args), MOEC_WORKSPACE_TOO_SMALL) << lastError();
  args = call.forwardArgs;
  args.saved = static_cast<char *>(args.saved) + 64;
  EXPECT_EQ(moec_layer_forward(call.layer, call.weights, &args), MOEC_ALIGNMENT) << lastError();
  args = call.forwardArgs;
  args.saved = args.workspace;
  EXPECT_EQ(moec_layer_forward(call.layer, call.weights, &args), MOEC_OVERLAP) << lastError();
}

TEST_F(BackwardArguments, no_tokens) {
  for (int accumulate = 0; accumulate < 2; ++accumulate) {
    BackwardCall call(*trained, 0);
    if (accumulate)
      call.gradients.fillParameters(call.gradients, 1);
    CallGradients before = std::move(*CallGradients::make(*call.layerRun, 0, {"x"}, DataType::F32));
    before.copyParameters(call.gradients);
    call.args.accumulate = accumulate;
    call.args.x = call.args.grad_y = nullptr;
    call.args.saved = nullptr;
    ASSERT_EQ(call.run(), MOEC_OK) << lastError();
    if (accumulate)
      EXPECT_EQ(call.gradients.differing(before), "");
    for (const Gradient &gradient : call.gradients.all)
      for (double v : gradient.values())
        ASSERT_TRUE(accumulate || v == 0) << gradient.name;
  }
}

// Layers in which tokens of a sequence, or of the call, depend on each other; the caller names no sequences.
TEST(BackwardWithoutTokens, clears_the_gradients_of_layers_with_sequences) {
  for (const char *json : {R"({"moec": 1, "name": "slots", "hidden": 16, "passes": ["forward", "backward"],
                               "router": {"kind": "soft", "slots": 2, "scope": "sequence"},
                               "experts": {"count": 3, "intermediate": 8}})",
                           R"({"moec": 1, "name": "slots", "hidden": 16, "passes": ["forward", "backward"],
                               "router": {"kind": "soft", "slots": 2, "scope": "batch"},
                               "experts": {"count": 3, "intermediate": 8}})",
                           R"({"moec": 1, "name": "losses", "hidden": 16, "passes": ["forward", "backward"],
                               "router": {"top_k": 2}, "experts": {"count": 3, "intermediate": 8},
                               "losses": [{"kind": "load_balance", "scope": "sequence", "coef": 0.01}]})"}) {
    std::unique_ptr<TrainedLayer> layer = TrainedLayer::make(json);
    ASSERT_TRUE(layer) << json;
    BackwardCall call(*layer, 0);
    ASSERT_EQ(call.run(), MOEC_OK) << json << lastError();
    for (const Gradient &gradient : call.gradients.all)
      for (double v : gradient.values())
        ASSERT_EQ(v, 0) << json << gradient.name;
  }
}

TEST_F(BackwardArguments, a_layer_that_does_not_train) {
  EditablePass alone(*trained->loaded->get());
  alone.package.backward = nullptr;
  moec_layer *layer = nullptr;
  ASSERT_EQ(moec_layer_create(&alone.package, nullptr, &layer), MOEC_OK) << lastError();
  size_t bytes = 7;
  moec_layer_info info = {};
  info.struct_size = sizeof info;
  EXPECT_EQ(moec_layer_get_info(layer, &info), MOEC_OK);
  EXPECT_EQ(info.trains, 0);
  EXPECT_EQ(moec_layer_backward_workspace_bytes(layer, 1, 0, &bytes), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(),
            "package trained has no backward pass; compile it with \"passes\": [\"forward\", \"backward\"]");
  moec_layer_destroy(layer);
}

} // namespace
