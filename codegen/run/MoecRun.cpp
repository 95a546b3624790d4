// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec-run: a package on the machine that runs it -> what it is, whether it is right, how fast it is. Needs no
// compiler: it is linked from the runtime, the reference and the parts of `moec` that do without LLVM.

#include "codegen/run/ChildProcess.h"
#include "codegen/run/RunVerbs.h"

#include "codegen/cli/ExitCode.h"
#include "runtime/moec.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <cstdlib>
#include <iostream>
#include <new>
#include <system_error>
#include <unistd.h>

namespace moec {

int say(const Diagnostic &message) {
  Diagnostic placed = message;
  placed.message = message.placedMessage();
  placed.file = "moec-run";
  placed.line = placed.column = placed.length = 0;
  const char *noColor = std::getenv("NO_COLOR");
  std::cerr << render(placed, SourceText(), isatty(2) && !(noColor && *noColor)) << std::flush;
  return message.severity == Severity::Error ? exitCodeOf(message.code) : ExitDone;
}

} // namespace moec

using namespace moec;

static CLI::App *addInspect(CLI::App &app, RunInspectFlags &flags) {
  CLI::App *verb = app.add_subcommand(
      "inspect", "what a package is, what this machine takes of it, and whether its files are those it was made with");
  verb->add_option("PACKAGE", flags.package, "its folder, share/NAME or lib/libNAME.so")->required();
  verb->add_flag("--json", flags.json, "one JSON document on stdout");
  return verb;
}

static CLI::App *addVerify(CLI::App &app, RunVerifyFlags &flags) {
  CLI::App *verb = app.add_subcommand("verify", "run a package on random weights against the float64 reference");
  verb->add_option("PACKAGE", flags.package, "its folder, share/NAME or lib/libNAME.so")->required();
  verb->add_option("--tokens", flags.tokens, "token counts: 1,2,4-64*2,100-108")
      ->type_name("RANGE")
      ->capture_default_str();
  verb->add_option("--seed", flags.seed, "of the first random weights")->type_name("S")->capture_default_str();
  verb->add_option("--seeds", flags.seeds, "sets of random weights")->check(CLI::Range(1, 1000))->capture_default_str();
  verb->add_option("--threads", flags.threads, "most threads; 1..N must give equal bits")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_flag("--json", flags.json, "one JSON document on stdout");
  return verb;
}

static CLI::App *addBench(CLI::App &app, RunBenchFlags &flags) {
  CLI::App *verb = app.add_subcommand("bench", "time a package beside this machine's ceilings");
  verb->add_option("PACKAGE", flags.package, "its folder, share/NAME or lib/libNAME.so");
  verb->add_option("--tokens", flags.tokens, "token counts: 1,2,4-64*2,100-108")
      ->type_name("RANGE")
      ->capture_default_str();
  verb->add_option("--threads", flags.threads, "threads of a call and of the probes")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_option("--rounds", flags.rounds, "calls per T; default: until 15 are accepted")
      ->check(CLI::Range(1, 100000));
  verb->add_option("--skew", flags.skew, "routing: uniform, zipf, one-hot")
      ->check(CLI::IsMember({"uniform", "zipf", "one-hot"}))
      ->capture_default_str();
  verb->add_option("--pass", flags.pass,
                   "calls to time: forward (saves nothing), backward, or both: forward that saves, and backward; "
                   "default: both of a layer that trains")
      ->check(CLI::IsMember({"forward", "backward", "both"}));
  verb->add_option("--format", flags.format, "md, csv, json or jsonl")
      ->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))
      ->capture_default_str();
  verb->add_flag("--json", flags.json, "the same as --format json");
  verb->add_flag("--stages", flags.stages, "time every step of a call too");
  verb->add_option("--distinct-experts", flags.distinct,
                   "experts with storage of their own, which the others share; default: all, or as many as fit")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  verb->add_flag("--warm", flags.warm, "repeat one input, so that its weights may be in cache");
  verb->add_flag("--ceilings", flags.ceilings, "only probe the machine");
  return verb;
}

static int guarded(const std::function<int()> &work) {
  return runInChild([&] {
    try {
      return work();
    } catch (const std::bad_alloc &) {
      return say(Diagnostic::error("E-MEMORY", "out of memory", "use fewer --tokens"));
    } catch (const std::system_error &error) { // of a thread that cannot start: a limit of processes
      bool limit = error.code() == std::errc::resource_unavailable_try_again;
      return say(
          Diagnostic::error(limit ? "E-RESOURCE" : "E-INTERNAL",
                            limit ? "cannot start a thread: " + error.code().message()
                                  : std::string("unexpected failure: ") + error.what(),
                            limit ? "raise the limit of processes (ulimit -u, pids.max), or use fewer --threads" : ""));
    }
  });
}

static int parseEnd(const CLI::App &app, const CLI::ParseError &error) {
  const CLI::App *verb = app.get_subcommands().empty() ? &app : app.get_subcommands().front();
  std::string command = verb == &app ? "moec-run" : "moec-run " + verb->get_name();
  if (error.get_name() == "CallForHelp") {
    std::cout << (verb == &app ? app.help() : verb->help("moec-run"));
    return ExitDone;
  }
  if (error.get_name() == "CallForVersion") {
    std::cout << error.what() << "\n";
    return ExitDone;
  }
  std::string message = error.what();
  while (!message.empty() && (message.back() == '\n' || message.back() == '.'))
    message.pop_back();
  if (error.get_name() == "RequiredError" && verb == &app)
    message = "no verb was named";
  return say(Diagnostic::error("E-USAGE", escaped(message), command + " --help lists what it takes"));
}

int main(int argc, char **argv) {
  CLI::App app("moec-run judges a compiled layer where it runs, without the compiler.", "moec-run");
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "what moec-run, or one verb, takes");
  app.set_version_flag("--version", "moec-run " + std::to_string(MOEC_VERSION_MAJOR) + "." +
                                        std::to_string(MOEC_VERSION_MINOR) + "." + std::to_string(MOEC_VERSION_PATCH));
  RunInspectFlags inspect;
  RunVerifyFlags verify;
  RunBenchFlags bench;
  CLI::App *inspectVerb = addInspect(app, inspect), *verifyVerb = addVerify(app, verify);
  addBench(app, bench);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return parseEnd(app, error);
  }
  if (inspectVerb->parsed())
    return guarded([&] { return runInspect(inspect); });
  if (verifyVerb->parsed())
    return guarded([&] { return runVerify(verify); });
  if (!bench.ceilings && bench.package.empty())
    return say(Diagnostic::error("E-USAGE", "no package was named", "moec-run bench PACKAGE --tokens 1,32,512"));
  return guarded([&] { return runBench(bench); });
}
