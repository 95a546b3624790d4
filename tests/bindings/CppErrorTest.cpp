// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp: every wrong argument is an Error with a sentence, and the caller's memory stays as it was.

#include "CppLayer.h"

using namespace moec;
using namespace moec::test;

namespace {

class CppError : public testing::Test {
protected:
  CppError() : layer(tinyLayer()), weights(*layer.pack(tensorsOf(TinyWeights(1)))), workspace(*layer.workspace(2)) {}
  Forward call() { return layer.forward(weights).x(x).y(y); }
  std::string messageOfRun(Forward &forward) { return messageOf(forward.run(workspace)); }

  Layer layer;
  Weights weights;
  Buffer workspace;
  std::vector<float> x = randomInput(2, 1), y = std::vector<float>(16, 7.0f);
};

} // namespace

TEST_F(CppError, numbers_of_elements) {
  std::vector<float> odd(17), floats(3);
  std::vector<int32_t> ints(3);
  EXPECT_EQ(messageOfRun(call().x(odd)), "MOEC_SHAPE: x has 17 elements, expected a multiple of 8");
  EXPECT_EQ(messageOfRun(call().y(odd)), "MOEC_SHAPE: y has 17 elements, expected 16 for 2 tokens");
  EXPECT_EQ(messageOfRun(call().ids(ints)), "MOEC_SHAPE: ids has 3 elements, expected 4 for 2 tokens");
  EXPECT_EQ(messageOfRun(call().weights(floats)), "MOEC_SHAPE: weights has 3 elements, expected 4 for 2 tokens");
  EXPECT_EQ(messageOfRun(call().logits(floats)), "MOEC_SHAPE: logits has 3 elements, expected 8 for 2 tokens");
  EXPECT_EQ(messageOfRun(call().counts(ints)), "MOEC_SHAPE: counts has 3 elements, expected 4 for 2 tokens");
  EXPECT_EQ(messageOfRun(call().uniform(floats)), "MOEC_SHAPE: uniform has 3 elements, expected 2 for 2 tokens");
  EXPECT_EQ(messageOfRun(call().top_k(ints)), "MOEC_SHAPE: top_k has 3 elements, expected 1 for 2 tokens");
  EXPECT_EQ(y, std::vector<float>(16, 7.0f));
  EXPECT_EQ(messageOf(call().ids(ints).workspace_bytes()), "MOEC_SHAPE: ids has 3 elements, expected 4 for 2 tokens");
}

TEST_F(CppError, types) {
  std::vector<bf16> half(16);
  EXPECT_EQ(messageOfRun(call().x(half)), "MOEC_DTYPE: x holds bf16, layer tiny expects f32");
  EXPECT_EQ(messageOfRun(call().y(half)), "MOEC_DTYPE: y holds bf16, layer tiny expects f32");
}

TEST_F(CppError, what_the_layer_does_not_have) {
  std::vector<float> noise(8), losses(1);
  EXPECT_EQ(messageOfRun(call().noise(noise)),
            "MOEC_INVALID_ARGUMENT: noise: package tiny does not have this input, expected NULL");
  std::string text = messageOfRun(call().losses(losses));
  EXPECT_NE(text.find("out_losses: package tiny does not have this output"), std::string::npos) << text;
}

TEST_F(CppError, missing_arguments) {
  Forward empty = layer.forward(weights).x(x);
  EXPECT_EQ(messageOfRun(empty), "MOEC_NULL_POINTER: y is NULL");
  Forward outputs = layer.forward(weights).y(y); // no x: no tokens
  EXPECT_EQ(messageOfRun(outputs), "MOEC_SHAPE: y has 16 elements, expected 0 for 0 tokens");
  EXPECT_EQ(messageOf(call().run(nullptr, 0)), "MOEC_NULL_POINTER: workspace is NULL");
  EXPECT_EQ(messageOf(call().y(x).run(workspace)), "MOEC_OVERLAP: x and y share bytes");
}

TEST_F(CppError, weights) {
  std::vector<float> few(5);
  std::vector<Tensor> tensors = {{"experts.gate", few}};
  EXPECT_EQ(messageOf(layer.pack(tensors)), "MOEC_SHAPE: experts.gate: 5 elements, expected those of [4, 6, 8]");
  EXPECT_EQ(messageOf(layer.pack({{"experts.gate.2", few}})),
            "MOEC_SHAPE: experts.gate.2: 5 elements, expected those of [6, 8]");
  EXPECT_EQ(messageOf(layer.pack({{"experts.gate", few, {5, 0}}})),
            "MOEC_SHAPE: experts.gate: 5 elements, expected those of [5, 0]");
  EXPECT_EQ(messageOf(layer.pack({{"experts.gate", few, {-5, -1}}})),
            "MOEC_SHAPE: experts.gate: 5 elements, expected those of [-5, -1]");
  EXPECT_EQ(messageOf(layer.pack({{"experts.gate", few, {1, 1, 1, 1, 5}}})),
            "MOEC_SHAPE: experts.gate: 5 dimensions, expected 1 to 4");
  EXPECT_EQ(layer.pack({{"nothing", few}}).error().status, MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(layer.pack({}).error().status, MOEC_MISSING_WEIGHT);
  Result<Weights> missing = layer.load("/nowhere/model.safetensors");
  EXPECT_EQ(missing.error().status, MOEC_FILE);
  EXPECT_NE(missing.error().text.find("/nowhere/model.safetensors"), std::string::npos) << missing.error().text;
  EXPECT_EQ(layer.map(workspace.data(), 20).error().status, MOEC_WORKSPACE_TOO_SMALL);
}

TEST_F(CppError, packages) {
  EXPECT_EQ(messageOf(Layer::create(nullptr)), "MOEC_NULL_POINTER: package is NULL");
  EXPECT_EQ(messageOf(Package::open("/nowhere")),
            "MOEC_FILE: /nowhere: expected a package's folder, or its lib/libNAME.so");
  std::string text = messageOf(Package::open("/nowhere/libtiny.so"));
  EXPECT_EQ(text.find("MOEC_FILE: cannot load the package: /nowhere/libtiny.so"), 0u) << text;
  EXPECT_EQ(messageOf(Package::open(SHARED_PACKAGE "/lib/../..")),
            "MOEC_FILE: " SHARED_PACKAGE "/lib/../..: expected a package's folder, or its lib/libNAME.so");
}

TEST_F(CppError, options) {
  LayerOptions options;
  options.threads = -1;
  EXPECT_EQ(Layer::create(tiny_package(), options).error().status, MOEC_INVALID_ARGUMENT);
  PoolOptions pool;
  pool.threads = 2000;
  EXPECT_EQ(messageOf(Pool::create(pool)), "MOEC_INVALID_ARGUMENT: options: threads is 2000, expected 0 to 1024");
}

TEST_F(CppError, a_result_that_is_ok_has_no_error) {
  EXPECT_EQ(layer.workspace_bytes(1).error().message(), "MOEC_OK: ");
  EXPECT_EQ(call().run(workspace).error().message(), "MOEC_OK: ");
}

TEST_F(CppError, exceptions_carry_the_error) {
  try {
    or_throw(layer.pack({}));
    FAIL();
  } catch (const Exception &exception) {
    EXPECT_EQ(exception.error.status, MOEC_MISSING_WEIGHT);
    EXPECT_EQ(std::string(exception.what()).find("MOEC_MISSING_WEIGHT: "), 0u) << exception.what();
  }
  EXPECT_THROW(or_throw(call().run(nullptr, 0)), Exception);
  EXPECT_NO_THROW(or_throw(call().run(workspace)));
}

TEST_F(CppError, value_of_an_error_ends_the_program_with_its_text) {
  EXPECT_DEATH(layer.load("/nowhere").value(), "moec: MOEC_FILE: .*/nowhere");
  EXPECT_DEATH(call().run(nullptr, 0).value(), "moec: MOEC_NULL_POINTER: workspace is NULL");
}
