// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Packages of a folder -> calls captured in CUDA graphs, on two streams and in sequences, compared with plain calls.

#ifndef MOEC_TESTS_CUDA_GRAPHCHECK_H
#define MOEC_TESTS_CUDA_GRAPHCHECK_H

#include "Report.h"

#include "codegen/check/DeviceMemory.h"

#include <string>

namespace moec {

// A captured call replayed 1,000 times, every time with other inputs and therefore other routing, must give the bits of
// a plain call; calls of two streams at once, with a workspace each, those of calls alone; and so must calls of other
// inputs and other T that follow each other on one workspace without a wait. y is poisoned before each replay and each
// sequence. Layers take x alone. Exit code.
int checkGraphs(const std::string &folder, const CaseOptions &options, const DeviceContext &device);

} // namespace moec

#endif
