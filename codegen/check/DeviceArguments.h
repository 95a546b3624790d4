// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A call's arguments in host memory -> the same in device memory, each in an allocation of its exact size, and back.

#ifndef MOEC_CODEGEN_CHECK_DEVICEARGUMENTS_H
#define MOEC_CODEGEN_CHECK_DEVICEARGUMENTS_H

#include "codegen/check/CallInputs.h"
#include "codegen/check/DeviceMemory.h"

#include <functional>
#include <type_traits>
#include <vector>

namespace moec {

// One call. Pointers it changes are of device memory that it owns.
class DeviceArguments {
public:
  explicit DeviceArguments(const DeviceContext &device) : device(device) {}

  // `pointer`, if it is not null, becomes that of a copy; finish() leaves the host's alone, or brings it up to date.
  template <typename T> void read(T *&pointer, size_t bytes) {
    pointer = static_cast<T *>(moved(pointer, bytes, false));
  }
  template <typename T> void write(T *&pointer, size_t bytes) {
    pointer = static_cast<T *>(moved(pointer, bytes, true));
  }
  template <typename Args> void readInputs(const CallInputs *inputs, Args &args) {
    if (inputs)
      for (const auto &[name, data] : inputs->bytes)
        read(*inputField(args, name), data.size());
  }
  // Workspace, filled with `poison` if asked for.
  void *space(size_t bytes, bool poison);

  // Runs `call`, waits for the device, and copies what was written. E-MEMORY if an allocation failed before, E-INTERNAL
  // if the device complains.
  Result<> finish(const std::function<Result<>()> &call);

private:
  struct Moved {
    void *host = nullptr; // null: nothing to bring back
    DeviceMemory memory;
  };
  void *moved(const void *host, size_t bytes, bool isWritten);

  const DeviceContext &device;
  std::vector<Moved> buffers;
  bool complete = true;
};

} // namespace moec

#endif
