// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "TuneConfirm.h"

#include "BenchAgainst.h"
#include "Supervisor.h"
#include "VerifyLayer.h"

#include "codegen/MemoryNeed.h"

#include "llvm/Support/Format.h"

using namespace llvm;

namespace moec {

// Flags under which `records` decide. A schedule was the default that the records were made beside; it would come
// before them.
static CompileFlags tunedFlags(const TuneFlags &flags, const std::string &records) {
  CompileFlags tuned = flags.compile;
  tuned.tuning = {records};
  tuned.scheduleFile.clear();
  return tuned;
}

static int compareCalls(Session &session, const TuneFlags &flags, const std::string &records) {
  BenchFlags bench;
  bench.compile = flags.compile;
  bench.compile.tuning = {"none"};
  bench.spec = flags.spec;
  bench.tokens = flags.tokens;
  if (flags.skew == "zipf") // bench draws no histograms
    bench.skew = flags.skew;
  CompileFlags tuned = tunedFlags(flags, records);
  Session quiet = {session.out, session.err};
  quiet.color = session.color;
  quiet.quiet = true;
  BenchSubject a, b;
  if (int code = loadSubject(quiet, bench, bench.compile, flags.spec, a))
    return code;
  if (int code = loadSubject(quiet, bench, tuned, flags.spec, b))
    return code;
  // Both layers have gradients of every expert; a layer without memory for them has its forward calls compared.
  if (a.trains() && !checkMemory(2 * benchMemory(bench, a.tables(), a.tokens, /*distinct=*/0), "bench"))
    bench.pass = "forward";
  PairRun run;
  if (int code = measurePairs(quiet, bench, a, b, run))
    return code;
  session.out << "  T     " << (a.trains() && bench.pass.empty() ? "call                 " : "   ")
              << "default          tuned\n";
  for (const PairSeries &series : run.series) {
    RatioRow row = ratioOf(run, series);
    session.out << format("  %-6lld", (long long)series.tokens);
    if (series.pass != BenchPass::Forward)
      session.out << format("%-18s", passText(series.pass));
    if (acceptedPairs(series, run.ceilings).empty()) {
      session.out << "  no pair accepted\n";
      continue;
    }
    session.out << format("%10.0f us  %10.0f us   %+.1f %%", row.usA, row.usB, 100 * (1 / row.ratio.ratio - 1));
    if (row.ratio.known())
      session.out << format(" (%+.1f .. %+.1f)", 100 * (1 / row.ratio.high - 1), 100 * (1 / row.ratio.low - 1));
    session.out << "\n";
  }
  return ExitDone;
}

namespace {
struct Verified {
  size_t cases = 0, failed = 0;
  std::string firstFailure;
  bool skipped = false; // too large
};
} // namespace

// Calls of `tokens`, with gradients if `verify` asks for them.
static int verifyTuned(Session &session, const VerifyFlags &verify, const SpecInput &input, CompileOptions options,
                       const char *tokens, Verified &out) {
  std::vector<int64_t> counts;
  if (int code = tokenCounts(session, tokens, options.maxTokens, counts))
    return code;
  std::unique_ptr<TextLayer> text;
  if (input.isMoeText && !(text = TextLayer::parse(session, input)))
    return ExitInvalid;
  Verification verification{session, verify, input, counts, {}, 0, text.get()};
  verification.gradientsMaySkip = true;
  if (int code = verifyLayer(verification, options))
    return code;
  out.skipped = verification.results.empty();
  for (const IsaResult &result : verification.results) {
    out.cases += result.cases;
    out.failed += result.failed;
    if (out.firstFailure.empty())
      out.firstFailure = result.firstFailure;
  }
  return ExitDone;
}

// `what` follows the number of cases: "", " of gradients".
static int sayVerified(Session &session, const TuneFlags &flags, const char *what, const Verified &verified) {
  if (!flags.json && verified.skipped)
    session.out << "verify       cases" << what << " do not fit into memory\n";
  else if (!flags.json)
    session.out << "verify       " << verified.cases << " cases" << what << ", " << verified.failed
                << " failed with the tuned schedule\n";
  if (!verified.failed)
    return ExitDone;
  session.err << escaped(verified.firstFailure) << "\n";
  return ExitCheckFailed;
}

// A layer that trains has its gradients compared at fewer numbers of tokens, after y.
static int verifyTuned(Session &session, const TuneFlags &flags, const std::string &records) {
  VerifyFlags verify;
  verify.compile = tunedFlags(flags, records);
  verify.spec = flags.spec;
  verify.json = true; // says nothing of skips
  SpecInput input;
  CompileOptions options;
  if (int code = compileOptions(session, verify.compile, options))
    return code;
  options.progress = nullptr;
  if (int code = loadSpec(session, flags.spec, verify.compile, input))
    return code;
  Verified forward, gradients;
  if (int code = verifyTuned(session, verify, input, options, "0-9,16,31-33,64", forward))
    return code;
  if (int code = sayVerified(session, flags, "", forward))
    return code;
  verify.grad = !input.isMoeText && (input.spec.passes.backward || input.spec.passes.backwardInput);
  if (!verify.grad)
    return ExitDone;
  if (int code = verifyTuned(session, verify, input, options, VerifyFlags::gradientTokens, gradients))
    return code;
  return sayVerified(session, flags, " of gradients", gradients);
}

int confirmTuning(Session &session, const TuneFlags &flags, const std::string &records) {
  if (flags.json)
    return verifyTuned(session, flags, records);
  if (int code = compareCalls(session, flags, records))
    return code;
  return verifyTuned(session, flags, records);
}

} // namespace moec
