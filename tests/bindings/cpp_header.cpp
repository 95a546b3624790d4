// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every function of moec.hpp instantiated with the containers that programs have; nothing to run.
#include <moec.hpp>

#include <array>
#if __cplusplus >= 202002L
#include <span>
#endif

// A 16-bit type of somebody else.
namespace elsewhere {
struct half_of_float {
  unsigned short bits;
};
} // namespace elsewhere
template <> struct moec::Element<elsewhere::half_of_float> {
  static constexpr moec_dtype dtype = MOEC_BF16;
};

int useEverything(const moec_package *linked, const char *path);
int useEverything(const moec_package *linked, const char *path) {
  moec::Result<moec::Package> loaded = moec::Package::open(path);
  moec::PoolOptions poolOptions;
  poolOptions.on_thread_start = [](int32_t) {};
  moec::LayerOptions options;
  options.pool = moec::Pool::create(poolOptions).value();
  options.parallel_for = [](int64_t count, const moec::Body &body) {
    for (int64_t i = 0; i < count; ++i)
      body(i, 0);
  };
  moec::Layer layer = moec::Layer::create(linked, options).value();
  moec::Layer other = *moec::Layer::create(*loaded);

  std::vector<float> gate(192), x(16), y(16);
  const std::vector<moec::bf16> up(192, moec::bf16(0.5f));
  std::array<moec::f16, 192> down = {};
  float router[32] = {};
  std::vector<elsewhere::half_of_float> bias(4);
  moec::Weights weights = *layer.pack({{"router.weight", router},
                                       {"experts.gate", gate, {4, 6, 8}},
                                       {"experts.up", up},
                                       {"experts.down", down},
                                       {"router.bias", bias}});
  weights = *layer.load(path);
  weights = *layer.load(path, "layers.0.");
  weights = *layer.load_sources({{path, ""}, {path, "adapter."}});
  weights = *layer.map(weights.packed().data(), weights.packed().size(), true);
  weights = *layer.map_file(path, true);
  moec::Buffer buffer = *moec::Buffer::allocate(layer.weights_bytes());
  weights = *layer.load_into(buffer.data(), buffer.size(), {{path, ""}});
  weights = *layer.pack_into(buffer.data(), buffer.size(), {});

  moec::Buffer workspace = *layer.workspace(2);
  std::array<int32_t, 4> ids = {}, counts = {};
  int32_t one = 1;
  float scalar = 0;
  moec::Forward call = layer.forward(weights);
  call.x(x).y(y).ids(ids).counts(counts).weights({x.data(), 4}).logits({&scalar, 1});
  call.residual(x).noise(x).uniform(x).token_ids(ids).expert_ids(ids).expert_weights(x).group_ids(ids).priority(x);
  call.capacity({&one, 1}).top_k({&one, 1}).stream(nullptr).tokens_per_sequence(1);
  call.probabilities(y).choice_counts(counts).losses(y).logit_mean({&scalar, 1}).logit_max({&scalar, 1});
  call.diversity({&scalar, 1}).dropped_tokens({&one, 1}).probe([](const moec_probe_event &) {}, true);
  call.x(moec::View(x.data(), x.size(), MOEC_F32)).y(moec::MutableView(y.data(), y.size(), MOEC_F32));
#if __cplusplus >= 202002L
  call.x(std::span<const float>(x)).y(std::span<float>(y)).ids(std::span<int32_t>(ids));
#endif
  moec::Result<void> result = call.run(workspace);
  moec::Buffer kept = *layer.saved(2), space = *layer.backward_workspace(2);
  call.saved(kept).saved(kept.data(), *layer.saved_bytes(2));
  std::vector<moec::bf16> short_gradient(192);
  moec::Backward backward = layer.backward(weights);
  backward.x(x).grad_y(y).grad_losses(x).saved(kept).saved(kept.data(), kept.size()).stream(nullptr);
  backward.grad_x(y).grad_residual(y).grad_expert_weights(y).gradient("experts.gate", gate).accumulate();
  backward.gradient("experts.up", short_gradient).tokens_per_sequence(1).residual(x).noise(x).uniform(x);
  backward.token_ids(ids).expert_ids(ids).expert_weights(x).group_ids(ids).priority(x).capacity({&one, 1});
  result = backward.top_k({&one, 1}).run(space.data(), *layer.backward_workspace_bytes(2));
#if defined(__cpp_exceptions)
  moec::or_throw(result);
  weights = moec::or_throw(layer.load(path));
#endif
  moec::load_of_counts(counts).value();
  moec::update_choice_bias(y, counts, 0.1f).value();
  return result ? int(*moec::next_capacity_factor(counts, 1.5)) + int(other.roles().size()) : result.error().status;
}
