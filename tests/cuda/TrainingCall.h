// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer that trains and T -> device memory of a forward call that saves and of the backward call behind it, on a
// stream of its own; calls are enqueued, nothing waits but gradients().

#ifndef MOEC_TESTS_CUDA_TRAININGCALL_H
#define MOEC_TESTS_CUDA_TRAININGCALL_H

#include "codegen/check/LayerRun.h"

#include <vector>

namespace moec {

class TrainingCall {
public:
  // Layer and device must outlive it. `matrices`: the type of the gradients of matrices.
  TrainingCall(const LayerRun &layer, const DeviceContext &device, int64_t tokens, DataType matrices);
  ~TrainingCall();
  TrainingCall(const TrainingCall &) = delete;
  TrainingCall &operator=(const TrainingCall &) = delete;

  bool ready() const; // false: no device memory
  void *ownStream() const { return stream; }

  // x and dy, [T,H]; gradients are filled with a NaN pattern. Complete on return.
  bool setInput(const std::vector<char> &x, const std::vector<char> &dy);
  moec_status forward();
  moec_status backward();
  // All gradients, one behind the other; waits. Empty: they cannot be read.
  std::vector<char> gradients();
  // Whether every gradient is finite in its first and its last elements; waits. The whole of it may be gigabytes.
  bool isWritten();

private:
  struct Output {
    DataType type;
    DeviceMemory memory;
  };
  const LayerRun &layer;
  const DeviceContext &device;
  int64_t tokens;
  DataType matrices;
  DeviceMemory x, y, dy, saved, workspace;
  std::vector<Output> outputs;    // of x, then of roles
  std::vector<void *> parameters; // by role
  void *stream = nullptr;
};

} // namespace moec

#endif
