// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// IR text is parsed in a context of its own, given to the emulator, and loaded like a cubin.

#include "EmulatedKernel.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/Support/SourceMgr.h"

#include <cstring>

namespace moec {

static std::string constraintOf(llvm::StringRef type) {
  return type.starts_with("float") ? "f" : type.starts_with("i64") || type.starts_with("ptr") ? "l" : "r";
}

std::string ptx(const std::string &result, const std::string &tag, const std::string &operands) {
  std::string constraints;
  auto add = [&](const std::string &one) { constraints += (constraints.empty() ? "" : ",") + one; };
  llvm::SmallVector<llvm::StringRef> parts;
  if (result != "void") {
    llvm::StringRef(result).trim("{ }").split(parts, ',');
    for (llvm::StringRef part : parts)
      add("=" + constraintOf(part.trim()));
  }
  parts.clear();
  llvm::StringRef(operands).split(parts, ',', -1, /*KeepEmpty=*/false);
  for (llvm::StringRef part : parts)
    add(constraintOf(part.trim()));
  return "call " + result + " asm sideeffect \"/*moec " + tag + "*/ ptx\", \"" + constraints + "\"(" + operands + ")\n";
}

std::string sharedPointer(const std::string &name, const std::string &offset) {
  return name + " = getelementptr i8, ptr addrspace(3) @moec_shared, i32 " + offset + "\n";
}

std::string kernelText(const std::string &params, const std::string &body) {
  return "target datalayout = \"e-p6:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64\"\n"
         "target triple = \"nvptx64-nvidia-cuda\"\n"
         "@moec_shared = external addrspace(3) global [0 x i8], align 1024\n"
         "define ptx_kernel void @k(" +
         params + ") {\nentry:\n%tid = " + ptx("i32", "tid") + body + "}\n";
}

EmulatedKernel::EmulatedKernel(const std::string &text, uint64_t seed) : emulator({seed, 90, 3}) {
  auto context = std::make_unique<llvm::LLVMContext>();
  llvm::SMDiagnostic diagnostic;
  auto parsed = llvm::parseAssemblyString(text, diagnostic, *context);
  if (!parsed) {
    loadError = "line " + std::to_string(diagnostic.getLineNo()) + ": " + diagnostic.getMessage().str() + "\n" +
                diagnostic.getLineContents().str();
    return;
  }
  auto made = emulator.addModule(std::move(parsed), std::move(context));
  if (!made) {
    loadError = llvm::toString(made.takeError());
    return;
  }
  image = *made;
  const moec_cuda_driver *driver = emulator.driver();
  void *deviceContext = nullptr;
  driver->primary_ctx_retain(&deviceContext, 0);
  driver->ctx_push_current(deviceContext);
  if (driver->module_load_data_ex(&module, image.c_str(), 0, nullptr, nullptr) ||
      driver->module_get_function(&kernel, module, "k") ||
      driver->func_set_attribute(kernel, MOEC_CUDA_MAX_DYNAMIC_SHARED, 200 * 1024))
    loadError = "the driver took no kernel k";
}

EmulatedKernel::~EmulatedKernel() {
  if (module) {
    emulator.driver()->module_unload(module);
    emulator.driver()->ctx_pop_current(nullptr);
  }
}

void *EmulatedKernel::allocateBytes(size_t bytes) {
  moec_cuda_pointer pointer = 0;
  emulator.driver()->mem_alloc(&pointer, bytes);
  return reinterpret_cast<void *>(pointer);
}

int EmulatedKernel::launch(uint32_t grid, uint32_t threads, uint32_t sharedBytes, std::vector<void *> params,
                           bool overlaps) {
  moec_cuda_launch_config config = {};
  config.grid_x = grid;
  config.grid_y = config.grid_z = config.block_y = config.block_z = 1;
  config.block_x = threads;
  config.shared_bytes = sharedBytes;
  moec_cuda_launch_attribute attribute = {};
  attribute.id = MOEC_CUDA_PROGRAMMATIC_SERIALIZATION;
  attribute.value.allowed = 1;
  config.attributes = &attribute;
  config.num_attributes = overlaps ? 1 : 0;
  return emulator.driver()->launch_kernel_ex(&config, kernel, params.data(), nullptr);
}

std::string EmulatedKernel::report() {
  std::string text;
  for (const std::string &finding : findings())
    text += finding + "\n";
  return text;
}

TensorMapBytes encodeMap(const void *memory, std::vector<uint64_t> dims, std::vector<uint32_t> box, int swizzle) {
  TensorMapBytes map = {};
  uint64_t strides[2] = {dims[0] * 2, dims[0] * dims[1] * 2};
  uint32_t ones[3] = {1, 1, 1};
  const moec_cuda_driver *driver = CudaEmulator::active()->driver();
  driver->tensor_map_encode_tiled(map.bytes, MOEC_CUDA_TENSOR_BF16, 3, const_cast<void *>(memory), dims.data(), strides,
                                  box.data(), ones, 0, swizzle, MOEC_CUDA_L2_256B, 0);
  return map;
}

uint16_t bf16Of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t(bits >> 16);
}

float floatOfBf16(uint16_t bits) {
  uint32_t wide = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

} // namespace moec
