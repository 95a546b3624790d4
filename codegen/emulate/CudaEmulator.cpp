// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Images are numbered; their bytes are the text "moec-emulated:NUMBER".

#include "codegen/emulate/CudaEmulator.h"

#include "codegen/emulate/CudaDriver.h"

namespace moec {

static constexpr llvm::StringLiteral image_prefix = "moec-emulated:";
static CudaEmulator *active_emulator = nullptr;

CudaEmulator::CudaEmulator(CudaEmulatorOptions options)
    : options_(options), machine_(options.seed), below_(active_emulator) {
  active_emulator = this;
}

CudaEmulator::~CudaEmulator() {
  if (active_emulator == this)
    active_emulator = below_;
}

CudaEmulator *CudaEmulator::active() { return active_emulator; }

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
  std::lock_guard<std::recursive_mutex> lock(mutex_);
  images_.push_back({std::move(*code), capability});
  std::string image = (image_prefix + llvm::Twine(images_.size() - 1)).str();
  image.push_back('\0');
  return image;
}

const CudaHostCode *CudaEmulator::codeOf(const char *image) const {
  for (size_t i = 0; i < image_prefix.size(); ++i)
    if (image[i] != image_prefix[i])
      return nullptr;
  size_t number;
  if (llvm::StringRef(image + image_prefix.size()).getAsInteger(10, number) || number >= images_.size())
    return nullptr;
  const Image &found = images_[number];
  return found.capability == 0 || found.capability == options_.capability ? found.code.get() : nullptr;
}

} // namespace moec
