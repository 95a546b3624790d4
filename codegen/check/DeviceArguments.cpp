// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/check/DeviceArguments.h"

namespace moec {

// NOTE: results are copied there too, so that what a call leaves as it was shows as what the host had.
void *DeviceArguments::moved(const void *host, size_t bytes, bool isWritten) {
  if (!host)
    return nullptr;
  buffers.push_back({isWritten ? const_cast<void *>(host) : nullptr, DeviceMemory(device, bytes)});
  DeviceMemory &memory = buffers.back().memory;
  complete = complete && (!bytes || memory.data()) && memory.upload(host);
  return memory.data();
}

void *DeviceArguments::space(size_t bytes, bool poison) {
  buffers.push_back({nullptr, DeviceMemory(device, bytes)});
  DeviceMemory &memory = buffers.back().memory;
  complete = complete && memory.data() && (!poison || memory.fill(0xff));
  return memory.data();
}

Result<> DeviceArguments::finish(const std::function<Result<>()> &call) {
  if (!complete)
    return Diagnostic::error("E-MEMORY", "no device memory for a call");
  if (device.beforeRun)
    device.beforeRun();
  Result<> done = call();
  if (done)
    done = device.synchronize();
  if (device.complaints)
    if (std::string said = device.complaints(); !said.empty())
      return Diagnostic::error("E-INTERNAL", said);
  for (const Moved &buffer : buffers)
    if (done && buffer.host && !buffer.memory.download(buffer.host))
      return Diagnostic::error("E-INTERNAL", "an output cannot be read from the device");
  return done;
}

} // namespace moec
