// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What --det batch promises: a row's bits depend neither on the other rows of the call, nor on threads, nor on which of
// avx2, avx512 and avx512_bf16 runs; and where they differ, which is at subnormal numbers.

#include "CompiledLayer.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace moec {
namespace {

std::vector<CpuTarget> sameTargets() {
  std::vector<CpuTarget> targets;
  for (const CpuTarget &target : cpuTargets())
    if (!target.emulated && target.isa != Isa::Baseline && machineRuns(target))
      targets.push_back(target);
  return targets;
}

struct Kind {
  const char *label, *router, *experts, *rest;
};
const Kind kinds[] = {
    {"softmax", R"("top_k": 3, "normalize": {"kind": "sum"})", R"("count": 21)", R"(, "shared": {"intermediate": 45})"},
    {"sigmoid_groups",
     R"("score": "sigmoid", "choice_bias": true, "groups": {"count": 3, "keep": 2, "score": "top2_sum"}, "top_k": 4)",
     R"("count": 33, "bias": {"in": true, "out": true})", ""},
    {"norms", R"("transform": [{"op": "cosine", "scale": 10}], "top_k": 2)", R"("count": 7, "act": "gelu_tanh")",
     R"(, "combine": {"apply": "input"})"},
    {"rounded_rows", R"("top_k": 3)", R"("count": 9)",
     R"(, "shared": {"intermediate": 45}, "combine": {"rows": "activation"})"},
};

std::string jsonOf(const Kind &kind, const std::string &dtype) {
  return R"({"moec": 1, "name": "bits", "dtype": ")" + dtype + R"(", "hidden": 75, "router": {"logit_dtype": "f32", )" +
         kind.router + R"(}, "experts": {"intermediate": 53, )" + kind.experts + "}" + kind.rest + "}";
}

// Rows of x that hold what breaks arithmetic: huge, infinite, not a number, zeros of both signs, terms that cancel.
std::vector<float> hostileX(const CompiledLayer &layer, int64_t tokens) {
  std::vector<float> x = layer.randomX(tokens);
  const float infinity = std::numeric_limits<float>::infinity();
  const float values[] = {0.0f,          -0.0f,    3e38f,     -3e38f, infinity, -infinity,
                          std::nanf(""), 1.00781f, -1.00781f, 1e-15f, 65536.0f};
  size_t hidden = x.size() / size_t(tokens);
  for (size_t t = 0; t < size_t(tokens); t += 3)
    for (size_t i = 0; i < 1 + t % 4; ++i)
      x[t * hidden + (7 * t + 31 * i) % hidden] = roundedTo(layer.spec.dtype.activation, values[(t + i) % 11]);
  return x;
}

// A NaN of one instruction set may have other bits than that of another.
bool sameY(const CallResult &one, const CallResult &other) {
  for (size_t i = 0; i < one.y.size(); ++i)
    if (std::isnan(one.y[i]) != std::isnan(other.y[i]) ||
        (!std::isnan(one.y[i]) && (one.y[i] != other.y[i] || std::signbit(one.y[i]) != std::signbit(other.y[i]))))
      return false;
  return one.y.size() == other.y.size();
}

void checkKind(const Kind &kind, const std::string &dtype) {
  SCOPED_TRACE(std::string(kind.label) + " " + dtype);
  std::vector<CallResult> plain, hostile;
  std::vector<std::string> names;
  for (const CpuTarget &target : sameTargets()) {
    auto layer = CompiledLayer::make(jsonOf(kind, dtype), target);
    ASSERT_TRUE(layer);
    layer->scale("router.weight", 0.25f);
    layer->pack();
    std::vector<float> x = layer->randomX(150);
    plain.push_back(layer->run(x, {2}));
    hostile.push_back(layer->run(hostileX(*layer, 150), {3}));
    names.push_back(target.name);
    // every row of a call of 150, in calls of 1 and of 9
    size_t hidden = x.size() / 150;
    for (int64_t first : {0, 1, 77, 149}) {
      CallResult alone = layer->run({x.begin() + first * hidden, x.begin() + (first + 1) * hidden});
      EXPECT_TRUE(std::equal(alone.y.begin(), alone.y.end(), plain.back().y.begin() + first * hidden))
          << target.name << " row " << first << " alone";
    }
    CallResult nine = layer->run({x.begin() + 60 * hidden, x.begin() + 69 * hidden}, {3});
    EXPECT_TRUE(std::equal(nine.y.begin(), nine.y.end(), plain.back().y.begin() + 60 * hidden)) << target.name;
  }
  for (size_t i = 1; i < plain.size(); ++i) {
    EXPECT_TRUE(plain[0].sameBits(plain[i])) << names[0] << " and " << names[i];
    EXPECT_TRUE(sameY(hostile[0], hostile[i])) << names[0] << " and " << names[i] << ", hostile";
    EXPECT_EQ(hostile[0].ids, hostile[i].ids) << names[0] << " and " << names[i] << ", hostile";
  }
}

TEST(SameBits, bf16_on_every_instruction_set_and_in_every_call) {
  if (sameTargets().size() < 2)
    GTEST_SKIP() << "this machine has fewer than two of avx2, avx512 and avx512_bf16";
  for (const Kind &kind : kinds)
    checkKind(kind, "bf16");
}

TEST(SameBits, f32_on_every_instruction_set_and_in_every_call) {
  if (sameTargets().size() < 2)
    GTEST_SKIP() << "this machine has fewer than two of avx2, avx512 and avx512_bf16";
  for (const Kind &kind : kinds)
    checkKind(kind, "f32");
}

// vdpbf16ps takes subnormal factors as zero and makes no subnormal sum; FMA keeps both.
TEST(SameBits, subnormal_numbers_are_where_they_differ) {
  const CpuTarget dot = {"avx512_bf16", Isa::Avx512Bf16, false}, fma = {"avx2", Isa::Avx2, false};
  if (!machineRuns(dot))
    GTEST_SKIP() << "this machine has no avx512_bf16";
  const std::string json =
      R"({"moec": 1, "name": "tiny", "dtype": {"activation": "bf16", "weight": "bf16", "output": "f32"}, "hidden": 32,
    "router": {"top_k": 1}, "experts": {"count": 1, "intermediate": 32, "form": "mlp", "act": "identity"}})";
  std::vector<double> sums;
  for (const CpuTarget &target : {dot, fma}) {
    auto layer = CompiledLayer::make(json, target);
    ASSERT_TRUE(layer);
    for (const char *role : {"experts.up", "experts.down"}) { // the identity
      std::vector<float> &matrix = layer->tensor(role);
      for (size_t i = 0; i < matrix.size(); ++i)
        matrix[i] = i % 33 == 0 ? 1.0f : 0.0f;
    }
    layer->pack();
    CallResult result = layer->run(std::vector<float>(32, 0x1p-130f));
    sums.push_back(result.y[0]);
  }
  EXPECT_EQ(sums[0], 0.0);
  EXPECT_EQ(sums[1], double(0x1p-130f));
}

} // namespace
} // namespace moec
