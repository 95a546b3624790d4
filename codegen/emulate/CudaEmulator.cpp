// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Images are numbered; their bytes are the text "moec-emulated:NUMBER".

#include "codegen/emulate/CudaEmulator.h"

#include "codegen/emulate/CudaDriver.h"

namespace moec {

static constexpr llvm::StringLiteral imagePrefix = "moec-emulated:";
static CudaEmulator *activeEmulator = nullptr;

CudaEmulator::CudaEmulator(CudaEmulatorOptions options)
    : options(options), machine(options.seed), below(activeEmulator) {
  activeEmulator = this;
}

CudaEmulator::~CudaEmulator() {
  if (activeEmulator == this)
    activeEmulator = below;
}

CudaEmulator *CudaEmulator::active() { return activeEmulator; }

const moec_cuda_driver *CudaEmulator::driver() const { return cudaEmulatorDriver(); }

llvm::Expected<std::string> CudaEmulator::addModule(std::unique_ptr<llvm::Module> module,
                                                    std::unique_ptr<llvm::LLVMContext> context, uint32_t capability) {
  auto host = makeCudaHostModule(*module);
  module.reset();
  if (!host)
    return host.takeError();
  auto code = CudaHostCode::make(std::move(*host), std::move(context));
  if (!code)
    return code.takeError();
  std::lock_guard<std::recursive_mutex> lock(mutex);
  images.push_back({std::move(*code), capability});
  std::string image = (imagePrefix + llvm::Twine(images.size() - 1)).str();
  image.push_back('\0');
  return image;
}

const CudaHostCode *CudaEmulator::codeOf(const char *image) const {
  for (size_t i = 0; i < imagePrefix.size(); ++i)
    if (image[i] != imagePrefix[i])
      return nullptr;
  size_t number;
  if (llvm::StringRef(image + imagePrefix.size()).getAsInteger(10, number) || number >= images.size())
    return nullptr;
  const Image &found = images[number];
  return found.capability == 0 || found.capability == options.capability ? found.code.get() : nullptr;
}

} // namespace moec
