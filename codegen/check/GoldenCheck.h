// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A golden case and a layer made for it -> whether the stored outputs come out.

#ifndef MOEC_CODEGEN_CHECK_GOLDENCHECK_H
#define MOEC_CODEGEN_CHECK_GOLDENCHECK_H

#include "codegen/check/OutputCheck.h"

#include "codegen/check/GoldenCase.h"

namespace moec {

RoleTensors tensorsOf(const GoldenCase &golden); // valid as long as `golden` is

// What a call of the batch gives besides x.
CallInputs inputsOf(const GoldenCase &golden, const GoldenBatch &batch);

// Says in the spec what a case leaves to its tensors: that its noise always acts, how many rows its table has. False:
// it was made with something that no package takes; `reason`.
bool fitPackage(GoldenCase &golden, std::string &reason);

// One batch on the layer as it is prepared: once, and again for the same bits where the package promises them. `tf32`:
// its kernels may round f32 operands. Rows may be off by what the layer's roundings do to them (Sensitivity.h), and y
// nowhere by more than the share of max|y| that the case allows. False: `reason`.
bool runBatch(const GoldenCase &golden, const GoldenBatch &batch, LayerRun &layer, CheckResult &result,
              std::string &reason, bool tf32 = false);

} // namespace moec

#endif
