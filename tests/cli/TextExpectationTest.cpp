// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A bf16 layer of the dialect, a right call of it and wrong ones: only the right one agrees, with limits that follow
// from the layer.

#include "codegen/cli/TextExpectation.h"

#include "codegen/check/RandomSource.h"
#include "codegen/fuse/NumericModes.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

constexpr int64_t tokens = 20, hidden = 32, experts = 8;

// The router's logits are exact f32; outputs of experts are bf16, as is y.
const char *const layerText = R"(
func.func @m(%x: tensor<?x32xbf16> {moe.role = "x"}, %r: tensor<8x32xbf16> {moe.role = "router.weight"},
             %up: tensor<8x16x32xbf16> {moe.role = "experts.up"},
             %down: tensor<8x32x16xbf16> {moe.role = "experts.down"})
    -> (tensor<?x32xbf16> {moe.role = "y"}, tensor<?x8xf32> {moe.role = "logits"}, tensor<?x2xi32> {moe.role = "ids"},
        tensor<?x2xf32> {moe.role = "weights"}) {
  %z = moe.grouped_matmul %x : tensor<?x32xbf16> by %r : tensor<8x32xbf16> -> tensor<?x8xf32>
  %s = moe.softmax %z : tensor<?x8xf32>
  %ids = moe.top_k 2 of %s : tensor<?x8xf32> -> tensor<?x2xi32>
  %w = moe.take %s at %ids : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %route = moe.dispatch %ids {moe.experts} : tensor<?x2xi32> -> !moe.route<8 groups, 2 choices>
  %g = moe.gather %x, %route : tensor<?x32xbf16>, !moe.route<8 groups, 2 choices> -> tensor<?x32xbf16>
  %a = moe.grouped_matmul %g : tensor<?x32xbf16> by %up : tensor<8x16x32xbf16>
    over %route : !moe.route<8 groups, 2 choices> -> tensor<?x16xf32>
  %h = moe.map (%v = %a elem : tensor<?x16xf32>) -> tensor<?x16xbf16> {
    %t = math.tanh %v : f32
    %n = arith.truncf %t : f32 to bf16
    moe.yield %n : bf16
  }
  %o = moe.grouped_matmul %h : tensor<?x16xbf16> by %down : tensor<8x32x16xbf16>
    over %route : !moe.route<8 groups, 2 choices> -> tensor<?x32xf32>
  %c = moe.combine %o : tensor<?x32xf32>
    over %route : !moe.route<8 groups, 2 choices> weighted %w : tensor<?x2xf32> -> tensor<?x32xf32>
  %y = moe.map (%v = %c elem : tensor<?x32xf32>) -> tensor<?x32xbf16> {
    %n = arith.truncf %v : f32 to bf16
    moe.yield %n : bf16
  }
  return %y, %z, %ids, %w : tensor<?x32xbf16>, tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>
}
)";

class TextCall : public testing::Test {
protected:
  void SetUp() override {
    std::vector<Diagnostic> errors;
    text.parsed = parseLayerText(layerText, "m.mlir", errors);
    ASSERT_TRUE(text.parsed) << errors[0].message;
    text.hidden = hidden;
    text.choices = 2;
    text.experts = experts;
    text.activation = DataType::BF16;
    text.freedom = 32;
    uint64_t seed = 1;
    for (mlir::Type type : text.layer().getArgumentTypes()) {
      auto tensor = std::make_shared<interpret::Tensor>();
      int64_t count = 1;
      for (int64_t extent : mlir::cast<mlir::RankedTensorType>(type).getShape()) {
        tensor->shape.push_back(mlir::ShapedType::isDynamic(extent) ? tokens : extent);
        count *= tensor->shape.back();
      }
      std::vector<uint16_t> narrow(static_cast<size_t>(count));
      fillNormal(narrow.data(), DataType::BF16, count, 0, seed == 1 ? 1 : 0.2, seed);
      for (int64_t i = 0; i < count; ++i)
        tensor->data.push_back(loadElement(narrow.data(), DataType::BF16, i));
      arguments.push_back({tensor, nullptr});
      ++seed;
    }
    for (int64_t t = 0; t < tokens; ++t)
      all.push_back(t);
    moec_layer_info info = {};
    info.hidden = hidden;
    info.top_k = 2;
    info.num_logits = info.num_experts = experts;
    info.y_dtype = MOEC_BF16;
    out = std::make_unique<CallOutputs>(info, tokens);
    interpret::CallResults right;
    std::string reason;
    ASSERT_TRUE(run(nullptr, right, reason)) << reason;
    for (int64_t i = 0; i < tokens * hidden; ++i)
      storeElement(out->y.data(), DataType::BF16, i, right.results[0].tensor->data[size_t(i)]);
    auto fill = [](auto &to, const std::vector<double> &from) { to.assign(from.begin(), from.end()); };
    fill(out->logits, right.results[1].tensor->data);
    fill(out->ids, right.results[2].tensor->data);
    fill(out->weights, right.results[3].tensor->data);
    out->counts.assign(right.counts.begin(), right.counts.end());
  }

  bool run(ReferenceRounding *errors, interpret::CallResults &results, std::string &reason) {
    interpret::CallShape shape;
    shape.tokens = tokens;
    shape.round.errors = errors;
    exact = decidingStages(text.layer());
    shape.exact = &exact;
    return succeeded(interpret::interpret(text.layer(), arguments, shape, results));
  }

  std::string verdict(bool tf32 = false) {
    TextExpectation expectation(text, all);
    OracleResult result;
    std::string reason;
    auto interpreted = [&](ReferenceRounding *errors, interpret::CallResults &results, std::string &why) {
      return run(errors, results, why);
    };
    bool passed = expectation.make(tf32, interpreted, reason) && expectation.compare(*out, result, reason);
    EXPECT_EQ(passed, reason.empty());
    tied = result.tied;
    rows = result.compared.rows;
    ofLimit = result.worst.ofLimit;
    return reason;
  }

  double y(int64_t i) const { return loadElement(out->y.data(), DataType::BF16, i); }
  void setY(int64_t i, double v) { storeElement(out->y.data(), DataType::BF16, i, v); }

  TextLayer text;
  std::vector<interpret::Evaluated> arguments;
  llvm::DenseSet<mlir::Operation *> exact;
  std::vector<int64_t> all;
  std::unique_ptr<CallOutputs> out;
  size_t tied = 0, rows = 0;
  double ofLimit = 0;
};

TEST_F(TextCall, what_the_interpreter_gives_agrees) {
  EXPECT_EQ(verdict(), "");
  EXPECT_EQ(rows, size_t(tokens));
  EXPECT_EQ(tied, 0u);
}

TEST_F(TextCall, last_bits_of_bf16_may_differ) {
  for (int64_t i = 0; i < tokens * hidden; i += 7)
    setY(i, y(i) * (1 + 0x1p-8));
  EXPECT_EQ(verdict(), "");
  EXPECT_GT(ofLimit, 0.1);
}

TEST_F(TextCall, four_last_bits_may_not) {
  setY(40, y(40) + 0.05 * std::fabs(y(40)) + 0.02);
  EXPECT_NE(verdict().find("y: FAIL row 1 column 8 "), std::string::npos);
}

TEST_F(TextCall, a_row_two_per_cent_too_large_is_seen) {
  for (int64_t i = 3 * hidden; i < 4 * hidden; ++i)
    setY(i, y(i) * 1.02);
  EXPECT_NE(verdict().find("row 3"), std::string::npos);
}

TEST_F(TextCall, all_rows_too_large_are_seen) {
  for (int64_t i = 0; i < tokens * hidden; ++i)
    setY(i, y(i) * 1.008);
  EXPECT_EQ(verdict().rfind("y: FAIL ", 0), 0u);
}

TEST_F(TextCall, an_element_that_was_not_written_is_seen) {
  setY(tokens * hidden - 1, std::numeric_limits<double>::quiet_NaN());
  EXPECT_NE(verdict().find("y: FAIL row 19 column 31 is nan"), std::string::npos);
}

TEST_F(TextCall, logits_and_weights_have_the_limits_of_f32) {
  out->logits[5] += 2e-5f;
  EXPECT_NE(verdict().find("logits"), std::string::npos);
  out->logits[5] -= 2e-5f;
  out->weights[7] *= 1.00002f;
  EXPECT_NE(verdict().find("weights"), std::string::npos);
}

TEST_F(TextCall, another_expert_is_wrong) {
  out->ids[4] = (out->ids[4] + 1) % experts;
  EXPECT_NE(verdict().find("ids and weights"), std::string::npos);
}

TEST_F(TextCall, a_count_is_exact) {
  ++out->counts[2];
  EXPECT_NE(verdict().find("counts[2]"), std::string::npos);
}

TEST_F(TextCall, an_output_that_the_package_lacks_is_seen) {
  out->weights.clear();
  EXPECT_EQ(verdict(), "the package lacks weights, which the layer returns");
}

// Two experts with the same weights in the router but for one bit: which one is better f32 does not know.
TEST_F(TextCall, a_token_that_rounding_decides_about_is_tied) {
  auto router = std::make_shared<interpret::Tensor>(*arguments[1].tensor);
  for (int64_t h = 0; h < hidden; ++h)
    router->at(1, h) = router->at(0, h) * (1 + 1e-9);
  arguments[1].tensor = router;
  interpret::CallResults right;
  std::string reason;
  ASSERT_TRUE(run(nullptr, right, reason));
  size_t other = 0;
  for (size_t t = 0; t < size_t(tokens); ++t)
    for (size_t j = 0; j < 2; ++j) {
      double id = right.results[2].tensor->data[2 * t + j];
      out->ids[2 * t + j] = int32_t(id <= 1 && right.results[2].tensor->data[2 * t + 1 - j] > 1 ? 1 - id : id);
      other += out->ids[2 * t + j] != int32_t(id);
      out->weights[2 * t + j] = float(right.results[3].tensor->data[2 * t + j]);
      for (size_t e = 0; e < size_t(experts) && j == 0; ++e)
        out->logits[t * experts + e] = float(right.results[1].tensor->data[t * experts + e]);
    }
  for (int64_t i = 0; i < tokens * hidden; ++i)
    setY(i, right.results[0].tensor->data[size_t(i)]);
  ASSERT_GT(other, 0u);
  EXPECT_EQ(verdict(), "");
  EXPECT_EQ(tied, other);
}

} // namespace
