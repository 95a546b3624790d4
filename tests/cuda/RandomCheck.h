// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Small layers of every kind -> calls of several T against the float64 reference, every output and report.

#ifndef MOEC_TESTS_CUDA_RANDOMCHECK_H
#define MOEC_TESTS_CUDA_RANDOMCHECK_H

#include "Report.h"

#include "codegen/check/DeviceMemory.h"

#include <string>

namespace moec {

// `device` null: the CPU kernels of the packages. Exit code.
int checkRandom(const std::string &folder, const CaseOptions &options, const DeviceContext *device);

} // namespace moec

#endif
