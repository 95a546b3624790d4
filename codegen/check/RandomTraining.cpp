// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A random spec -> the same spec with keys that act when the layer is trained, and do nothing before. Each is kept
// where the spec stays valid.

#include "codegen/check/RandomSource.h"
#include "codegen/check/RandomSpec.h"

#include "nlohmann/json.hpp"

namespace moec {

using Json = nlohmann::ordered_json;

namespace {

void jitter(Json &spec, RandomSource &random) {
  spec["router"]["input"]["jitter"] = 0.125;
  spec["router"]["input"]["jitter_scope"] = random.of({"router", "layer"});
}

void noiseOfTraining(Json &spec, RandomSource &random) {
  spec["router"]["noise"] = {{"kind", random.of({"normal", "learned", "gumbel"})}};
}

void replacedIds(Json &spec, RandomSource &) { spec["router"]["random_replace"]["p"] = 0.25; }

void droppedExperts(Json &spec, RandomSource &random) {
  spec["router"]["expert_dropout"] = {{"p", 0.25}, {"at", random.of({"before", "after"})}};
}

void hiddenDropout(Json &spec, RandomSource &random) {
  spec["experts"]["hidden_dropout"] = {{"p", 0.25}, {"eval", random.of({"none", "scale"})}};
}

void outputDropout(Json &spec, RandomSource &random) {
  spec["experts"]["output_dropout"] = {{"p", 0.5}, {"eval", random.of({"none", "scale"})}};
}

void straightThrough(Json &spec, RandomSource &random) {
  spec["router"].erase("normalize");
  spec["router"]["weight_mode"] = random.of({"one", "mean"});
  spec["router"]["straight_through"] = true;
}

void sparseMixer(Json &spec, RandomSource &) {
  for (const char *key : {"normalize", "choice_bias", "groups", "token_groups", "k_override", "weight_mode", "top_k"})
    spec["router"].erase(key);
  spec["router"]["select"] = {{"kind", "sparsemixer"}, {"eps", 0.25}};
  spec["inputs"]["expert_ids"] = true;
}

// Without its samples a layer of sparsemixer cannot be trained.
void samples(Json &spec, RandomSource &) {
  if (spec["router"].contains("select") && spec["router"]["select"].value("kind", "") == "sparsemixer")
    spec["inputs"]["expert_ids"] = true;
}

} // namespace

std::string withRandomTraining(const std::string &text, uint64_t seed) {
  struct Change {
    int percent;
    void (*make)(Json &, RandomSource &);
  };
  static const Change changes[] = {{10, jitter},         {8, noiseOfTraining}, {8, replacedIds},
                                   {12, droppedExperts}, {10, hiddenDropout},  {8, outputDropout},
                                   {6, straightThrough}, {5, sparseMixer},     {80, samples}};
  RandomSource random(seed * 5003 + 11);
  Json spec = Json::parse(text, nullptr, false);
  if (spec.is_discarded())
    return text;
  for (const Change &change : changes) {
    if (!random.chance(change.percent))
      continue;
    Json changed = spec;
    change.make(changed, random);
    if (isValidSpec(changed.dump()))
      spec = changed;
  }
  return spec.dump(2) + "\n";
}

std::string withRandomPasses(const std::string &text, uint64_t seed) {
  RandomSource random(seed * 7001 + 5);
  Json spec = Json::parse(text, nullptr, false);
  if (spec.is_discarded())
    return text;
  bool inputOnly = random.chance(8);
  samples(spec, random);
  spec["passes"] = {"forward", inputOnly ? "backward_input" : "backward"};
  std::string wrap = spec.contains("layer") ? spec["layer"].value("wrap", "") : "";
  if (wrap == "skip" || wrap == "conditional") // a hard choice, which has no gradient
    spec["frozen"] = {wrap == "skip" ? "skip.*" : "selector.*"};
  if (random.chance(35))
    spec["save"] = random.of({"inputs", "ids"});
  int64_t count = spec["experts"].value("count", 1);
  const std::string ranges[] = {"experts.*[0:" + std::to_string(random.in(1, count)) + "]", "experts.down",
                                "router.weight", "experts.*", "shared.*"};
  for (const std::string &frozen : ranges) {
    Json changed = spec;
    changed["frozen"].push_back(frozen);
    if (random.chance(9) && isValidSpec(changed.dump()))
      spec = changed;
  }
  return spec.dump(2) + "\n";
}

} // namespace moec
