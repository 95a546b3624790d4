// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A random spec -> the same spec with losses that its router has, of every kind and option, and with reports.

#include "codegen/check/RandomSource.h"
#include "codegen/check/RandomSpec.h"

#include "dsl/Reports.h"
#include "dsl/spec/SpecReader.h"

#include "nlohmann/json.hpp"

namespace moec {

using Json = nlohmann::ordered_json;

bool isValidSpec(const std::string &text) {
  SpecSource source;
  DiagnosticList diagnostics;
  return readSpec(text, "random.json", {}, source, diagnostics).has_value();
}

static Json randomLoss(RandomSource &random) {
  std::string kind = random.of({"load_balance", "load_balance", "z", "cv2", "cv2", "entropy", "uniform_mse",
                                "importance_x_load", "count_variance"});
  Json loss = {{"kind", kind}};
  auto flag = [&](const char *key, int chance) {
    if (random.chance(chance))
      loss[key] = true;
  };
  if (kind == "load_balance") {
    loss["probs"] = random.of({"softmax_all", "normalized_score"});
    loss["count"] = random.of({"all", "all", "first"});
    loss["scope"] = random.of({"batch", "sequence"});
    flag("per_choice", 50);
    flag("dropped_as_expert0", 30);
    if (random.chance(25))
      loss["groups"] = random.in(1, 4);
  } else if (kind == "cv2") {
    loss["of"] = random.of({"importance", "load", "counts"});
    loss["variance"] = random.of({"population", "sample"});
    if (random.chance(30))
      loss["eps"] = 1e-3;
  } else if (kind == "entropy") {
    loss["of"] = random.of({"token", "marginal"});
  } else if (kind == "uniform_mse") {
    loss["reduce"] = random.of({"sum", "mean"});
    loss["over"] = random.of({"all", "selected"});
  }
  return loss;
}

// Mostly all, because a report that no layer has is not tested; some layers have one or two, some none.
static void addRandomReports(Json &spec, RandomSource &random) {
  if (random.chance(70)) {
    spec["reports"] = "all";
    return;
  }
  for (int64_t left = random.in(0, 2); left > 0; --left) {
    Json more = spec;
    size_t last = reportNames().size() - 1;
    more["reports"].push_back(reportNames()[size_t(random.in(0, int64_t(last)))]);
    if (isValidSpec(more.dump()))
      spec = more;
  }
}

std::string withRandomReports(const std::string &text, uint64_t seed) {
  RandomSource random(seed * 6007 + 29);
  Json spec = Json::parse(text, nullptr, false);
  if (spec.is_discarded())
    return text;
  addRandomReports(spec, random);
  return spec.dump(2) + "\n";
}

std::string withRandomLosses(const std::string &text, uint64_t seed) {
  RandomSource random(seed * 7919 + 17);
  Json spec = Json::parse(text, nullptr, false);
  if (spec.is_discarded() || !random.chance(60))
    return text;
  for (int64_t left = random.in(1, 4); left > 0; --left) {
    Json more = spec;
    more["losses"].push_back(randomLoss(random));
    if (isValidSpec(more.dump()))
      spec = more;
  }
  return spec.dump(2) + "\n";
}

} // namespace moec
