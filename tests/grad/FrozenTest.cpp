// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Frozen roles and experts: no gradient and no work for them, and the same gradients of everything else.

#include "tests/grad/GradientCase.h"

#include "dsl/Frozen.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

std::string layer(const char *experts, const char *frozen) {
  return std::string(R"({"moec": 1, "name": "frozen", "dtype": "f32", "hidden": 6, "router": {"top_k": 2},)") +
         R"("experts": {"count": 5, "bias": {"in": true, "out": true}, "act": "silu", "intermediate": )" + experts +
         "}," + R"("passes": ["forward", "backward"], "frozen": )" + frozen + "}";
}

std::map<std::string, interpret::TensorRef> gradients(GradientCase &one, const std::string &text) {
  EXPECT_TRUE(one.both.built.read(text));
  const LayerSpec &spec = *one.both.built.spec;
  GradientOptions options;
  options.frozen = {[&](llvm::StringRef role) { return isFrozen(spec, role.str()); },
                    [&](llvm::StringRef role, int64_t experts) { return frozenExperts(spec, role.str(), experts); }};
  EXPECT_TRUE(one.both.built.buildGradient("", options));
  EXPECT_TRUE(one.prepare(9, 4) && one.runInterpreter());
  std::map<std::string, interpret::TensorRef> out;
  for (auto &[role, tensor] : one.gradients())
    out[role] = tensor;
  return out;
}

template <typename Op> int countOps(GradientCase &one) {
  int count = 0;
  one.both.built.layer.walk([&](Op) { ++count; });
  return count;
}

TEST(Frozen, roles_have_no_gradient_and_no_product) {
  GradientCase all, some;
  auto want = gradients(all, layer("7", "[]")), got = gradients(some, layer("7", R"(["experts.*"])"));
  EXPECT_EQ(got.size(), 2u); // x and the router
  EXPECT_EQ(got.count("experts.up"), 0u);
  EXPECT_EQ(got.at("x")->data, want.at("x")->data);
  EXPECT_EQ(got.at("router.weight")->data, want.at("router.weight")->data);
  EXPECT_EQ(countOps<moe::GroupedOuterOp>(all), 4);
  EXPECT_EQ(countOps<moe::GroupedOuterOp>(some), 1);
  EXPECT_EQ(countOps<moe::GroupSumOp>(some), 0);
}

void expectFrozen(const char *widths, const std::string &role, int64_t frozenFirst, int64_t frozenLast) {
  SCOPED_TRACE(role);
  GradientCase all, some;
  auto want = gradients(all, layer(widths, "[]")), got = gradients(some, layer(widths, R"(["experts.*[1:3]"])"));
  ASSERT_EQ(want.count(role), 1u);
  const interpret::Tensor &tensor = *want.at(role);
  int64_t each = int64_t(tensor.data.size()) / tensor.shape[0];
  double before = 0;
  for (int64_t i = 0; i < int64_t(tensor.data.size()); ++i) {
    bool frozen = i / each >= frozenFirst && i / each < frozenLast;
    EXPECT_EQ(got.at(role)->data[size_t(i)], frozen ? 0 : tensor.data[size_t(i)]);
    before += frozen ? std::fabs(tensor.data[size_t(i)]) : 0;
  }
  EXPECT_GT(before, 0);
}

TEST(Frozen, ranges_of_experts_are_zero_and_others_as_before) {
  for (const char *role : {"experts.gate", "experts.up", "experts.down", "experts.gate_bias", "experts.down_bias"})
    expectFrozen("7", role, 1, 3);
}

TEST(Frozen, entries) {
  EXPECT_TRUE(parseFrozen("experts.*[0:8]")->names("experts.up"));
  EXPECT_FALSE(parseFrozen("experts.*")->names("expert.up"));
  EXPECT_FALSE(parseFrozen("experts.up")->names("experts.up_bias"));
  EXPECT_EQ(parseFrozen("a[2:5]")->range, std::make_pair(int64_t(2), int64_t(5)));
  for (const char *wrong : {"a[", "a[1]", "a[3:3]", "a[-1:2]", "a[1:2", "a[1:2]]", "a[x:y]"})
    EXPECT_FALSE(parseFrozen(wrong)) << wrong;
}

} // namespace
