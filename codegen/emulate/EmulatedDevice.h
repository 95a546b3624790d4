// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package compiled with emulateCuda for one architecture in -> an emulated device that runs it.

#ifndef MOEC_CODEGEN_EMULATE_EMULATEDDEVICE_H
#define MOEC_CODEGEN_EMULATE_EMULATEDDEVICE_H

#include "codegen/check/DeviceMemory.h"

#include "codegen/emit/CompiledPackage.h"
#include "codegen/emulate/CudaEmulator.h"

#include <memory>

namespace moec {

// Destroy the layers that run on it first; destroy emulated devices in reverse order of creation.
class EmulatedDevice {
public:
  // Takes the module of `compiled` and makes its image. An error is E-INTERNAL.
  static Result<std::unique_ptr<EmulatedDevice>> make(CompiledPackage &compiled);

  // Its complaints are the emulator's findings. Every run is scheduled with a new seed.
  const DeviceContext &context() const { return *deviceContext; }

private:
  explicit EmulatedDevice(uint32_t capability) : emulator({1, capability, 3}) {}
  CudaEmulator emulator;
  std::unique_ptr<DeviceContext> deviceContext;
  uint64_t seed = 1;
};

} // namespace moec

#endif
