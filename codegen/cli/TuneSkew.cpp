// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TuneSkew.h"

#include "dsl/text/JsonTree.h"
#include "dsl/text/Sha256.h"

#include "llvm/ADT/STLExtras.h"

using namespace llvm;

namespace moec {

static constexpr JsonLimits countLimits = {1 << 20, 2, 100000, 64, 32};

static std::string countsOf(const std::string &text, std::vector<double> &counts) {
  DiagnosticList diagnostics;
  diagnostics.setSource("", text);
  std::optional<JsonTree> tree = readJson(text, countLimits, diagnostics);
  if (!tree)
    return diagnostics.all().front().message;
  if (tree->root().kind != JsonKind::Array)
    return "found " + std::string(kindName(tree->root().kind));
  double sum = 0;
  for (size_t child : tree->root().children) {
    const JsonNode &item = tree->nodes[child];
    std::optional<double> count = item.kind == JsonKind::Number ? doubleOf(item.text) : std::nullopt;
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
  std::string text;
  if (int code = readTextFile(session, skew, "histogram of --skew", countLimits.bytes, text))
    return code;
  if (std::string problem = countsOf(text, out.counts); !problem.empty())
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
  text.clear();
  for (double count : out.counts)
    text += std::to_string(count) + ",";
  out.name = "histogram:" + hexText(sha256(text)).substr(0, 16);
  return ExitDone;
}

} // namespace moec
