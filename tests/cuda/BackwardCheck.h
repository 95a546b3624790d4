// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Small layers that train -> forward calls that save and backward calls, against gradients that travel with them.

#ifndef MOEC_TESTS_CUDA_BACKWARDCHECK_H
#define MOEC_TESTS_CUDA_BACKWARDCHECK_H

#include "Report.h"

#include "codegen/check/DeviceMemory.h"

#include <string>

namespace moec {

// Every call of NAME.gradients, as `moec verify --grad` makes it: twice with other contents of the workspace and the
// same bits, then some gradients alone, gradients in the weights' type, and gradients that are added to a buffer.
// `device` null: the CPU kernels of the packages. Exit code. `kind`: what lines call it.
int checkBackward(const std::string &kind, const std::string &folder, const CaseOptions &options,
                  const DeviceContext *device);

} // namespace moec

#endif
