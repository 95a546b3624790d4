// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec-run bench: a package as it is -> the time of its calls beside this machine's ceilings.

#include "codegen/run/OpenedPackage.h"
#include "codegen/run/RunVerbs.h"

#include "codegen/check/TokenRange.h"

#include <iostream>

namespace moec {

static int printCeilings(const RunBenchFlags &flags) {
  Result<std::string> text = ceilingsText(flags.threads, flags.json);
  if (!text)
    return say(text.error());
  std::cout << *text;
  return 0;
}

int runBench(const RunBenchFlags &flags) {
  if (flags.ceilings)
    return printCeilings(flags);
  Result<OpenedPackage> package = openSpecPackage(flags.package, "bench");
  if (!package)
    return say(package.error());
  if (!package->plan.header.isa_mask)
    return say(package->stored.damaged("it holds no kernels for CPUs"));
  Result<std::vector<int64_t>> tokens = parseTokenRange(flags.tokens, package->plan.header.max_tokens);
  if (!tokens)
    return say(tokens.error());
  BenchFacts facts = benchFacts(package->source->spec);
  const PackageManifest &manifest = package->stored.manifest();
  const moec_package *library = package->library->package();
  std::optional<PlanTables> backward;
  if (const moec_package *pass = backwardOf(library)) {
    Result<PlanTables> plan = readPlan(pass);
    if (!plan)
      return say(package->stored.damaged(plan.error().message));
    backward = std::move(*plan);
  }
  BenchPackage of = {library,
                     &package->plan,
                     backward ? &*backward : nullptr,
                     &facts,
                     manifest.name,
                     manifest.moecVersion,
                     package->libraryHash};
  if (Result<std::vector<BenchPass>> passes = benchPasses(flags, of.backward); !passes)
    return say(passes.error());
  int64_t distinct = chooseDistinct(flags, of);
  if (std::optional<Diagnostic> shared = sharedExpertsWarning(flags, package->plan, distinct))
    say(*shared);
  if (Result<> fits = checkBenchMemory(flags, of, *tokens, distinct); !fits)
    return say(fits.error());
  BenchedLayer layer(std::move(of), flags, distinct);
  if (Result<> packed = layer.pack(); !packed)
    return say(packed.error());
  BenchRun run;
  auto progress = [](const BenchSeries &series, const ProbeResult &best) {
    std::cerr << progressText(series, best) << "\n";
  };
  if (Result<> measured = benchCalls(layer, *tokens, progress, run); !measured)
    return say(measured.error());
  for (const Diagnostic &warning : withheldWarnings(run))
    say(warning);
  writeReport(std::cout, run, flags.json ? "json" : flags.format);
  return 0;
}

} // namespace moec
