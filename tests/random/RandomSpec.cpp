// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// random_spec SEED [MOST [EXPERTS]] -> the JSON spec of one random valid layer on stdout. Sizes are at most MOST (default
// 200), and rather odd than even, experts at most EXPERTS (140) and their groups; every key of the forward vocabulary that packages hold is used by some seed.

#include "nlohmann/json.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

using Json = nlohmann::ordered_json;

namespace {

class Random {
public:
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}

  uint64_t next() { // SplitMix64
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  int64_t in(int64_t low, int64_t high) { return low + int64_t(next() % uint64_t(high - low + 1)); }
  bool chance(int percent) { return in(1, 100) <= percent; }
  std::string of(std::initializer_list<const char *> words) { return words.begin()[in(0, int64_t(words.size()) - 1)]; }
  // 1..most, small values as likely as large ones, multiples of 8 and 16 now and then
  int64_t size(int64_t most) {
    int64_t value = in(1, chance(40) ? std::min<int64_t>(most, 24) : most);
    return chance(25) && value > 16 ? value / 16 * 16 : chance(15) && value > 8 ? value / 8 * 8 : value;
  }

private:
  uint64_t state;
};

Json normalize(Random &random) {
  Json block;
  block["kind"] = random.of({"none", "sum", "sum", "lp", "softmax"});
  if (block["kind"] == "lp")
    block["p"] = random.in(1, 2);
  if (block["kind"] == "sum" && random.chance(60)) {
    block["eps"] = random.chance(50) ? 1e-20 : 1e-6;
    block["eps_mode"] = random.of({"add", "floor"});
  }
  return block;
}

Json router(Random &random, int64_t experts) {
  Json block;
  int64_t groups = 1;
  for (int64_t g : {2, 4, 8})
    if (experts % g == 0 && experts / g >= 2)
      groups = g;
  block["logit_dtype"] = random.of({"activation", "f32"});
  block["score"] = random.of({"softmax", "sigmoid", "sqrtsoftplus", "softmax", "sigmoid"});
  bool selected = random.chance(25);
  if (selected)
    block["score_over"] = "selected";
  if (random.chance(25))
    block["bias"] = true;
  if (!selected && random.chance(35))
    block["choice_bias"] = true;
  int64_t reach = experts;
  if (!selected && groups > 1 && random.chance(40)) {
    int64_t keep = random.in(1, groups);
    block["groups"] = {{"count", groups}, {"keep", keep}, {"score", random.of({"max", "top2_sum", "sum"})}};
    if (random.chance(50))
      block["groups"]["masked"] = "neg_inf";
    reach = experts / groups * keep;
  }
  block["top_k"] = random.in(1, std::min<int64_t>(reach, 8));
  bool fixedWeights = random.chance(10);
  if (!selected && !fixedWeights)
    block["normalize"] = normalize(random);
  if (random.chance(30))
    block["scale"] = 0.25 * double(random.in(1, 12));
  if (random.chance(20))
    block["expert_scale"] = true;
  if (random.chance(15))
    block["weight_dtype"] = "activation";
  if (fixedWeights)
    block["weight_mode"] = random.of({"one", "mean"});
  if (random.chance(15))
    block["transform"] = Json::array({{{"op", "softcap"}, {"cap", 30}}});
  return block;
}

// form, act and what belongs to them
void feedForward(Random &random, Json &block) {
  block["form"] = random.of({"glu", "glu", "mlp"});
  block["act"] = random.of({"silu", "silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2"});
}

Json experts(Random &random, int64_t count, int64_t most, bool grouped) {
  Json block;
  block["count"] = count;
  if (random.chance(8)) {
    block["form"] = "linear";
    return block;
  }
  block["intermediate"] = random.size(most);
  feedForward(random, block);
  bool glu = block["form"] == "glu";
  if (glu && block["act"] == "silu" && random.chance(20))
    block["act_alpha"] = 1.702;
  if (glu && random.chance(20))
    block["up_offset"] = 1;
  if (glu && random.chance(25))
    block["clamp"] = {{"limit", 2.5}, {"at", random.of({"pre_act", "post_act"})}};
  if (random.chance(25))
    block["bias"] = {{"in", random.chance(60)}, {"out", random.chance(60)}};
  if (random.chance(10))
    block["output_scale"] = 0.5;
  if (!grouped && random.chance(10)) // groups divide all ids, those of zero experts too
    block["zero"] = {{"count", random.in(1, 3)}, {"kind", random.of({"identity", "zero"})}};
  return block;
}

Json layer(Random &random, uint64_t seed, int64_t most, int64_t mostExperts) {
  Json spec;
  spec["moec"] = 1;
  spec["name"] = "random_" + std::to_string(seed);
  spec["dtype"] = random.of({"f32", "bf16", "bf16"});
  // rows of a few columns can cancel to nothing, and what 16-bit storage then leaves is no measure of a kernel
  spec["hidden"] = spec["dtype"] == "f32" ? random.size(most) : 15 + random.size(most);
  int64_t count = random.chance(20) ? random.in(1, 3) : random.chance(70) ? random.in(2, 33) : random.in(33, 140);
  count = std::min(count, mostExperts);
  if (random.chance(40) && mostExperts >= 8)
    count = (count + 7) / 8 * 8;
  spec["router"] = router(random, count);
  spec["experts"] = experts(random, count, most, spec["router"].contains("groups"));
  bool linear = spec["experts"]["form"] == "linear";
  if (!linear && random.chance(35)) {
    Json shared;
    shared["intermediate"] = random.size(most);
    if (random.chance(30))
      shared["gate"] = "sigmoid";
    if (random.chance(20))
      shared["scale"] = 0.5;
    if (random.chance(20)) {
      shared["count"] = random.in(2, 3);
      shared["reduce"] = random.of({"sum", "mean"});
    }
    feedForward(random, shared);
    spec["shared"] = shared;
  }
  const Json &made = spec["experts"];
  bool input = !made.contains("bias") && !made.contains("zero") && random.chance(50); // weights on inputs do not commute with these
  if (random.chance(25))
    spec["combine"] = {{"apply", input ? "input" : "output"}, {"bias", random.chance(40)}};
  return spec;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: random_spec SEED [MOST [EXPERTS]]\n");
    return 2;
  }
  uint64_t seed = std::strtoull(argv[1], nullptr, 10);
  int64_t most = argc >= 3 ? std::strtoll(argv[2], nullptr, 10) : 200;
  int64_t experts = argc >= 4 ? std::strtoll(argv[3], nullptr, 10) : 140;
  Random random(seed);
  std::printf("%s\n", layer(random, seed, std::max<int64_t>(most, 1), std::max<int64_t>(experts, 1)).dump(2).c_str());
  return 0;
}
