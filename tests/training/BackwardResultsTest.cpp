// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What backward calls promise beyond being right: exact zeros of experts without tokens, NaN that stays where it
// belongs, weights that come back from a file.

#include "tests/training/TrainedLayer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <set>

using namespace moec;

namespace {

// Elements per expert of a gradient with an expert axis; 0: it has none.
int64_t elementsPerExpert(const Gradient &gradient) {
  return gradient.name.rfind("experts.", 0) == 0 ? gradient.numElements() / gradient.shape[0] : 0;
}

// The experts of every token of the call.
std::vector<std::set<int64_t>> expertsOf(BackwardCall &call) {
  std::vector<int32_t> ids(size_t(call.args.num_tokens * call.layerRun->info().top_k));
  moec_forward_args args = call.forwardArgs;
  args.out_ids = ids.data();
  EXPECT_EQ(moec_layer_forward(call.layer, call.weights, &args), MOEC_OK);
  std::vector<std::set<int64_t>> experts(size_t(call.args.num_tokens));
  for (size_t i = 0; i < ids.size(); ++i)
    experts[i / size_t(call.layerRun->info().top_k)].insert(ids[i]);
  return experts;
}

class BackwardResults : public testing::TestWithParam<const char *> {
protected:
  TrainedLayer *make(const std::string &more = "") {
    std::unique_ptr<TrainedLayer> &known = made[GetParam() + more];
    if (!known)
      known = TrainedLayer::make(smallTrainedSpec(more, GetParam()));
    return known.get();
  }
  static void TearDownTestSuite() { made.clear(); }

private:
  static std::map<std::string, std::unique_ptr<TrainedLayer>> made; // compiled once each
};
std::map<std::string, std::unique_ptr<TrainedLayer>> BackwardResults::made;
INSTANTIATE_TEST_SUITE_P(Types, BackwardResults, testing::Values("f32", "bf16"));

TEST_P(BackwardResults, an_expert_without_tokens_has_gradients_of_exactly_zero) {
  TrainedLayer *trained = make();
  ASSERT_TRUE(trained);
  for (DataType type : {DataType::F32, trained->spec.dtype.weight})
    for (int accumulate = 0; accumulate < 2; ++accumulate) {
      BackwardCall call(*trained, 2, type);
      std::set<int64_t> used;
      for (const std::set<int64_t> &experts : expertsOf(call))
        used.insert(experts.begin(), experts.end());
      ASSERT_LT(used.size(), 5u);
      CallGradients before = std::move(*CallGradients::make(*call.layerRun, 2, {"x"}, type));
      before.fillParameters(call.gradients, 4);
      if (accumulate)
        call.gradients.copyParameters(before);
      call.args.accumulate = accumulate;
      call.args.grad_losses = nullptr;
      ASSERT_EQ(call.run(), MOEC_OK) << lastError();
      int checked = 0;
      for (const Gradient &gradient : call.gradients.all) {
        int64_t size = elementsPerExpert(gradient);
        std::vector<double> values = gradient.values(), old = before.find(gradient.name)->values();
        for (int64_t i = 0; size && i < gradient.numElements(); ++i)
          if (!used.count(i / size)) {
            ASSERT_EQ(values[size_t(i)], accumulate ? old[size_t(i)] : 0) << gradient.name << " " << i;
            ++checked;
          }
      }
      EXPECT_GT(checked, 1000);
    }
}

TEST_P(BackwardResults, nan_in_one_token_stays_in_what_that_token_touches) {
  TrainedLayer *trained = make();
  ASSERT_TRUE(trained);
  constexpr int64_t tokens = 9, spoilt = 4;
  BackwardCall call(*trained, tokens), same(*trained, tokens);
  std::set<int64_t> touched = expertsOf(call)[spoilt];
  ASSERT_EQ(touched.size(), 2u);
  DataType type = trained->spec.dtype.activation;
  for (int64_t i = 0; i < trained->spec.hidden; ++i)
    storeElement(call.dy.data(), type, spoilt * trained->spec.hidden + i, NAN);
  ASSERT_EQ(call.run(), MOEC_OK);
  ASSERT_EQ(same.run(), MOEC_OK);
  size_t nan = 0, clean = 0;
  for (const Gradient &gradient : call.gradients.all) {
    int64_t size = elementsPerExpert(gradient);
    std::vector<double> values = gradient.values(), others = same.gradients.find(gradient.name)->values();
    for (size_t i = 0; i < values.size(); ++i) {
      bool may = gradient.name == "x" ? int64_t(i) / trained->spec.hidden == spoilt
                 : size               ? touched.count(int64_t(i) / size) > 0
                                      : true;
      nan += std::isnan(values[i]);
      clean += !may;
      if (!may)
        ASSERT_EQ(values[i], others[i]) << gradient.name << " " << i;
      else if (gradient.name == "x" || size)
        ASSERT_TRUE(std::isnan(values[i])) << gradient.name << " " << i;
    }
  }
  EXPECT_GT(nan, 100u);
  EXPECT_GT(clean, 100u);
}

// Forward that saves nothing has gate and up in one region. Of 20 columns its panels hold two blocks of 16, and a depth
// of 32 has two: with 40 there are three and four. What lies behind an expert's last block is the next expert's.
TEST_P(BackwardResults, matrices_of_one_expert_stay_out_of_the_gradients_of_others) {
  for (const char *width : {"20", "40"}) {
    std::string more = std::string(R"(, "experts": {"count": 5, "intermediate": )") + width + "}";
    std::string json =
        std::string(R"({"moec": 1, "name": "spoilt", "dtype": ")") + GetParam() +
        R"(", "hidden": 24, "router": {"select": {"k": 1}}, "save": "inputs", "passes": ["forward", "backward"])" +
        more + "}";
    std::unique_ptr<TrainedLayer> trained = TrainedLayer::make(json);
    ASSERT_TRUE(trained);
    BackwardCall clean(*trained, 3);
    ASSERT_EQ(clean.run(), MOEC_OK) << lastError();
    std::set<int64_t> used;
    for (const std::set<int64_t> &experts : expertsOf(clean))
      used.insert(experts.begin(), experts.end());
    for (auto &[role, tensor] : trained->weights.tensors) {
      int64_t elements = 1;
      for (int64_t extent : tensor.shape)
        elements *= extent;
      for (int64_t i = 0; role.rfind("experts.", 0) == 0 && i < elements; ++i)
        if (!used.count(i / (elements / 5)))
          storeElement(const_cast<void *>(tensor.data), tensor.type, i, NAN);
    }
    BackwardCall spoilt(*trained, 3);
    ASSERT_EQ(spoilt.run(), MOEC_OK) << lastError();
    EXPECT_EQ(clean.gradients.differing(spoilt.gradients), "");
    EXPECT_FALSE(std::isnan(spoilt.gradients.find("x")->values()[0]));
  }
}

// Both passes read the same panels, those of gate and up in one region too.
TEST_P(BackwardResults, matrices_are_packed_once) {
  TrainedLayer *trained = make();
  ASSERT_TRUE(trained);
  EXPECT_EQ(trained->forward->header().packed_bytes, trained->backward->header().packed_bytes);
  int shared = 0;
  for (size_t i = 0; i < trained->backward->header().weights.count; ++i) {
    const moec_weight &weight = trained->backward->weight(i);
    EXPECT_EQ(weight.derived == MOEC_DERIVED_SHARED, weight.transposed == 1) << i;
    shared += weight.transposed;
  }
  EXPECT_EQ(shared, 4); // router, gate, up, down
}

TEST_P(BackwardResults, several_calls_add_up) {
  TrainedLayer *trained = make();
  ASSERT_TRUE(trained);
  BackwardCall once(*trained, 6), twice(*trained, 6);
  ASSERT_EQ(once.run(), MOEC_OK);
  ASSERT_EQ(twice.run(), MOEC_OK);
  twice.args.accumulate = 1;
  ASSERT_EQ(twice.run(), MOEC_OK); // any number of calls may read what one forward call saved
  for (const Gradient &gradient : twice.gradients.all) {
    std::vector<double> values = gradient.values(), one = once.gradients.find(gradient.name)->values();
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], (gradient.role < 0 ? 1 : 2) * one[i]) << gradient.name << " " << i;
  }
}

TEST_P(BackwardResults, packed_weights_of_both_passes_come_back_from_a_file) {
  TrainedLayer *trained = make();
  ASSERT_TRUE(trained);
  BackwardCall packed(*trained, 7), mapped(*trained, 7);
  ASSERT_EQ(packed.run(), MOEC_OK);
  size_t bytes = 0, ofForward = 0;
  ASSERT_EQ(moec_layer_weights_bytes(packed.layer, &bytes), MOEC_OK);
  std::string path = testing::TempDir() + "trained_" + GetParam() + ".weights";
  {
    std::ofstream file(path, std::ios::binary);
    file.write(static_cast<const char *>(packed.packed.data()), std::streamsize(bytes));
  }
  PageBuffer read(bytes);
  {
    std::ifstream file(path, std::ios::binary);
    ASSERT_TRUE(file.read(static_cast<char *>(read.data()), std::streamsize(bytes)));
  }
  std::remove(path.c_str());
  moec_weights *weights = nullptr;
  ASSERT_EQ(moec_weights_map(mapped.layer, read.data(), bytes, 1, &weights), MOEC_OK) << lastError();
  ASSERT_EQ(moec_layer_backward(mapped.layer, weights, &mapped.args), MOEC_OK) << lastError();
  EXPECT_EQ(mapped.gradients.differing(packed.gradients), "");
  moec_weights_destroy(weights);
  // it is also that of the layer without its backward pass
  EditablePass alone(*trained->loaded->get());
  alone.package.backward = nullptr;
  moec_layer *layer = nullptr;
  ASSERT_EQ(moec_layer_create(&alone.package, nullptr, &layer), MOEC_OK);
  ASSERT_EQ(moec_layer_weights_bytes(layer, &ofForward), MOEC_OK);
  EXPECT_EQ(ofForward, bytes);
  ASSERT_EQ(moec_weights_map(layer, read.data(), bytes, 0, &weights), MOEC_OK) << lastError();
  moec_weights_destroy(weights);
  moec_layer_destroy(layer);
}

TEST_P(BackwardResults, frozen_experts_are_not_touched) {
  TrainedLayer *trained = make(R"(, "frozen": ["experts.*[0:3]"])");
  ASSERT_TRUE(trained);
  BackwardCall call(*trained, 20);
  ASSERT_EQ(call.run(), MOEC_OK);
  for (const Gradient &gradient : call.gradients.all) {
    int64_t size = elementsPerExpert(gradient);
    std::vector<double> values = gradient.values();
    bool some = false;
    for (int64_t i = 0; size && i < gradient.numElements(); ++i) {
      if (i / size < 3)
        ASSERT_EQ(values[size_t(i)], 0) << gradient.name;
      else
        some |= values[size_t(i)] != 0;
    }
    EXPECT_TRUE(some || !size) << gradient.name;
  }
}

} // namespace
