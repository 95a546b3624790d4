// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec-run verify: a package as it is -> compared with the float64 reference of the spec in it.

#include "codegen/run/OpenedPackage.h"
#include "codegen/run/RunVerbs.h"

#include "codegen/MemoryNeed.h"
#include "codegen/check/TokenRange.h"
#include "codegen/check/VerifyReport.h"
#include "codegen/package/CallMemory.h"

#include <iostream>

namespace moec {

// The functions that the oracle has no formula for, as the package was made with them.
static std::map<std::string, std::string> functionsOf(const StoredPackage::Source &source) {
  std::map<std::string, std::string> texts;
  for (const std::string &name : functionsToRead(source.spec))
    if (auto found = source.functions.find(name); found != source.functions.end())
      texts[name] = found->second;
  return texts;
}

// Weights as drawn and packed, x, and the largest call.
static Result<> checkMemoryOf(const LayerOracle &oracle, const PlanTables &plan, const VerifyOptions &options) {
  double bytes = verifyMemory(oracle, options);
  if (plan.header.isa_mask)
    bytes += double(plan.packedBytes()) + double(workspaceBytes(plan, options.mostTokens(), options.threads));
  return checkMemory(bytes, "verify");
}

int runVerify(const RunVerifyFlags &flags) {
  Result<OpenedPackage> package = openSpecPackage(flags.package, "verify");
  if (!package)
    return say(package.error());
  const PackageManifest &manifest = package->stored.manifest();
  VerifyOptions options;
  Result<std::vector<int64_t>> tokens = parseTokenRange(flags.tokens, package->plan.header.max_tokens);
  if (!tokens)
    return say(tokens.error());
  options.tokens = *tokens;
  options.seeds = flags.seeds;
  options.threads = flags.threads;
  options.seed = flags.seed;
  options.tf32 = manifest.options.math == "tf32";
  options.unordered = manifest.options.determinism == "off";
  std::vector<IsaResult> results;
  size_t skipped = 0;
  auto skip = [&](const std::string &name, const std::string &why) {
    ++skipped;
    if (!flags.json)
      std::cout << "skip " << name << ": " << escaped(why) << "\n";
  };
  SpecOracle oracle(package->source->spec, functionsOf(*package->source));
  if (Result<> fits = checkMemoryOf(oracle, package->plan, options); !fits)
    return say(fits.error());
  const moec_package *loaded = package->library->package();
  if (uint32_t mask = package->plan.header.isa_mask)
    if (Result<> verified = verifyCpu(oracle, loaded, mask, options, nullptr, skip, results); !verified)
      return say(verified.error());
  if (!manifest.cudaTargets.empty()) {
    if (Result<std::unique_ptr<DeviceContext>> device = DeviceContext::open(nullptr); !device)
      skip("cuda", device.error().message);
    else if (Result<> verified = verifyDevice(oracle, loaded, **device, options, nullptr, results); !verified)
      return say(verified.error());
  }
  if (results.empty())
    return say(Diagnostic::error("E-MACHINE", "this machine runs none of the package's kernels",
                                 "moec-run inspect says what they need"));
  if (flags.json) {
    JsonWriter json(std::cout, 2);
    json.object(
        [&] { writeVerifyMembers(json, results, skipped, manifest.options.math, manifest.options.determinism); });
    std::cout << "\n";
  } else {
    std::cout << verifyTable(results, skipped);
  }
  int exit = 0;
  for (const IsaResult &result : results)
    if (result.failed)
      exit = say(Diagnostic::error("E-MISMATCH", result.name + ": " + escaped(result.firstFailure)));
  return exit;
}

} // namespace moec
