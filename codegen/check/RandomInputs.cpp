// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Further inputs of a call, drawn in the order of their names in LayerSpec::inputNames().

#include "codegen/check/RandomSource.h"
#include "codegen/check/RandomSpec.h"
#include "codegen/check/RandomTensors.h"

#include <cmath>

namespace moec {

namespace {

using Doubles = std::vector<double>;

// Every token gets distinct experts, some none.
Doubles randomIds(RandomSource &random, int64_t numTokens, int64_t choices, int64_t rows) {
  Doubles ids;
  for (int64_t t = 0; t < numTokens; ++t) {
    int64_t first = random.in(0, rows - 1);
    for (int64_t j = 0; j < choices; ++j)
      ids.push_back(random.chance(10) ? -1.0 : double((first + j) % rows));
  }
  return ids;
}

Doubles drawn(RandomSource &random, const LayerSpec &spec, const std::string &name, int64_t numTokens,
              int64_t sequences) {
  int64_t choices = spec.choices(), rows = spec.routerRows();
  if (name == "expert_ids")
    return randomIds(random, numTokens, choices, rows);
  if (name == "capacity")
    return {double(random.in(0, spec.capacity->max.value_or(8)))};
  if (name == "top_k")
    return {double(random.in(1, choices))};
  bool dropout = name == "hidden_mask" || name == "output_mask";
  double p = name == "hidden_mask"   ? spec.experts.hiddenDropout.p
             : name == "output_mask" ? spec.experts.outputDropout.p
             : name == "expert_mask" ? spec.router.expertDropout.p
                                     : 0.5;
  const std::optional<TokenGroups> &own = spec.router.tokenGroups;
  int64_t groups = own ? own->count : spec.router.levels.empty() ? 1 : spec.router.levels[0].count;
  Doubles values;
  int64_t count = spec.inputRows(name, numTokens, sequences) * spec.inputColumns(name);
  for (int64_t i = 0; i < count; ++i) {
    if (dropout)
      values.push_back(random.unit() < p ? 0 : 1 / (1 - p));
    else if (name == "expert_mask" || name == "midpoint_mask")
      values.push_back(random.unit() < p ? 0 : 1);
    else if (name == "replace_ids")
      values.push_back(double(random.in(0, rows - 1)));
    else if (name == "token_ids")
      values.push_back(double(random.in(0, std::max<int64_t>(1, spec.router.vocab) - 1)));
    else if (name == "group_ids")
      values.push_back(double(random.in(0, groups - 1)));
    else
      values.push_back(name == "residual" || name == "noise" ? random.normal() : random.unit());
  }
  return values;
}

} // namespace

void randomInputs(const LayerSpec &spec, int64_t numTokens, uint64_t seed, CallInputs &layer, ReferenceInputs &oracle) {
  RandomSource random(seed ^ 0x5bd1e995);
  layer = {};
  int64_t length = numTokens;
  if (numTokens > 1 && random.chance(60)) {
    length = random.in(1, numTokens);
    while (numTokens % length)
      --length;
    layer.tokensPerSequence = length;
  }
  if (numTokens == 0 && random.chance(50)) // any length divides 0
    layer.tokensPerSequence = length = 4;
  oracle.numTokens = numTokens;
  oracle.training = spec.trains();
  oracle.batch = length ? numTokens / length : 0;
  oracle.tokensPerSequence = length;
  for (const std::string &name : spec.inputNames()) {
    Doubles values = drawn(random, spec, name, numTokens, oracle.batch);
    DataType type = name == "residual" ? spec.dtype.activation : DataType::F32;
    for (double &value : values) { // as the layer will read it
      uint64_t room = 0;
      storeElement(&room, type, 0, value);
      value = loadElement(&room, type, 0);
    }
    layer.set(name, values, spec.dtype.activation);
    oracle.extra[name] = {{int64_t(values.size())}, values};
  }
}

} // namespace moec
