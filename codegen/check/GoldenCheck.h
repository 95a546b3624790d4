// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A golden case and a layer made for it -> whether the stored outputs come out.

#ifndef MOEC_CODEGEN_CHECK_GOLDENCHECK_H
#define MOEC_CODEGEN_CHECK_GOLDENCHECK_H

#include "codegen/check/OutputCheck.h"

#include "dsl/GoldenCase.h"

namespace moec {

RoleTensors tensorsOf(const GoldenCase &golden); // valid as long as `golden` is

// One batch on the layer as it is prepared: once, and again for the same bits. False: `reason`.
bool runBatch(const GoldenCase &golden, const GoldenBatch &batch, LayerRun &layer, WorstError &worst, std::string &reason);

} // namespace moec

#endif
