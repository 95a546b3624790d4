// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Packages of real size -> calls of several T against the float64 reference of sampled tokens.

#ifndef MOEC_TESTS_CUDA_LARGECHECK_H
#define MOEC_TESTS_CUDA_LARGECHECK_H

#include "Report.h"

#include "codegen/check/DeviceMemory.h"

#include <string>
#include <vector>

namespace moec {

// `device` null: the CPU kernels of the packages.
//
// Every case of the folder (CheckedPackage.h) for every T of `tokens`, of NAME.tokens where that is empty:
//
//     every value of y is written and finite           both runs, the second with a poisoned workspace
//     bits of both runs are the same                   where the package promises it
//     sampled tokens                                   logits, ids and weights as of random layers; ties of the router
//                                                      apart, |y - want| / |want| of a row at most 1e-2
//
// The reference routes in float64 from the bits of x and the weights that the device reads. Where tokens depend on each
// other the call has sequences of at most 256 tokens, and whole ones are sampled. Exit code.
int checkLarge(const std::string &kind, const std::string &folder, const std::vector<int64_t> &tokens,
               const CaseOptions &options, const DeviceContext *device);

} // namespace moec

#endif
