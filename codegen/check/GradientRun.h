// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer with a backward pass -> whether its gradients are the oracle's.
//
// On 1..N threads, each twice with other contents of the workspace, forward gives the y of a call that saves nothing,
// and what it saves and all gradients have the same bits every time. The gradients of the first run are compared with
// the oracle's. Further calls are compared with the first one: some gradients alone, another type, added to numbers.

#ifndef MOEC_CODEGEN_CHECK_GRADIENTRUN_H
#define MOEC_CODEGEN_CHECK_GRADIENTRUN_H

#include "codegen/check/GradientOracle.h"

#include <functional>
#include <memory>
#include <string>

namespace moec {

// Of the oracle's call. `first`, if given, gets the gradients of the first run, in f32. `prepare` readies the
// layer, whose weights are packed, for so many threads. False: `reason`; an error: it could not be run.
using PrepareThreads = std::function<Result<>(int threads)>;
Result<bool> verifyGradients(GradientOracle &oracle, LayerRun &layer, int threads, const PrepareThreads &prepare,
                             CheckResult &result, std::string &reason, std::unique_ptr<CallGradients> *first = nullptr);

} // namespace moec

#endif
