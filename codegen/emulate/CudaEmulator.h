// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Device modules -> images, and a driver table that "loads" and runs them on one emulated device in this process.
//
//   CudaEmulator emulator({.seed = 1, .capability = 90, .multiprocessors = 3});
//   auto image = emulator.addModule(std::move(module), std::move(context));   // goes where a cubin would
//   options.cuda_driver = emulator.driver();
//   ... run ...
//   emulator.findings()                                                       // empty when all rules were kept

#ifndef MOEC_CODEGEN_EMULATE_CUDAEMULATOR_H
#define MOEC_CODEGEN_EMULATE_CUDAEMULATOR_H

#include "codegen/emulate/CudaHostCode.h"
#include "codegen/emulate/CudaMachine.h"

#include "runtime/cuda/cuda_driver.h"

#include <mutex>

namespace moec {

struct CudaEmulatorOptions {
  uint64_t seed = 1;
  uint32_t capability = 90; // 80 or 90
  uint32_t multiprocessors = 3;
};

// The driver's functions take no handle, so they reach the emulator created last; create and destroy emulators like a
// stack. The driver's functions may be called from any thread; launches run immediately.
class CudaEmulator {
public:
  explicit CudaEmulator(CudaEmulatorOptions options);
  ~CudaEmulator();
  CudaEmulator(const CudaEmulator &) = delete;
  CudaEmulator &operator=(const CudaEmulator &) = delete;

  // Compiles the module for the host. The image is a text with its terminating zero. It loads on devices of
  // `capability`, or on every device if that is 0. Errors name the function and the instruction.
  llvm::Expected<std::string> addModule(std::unique_ptr<llvm::Module> module,
                                        std::unique_ptr<llvm::LLVMContext> context, uint32_t capability = 0);

  const moec_cuda_driver *driver() const;

  // The first 8 findings since the emulator was made or cleared, and how many there were.
  const std::vector<std::string> &findings() { return machine.findings.texts(); }
  uint64_t numFindings() { return machine.findings.count(); }
  void clearFindings() { machine.findings.clear(); }
  void reseed(uint64_t seed) { machine.block.reseed(seed); }

  // For the driver's functions.
  static CudaEmulator *active();
  const CudaHostCode *codeOf(const char *image) const; // null when this device cannot load it
  const CudaEmulatorOptions options;
  CudaMachine machine;
  std::recursive_mutex mutex; // held during a call

private:
  struct Image {
    std::unique_ptr<CudaHostCode> code;
    uint32_t capability;
  };

  std::vector<Image> images;
  CudaEmulator *below;
};

} // namespace moec

#endif
