// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Draws and masks of training, inputs of a call -> choices and factors of the oracle. A run that is not in training
// reads none of them.

#include "dsl/reference/ReferenceStages.h"

#include <algorithm>

namespace moec {

bool ReferenceRun::dropoutMask(const char *name, const char *key, double p, int64_t columns, Doubles &out) {
  out.clear();
  if (p == 0 || !inputs.training)
    return true;
  return slotScope < 0 ? extra(name, columns, key, out) : slotRows(name, columns, key, out);
}

// The rows of one scope's slots.
bool ReferenceRun::slotRows(const std::string &name, int64_t columns, const char *reason, Doubles &out) {
  auto found = inputs.extra.find(name);
  if (found == inputs.extra.end())
    return fail("input '" + name + "' is missing; " + reason + " needs it");
  const Doubles &all = found->second.data;
  int64_t rows = spec.inputRows(name, inputs.numTokens, std::max<int64_t>(inputs.batch, 1));
  if (int64_t(all.size()) != rows * columns)
    return fail("input '" + name + "' has " + std::to_string(all.size()) + " values; expected " +
                shapeText({rows, columns}));
  int64_t count = numTokens * columns;
  out.assign(all.begin() + slotScope * count, all.begin() + (slotScope + 1) * count);
  return true;
}

// ids[i] = replace_ids[i] where replace[i] < p
bool replaceIds(ReferenceRun &run, Routing &routing) {
  if (run.spec.router.randomReplace == 0 || !run.inputs.training)
    return true;
  Doubles draws, ids;
  if (!run.extra("replace", routing.choices, "router.random_replace", draws) ||
      !run.extra("replace_ids", routing.choices, "router.random_replace", ids))
    return false;
  for (size_t i = 0; i < ids.size(); ++i)
    if (routing.ids[i] >= 0 && draws[i] < run.spec.router.randomReplace && ids[i] >= 0 && ids[i] < routing.rows)
      routing.ids[i] = int64_t(ids[i]);
  return true;
}

bool readExpertMask(ReferenceRun &run, Routing &routing) {
  return run.dropoutMask("expert_mask", "router.expert_dropout", run.spec.router.expertDropout.p, routing.rows,
                         routing.expertMask);
}

void dropChoices(const LayerSpec &spec, Routing &routing) {
  int64_t rows = spec.routerRows();
  for (size_t i = 0; i < routing.ids.size() && !routing.expertMask.empty(); ++i) {
    size_t token = i / size_t(routing.choices);
    int64_t &id = routing.ids[i];
    if (id >= 0 && routing.expertMask[token * size_t(rows) + size_t(id)] == 0)
      id = -1;
  }
}

// The picks are the caller's; w = score of the pick among those that sparsemixer keeps, or a third of it.
bool selectSampled(ReferenceRun &run, Routing &routing) {
  Doubles ids, ones;
  if (!run.extra("expert_ids", 2, "training with select.kind sparsemixer", ids) ||
      !run.extra("midpoint_mask", 2, "training with select.kind sparsemixer", ones))
    return false;
  for (int64_t t = 0; t < routing.numTokens; ++t) {
    int64_t removed = -1;
    for (int64_t i = 2 * t; i < 2 * t + 2; ++i) {
      Doubles p;
      sparseMixerScores(&routing.noisy[t * routing.rows], routing.rows, removed, run.spec.router.select.eps, p);
      bool exists = ids[i] >= 0 && ids[i] < routing.rows;
      routing.ids[i] = exists ? int64_t(ids[i]) : -1;
      routing.weights[i] = exists ? p[size_t(ids[i])] * (ones[i] != 0 ? 1 : 1.0 / 3) : 0;
      removed = routing.ids[i];
    }
  }
  routing.kept.assign(routing.ids.size(), 1);
  return true;
}

} // namespace moec
