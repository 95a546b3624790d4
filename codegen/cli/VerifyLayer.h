// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer's package run on random weights and inputs and compared to the float64 reference, or to the interpreter where
// it is written in the dialect, on every instruction set of the target and 1..N threads, and on the GPU or an emulated
// one.

#ifndef MOEC_CODEGEN_CLI_VERIFYLAYER_H
#define MOEC_CODEGEN_CLI_VERIFYLAYER_H

#include "CompileFlags.h"
#include "SpecInput.h"
#include "TextLayer.h"

#include "codegen/check/RandomSpec.h"
#include "codegen/check/RoutingStats.h"
#include "codegen/check/VerifyRun.h"
#include "codegen/emulate/PackageOnDisk.h"

#include <optional>
#include <string>
#include <vector>

namespace moec {

struct VerifyFlags {
  CompileFlags compile;
  static constexpr const char *forwardTokens = "0-17,31-33,64";
  static constexpr const char *gradientTokens = "0-3,5,8,17,33"; // fewer: backward calls are many
  std::string spec, golden, tokens;                              // tokens: empty, the default
  int seeds = 1, threads = 3;
  int random = 0;
  uint64_t seed = 1;
  RandomSizes sizes;
  bool json = false;
  bool emulate = false;
  bool printSpecs = false;
  bool routing = false;
  bool grad = false;
  bool quietSkips = false; // several layers: a machine that is not there is said once
};

// What all parts of one verification add to.
struct Verification {
  Session &session;
  const VerifyFlags &flags;
  const SpecInput &input;
  std::vector<int64_t> tokens;
  std::vector<IsaResult> results;
  size_t skipped = 0;
  const TextLayer *text = nullptr;                    // the layer of v.input if that is a .mlir file
  std::optional<RoutingStats> routing = std::nullopt; // of every call on the first machine, where it is asked for
  GradientOracle *gradients = nullptr;                // with --grad
  // In place of an error where there is not enough memory to check gradients: skips them.
  bool gradientsMaySkip = false;

  // Every machine routes the same tokens, so one of them is enough.
  RoutingStats *firstRouting() { return routing && results.empty() ? &*routing : nullptr; }
  void skip(const std::string &name, const std::string &why) {
    ++skipped;
    if (!flags.json && !flags.quietSkips)
      session.out << "skip " << name << ": " << escaped(why) << "\n";
  }
};

// Compiles v.input for `options`, device by device, and runs it. Anything but ExitDone: the reason is said.
int verifyLayer(Verification &v, const CompileOptions &options);

// Runs a package as it is, on this machine's CPU and GPU; v.input is the layer in it.
int verifyPackage(Verification &v, const PackageOnDisk &package);

// moec verify --random: `count` random layers from `seed` on, each compiled and compared; what fails is said in a line
// that makes it again.
int verifyRandom(Session &session, const VerifyFlags &flags, const CompileOptions &options);

} // namespace moec

#endif
