// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A golden case and a layer compiled for it -> whether the layer computes the stored outputs.

#ifndef MOEC_CODEGEN_CHECK_GOLDENCHECK_H
#define MOEC_CODEGEN_CHECK_GOLDENCHECK_H

#include "codegen/check/OutputCheck.h"

#include "codegen/check/GoldenCase.h"

namespace moec {

RoleTensors tensorsOf(const GoldenCase &golden); // valid as long as `golden` is

// Inputs of a call with the batch besides x.
CallInputs inputsOf(const GoldenCase &golden, const GoldenBatch &batch);

// Adds to the spec what only the case's tensors say: that noise always acts, how many rows the table has. False:
// `reason` names a feature of the case that no package supports.
bool fitPackage(GoldenCase &golden, std::string &reason);

// Runs one batch on a prepared layer, twice if the package promises equal bits. `tf32`: kernels may round f32
// operands. Rows may be off by what the layer's roundings do to them (Sensitivity.h), and y nowhere by more than the
// share of max|y| that the case allows. False: `reason`.
bool runBatch(const GoldenCase &golden, const GoldenBatch &batch, LayerRun &layer, CheckResult &result,
              std::string &reason, bool tf32 = false);

} // namespace moec

#endif
