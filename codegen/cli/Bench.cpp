// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec bench: a spec, a layer or a package -> the time of a call for each T (codegen/bench/BenchCalls.cpp).

#include "BenchAgainst.h"
#include "BenchLayer.h"
#include "Supervisor.h"
#include "Verbs.h"

#include "codegen/bench/BenchReport.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>
#include <sstream>

namespace moec {

static int benchLayer(Session &session, const BenchFlags &flags, const BenchSubject &subject) {
  BenchPackage of = subject.tables();
  if (Result<std::vector<BenchPass>> passes = benchPasses(flags, of.backward); !passes)
    return fail(session, passes.error());
  int64_t distinct = chooseDistinct(flags, of);
  if (std::optional<Diagnostic> shared = sharedExpertsWarning(flags, subject.plan(), distinct))
    warnAll(session, {*shared});
  if (Result<> fits = checkBenchMemory(flags, of, subject.tokens, distinct); !fits)
    return fail(session, fits.error());
  Result<LoadedSubject> loaded = LoadedSubject::load(subject, flags, distinct);
  if (!loaded)
    return fail(session, loaded.error());
  if (Result<> packed = loaded->layer->pack(); !packed)
    return fail(session, packed.error());
  BenchRun run;
  auto progress = [&](const BenchSeries &series, const ProbeResult &best) {
    if (!session.quiet)
      session.err << progressText(series, best) << "\n";
  };
  if (Result<> measured = benchCalls(*loaded->layer, subject.tokens, progress, run); !measured)
    return fail(session, measured.error());
  warnAll(session, withheldWarnings(run));
  std::ostringstream text;
  writeReport(text, run, flags.json ? "json" : flags.format);
  session.out << text.str();
  return ExitDone;
}

static int printCeilings(Session &session, const BenchFlags &flags) {
  Result<std::string> text = ceilingsText(flags.threads, flags.json);
  if (!text)
    return fail(session, text.error());
  session.out << *text;
  return ExitDone;
}

static int runBench(Session &session, const BenchFlags &flags) {
  if (flags.ceilings)
    return printCeilings(session, flags);
  if (flags.spec.empty())
    return fail(session, "E-USAGE", "no spec was named", "moec bench layer.json --tokens 1,32,512");
  if (flags.comparesTwo())
    return benchAgainst(session, flags);
  BenchSubject subject;
  if (int code = loadAny(session, flags, flags.compile, flags.spec, subject))
    return code;
  enterStage("bench");
  return benchLayer(session, flags, subject);
}

Verb addBench(CLI::App &app) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App *verb = app.add_subcommand("bench", "time a layer beside this machine's ceilings");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file of the moe dialect, preset, or package");
  verb->add_option("--tokens", flags->tokens, "token counts: 1,2,4-64*2,100-108")
      ->type_name("RANGE")
      ->capture_default_str();
  verb->add_option("--threads", flags->threads, "threads of a call and of the probes")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_option("--rounds", flags->rounds, "calls per T; default: until 15 are accepted")
      ->check(CLI::Range(1, 100000));
  verb->add_option("--skew", flags->skew, "routing: uniform, zipf, one-hot")
      ->check(CLI::IsMember({"uniform", "zipf", "one-hot"}))
      ->capture_default_str();
  verb->add_option("--pass", flags->pass,
                   "calls to time: forward (saves nothing), backward, or both: forward that saves, and backward; "
                   "default: both of a layer that trains")
      ->check(CLI::IsMember({"forward", "backward", "both"}));
  verb->add_option("--format", flags->format, "md, csv, json or jsonl")
      ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
      ->capture_default_str();
  verb->add_flag("--json", flags->json, "the same as --format json");
  verb->add_flag("--stages", flags->stages, "time every step of a call too: router, route, dispatch, matmuls, combine");
  verb->add_option("--against", flags->against,
                   "measure another layer beside this one, calls alternating: a spec, or a folder that moec compile "
                   "wrote; prints the ratio")
      ->type_name("SPEC|DIR");
  verb->add_option("--schedule-b", flags->scheduleB,
                   "schedule of the second layer, which is SPEC itself without --against")
      ->type_name("FILE");
  verb->add_option("--tuning-b", flags->tuningB,
                   "records that the second layer uses in place of --tuning; none: heuristics alone")
      ->type_name("FILE");
  verb->add_option("--distinct-experts", flags->distinct,
                   "experts with storage of their own, which the others share; default: all, or as many as fit")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  verb->add_flag("--warm", flags->warm, "repeat one input, so that its weights may be in cache");
  verb->add_flag("--ceilings", flags->ceilings, "only probe the machine");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runBench(session, *flags); }};
}

} // namespace moec
