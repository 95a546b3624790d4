// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer and T -> device memory of one call and a stream of its own; calls are enqueued, nothing waits but output().

#ifndef MOEC_TESTS_CUDA_DEVICECALL_H
#define MOEC_TESTS_CUDA_DEVICECALL_H

#include "codegen/check/LayerRun.h"

#include <vector>

namespace moec {

class DeviceCall {
public:
  // Layer and device must outlive it.
  DeviceCall(const LayerRun &layer, const DeviceContext &device, int64_t tokens);
  // On the workspace and the stream of `host`, which must be as large, and outlive it.
  DeviceCall(const DeviceCall &host, int64_t tokens);
  ~DeviceCall();
  DeviceCall(const DeviceCall &) = delete;
  DeviceCall &operator=(const DeviceCall &) = delete;

  bool ready() const { return x.data() && y.data() && space && stream; } // false: no device memory
  void *ownStream() const { return stream; }

  // x, and y filled with a NaN pattern, so that an output of the call before is not taken for this one's. Complete on
  // return: a copy from pageable memory may return before the device has it, and the own stream waits for no other.
  bool setInput(const std::vector<char> &bytes);
  moec_status enqueue();
  std::vector<char> output(); // waits; empty: it cannot be read

private:
  const LayerRun &layer;
  const DeviceContext &device;
  int64_t tokens;
  DeviceMemory x, y, workspace;
  void *space = nullptr, *stream = nullptr;
  size_t spaceBytes = 0;
  bool ownsStream = true;
};

// False where a value of y, [.., hidden] in the layer's type, is not finite: what setInput fills it with, or wrong.
bool isWritten(const LayerRun &layer, const std::vector<char> &y);

// Normal x for `tokens` tokens, in the layer's type.
std::vector<char> normalInput(const LayerRun &layer, int64_t tokens, uint64_t seed);
// The same of dy, in the type of y.
std::vector<char> normalGradient(const LayerRun &layer, int64_t tokens, uint64_t seed);

} // namespace moec

#endif
