// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TuneSkew.h"

#include "dsl/text/Sha256.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

#include <cmath>

using namespace llvm;

namespace moec {

static std::string countsOf(StringRef text, std::vector<double> &counts) {
  Expected<json::Value> value = json::parse(text);
  if (!value)
    return toString(value.takeError());
  const json::Array *list = value->getAsArray();
  if (!list)
    return "found no list";
  double sum = 0;
  for (const json::Value &item : *list) {
    std::optional<double> count = item.getAsNumber();
    if (!count || !(*count >= 0) || *count > 1e15)
      return "element " + std::to_string(counts.size()) + " is no count";
    counts.push_back(*count);
    sum += *count;
  }
  return sum > 0 ? "" : "found no count above 0";
}

int readSkew(Session &session, const std::string &skew, const std::vector<MatmulStage> &stages, TuneRouting &out) {
  out = {};
  if (skew == "uniform" || skew == "zipf") {
    out.name = skew;
    return ExitDone;
  }
  auto file = MemoryBuffer::getFile(skew, /*IsText=*/false);
  if (!file)
    return fail(session, "E-FILE", "cannot read --skew " + quoteText(skew, 256) + ": " + file.getError().message(),
                "uniform, zipf, or a file with a JSON list of how often each expert was chosen");
  if (std::string problem = countsOf((*file)->getBuffer(), out.counts); !problem.empty())
    return fail(session, "E-USAGE",
                "--skew " + quoteText(skew, 256) + ": " + problem + ", expected a JSON list of counts, one per expert");
  auto fits = [&](const MatmulStage &stage) {
    return !stage.name.empty() && stage.mode.routed && stage.groups == int64_t(out.counts.size());
  };
  if (!any_of(stages, fits)) {
    int64_t experts = 0;
    for (const MatmulStage &stage : stages)
      experts = std::max(experts, stage.name.empty() || !stage.mode.routed ? 0 : stage.groups);
    return fail(session, "E-USAGE",
                "--skew " + quoteText(skew, 256) + " has " + std::to_string(out.counts.size()) +
                    " counts, expected one per expert, " + std::to_string(experts));
  }
  std::string text;
  for (double count : out.counts)
    text += std::to_string(count) + ",";
  out.name = "histogram:" + hexText(sha256(text)).substr(0, 16);
  return ExitDone;
}

} // namespace moec
