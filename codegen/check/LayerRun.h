// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package and weights -> a layer of the runtime, ready to run, through the public calls that any program makes. Does
// not depend on the compiler, so that programs on machines without it can use it.

#ifndef MOEC_CODEGEN_CHECK_LAYERRUN_H
#define MOEC_CODEGEN_CHECK_LAYERRUN_H

#include "codegen/check/CallInputs.h"
#include "codegen/check/DeviceMemory.h"
#include "codegen/check/RandomTensors.h"

#include "dsl/text/Result.h"
#include "runtime/moec_outputs.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace moec {

// Parameters by role, in the storage the caller chose.
struct RoleTensor {
  DataType type = DataType::F32;
  const void *data = nullptr;
  std::vector<int64_t> shape;
};
using RoleTensors = std::map<std::string, RoleTensor>;

class LayerRun {
public:
  explicit LayerRun(const moec_package *package) : package(package) {} // `package` must outlive this object
  ~LayerRun();
  LayerRun(const LayerRun &) = delete;
  LayerRun &operator=(const LayerRun &) = delete;

  // Makes the layer for `threads`, on instruction sets up to `maxIsa` (MOEC_ISA_*, -1: no limit), and packs `tensors`.
  // A second call replaces the first; with null `tensors` it keeps the weights packed before. Errors:
  // E-MACHINE if the machine lacks all of the package's instruction sets, E-MEMORY, else E-INTERNAL.
  Result<> prepare(int threads, int maxIsa, const RoleTensors *tensors);
  // The same with the weights that `owner` has packed; `owner` must outlive this object. An error also if they belong
  // to another layer, or are packed in another way.
  Result<> prepareShared(int threads, int maxIsa, const LayerRun &owner);
  // The same on the device of `context`, which must outlive this object.
  Result<> prepare(const DeviceContext &context, const RoleTensors &tensors);
  // The same with weights from a safetensors file, in which this layer's tensor names begin with `prefix`.
  Result<> load(int threads, int maxIsa, const std::string &path, const std::string &prefix);
  // The same with weights from several checkpoints.
  Result<> load(int threads, int maxIsa, const std::vector<moec_weights_source> &sources);

  // One call of T tokens with its own workspace, filled with `poison`. Optional outputs may be null. Pointers are host
  // memory also for a device: buffers are copied there and back, each in an allocation of its exact size.
  Result<> forward(int64_t numTokens, const void *x, void *y, moec_forward_args optional);

  // Bytes that a forward call of T tokens with these inputs saves for a backward call.
  Result<size_t> savedBytes(int64_t numTokens) const;
  // One backward call of T tokens with its own workspace, filled with `poison`. `args` has what is not of the forward
  // call: dy, coefficients, saved values and gradients; in host memory, as for forward.
  Result<> backward(int64_t numTokens, const void *x, moec_backward_args args);

  const moec_layer_info &info() const { return facts; }
  moec_layer *handle() const { return layer; }
  moec_weights *weightsHandle() const { return weights; }
  void poisonWorkspace(bool on) { poison = on; }
  // Sets the inputs besides x of later calls; must outlive them. Null: no further inputs.
  void setInputs(const CallInputs *given) { inputs = given; }
  // Probes later calls; must outlive them. Null: no probe.
  void setProbe(const moec_probe *given) { probe = given; }
  // Experts of later calls share the storage of the first `count` (aliased_forward.h); 0: none does. CPU only.
  void setDistinctGroups(uint32_t count) { distinctGroups = count; }
  // Buffers of packed weights come from `given` instead of memory of their own; it must outlive this object.
  void setWeightMemory(void *given, size_t bytes) { weightMemory = {given, bytes}; }
  static moec_forward_args noOptional();

private:
  void release();
  Result<size_t> create(const moec_layer_options &options); // bytes of packed weights
  Result<size_t> createOnCpu(int threads, int maxIsa);
  Result<> pack(const RoleTensors &tensors, void *buffer, size_t bytes);
  Result<> forwardOnDevice(moec_forward_args args);
  Result<> backwardOnDevice(moec_backward_args args);
  Result<void *> workspaceOf(size_t bytes); // at least so many, poisoned if asked for

  const moec_package *package;
  moec_layer *layer = nullptr;
  moec_weights *weights = nullptr;
  moec_layer_info facts = {};
  PageBuffer packed, workspace;
  const DeviceContext *device = nullptr;
  const CallInputs *inputs = nullptr;
  const moec_probe *probe = nullptr;
  uint32_t distinctGroups = 0;
  std::pair<void *, size_t> weightMemory = {nullptr, 0};
  DeviceMemory devicePacked;
  bool poison = false;
};

// Elements of an output that a call of T tokens asks for; 0 if layers like this one do not have it.
int64_t outputElements(const moec_layer_info &info, const moec_output &output, int64_t tokens);

std::string lastRuntimeError(moec_status status); // "MOEC_SHAPE: ..."

} // namespace moec

#endif
