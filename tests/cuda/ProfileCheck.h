// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Packages of a folder -> microseconds of a call and of every kernel in it, by the device's own clock.

#ifndef MOEC_TESTS_CUDA_PROFILECHECK_H
#define MOEC_TESTS_CUDA_PROFILECHECK_H

#include "Report.h"

#include "codegen/check/DeviceMemory.h"

#include <string>
#include <vector>

namespace moec {

// Lines of every case and T, between the other lines:
//
//     call NAME T MICROSECONDS                          the least of several calls as they are, kernels overlapping
//     stage NAME T KERNEL GRID BLOCK SHARED RESIDENT MICROSECONDS
//                                                       of one call with an event around every launch: no overlap.
//                                                       RESIDENT blocks fit onto a multiprocessor, -1: not known
//
// Of a layer that trains also, in place of NAME: NAME/saving, a forward call that saves; NAME/backward, a backward call
// with gradients in the weights' type; NAME/backward-f32.
//
// Times are the events' of the device; a stage's holds 1 to 2 microseconds of the events themselves. Exit code.
int profileCalls(const std::string &folder, const std::vector<int64_t> &tokens, const CaseOptions &options,
                 const DeviceContext &device);

} // namespace moec

#endif
