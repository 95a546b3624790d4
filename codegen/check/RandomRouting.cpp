// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A random spec -> the same spec with ways of routing that are not drawn with the rest of it: a type of the router, a
// choice in every group, groups of tokens, shared experts that the router weighs, the largest weights of every expert.
//
// Each is kept where the spec stays valid, so that the other draws of a seed do not depend on them.

#include "codegen/check/RandomSource.h"
#include "codegen/check/RandomSpec.h"

#include "nlohmann/json.hpp"

namespace moec {

using Json = nlohmann::ordered_json;

namespace {

// A number from 2 on that divides `count`; 1: there is none, or none was drawn.
int64_t someDivisor(RandomSource &random, int64_t count) {
  int64_t drawn = 1;
  for (int64_t g = 2; g <= std::min<int64_t>(count, 8); ++g)
    if (count % g == 0 && (drawn == 1 || random.chance(50)))
      drawn = g;
  return drawn;
}

void typeOfRouter(Json &spec, RandomSource &random) {
  Json type = spec["dtype"];
  spec["dtype"] = {{"activation", type}, {"weight", type}, {"router", random.of({"f32", "f32", "bf16"})}};
}

void choiceInEachGroup(Json &spec, RandomSource &random) {
  Json &router = spec["router"];
  int64_t count = spec["experts"]["count"], groups = someDivisor(random, count);
  spec.erase("inputs");
  router.erase("k_override");
  router["groups"] = {{"count", groups}, {"choose", "each"}};
  router["select"] = {{"kind", "topk"}, {"k", groups * random.in(1, std::min<int64_t>(count / groups, 4))}};
}

void groupsOfTokens(Json &spec, RandomSource &random) {
  Json &router = spec["router"];
  bool table = router.value("kind", "") == "table";
  int64_t count = spec["experts"]["count"], groups = random.in(1, 4);
  if (!table && random.chance(60)) {
    groups = someDivisor(random, count);
    router.erase("groups");
    spec["experts"].erase("zero");
    router["token_groups"] = {{"count", groups}, {"experts", "own"}};
    router["select"] = {{"kind", "topk"}, {"k", random.in(1, std::min<int64_t>(count / groups, 6))}};
    router.erase("k_override");
    router["choice_bias"] = random.chance(60);
    return;
  }
  if (table)
    router.erase("weight_mode");
  router["choice_bias"] = true;
  router["token_groups"] = {{"count", groups}};
}

void weighedShared(Json &spec, RandomSource &random) {
  if (!spec.contains("shared"))
    spec["shared"] = {{"intermediate", random.in(1, 40)}, {"count", random.in(1, 3)}};
  spec["shared"]["gate"] = "router";
  spec["router"].erase("noise");
}

void largestOfExperts(Json &spec, RandomSource &) {
  spec["capacity"]["order"] = "largest_per_expert";
  spec["capacity"].erase("major");
}

void factorOfAll(Json &spec, RandomSource &) { spec["router"]["global_scale"] = true; }

} // namespace

std::string withRandomRouting(const std::string &text, uint64_t seed) {
  struct Change {
    int percent;
    void (*make)(Json &, RandomSource &);
  };
  static const Change changes[] = {{12, typeOfRouter}, {9, choiceInEachGroup}, {12, groupsOfTokens},
                                   {9, weighedShared}, {25, largestOfExperts}, {8, factorOfAll}};
  RandomSource random(seed * 4099 + 5);
  Json spec = Json::parse(text, nullptr, false);
  if (spec.is_discarded())
    return text;
  for (const Change &change : changes) {
    bool drawn = random.chance(change.percent);
    if (!drawn || (change.make == largestOfExperts && !spec.contains("capacity")))
      continue;
    Json changed = spec;
    change.make(changed, random);
    if (isValidSpec(changed.dump()))
      spec = changed;
  }
  return spec.dump(2) + "\n";
}

} // namespace moec
