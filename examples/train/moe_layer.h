// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moe_layer.h - a layer of experts that moec compiled, as a block's feed-forward half. Everything that this program
// does with moec is in moe_layer.cpp.
#ifndef TRAIN_MOE_LAYER_H
#define TRAIN_MOE_LAYER_H

#include "feed_forward.h"

#include <moec.h>

#include <string>
#include <vector>

namespace train {

// Bytes that begin at a multiple of 256, as moec wants its workspace.
class AlignedBytes {
public:
  ~AlignedBytes();
  AlignedBytes() = default;
  AlignedBytes(const AlignedBytes &) = delete;
  AlignedBytes &operator=(const AlignedBytes &) = delete;
  void grow(size_t bytes); // to at least so many; what they held is lost
  void *data() const { return memory; }
  size_t size() const { return bytes; }

private:
  void *memory = nullptr;
  size_t bytes = 0;
};

// A compiled package, made ready for this machine. All layers of experts of a model share one: they have the same
// kernels and one workspace, and differ in their weights only.
class MoePackage {
public:
  MoePackage(const moec_package *package, Threads &threads); // moec calls these threads
  ~MoePackage();
  MoePackage(const MoePackage &) = delete;
  MoePackage &operator=(const MoePackage &) = delete;

  int64_t hidden() const { return info.hidden; }
  int64_t experts() const { return info.num_experts; }

  moec_layer *layer = nullptr;
  moec_layer_info info = {};
  AlignedBytes workspace;
};

// What the router did in the last call.
struct RouterReport {
  std::vector<int32_t> counts; // choices per expert, before drops
  float losses[2] = {}; // load balance (top_k if all experts are chosen equally often) and z, as moe.json lists them
  int32_t dropped_tokens = 0;
  moec_load load = {}; // of the counts: experts that nobody chose, entropy, largest share
};

class MoeLayer : public FeedForward {
public:
  MoeLayer(MoePackage &package, const std::string &name); // parameters are called NAME.ROLE
  ~MoeLayer() override;

  void forward(const real *x, int64_t tokens, real *y, const Routing &routing) override;
  void backward(const real *grad_y, real *grad_x) override; // of the output, and of the losses by their coefficients
  void collect(Parameters &out) override;
  void draw(Random &random, double output_factor) override;
  void changed() override { packed = false; }

  // Between steps: the choice bias moves toward equal counts, the capacity factor follows the counts' variation.
  void follow_counts(float bias_rate, bool adapt_capacity);

  Parameter &role(const std::string &name); // "experts.gate"
  Parameter *find_role(const std::string &name);

  const RouterReport &report() const { return last; }
  int64_t experts() const { return package.experts(); }
  double capacity_factor = 1.5;
  std::vector<int64_t> chosen; // choices per expert since the last look for dead ones

private:
  void pack();
  MoePackage &package;
  std::string name;
  uint64_t purpose; // of this layer's noise
  std::vector<Parameter> roles;
  AlignedBytes packed_weights, saved;
  moec_weights *weights = nullptr;
  bool packed = false;
  RouterReport last;
  // The last call in training, which backward repeats to moec.
  Routing routing;
  const real *input = nullptr;
  int64_t tokens = 0;
  int32_t capacity = 0;
  std::vector<float> noise;
};

} // namespace train
#endif
