// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Blocks are drawn one by one; constraints between them that a draw breaks are met by drawing again, so that what comes
// out is valid by the checks that every spec passes.

#include "codegen/check/RandomSpec.h"

#include "codegen/check/RandomSource.h"

#include "nlohmann/json.hpp"

#include <algorithm>
#include <cmath>

namespace moec {

using Json = nlohmann::ordered_json;

namespace {

// The draw of one layer.
class RandomLayerSpec {
public:
  RandomLayerSpec(uint64_t seed, uint64_t attempt, const RandomSizes &sizes)
      : random(seed * 1000003 + attempt), seed(seed), sizes(sizes) {}

  Json draw();

private:
  Json router();
  Json tokenChoice();
  Json selection(int64_t reach, bool selected);
  Json otherKind(const std::string &kind);
  Json level(int64_t count);
  Json normalize();
  Json experts();
  Json widths();
  void expertExtras(Json &block);
  Json shared();
  Json capacity();
  Json wrap();
  void logitStages(Json &block, bool plainWeights);
  void feedForward(Json &block);
  void branches(Json &block);
  void laterKeys(Json &spec);
  Json norm();

  RandomSource random;
  uint64_t seed;
  const RandomSizes &sizes;
  int64_t count = 1; // experts
  int64_t hidden = 1;
  bool grouped = false;
};

Json RandomLayerSpec::normalize() {
  Json block;
  block["kind"] = random.of({"none", "sum", "sum", "lp", "softmax"});
  if (block["kind"] == "lp")
    block["p"] = random.chance(70) ? double(random.in(1, 2)) : double(random.in(5, 9)) / 2;
  if (block["kind"] == "sum" && random.chance(60)) {
    block["eps"] = random.chance(50) ? 1e-20 : 1e-6;
    block["eps_mode"] = random.of({"add", "floor"});
  }
  return block;
}

// Keys that act before scores: the input, transforms, noise.
void RandomLayerSpec::logitStages(Json &block, bool plainWeights) {
  bool wide = hidden >= 8; // few normalised columns make equal logits, and what wins then is rounding
  if (wide && random.chance(15))
    block["input"]["norm"] = {{"kind", "rms"}, {"scale", 0.5}, {"weight", random.chance(50)}};
  if (random.chance(8))
    block["input"]["from"] = "residual";
  if (wide && random.chance(10))
    block["transform"].push_back({{"op", "cosine"}});
  if (block.contains("transform") && random.chance(60))
    block["transform"][0]["scale"] = random.chance(50) ? Json(4.0) : Json("learned");
  if (random.chance(12))
    block["transform"].push_back({{"op", "softcap"}, {"cap", 3}});
  if (random.chance(8))
    block["transform"].push_back({{"op", "clamp"}, {"min", -2}, {"max", 2.5}});
  if (random.chance(10))
    block["transform"].push_back({{"op", "temperature"}, {"value", random.chance(50) ? Json(0.7) : Json("learned")}});
  if (plainWeights && random.chance(15)) {
    std::string kind = random.of({"normal", "learned", "gumbel"});
    block["noise"] = {{"kind", kind}, {"when", "always"}};
    if (kind == "normal")
      block["noise"]["std"] = 0.1;
    if (kind == "learned" && random.chance(50))
      block["noise"]["std_fn"] = "softmax";
    if (kind == "learned" && random.chance(50))
      block["noise"]["eps"] = 0.01;
  }
}

Json RandomLayerSpec::selection(int64_t reach, bool selected) {
  Json block;
  int64_t k = random.in(1, std::min<int64_t>(reach, 8));
  int draw = int(random.in(1, 100));
  if (draw <= 62 || reach < 2) {
    block["kind"] = "topk";
    block["k"] = random.chance(10) ? random.in(1, std::min<int64_t>(reach, 32)) : k;
    if (random.chance(4)) // as many as there are
      block["k"] = random.in(1, std::min<int64_t>(reach, 256));
  } else if (draw <= 70) {
    block = {{"kind", "sparsemixer"}, {"k", 2}, {"eps", 0.05}};
  } else if (draw <= 82) {
    block = {
        {"kind", "second_policy"}, {"k", 2}, {"second", random.of({"always", "gumbel", "random_2p", "threshold"})}};
    if (block["second"] == "threshold")
      block["threshold"] = 0.3;
  } else if (draw <= 91) {
    block = {{"kind", "top_p"}, {"p", 0.6}, {"k_max", k}};
  } else {
    block = {{"kind", "threshold"}, {"threshold", selected ? 0.2 : 0.1}, {"k_max", k}};
  }
  return block;
}

Json RandomLayerSpec::tokenChoice() {
  Json block;
  logitStages(block, true);
  int64_t groups = 1;
  for (int64_t g : {2, 4, 8})
    if (count % g == 0 && count / g >= 2)
      groups = g;
  block["logit_dtype"] = random.of({"activation", "f32"});
  block["score"] = random.of({"softmax", "sigmoid", "sqrtsoftplus", "softmax", "softplus", "relu", "identity"});
  bool selected = random.chance(25);
  if (selected)
    block["score_over"] = "selected";
  if (random.chance(25))
    block["bias"] = true;
  if (!selected && random.chance(35))
    block["choice_bias"] = true;
  int64_t reach = count;
  grouped = !selected && groups > 1 && random.chance(40);
  if (grouped) {
    int64_t keep = random.in(1, groups);
    block["groups"] = {{"count", groups}, {"keep", keep}, {"score", random.of({"max", "top2_sum", "sum"})}};
    if (random.chance(50))
      block["groups"]["masked"] = "neg_inf";
    reach = count / groups * keep;
  }
  block["select"] = selection(reach, selected);
  bool topK = block["select"]["kind"] == "topk";
  if (topK && random.chance(8))
    block["k_override"] = random.in(1, block["select"]["k"].get<int64_t>());
  bool fixedWeights = random.chance(10);
  if (fixedWeights)
    block["weight_mode"] = random.of({"one", "mean"});
  else if (random.chance(70))
    block["normalize"] = normalize();
  return block;
}

Json RandomLayerSpec::level(int64_t levelCount) {
  Json block = {{"count", levelCount}, {"kind", "token_choice"}};
  block["score"] = random.of({"softmax", "sigmoid", "softmax"});
  if (random.chance(40))
    block["score_over"] = "selected";
  block["select"] = {{"kind", "topk"}, {"k", random.in(1, std::min<int64_t>(levelCount, 4))}};
  if (random.chance(50))
    block["normalize"] = normalize();
  return block;
}

Json RandomLayerSpec::otherKind(const std::string &kind) {
  Json block;
  block["kind"] = kind;
  if (kind == "expert_choice") {
    logitStages(block, true);
    block["score"] = random.of({"softmax", "sigmoid", "softmax", "identity"});
    if (random.chance(25))
      block["score_over"] = "selected";
    block["select"] = {{"scope", random.of({"batch", "sequence"})}};
    if (random.chance(50))
      block["select"]["tokens"] = random.in(1, 9);
    else
      block["select"]["capacity_factor"] = 0.25 * double(random.in(1, 10));
    if (random.chance(50)) {
      block["normalize"] = normalize();
      if (random.chance(60))
        block["normalize"]["over"] = "expert";
    }
    if (random.chance(30))
      block["unselected"] = "identity";
  } else if (kind == "soft") {
    logitStages(block, random.chance(50));
    block["slots"] = random.in(1, 3);
    block["scope"] = random.of({"batch", "sequence"});
    if (random.chance(30))
      block["combine_weights"] = "dispatch";
  } else if (kind == "product_key") {
    int64_t n = random.in(1, std::max<int64_t>(1, std::min<int64_t>(12, int64_t(std::sqrt(double(sizes.experts))))));
    count = n * n;
    logitStages(block, true);
    block["score"] = random.of({"softmax", "softmax", "sigmoid", "sqrtsoftplus", "softplus", "relu", "identity"});
    if (random.chance(50))
      block["score_over"] = "selected";
    if (random.chance(25))
      block["bias"] = true;
    block["select"] = {{"kind", "topk"}, {"k", random.in(1, std::min<int64_t>(count, random.chance(20) ? 40 : 8))}};
    if (random.chance(10))
      block["weight_mode"] = random.of({"one", "mean"});
    else if (random.chance(60))
      block["normalize"] = normalize();
  } else if (kind == "hierarchical") {
    int64_t groups = random.in(1, 6), each = random.in(1, 8);
    count = groups * each;
    block["levels"] = Json::array({level(groups), level(each)});
    if (random.chance(25))
      block["levels"][0] = {{"count", groups}, {"kind", "table"}};
  } else {
    if (kind == "dense")
      count = std::min<int64_t>(count, 24);
    else
      block["select"] = {{"kind", "topk"}, {"k", random.in(1, std::min<int64_t>(count, 6))}};
    if (kind == "table")
      block["vocab"] = random.in(1, 60);
    if (kind != "external" && kind != "dense" && random.chance(50))
      block["weight_mode"] = random.of({"one", "mean"});
    else if (kind != "external")
      block["score"] = random.of({"softmax", "sigmoid", "sqrtsoftplus"});
    if (kind != "external" && !block.contains("weight_mode") && random.chance(50))
      block["normalize"] = normalize();
  }
  return block;
}

Json RandomLayerSpec::router() {
  Json block;
  if (random.chance(60))
    block = tokenChoice();
  else
    block = otherKind(random.of({"expert_choice", "expert_choice", "soft", "hierarchical", "hierarchical", "table",
                                 "random", "external", "dense", "product_key", "product_key"}));
  bool soft = block.contains("kind") && block["kind"] == "soft";
  if (random.chance(30))
    block["scale"] = 0.25 * double(random.in(1, 12));
  if (!soft && random.chance(20))
    block["expert_scale"] = true;
  if (!soft && random.chance(15))
    block["weight_dtype"] = "activation";
  return block;
}

// form, act and what belongs to them
void RandomLayerSpec::feedForward(Json &block) {
  block["form"] = random.of({"glu", "glu", "mlp"});
  block["act"] = random.of({"silu", "silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2"});
}

void RandomLayerSpec::expertExtras(Json &block) {
  bool glu = block["form"] == "glu", linear = block["form"] == "linear";
  if (glu && block["act"] == "silu" && random.chance(20))
    block["act_alpha"] = 1.702;
  if (glu && random.chance(20))
    block["up_offset"] = 1;
  if (!linear && random.chance(20))
    block["clamp"] = {{"limit", 2.5}, {"at", random.of({"pre_act", "post_act"})}};
  if (random.chance(25)) {
    block["bias"]["in"] = random.chance(60);
    if (!linear)
      block["bias"]["out"] = random.chance(60);
  }
  if (block["form"] == "mlp" && random.chance(15))
    block["layers"] = random.in(2, 3);
  if (random.chance(10))
    block["latent"] = {{"dim", 8 + random.size(sizes.most)}, {"bias", random.chance(40)}};
  if (random.chance(10))
    block["output_scale"] = 0.5;
  if (!linear && random.chance(6))
    block["hidden_dropout"] = {{"p", 0.25}, {"eval", random.of({"none", "scale"})}};
  if (random.chance(6))
    block["output_dropout"] = {{"p", 0.25}, {"eval", "scale"}};
  if (random.chance(8))
    block["norm_out"] = "layernorm";
  if (random.chance(12))
    block["lora"] = {{"rank", random.in(1, 9)}, {"alpha", 4}, {"at", random.of({"parallel", "per_matrix"})}};
}

// One width for each expert, drawn from a few or, of few experts, all of their own.
Json RandomLayerSpec::widths() {
  std::vector<int64_t> some;
  for (int64_t i = random.in(1, 4); i > 0; --i)
    some.push_back(random.size(sizes.most));
  Json list = Json::array();
  bool own = count <= 8 && random.chance(40);
  for (int64_t e = 0; e < count; ++e)
    list.push_back(own ? random.size(sizes.most) : some[size_t(random.in(0, int64_t(some.size()) - 1))]);
  return count > 1 ? list : list[0];
}

Json RandomLayerSpec::experts() {
  Json block;
  block["count"] = count;
  if (random.chance(8)) {
    block["form"] = "linear";
  } else {
    block["intermediate"] = random.chance(14) ? widths() : Json(random.size(sizes.most));
    feedForward(block);
  }
  expertExtras(block);
  if (!grouped && random.chance(10)) // groups divide all ids, those of zero experts too
    block["zero"] = {{"count", random.in(1, 3)}, {"kind", random.of({"identity", "zero", "constant"})}};
  return block;
}

Json RandomLayerSpec::shared() {
  Json block;
  if (random.chance(10)) {
    block["form"] = "linear";
  } else {
    block["intermediate"] = random.size(sizes.most);
    feedForward(block);
  }
  if (random.chance(40))
    block["gate"] = random.of({"sigmoid", "softmax2"});
  if (random.chance(20))
    block["scale"] = 0.5;
  if (random.chance(20))
    block["bias"]["in"] = true;
  if (random.chance(20)) {
    block["count"] = random.chance(8) ? random.in(60, 80) : random.in(2, 3);
    block["reduce"] = random.of({"sum", "mean"});
  }
  if (random.chance(10))
    block["input"] = "residual";
  return block;
}

Json RandomLayerSpec::capacity() {
  Json block;
  std::string mode = random.of({"fixed", "factor", "fraction", "dynamic"});
  block["mode"] = mode;
  if (mode == "fixed")
    block["value"] = random.in(1, 12);
  if (mode == "factor") {
    block["value"] = 0.25 * double(random.in(1, 8));
    block["per_choice"] = random.chance(50);
  }
  if (mode == "fraction")
    block["value"] = 0.1 * double(random.in(1, 9));
  if (mode == "dynamic" || random.chance(20))
    block["max"] = random.in(2, 30);
  if (mode == "factor" || mode == "fraction")
    block["round"] = random.of({"floor", "ceil", "nearest"});
  if (random.chance(20))
    block["min"] = random.in(1, 2);
  block["scope"] = random.of({"batch", "sequence", "group"});
  if (block["scope"] == "group")
    block["group_size"] = random.in(1, 20);
  block["order"] = random.of({"token", "token", "score", "random"});
  block["major"] = random.of({"choice", "token"});
  if (random.chance(25))
    block["overflow"] = "next_best";
  if (random.chance(25))
    block["dropped"] = "identity";
  block["normalize_at"] = random.of({"before", "after"});
  return block;
}

Json RandomLayerSpec::wrap() {
  Json block;
  std::string kind = random.of({"depth", "skip", "conditional"});
  block["wrap"] = kind;
  if (kind == "depth") {
    block["scope"] = random.of({"batch", "sequence"});
    if (random.chance(50))
      block["tokens"] = random.in(1, 12);
    else
      block["capacity"] = 0.125 * double(random.in(1, 8));
  } else {
    block["threshold"] = 0.45;
  }
  if (random.chance(50))
    block["residual"] = true;
  if (kind == "conditional") {
    block["dense"] = {{"intermediate", random.size(sizes.most)}};
    feedForward(block["dense"]);
  }
  return block;
}

// Clamp, alpha and offset of a block that has none, and soft caps.
void RandomLayerSpec::branches(Json &block) {
  bool glu = block["form"] == "glu", silu = block.value("act", "") == "silu";
  if (block["form"] == "linear")
    return;
  if (silu && random.chance(20))
    block["act_alpha"] = 1.702;
  if (glu && random.chance(20))
    block["up_offset"] = 1;
  if (random.chance(25))
    block["clamp"] = {{"limit", 1.5}, {"at", random.of({"pre_act", "post_act"})}};
  if (glu && random.chance(20))
    block["softcap"]["up"] = 3;
  if (glu && silu && random.chance(20))
    block["softcap"]["gate"] = 2;
}

Json RandomLayerSpec::norm() {
  std::string kind = random.of({"rms", "rms", "layernorm"});
  if (random.chance(40))
    return kind;
  Json block = {{"kind", kind}, {"eps", random.chance(50) ? 1e-5 : 1e-2}};
  if (random.chance(20)) {
    block["weight"] = false;
    return block;
  }
  block["unit_offset"] = random.chance(40);
  if (kind == "rms")
    block["weight_at"] = random.of({"after", "before"});
  return block;
}

// Keys that came later, drawn after all others, so that a seed's layer has what it had before them.
void RandomLayerSpec::laterKeys(Json &spec) {
  Json &experts = spec["experts"];
  bool wide = hidden >= 8; // a norm of few columns can be as sensitive as one likes
  if (random.chance(35))
    branches(experts);
  if (spec.contains("shared") && random.chance(50)) {
    branches(spec["shared"]);
    if (random.chance(30)) // the same epilogue as the routed experts
      for (const char *key : {"form", "act", "act_alpha", "up_offset", "clamp", "softcap", "intermediate"}) {
        spec["shared"].erase(key);
        if (experts.contains(key) && !experts[key].is_array())
          spec["shared"][key] = experts[key];
      }
  }
  if (wide && random.chance(8)) {
    experts["norm_out"] = norm();
    if (experts["norm_out"].contains("unit_offset"))
      experts["norm_out"]["per_expert"] = random.chance(50);
  }
  if (experts.contains("latent") || random.chance(6)) {
    if (!experts.contains("latent"))
      experts["latent"] = {{"dim", 8 + random.size(sizes.most)}};
    if (random.chance(50))
      experts["latent"]["norm_in"] = norm();
    if (random.chance(50))
      experts["latent"]["norm_out"] = norm();
  }
  if (wide && random.chance(8))
    spec["combine"]["norm_out"] = norm();
}

Json RandomLayerSpec::draw() {
  Json spec;
  spec["moec"] = 1;
  spec["name"] = "random_" + std::to_string(seed);
  spec["dtype"] = random.of({"f32", "f32", "bf16", "bf16"});
  // rows of a few columns can cancel to nothing, and the error of 16-bit storage then hides that of a kernel
  hidden = spec["dtype"] == "f32" ? random.size(sizes.most) : 15 + random.size(sizes.most);
  spec["hidden"] = hidden;
  count = random.chance(20) ? random.in(1, 3) : random.chance(70) ? random.in(2, 33) : random.in(33, 140);
  count = std::min(count, sizes.experts);
  if (random.chance(40) && sizes.experts >= 8)
    count = (count + 7) / 8 * 8;
  spec["router"] = router();
  spec["experts"] = experts();
  if (random.chance(35))
    spec["shared"] = shared();
  bool input = random.chance(40); // where weights on inputs are not defined the draw is thrown away
  if (random.chance(25))
    spec["combine"] = {{"apply", input ? "input" : "output"}, {"bias", random.chance(40)}};
  if (random.chance(22))
    spec["capacity"] = capacity();
  if (random.chance(15))
    spec["layer"] = wrap();
  if (random.chance(8))
    spec["inputs"] = {{"top_k", true}};
  if (random.chance(30))
    spec["combine"]["rows"] = "activation";
  laterKeys(spec);
  return spec;
}

} // namespace

std::string randomSpecText(uint64_t seed, const RandomSizes &sizes) {
  std::string text;
  for (uint64_t attempt = 0; attempt < 1000; ++attempt) {
    text = RandomLayerSpec(seed, attempt, sizes).draw().dump(2) + "\n";
    if (isValidSpec(text))
      break;
  }
  text = withRandomTraining(withRandomRouting(text, seed), seed);
  return withRandomReports(withRandomLosses(text, seed), seed);
}

} // namespace moec
