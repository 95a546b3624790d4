// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Test fixture: text of a spec with a backward pass -> its package, whose plans and kernels a test may change before it
// makes a layer of them; and the arguments of calls.

#ifndef MOEC_TESTS_TRAINING_TRAINEDLAYER_H
#define MOEC_TESTS_TRAINING_TRAINEDLAYER_H

#include "codegen/check/CallGradients.h"
#include "codegen/check/OracleCheck.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/pipeline/Pipeline.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moec {

// {"hidden": 8, ...} with a gated MLP, losses and a choice bias; `more` ends the object.
std::string smallTrainedSpec(const std::string &more = "", const std::string &dtype = "f32");

// One plan of a package and its kernels, as a copy.
class EditablePass {
public:
  explicit EditablePass(const moec_package &original);
  moec_package package;
  std::vector<moec_kernel_fn> functions;

  moec_plan_header &header() { return *reinterpret_cast<moec_plan_header *>(bytes()); }
  char *bytes() { return static_cast<char *>(blob.data()); }
  moec_buffer &buffer(size_t i) { return at<moec_buffer>(header().buffers, i); }
  moec_step &step(size_t i) { return at<moec_step>(header().steps, i); }
  moec_weight &weight(size_t i) { return at<moec_weight>(header().weights, i); }
  uint16_t &arg(size_t i) { return at<uint16_t>(header().args, i); }
  std::string text(uint32_t offset) { return bytes() + header().strings.offset + offset; }
  // The first step of the kind whose name contains `name`; null: none.
  moec_step *find(int kind, const std::string &name = "");

private:
  template <typename T> T &at(moec_span span, size_t i) { return reinterpret_cast<T *>(bytes() + span.offset)[i]; }
  PageBuffer blob;
};

class TrainedLayer {
public:
  // Compiled for this machine's best instruction set. Null: a failure was reported to gtest.
  static std::unique_ptr<TrainedLayer> make(const std::string &json);

  LayerSpec spec;
  std::unique_ptr<CompiledPackage> compiled;
  std::unique_ptr<LoadedPackage> loaded;
  std::unique_ptr<EditablePass> forward, backward; // forward.package.backward is the other
  RandomLayer weights;

  const moec_package *package() const { return &forward->package; }
};

// A forward call that saved, and the arguments of its backward call, all in memory of this object. Inputs that the
// layer takes besides x are zero.
class BackwardCall {
public:
  BackwardCall(const TrainedLayer &trained, int64_t tokens, DataType gradients = DataType::F32);
  BackwardCall(const BackwardCall &) = delete;
  ~BackwardCall();
  moec_status run() { return moec_layer_backward(layer, weights, &args); }

  moec_layer *layer = nullptr;
  moec_weights *weights = nullptr;
  moec_backward_args args = {};
  moec_forward_args forwardArgs = {};
  std::unique_ptr<LayerRun> layerRun;
  CallGradients gradients;
  PageBuffer packed, x, y, dy, saved, workspace;
  std::vector<float> coefficients;
};

std::string lastError();

} // namespace moec

#endif
