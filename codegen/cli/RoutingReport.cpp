// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shares are of tokens: a token of K choices counts for K experts, so a column adds up to K where every choice names
// one.

#include "RoutingReport.h"
#include "codegen/bench/FigureText.h"

#include "llvm/Support/Format.h"

#include <algorithm>

using namespace llvm;

namespace moec {

static double shareOf(const RoutingStats &stats, int64_t expert) {
  return stats.tokens ? double(stats.chosen[size_t(expert)]) / double(stats.tokens) : 0;
}

static std::string labelName(const std::vector<std::string> &names, size_t label) {
  return label < names.size() ? names[label] : std::to_string(label);
}

static void printUse(raw_ostream &os, const RoutingStats &stats) {
  double even = summaryOf(stats).even;
  os << format("%6s %10s %9s %9s %10s\n", "expert", "tokens", "share", "of even", "dropped");
  for (int64_t e = 0; e < stats.experts; ++e) {
    os << format("%6lld %10lld %7.2f %% %9.2f ", (long long)e, (long long)stats.chosen[size_t(e)],
                 100 * shareOf(stats, e), even > 0 ? shareOf(stats, e) / even : 0);
    if (stats.dropsKnown)
      os << format("%10lld\n", (long long)stats.dropped[size_t(e)]);
    else
      os << format("%10s\n", "-");
  }
}

static void printSpecialisation(raw_ostream &os, const RoutingStats &stats, const std::vector<std::string> &names) {
  std::vector<size_t> widths;
  os << "\nshare of each label's tokens that chose the expert\n" << format("%8s", "expert");
  for (size_t l = 0; l < stats.labelTokens.size(); ++l) {
    std::string name = escaped(labelName(names, l));
    widths.push_back(std::max<size_t>(9, name.size()));
    os << "  " << right_justify(name, unsigned(widths.back()));
  }
  auto row = [&](const std::string &head, auto cell) {
    os << "\n" << right_justify(head, 8);
    for (size_t l = 0; l < widths.size(); ++l)
      os << "  " << right_justify(cell(l), unsigned(widths[l]));
  };
  auto text = [](const char *form, double value) {
    std::string out;
    raw_string_ostream(out) << format(form, value);
    return out;
  };
  for (int64_t e = 0; e < stats.experts; ++e)
    row(std::to_string(e), [&](size_t l) { return text("%.2f %%", 100 * labelShare(stats, l, e)); });
  row("tokens", [&](size_t l) { return std::to_string(stats.labelTokens[l]); });
  row("best",
      [&](size_t l) { return bestExpert(stats, l) < 0 ? std::string("-") : std::to_string(bestExpert(stats, l)); });
  row("times", [&](size_t l) {
    return bestExpert(stats, l) < 0 ? std::string("-") : text("%.2f", labelLift(stats, l, bestExpert(stats, l)));
  });
  os << "\nbest: the expert that most of the label's tokens chose; times: its share over that of all labelled tokens\n";
}

void printRouting(raw_ostream &os, const RoutingStats &stats, const std::vector<std::string> &labelNames) {
  RoutingSummary summary = summaryOf(stats);
  os << "routing of " << stats.tokens << " tokens, " << stats.choicesMade() << " choices of " << stats.experts
     << " experts";
  if (stats.none)
    os << ", " << stats.none << " of none";
  os << "\n";
  printUse(os, stats);
  os << format("load entropy %.3f nats, balance %.3f, coefficient of variation %.3f, dead experts %lld",
               summary.entropy, summary.balance, summary.cv, (long long)summary.dead);
  if (stats.largestLogit > 0)
    os << format(", largest logit %.2f", stats.largestLogit);
  os << "\n";
  if (!enoughToJudge(stats) && stats.choices < stats.experts)
    os << "too few choices to judge balance: fewer than " << choicesToJudge << " for each expert\n";
  if (!stats.labelTokens.empty())
    printSpecialisation(os, stats, labelNames);
}

static void writeLabels(JsonWriter &os, const RoutingStats &stats, const std::vector<std::string> &names) {
  os.attributeArray("labels", [&] {
    for (size_t l = 0; l < stats.labelTokens.size(); ++l)
      os.object([&] {
        int64_t best = bestExpert(stats, l);
        os.attribute("name", labelName(names, l));
        os.attribute("tokens", stats.labelTokens[l]);
        os.attribute("best_expert", best);
        writeNumber(os, "best_times", best < 0 ? 0 : labelLift(stats, l, best));
        os.attributeArray("tokens_by_expert", [&] {
          for (int64_t n : stats.byLabel[l])
            os.value(n);
        });
      });
  });
}

void writeRouting(JsonWriter &os, const RoutingStats &stats, const std::vector<std::string> &labelNames) {
  RoutingSummary summary = summaryOf(stats);
  os.attribute("tokens", stats.tokens);
  os.attribute("choices", stats.choices);
  os.attribute("without_expert", stats.none);
  writeNumber(os, "entropy", summary.entropy);
  writeNumber(os, "balance", summary.balance);
  writeNumber(os, "coefficient_of_variation", summary.cv);
  writeNumber(os, "largest_share", summary.largest);
  os.attribute("dead_experts", summary.dead);
  writeNumber(os, "largest_logit", stats.largestLogit);
  os.attributeArray("experts", [&] {
    for (int64_t e = 0; e < stats.experts; ++e)
      os.object([&] {
        os.attribute("tokens", stats.chosen[size_t(e)]);
        writeNumber(os, "share", shareOf(stats, e));
        if (stats.dropsKnown)
          os.attribute("dropped", stats.dropped[size_t(e)]);
      });
  });
  if (!stats.labelTokens.empty())
    writeLabels(os, stats, labelNames);
  os.attributeArray("warnings", [&] {
    for (const Diagnostic &warning : warningsOf(stats))
      os.object([&] {
        os.attribute("code", warning.code);
        os.attribute("message", warning.message);
      });
  });
}

void warnOfRouting(Session &session, const RoutingStats &stats) {
  for (const Diagnostic &warning : warningsOf(stats))
    warn(session, warning.code, warning.message, warning.hint);
}

} // namespace moec
