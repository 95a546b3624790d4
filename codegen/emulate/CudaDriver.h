// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The emulator behind the driver's functions: one device, device pointers are host pointers, launches run immediately.

#ifndef MOEC_CODEGEN_EMULATE_CUDADRIVER_H
#define MOEC_CODEGEN_EMULATE_CUDADRIVER_H

#include "runtime/cuda/cuda_driver.h"

namespace moec {

// The table; the same for every emulator, valid for the process's life. Without an active emulator every function
// returns CUDA_ERROR_NOT_INITIALIZED.
const moec_cuda_driver *cudaEmulatorDriver();

} // namespace moec

#endif
