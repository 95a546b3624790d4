// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A CUDA driver, this machine's or an emulator's, in -> a context on its first device and memory in it.

#ifndef MOEC_CODEGEN_CHECK_DEVICEMEMORY_H
#define MOEC_CODEGEN_CHECK_DEVICEMEMORY_H

#include "dsl/text/Result.h"
#include "runtime/cuda/cuda_driver.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace moec {

// The device's primary context, current on the thread that opened it until it is destroyed there.
class DeviceContext {
public:
  // `driver` null: this machine's. An error is E-MACHINE.
  static Result<std::unique_ptr<DeviceContext>> open(const moec_cuda_driver *driver);
  ~DeviceContext();

  const moec_cuda_driver *driver = nullptr;
  // problems since the last query although every driver call succeeded; may be empty
  std::function<std::string()> complaints;
  std::function<void()> beforeRun; // may be empty

  Result<> synchronize() const; // waits for the default stream

private:
  DeviceContext() = default;
  void *context = nullptr;
};

// `bytes` bytes of device memory, freed by the destructor; data() is null if the allocation failed. The context must
// outlive it.
class DeviceMemory {
public:
  DeviceMemory() = default;
  DeviceMemory(const DeviceContext &context, size_t bytes);
  ~DeviceMemory() { release(); }
  DeviceMemory(DeviceMemory &&other) noexcept { *this = std::move(other); }
  DeviceMemory &operator=(DeviceMemory &&other) noexcept;

  void *data() const { return reinterpret_cast<void *>(pointer); }
  size_t size() const { return bytes; }
  bool fill(unsigned char value);
  bool upload(const void *from); // size() bytes
  bool download(void *to) const; // size() bytes

private:
  void release();
  const DeviceContext *context = nullptr;
  moec_cuda_pointer pointer = 0;
  size_t bytes = 0;
};

} // namespace moec

#endif
