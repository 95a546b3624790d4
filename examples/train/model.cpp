// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "model.h"

#include <algorithm>

namespace train {

static void add(Values &to, const Values &what) {
  for (size_t i = 0; i < to.size(); ++i)
    to[i] += what[i];
}

Block::Block(Threads &threads, const std::string &name, const ModelShape &shape, std::unique_ptr<FeedForward> half)
    : attention_norm(threads, name + ".attention_norm", shape.hidden),
      feed_forward_norm(threads, name + ".feed_forward_norm", shape.hidden),
      attention(threads, name + ".attention", {shape.hidden, shape.heads, shape.kv_heads, shape.context}),
      feed_forward(std::move(half)) {
  if (shape.dynamics)
    dynamics = std::make_unique<Dynamics>(threads, name + ".dynamics", shape.hidden);
}

void Block::forward(Values &h, Values &v, int64_t sequences, int64_t length, const Routing &routing) {
  int64_t tokens = sequences * length;
  normed.resize(h.size()), normed_again.resize(h.size()), change.resize(h.size());
  start = h;
  attention_norm.forward(start.data(), tokens, normed.data());
  attention.forward(normed.data(), sequences, length, change.data());
  add(h, change);
  middle = h;
  feed_forward_norm.forward(middle.data(), tokens, normed_again.data());
  feed_forward->forward(normed_again.data(), tokens, change.data(), routing);
  add(h, change);
  if (dynamics)
    dynamics->forward(h.data(), v.data(), tokens);
}

// The sums hand grad_h on as it is; a norm adds what comes through its branch.
void Block::backward(Values &grad_h, Values &grad_v) {
  if (dynamics)
    dynamics->backward(grad_h.data(), grad_v.data());
  feed_forward->backward(grad_h.data(), change.data());
  feed_forward_norm.backward(change.data(), grad_h.data());
  attention.backward(grad_h.data(), change.data());
  attention_norm.backward(change.data(), grad_h.data());
}

void Block::collect(Parameters &out) {
  out.push_back(&attention_norm.gain);
  attention.collect(out);
  out.push_back(&feed_forward_norm.gain);
  feed_forward->collect(out);
  if (dynamics)
    dynamics->collect(out);
}

void Block::draw(Random &random, double output_factor) {
  for (Linear *linear : {&attention.query, &attention.key, &attention.value})
    linear->weight.draw(random, 1 / std::sqrt(double(linear->weight.shape[1])));
  attention.output.weight.draw(random, output_factor / std::sqrt(double(attention.output.weight.shape[1])));
  feed_forward->draw(random, output_factor);
  if (dynamics) {
    dynamics->controller_in.weight.draw(random, 1 / std::sqrt(double(dynamics->controller_in.weight.shape[1])));
    dynamics->controller_out.weight.draw(random, 0.01);
    dynamics->projection.weight.draw(random, 0.01);
  }
}

Model::Model(Threads &threads, const ModelShape &of, const MakeExperts &make_experts)
    : shape(of), embedding("embedding.weight", {of.vocabulary, of.hidden}), norm(threads, "norm", of.hidden),
      head(threads, "head", of.hidden, of.vocabulary) {
  for (int64_t i = 0; i < shape.layers; ++i) {
    std::string name = "layers." + std::to_string(i);
    bool mixture = shape.moe_every > 0 && i % shape.moe_every == shape.moe_every - 1;
    blocks.push_back(std::make_unique<Block>(
        threads, name, shape,
        mixture ? make_experts(name + ".moe")
                : std::make_unique<DenseFeedForward>(threads, name + ".feed_forward", shape.hidden, shape.inner)));
  }
}

void Model::draw(uint64_t seed) {
  Random random(seed);
  embedding.draw(random, 0.5);
  for (auto &block : blocks) // what 2 * layers branches add has about the size of what one would
    block->draw(random, 1 / std::sqrt(2.0 * double(shape.layers)));
  head.weight.draw(random, 0.02); // the first logits are near 0, the first loss near ln(vocabulary)
  changed();
}

void Model::changed() {
  for (auto &block : blocks)
    block->feed_forward->changed();
}

const Values &Model::forward(const int32_t *of, int64_t sequences, int64_t length, const Routing &routing) {
  int64_t tokens = sequences * length, H = shape.hidden;
  ids = of;
  h.resize(tokens * H), normed.resize(tokens * H), logits.resize(tokens * shape.vocabulary);
  v.assign(tokens * H, 0);
  for (int64_t t = 0; t < tokens; ++t)
    std::copy_n(&embedding.value[ids[t] * H], H, &h[t * H]);
  for (auto &block : blocks)
    block->forward(h, v, sequences, length, routing);
  norm.forward(h.data(), tokens, normed.data());
  head.forward(normed.data(), tokens, logits.data());
  return logits;
}

void Model::backward(const Values &grad_logits) {
  int64_t H = shape.hidden, tokens = static_cast<int64_t>(h.size()) / H;
  grad_normed.resize(h.size());
  grad_h.assign(h.size(), 0), grad_v.assign(h.size(), 0); // nothing reads the last v
  head.backward(normed.data(), grad_logits.data(), tokens, grad_normed.data(), false);
  norm.backward(grad_normed.data(), grad_h.data());
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block)
    (*block)->backward(grad_h, grad_v);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t i = 0; i < H; ++i)
      embedding.gradient[ids[t] * H + i] += grad_h[t * H + i];
}

Parameters Model::parameters() {
  Parameters all{&embedding};
  for (auto &block : blocks)
    block->collect(all);
  all.push_back(&norm.gain);
  head.collect(all);
  return all;
}

} // namespace train
