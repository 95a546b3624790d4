// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// model.h - a transformer that reads characters and says which one comes next.
//
//     h = embedding[id]
//     of each block:  h += attention(norm(h));  h += feed_forward(norm(h));  with dynamics: (h, v) = dynamics(h, v)
//     logits = head norm(h)
#ifndef TRAIN_MODEL_H
#define TRAIN_MODEL_H

#include "attention.h"
#include "dynamics.h"
#include "feed_forward.h"
#include "norm.h"

#include <functional>
#include <memory>

namespace train {

struct ModelShape {
  int64_t vocabulary = 0, hidden = 128, layers = 4, heads = 4, kv_heads = 2, context = 128;
  int64_t inner = 256;   // width inside dense feed-forward halves
  int64_t moe_every = 2; // every so-manieth block has experts; 0: none has
  bool dynamics = false;
};

class Block {
public:
  Block(Threads &threads, const std::string &name, const ModelShape &shape, std::unique_ptr<FeedForward> half);
  void forward(Values &h, Values &v, int64_t sequences, int64_t length, const Routing &routing);
  void backward(Values &grad_h, Values &grad_v);
  void collect(Parameters &out);
  void draw(Random &random, double output_factor);

  RmsNorm attention_norm, feed_forward_norm;
  Attention attention;
  std::unique_ptr<FeedForward> feed_forward;
  std::unique_ptr<Dynamics> dynamics; // or NULL

private:
  Values start, middle;        // h before attention, before feed_forward
  Values normed, normed_again; // what attention and feed_forward read
  Values change;               // what either adds to h
};

class Model {
public:
  // Makes the layer of experts of a block; its parameters are called NAME.ROLE.
  using MakeExperts = std::function<std::unique_ptr<FeedForward>(const std::string &name)>;

  Model(Threads &threads, const ModelShape &shape, const MakeExperts &make_experts);

  void draw(uint64_t seed); // first values of all parameters
  // ids [B*S], each below vocabulary -> logits [B*S, vocabulary], which the model keeps.
  const Values &forward(const int32_t *ids, int64_t sequences, int64_t length, const Routing &routing);
  void backward(const Values &grad_logits); // of the last forward; adds to all gradients
  void changed();                           // parameters have other values than before
  Parameters parameters();

  const ModelShape shape;
  Parameter embedding; // [vocabulary, H]
  std::vector<std::unique_ptr<Block>> blocks;

private:
  RmsNorm norm;
  Linear head;
  const int32_t *ids = nullptr;
  Values h, v, normed, logits, grad_h, grad_v, grad_normed;
};

} // namespace train
#endif
