// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec -> random weights in seconds where RandomLayer::make takes minutes: all threads of the machine fill them.

#ifndef MOEC_TESTS_CUDA_LARGEWEIGHTS_H
#define MOEC_TESTS_CUDA_LARGEWEIGHTS_H

#include "codegen/check/OracleCheck.h"

#include <functional>

namespace moec {

// Runs work(0) .. work(count - 1) on all threads of the machine.
void onAllThreads(int64_t count, const std::function<void(int64_t)> &work);

// Weights of `spec` with the distributions of RandomLayer::make; a value depends on the seed and its place alone. Specs
// with a table of experts are refused. False: no memory, or refused; `error`.
bool makeLargeWeights(const LayerSpec &spec, uint64_t seed, RandomLayer &weights, std::string &error);

} // namespace moec

#endif
