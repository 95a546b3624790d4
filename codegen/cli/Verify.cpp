// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec verify: flags -> a spec, a layer of the dialect, random specs or a folder of golden vectors run against the
// reference, and a table.

#include "GoldenVerify.h"
#include "RoutingReport.h"
#include "StoredInput.h"
#include "Supervisor.h"
#include "Verbs.h"
#include "VerifyLayer.h"

#include "codegen/check/TrainedSpec.h"
#include "codegen/check/VerifyReport.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>
#include <sstream>

namespace moec {

static int printResults(Verification &v) {
  Session &session = v.session;
  const VerifyFlags &flags = v.flags;
  int exit = countsOf(v.results, v.skipped).failed ? ExitCheckFailed : ExitDone;
  if (flags.json) {
    std::ostringstream text;
    JsonWriter json(text, 2);
    json.object([&] {
      writeVerifyMembers(json, v.results, v.skipped, flags.compile.math, flags.compile.determinism);
      if (v.routing)
        json.attributeObject("routing", [&] { writeRouting(json, *v.routing, {}); });
    });
    session.out << text.str() << "\n";
    return exit;
  }
  session.out << verifyTable(v.results, v.skipped);
  for (const IsaResult &result : v.results)
    if (result.failed)
      fail(session, "E-MISMATCH", result.name + ": " + result.firstFailure);
  return exit;
}

// A spec or a layer is compiled; a package is taken as it is.
static int verifySpec(Session &session, const VerifyFlags &given, const CompileOptions &options) {
  SpecInput input;
  VerifyFlags flags = given;
  std::unique_ptr<PackageOnDisk> package;
  if (isPackageFolder(flags.spec)) {
    if (flags.emulate)
      return fail(session, "E-USAGE", "--emulate compiles kernels anew, and a package has its own",
                  "name the spec in the package's share folder");
    if (int code = openStored(session, flags.spec, flags.compile, package))
      return code;
    flags.compile.math = package->stored.manifest().options.math;
    flags.compile.determinism = package->stored.manifest().options.determinism;
  }
  Verification v{session, flags, input, {}, {}};
  int64_t most = package ? package->compiled.plan.header.max_tokens : options.maxTokens;
  if (int code = tokenCounts(session, flags.tokens, most, v.tokens))
    return code;
  if (int code = package ? loadStored(session, *package, input) : loadSpec(session, flags.spec, flags.compile, input))
    return code;
  std::unique_ptr<TextLayer> text;
  if (flags.grad && input.isMoeText)
    return fail(session, "E-UNSUPPORTED", "a layer written in the dialect has no backward pass",
                "--grad is for specs and packages");
  if (flags.grad && !package)
    if (Result<LayerSpec> trained = withBackwardPass(input.spec))
      input.spec = *trained;
    else
      return reportCompileErrors(session, input, {trained.error()});
  if (input.isMoeText && !(text = TextLayer::parse(session, input)))
    return ExitInvalid;
  v.text = text.get();
  int64_t choices = text ? text->choices : input.spec.choices();
  if (flags.routing && choices < 1)
    return fail(session, "E-UNSUPPORTED",
                "tokens of this layer do not choose experts, so there is no routing to report", "leave --routing out");
  if (flags.routing)
    v.routing.emplace(text ? text->experts : input.spec.routerRows());
  if (int code = package ? verifyPackage(v, *package) : verifyLayer(v, options))
    return code;
  if (v.routing)
    warnOfRouting(session, *v.routing);
  if (v.routing && !flags.json) {
    printRouting(session.out, *v.routing, {});
    session.out << "\n";
  }
  return printResults(v);
}

// What a comparison of CUDA kernels asks for where flags let them be less exact.
static void sayTolerances(Session &session, const VerifyFlags &flags, const CompileOptions &options) {
  if (options.archs.empty() || flags.json)
    return;
  if (options.math == MathMode::Tf32)
    session.out << "cuda, --math tf32: y of f32 layers within what rounding to tf32 does to them, routing as exact as "
                   "ever\n";
  if (options.determinism == Determinism::Off)
    session.out << "cuda, --det off: two runs are compared with the reference, not with each other\n";
}

static int runVerify(Session &session, const VerifyFlags &given) {
  VerifyFlags flags = given;
  if (flags.tokens.empty())
    flags.tokens = flags.grad ? VerifyFlags::gradientTokens : VerifyFlags::forwardTokens;
  CompileOptions options;
  if (int code = compileOptions(session, flags.compile, options))
    return code;
  if (!flags.spec.empty() + !flags.golden.empty() + (flags.random > 0) != 1)
    return fail(session, "E-USAGE", "verify takes one of a spec, --golden DIR and --random N",
                "moec verify layer.json");
  if (flags.routing && flags.spec.empty())
    return fail(session, "E-USAGE", "--routing reports on one layer", "name its spec");
  if (flags.emulate && !options.isas.has(Isa::Amx) && options.archs.empty())
    return fail(session, "E-USAGE", "--emulate is for AMX and CUDA kernels, and no target here has them",
                "use --target cpu:amx, cuda:sm_90a or cuda:sm_80");
  if (flags.spec.empty() && !flags.compile.scheduleFile.empty())
    return fail(session, "E-USAGE", "--schedule applies to a spec alone: a schedule is one layer's",
                "name the spec of one case");
  if (flags.spec.empty() && !flags.compile.reports.empty())
    return fail(session, "E-USAGE", "--reports applies to a spec",
                "golden cases have every report, random layers those that their specs ask for");
  sayTolerances(session, flags, options);
  options.emulateTiles = flags.emulate && options.isas.has(Isa::Amx);
  options.emulateCuda = flags.emulate;
  if (flags.random)
    return verifyRandom(session, flags, options);
  return flags.golden.empty() ? verifySpec(session, flags, options)
                              : verifyGolden(session, flags.golden, options, flags.grad);
}

Verb addVerify(CLI::App &app) {
  auto flags = std::make_shared<VerifyFlags>();
  CLI::App *verb = app.add_subcommand("verify", "run a layer against the reference");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file of the moe dialect, preset, or package");
  verb->add_option("--golden", flags->golden, "folder of golden vectors; every case is compiled and compared")
      ->type_name("DIR");
  verb->add_option("--random", flags->random, "random layers; each is compiled and compared")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000));
  verb->add_option("--seed", flags->seed,
                   "of the first random layer, layer i has seed S+i; of the first random weights")
      ->type_name("S")
      ->capture_default_str();
  verb->add_option("--most", flags->sizes.most, "largest width of random layers")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->add_option("--most-experts", flags->sizes.experts, "most experts of random layers")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->add_flag("--print-specs", flags->printSpecs, "print the random specs instead of running them");
  verb->add_option("--tokens", flags->tokens,
                   std::string("token counts: 1,2,4-64*2,100-108; default: ") + VerifyFlags::forwardTokens +
                       ", with --grad " + VerifyFlags::gradientTokens)
      ->type_name("RANGE");
  verb->add_option("--seeds", flags->seeds, "sets of random weights")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_option("--threads", flags->threads, "most threads; 1..N must give equal bits")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_flag(
      "--emulate", flags->emulate,
      "run AMX and CUDA kernels on any machine: tile instructions as calls that do the same, CUDA threads on "
      "the host, with rules of the device checked");
  verb->add_flag("--routing", flags->routing, "how much each expert is used by the random tokens, and what that says");
  verb->add_flag("--grad", flags->grad,
                 "the backward pass too: every gradient, of layers whose specs do not ask for one as well");
  verb->add_flag("--json", flags->json, "one JSON document on stdout");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runVerify(session, *flags); }};
}

} // namespace moec
