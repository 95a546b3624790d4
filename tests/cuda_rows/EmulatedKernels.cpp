// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the MLIR of kernels to launches through the emulator's driver table.

#include "BothKernels.h"

#include "codegen/cuda/CudaAssemble.h"
#include "codegen/emit/ObjectEmitter.h"
#include "codegen/pipeline/KernelContext.h"

#include "mlir/IR/Verifier.h"
#include "llvm/IR/Module.h"

using namespace mlir;

namespace moec {

std::unique_ptr<MLIRContext> makeKernelContext() {
  auto context = std::make_unique<MLIRContext>(MLIRContext::Threading::DISABLED);
  prepareKernelContext(*context);
  return context;
}

EmulatedKernels::EmulatedKernels(ModuleOp kernels, uint64_t seed) : emulator({seed, 90, 3}) {
  if (failed(verify(kernels))) {
    loadError = "the kernels are not valid";
    return;
  }
  if (Result<> lowered = lowerToLlvmDialect(kernels); !lowered) {
    loadError = "the kernels do not lower: " + lowered.error().message;
    return;
  }
  auto llvmContext = std::make_unique<llvm::LLVMContext>();
  auto llvmModule = translateCuda(kernels, *llvmContext);
  if (!llvmModule) {
    loadError = llvmModule.error().message;
    return;
  }
  auto made = emulator.addModule(std::move(*llvmModule), std::move(llvmContext));
  if (!made) {
    loadError = llvm::toString(made.takeError());
    return;
  }
  image = *made;
  void *device = nullptr;
  emulator.driver()->primary_ctx_retain(&device, 0);
  emulator.driver()->ctx_push_current(device);
  if (emulator.driver()->module_load_data_ex(&module, image.c_str(), 0, nullptr, nullptr))
    loadError = "the driver does not take the image";
}

EmulatedKernels::~EmulatedKernels() {
  if (module) {
    emulator.driver()->module_unload(module);
    emulator.driver()->ctx_pop_current(nullptr);
  }
}

void *EmulatedKernels::upload(const std::vector<char> &bytes) {
  moec_cuda_pointer pointer = 0;
  emulator.driver()->mem_alloc(&pointer, std::max<size_t>(bytes.size(), 1));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char *>(pointer));
  return reinterpret_cast<void *>(pointer);
}

std::string EmulatedKernels::launch(const std::string &symbol, const CudaKernelFacts &facts, int64_t numTokens,
                                    std::vector<void *> pointers) {
  const moec_cuda_driver *driver = emulator.driver();
  void *function = nullptr;
  if (driver->module_get_function(&function, module, symbol.c_str()) ||
      driver->func_set_attribute(function, MOEC_CUDA_MAX_DYNAMIC_SHARED, 200 * 1024))
    return "no kernel " + symbol;
  int64_t units = facts.unitsPerToken * numTokens + facts.unitsFixed;
  moec_cuda_launch_config config = {};
  config.grid_x = unsigned(std::max<int64_t>(1, (units + facts.unitsPerBlock - 1) / facts.unitsPerBlock));
  config.block_x = unsigned(facts.blockThreads);
  config.grid_y = config.grid_z = config.block_y = config.block_z = 1;
  config.shared_bytes = unsigned(facts.sharedBytes);
  std::vector<void *> params = {&numTokens};
  for (void *&pointer : pointers)
    params.push_back(&pointer);
  int result = driver->launch_kernel_ex(&config, function, params.data(), nullptr);
  std::string text;
  for (const std::string &finding : emulator.findings())
    text += finding + "\n";
  return result && text.empty() ? symbol + ": the launch returned " + std::to_string(result) : text;
}

} // namespace moec
