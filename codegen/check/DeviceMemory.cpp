// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Thin wrappers of driver calls.

#include "codegen/check/DeviceMemory.h"

#include "codegen/check/LayerRun.h"

#include <algorithm>

namespace moec {

Result<std::unique_ptr<DeviceContext>> DeviceContext::open(const moec_cuda_driver *driver) {
  std::unique_ptr<DeviceContext> opened(new DeviceContext());
  if (!driver) {
    moec_status status = moec_cuda_driver_get(&driver);
    if (status != MOEC_OK)
      return Diagnostic::error("E-MACHINE", lastRuntimeError(status));
  }
  Diagnostic error;
  auto check = [&](int result, const char *what) {
    if (result != MOEC_CUDA_SUCCESS)
      error = Diagnostic::error("E-MACHINE", std::string(what) + ": CUDA error " + std::to_string(result));
    return result == MOEC_CUDA_SUCCESS;
  };
  int device = 0;
  opened->driver = driver;
  if (!check(driver->init(0), "the NVIDIA driver cannot be used") ||
      !check(driver->device_get(&device, 0), "CUDA device 0 cannot be opened") ||
      !check(driver->primary_ctx_retain(&opened->context, device), "CUDA device 0 has no context"))
    return error;
  driver->ctx_push_current(opened->context);
  return opened;
}

DeviceContext::~DeviceContext() {
  int device = 0;
  void *popped = nullptr;
  if (!context)
    return;
  driver->ctx_pop_current(&popped);
  driver->device_get(&device, 0);
  driver->primary_ctx_release(device);
}

Result<> DeviceContext::synchronize() const {
  int result = driver->stream_synchronize(nullptr);
  if (result != MOEC_CUDA_SUCCESS)
    return Diagnostic::error("E-INTERNAL", "the device stopped with CUDA error " + std::to_string(result));
  return {};
}

DeviceMemory::DeviceMemory(const DeviceContext &context, size_t bytes) : context(&context), bytes(bytes) {
  if (context.driver->mem_alloc(&pointer, std::max<size_t>(1, bytes)) != MOEC_CUDA_SUCCESS)
    pointer = 0;
}

DeviceMemory &DeviceMemory::operator=(DeviceMemory &&other) noexcept {
  std::swap(context, other.context);
  std::swap(pointer, other.pointer);
  std::swap(bytes, other.bytes);
  return *this;
}

void DeviceMemory::release() {
  if (pointer)
    context->driver->mem_free(pointer);
}

bool DeviceMemory::fill(unsigned char value) {
  return !bytes || context->driver->memset_d8(pointer, value, bytes) == MOEC_CUDA_SUCCESS;
}

bool DeviceMemory::upload(const void *from) {
  return !bytes || context->driver->memcpy_htod(pointer, from, bytes) == MOEC_CUDA_SUCCESS;
}

bool DeviceMemory::download(void *to) const {
  return !bytes || context->driver->memcpy_dtoh(to, pointer, bytes) == MOEC_CUDA_SUCCESS;
}

} // namespace moec
