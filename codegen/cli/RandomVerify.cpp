// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec verify --random: seeds -> layers, each against the reference; a failure is one line that makes it again.

#include "Supervisor.h"
#include "VerifyLayer.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <map>

using namespace llvm;

namespace moec {

namespace {
struct Tally {
  int passed = 0, failed = 0, refused = 0;
  size_t cases = 0, ties = 0;
  Compared compared, gradients;
  double worst = 0, ofLimit = 0;
  std::map<std::string, int> reasons; // of refusals
};
} // namespace

// "moec verify --random 1 --seed 17 --most 200 --most-experts 140 --tokens 0-17 --target cpu": what makes this one
// again.
static std::string reproducer(const VerifyFlags &flags, uint64_t seed) {
  std::string text = "moec verify --random 1 --seed " + std::to_string(seed) + " --most " +
                     std::to_string(flags.sizes.most) + " --most-experts " + std::to_string(flags.sizes.experts) +
                     " --tokens " + flags.tokens + " --target ";
  for (size_t i = 0; i < flags.compile.targets.size(); ++i)
    text += (i ? "," : "") + flags.compile.targets[i];
  if (flags.compile.math != "exact")
    text += " --math " + flags.compile.math;
  if (flags.compile.determinism != "run")
    text += " --det " + flags.compile.determinism;
  return text + (flags.grad ? " --grad" : "") + (flags.emulate ? " --emulate" : "");
}

static std::string specText(const VerifyFlags &flags, uint64_t seed) {
  std::string text = randomSpecText(seed, flags.sizes);
  return flags.grad ? withRandomPasses(text, seed) : text;
}

static Result<> loadRandom(const VerifyFlags &flags, uint64_t seed, SpecInput &input) {
  input.text = specText(flags, seed);
  input.fileName = "random_" + std::to_string(seed) + ".json";
  DiagnosticList diagnostics;
  std::optional<LayerSpec> spec = readSpec(input.text, input.fileName, {}, input.source, diagnostics);
  if (!spec)
    return Diagnostic::error("E-INTERNAL", "the generator drew no valid spec");
  input.spec = *spec;
  return {};
}

// One layer; what it says goes to a text, because a passing layer has nothing to say.
static void verifyOne(Session &session, const VerifyFlags &flags, const CompileOptions &options, uint64_t seed,
                      const std::vector<int64_t> &tokens, Tally &tally) {
  SpecInput input;
  std::string said, error;
  raw_string_ostream os(said);
  Session quiet{os, os};
  quiet.quiet = true;
  Verification v{quiet, flags, input, tokens, {}};
  Result<> loaded = loadRandom(flags, seed, input);
  int code = loaded ? verifyLayer(v, options) : fail(quiet, loaded.error());
  for (const IsaResult &result : v.results) {
    tally.cases += result.cases;
    tally.ties += result.tied;
    tally.compared.add(result.compared);
    tally.gradients.add(result.gradients.compared);
    tally.worst = std::max(tally.worst, result.gradients.worst.value);
    tally.ofLimit = std::max(tally.ofLimit, result.gradients.worst.ofLimit);
    tally.ties += result.gradients.undecided;
    tally.worst = std::max(tally.worst, result.worst.value);
    tally.ofLimit = std::max(tally.ofLimit, result.worst.ofLimit);
    if (result.failed && error.empty())
      error = result.name + ": " + result.firstFailure;
  }
  if (code == ExitUnsupported) {
    ++tally.refused;
    ++tally.reasons[StringRef(os.str()).split('\n').first.str()];
    return;
  }
  if (code == ExitDone && error.empty()) {
    ++tally.passed;
    return;
  }
  ++tally.failed;
  session.err << "FAIL seed " << seed << ": " << escaped(error.empty() ? StringRef(os.str()).trim().str() : error)
              << "\n  " << reproducer(flags, seed) << "\n";
}

int verifyRandom(Session &session, const VerifyFlags &flags, const CompileOptions &options) {
  std::vector<int64_t> tokens;
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, tokens))
    return code;
  if (flags.printSpecs) {
    for (int i = 0; i < flags.random; ++i)
      session.out << specText(flags, flags.seed + uint64_t(i));
    return ExitDone;
  }
  CompileOptions quiet = options;
  VerifyFlags each = flags;
  each.quietSkips = true;
  Tally tally;
  for (int i = 0; i < flags.random; ++i) {
    uint64_t seed = flags.seed + uint64_t(i);
    quiet.progress = [seed](StringRef stage, StringRef, double) {
      enterStage((stage + " of the random layer of seed " + Twine(seed)).str());
    };
    quiet.progress("spec", "", 0);
    verifyOne(session, each, quiet, seed, tokens, tally);
    if (!session.quiet && (i + 1) % 25 == 0)
      session.err << format("  %d of %d layers, %d failed\n", i + 1, flags.random, tally.failed);
  }
  if (flags.json) {
    json::OStream os(session.out, 2);
    os.object([&] {
      os.attribute("layers", flags.random);
      os.attribute("passed", tally.passed);
      os.attribute("failed", tally.failed);
      os.attribute("not_built", tally.refused);
      os.attribute("cases", int64_t(tally.cases));
      os.attribute("rows_compared", int64_t(tally.compared.rows));
      os.attribute("values_compared", int64_t(tally.compared.values));
      if (flags.grad)
        os.attribute("gradient_rows_compared", int64_t(tally.gradients.rows));
      os.attribute("calls_without_tokens", int64_t(tally.compared.empty));
      os.attribute("ties", int64_t(tally.ties));
      os.attribute("worst_relative_error", tally.worst);
      os.attribute("worst_share_of_limit", tally.ofLimit);
    });
    session.out << "\n";
  } else {
    for (const auto &[reason, count] : tally.reasons)
      session.out << "not built " << count << ": " << escaped(reason) << "\n";
    session.out << flags.random << " layers, " << tally.passed << " passed, " << tally.failed << " failed, "
                << tally.refused << " not built; " << tally.cases << " cases, " << tally.compared.rows << " rows"
                << (flags.grad ? " and " + std::to_string(tally.gradients.rows) + " of gradients" : "") << " compared, "
                << tally.ties
                << format(" ties, worst error %.1e, %.0f%% of its limit\n", tally.worst, 100 * tally.ofLimit);
  }
  return tally.failed ? ExitCheckFailed : ExitDone;
}

} // namespace moec
