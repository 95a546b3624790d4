// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Modules to an emulator, and its findings as the complaints of a device.

#include "EmulatedDevice.h"

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

namespace moec {

Result<std::unique_ptr<EmulatedDevice>> EmulatedDevice::make(CompiledPackage &compiled) {
  CudaArch arch = compiled.deviceModules.front().arch;
  std::unique_ptr<EmulatedDevice> device(new EmulatedDevice(uint32_t(cudaArchFacts(arch).sm)));
  for (CompiledPackage *pass = &compiled; pass; pass = pass->backward.get()) {
    DeviceModule &kernels = pass->deviceModules.front();
    auto image = device->emulator.addModule(std::move(kernels.module), std::move(kernels.context));
    if (!image)
      return Diagnostic::error("E-INTERNAL", llvm::toString(image.takeError()));
    pass->images.front() = *image;
  }
  Result<std::unique_ptr<DeviceContext>> opened = DeviceContext::open(device->emulator.driver());
  if (!opened)
    return Diagnostic::error("E-INTERNAL", opened.error().message);
  device->deviceContext = std::move(*opened);
  EmulatedDevice *made = device.get();
  made->deviceContext->beforeRun = [made] { made->emulator.reseed(++made->seed); };
  made->deviceContext->complaints = [made] {
    std::string text;
    if (uint64_t count = made->emulator.numFindings())
      text = std::to_string(count) + " findings of the emulator, the first: " + made->emulator.findings().front();
    made->emulator.clearFindings();
    return text;
  };
  return device;
}

} // namespace moec
