// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// forward.hpp - one call of a layer: its arguments by name, checked for type and number of elements.
#ifndef MOEC_FORWARD_HPP
#define MOEC_FORWARD_HPP

#include "layer.hpp"

#include <array>
#include <functional>
#include <string>
#include <utility>

namespace moec {
inline namespace v0 {

// One call and its arguments; names and shapes are those of moec_forward_args, T is the number of rows of x. Checks
// types and numbers of elements, the runtime everything else. May be run again, also with other arguments.
class Forward {
public:
  Forward(Layer of, Weights with) : layer(std::move(of)), weights_handle(std::move(with)) {
    args.struct_size = sizeof args;
  }

  Forward &x(View rows) { return set(args.x, rows, X); }
  Forward &y(MutableView rows) { return set(args.y, rows, Y); }
  Forward &stream(void *cuda_stream) { return args.stream = cuda_stream, *this; }
  Forward &tokens_per_sequence(int64_t tokens) { return args.tokens_per_sequence = tokens, *this; }

  // outputs besides y
  Forward &logits(Span<float> out) { return set(args.out_logits, out, LOGITS); }
  Forward &ids(Span<int32_t> out) { return set(args.out_ids, out, IDS); }
  Forward &weights(Span<float> out) { return set(args.out_weights, out, WEIGHTS); }
  Forward &counts(Span<int32_t> out) { return set(args.out_counts, out, COUNTS); }

  // inputs that some layers read besides x
  Forward &residual(View rows) { return set(args.residual, rows, RESIDUAL); }
  Forward &noise(Span<const float> in) { return set(args.noise, in, NOISE); }
  Forward &uniform(Span<const float> in) { return set(args.uniform, in, UNIFORM); }
  Forward &token_ids(Span<const int32_t> in) { return set(args.token_ids, in, TOKEN_IDS); }
  Forward &expert_ids(Span<const int32_t> in) { return set(args.expert_ids, in, EXPERT_IDS); }
  Forward &expert_weights(Span<const float> in) { return set(args.expert_weights, in, EXPERT_WEIGHTS); }
  Forward &group_ids(Span<const int32_t> in) { return set(args.group_ids, in, GROUP_IDS); }
  Forward &priority(Span<const float> in) { return set(args.priority, in, PRIORITY); }
  Forward &capacity(Span<const int32_t> in) { return set(args.capacity, in, CAPACITY); }
  Forward &top_k(Span<const int32_t> in) { return set(args.top_k, in, TOP_K); }
  // of layers that train, where their spec has what is random in training; the masks have Layer::mask_columns
  Forward &jitter(Span<const float> in) { return set(args.jitter, in, JITTER); }
  Forward &replace(Span<const float> in) { return set(args.replace, in, REPLACE); }
  Forward &replace_ids(Span<const int32_t> in) { return set(args.replace_ids, in, REPLACE_IDS); }
  Forward &hidden_mask(Span<const float> in) { return set(args.hidden_mask, in, HIDDEN_MASK); }
  Forward &output_mask(Span<const float> in) { return set(args.output_mask, in, OUTPUT_MASK); }
  Forward &expert_mask(Span<const float> in) { return set(args.expert_mask, in, EXPERT_MASK); }
  Forward &midpoint_mask(Span<const float> in) { return set(args.midpoint_mask, in, MIDPOINT_MASK); }

  // reports: a call that asks for any needs workspace(max_tokens, tokens_per_sequence, true)
  Forward &probabilities(Span<float> out) { return set(args.out_probabilities, out, PROBABILITIES); }
  Forward &choice_counts(Span<int32_t> out) { return set(args.out_choice_counts, out, CHOICE_COUNTS); }
  Forward &losses(Span<float> out) { return set(args.out_losses, out, LOSSES); }
  Forward &logit_mean(Span<float> out) { return set(args.out_logit_mean, out, LOGIT_MEAN); }
  Forward &logit_max(Span<float> out) { return set(args.out_logit_max, out, LOGIT_MAX); }
  Forward &diversity(Span<float> out) { return set(args.out_diversity, out, DIVERSITY); }
  Forward &dropped_tokens(Span<int32_t> out) { return set(args.out_dropped_tokens, out, DROPPED_TOKENS); }

  // Where a layer with a backward pass keeps what backward needs of this call: Layer::saved.
  Forward &saved(void *memory, size_t bytes) {
    args.saved = memory;
    args.saved_bytes = bytes;
    return *this;
  }
  Forward &saved(Buffer &memory) { return saved(memory.data(), memory.size()); }

  // `listener` is told of the steps, with `units` also of the pieces of each, from the threads that run them.
  Forward &probe(std::function<void(const moec_probe_event &)> listener, bool units = false) {
    on_event = std::move(listener);
    probe_units = units;
    return *this;
  }

  // Workspace bytes of this call.
  Result<size_t> workspace_bytes() {
    Result<void> checked = check();
    size_t bytes = 0;
    if (!checked)
      return checked.error();
    moec_status status = moec_layer_workspace_bytes_call(layer.get(), &args, &bytes);
    if (status != MOEC_OK)
      return last_error(status);
    return bytes;
  }

  // On CUDA: puts the call on the stream; `workspace` is memory of the device.
  Result<void> run(void *workspace, size_t bytes) {
    Result<void> checked = check();
    if (!checked)
      return checked;
    moec_probe probe = {};
    probe.struct_size = sizeof probe;
    probe.context = this;
    probe.units = probe_units ? 1 : 0;
    probe.on_event = [](void *context, const moec_probe_event *event) noexcept {
      static_cast<Forward *>(context)->on_event(*event);
    };
    args.probe = on_event ? &probe : nullptr;
    args.workspace = workspace;
    args.workspace_bytes = bytes;
    moec_status status = moec_layer_forward(layer.get(), weights_handle.get(), &args);
    args.probe = nullptr;
    return status == MOEC_OK ? Result<void>() : last_error(status);
  }
  Result<void> run(Buffer &workspace) { return run(workspace.data(), workspace.size()); }

private:
  enum Argument {
    X,
    Y,
    LOGITS,
    IDS,
    WEIGHTS,
    COUNTS,
    RESIDUAL,
    NOISE,
    UNIFORM,
    TOKEN_IDS,
    EXPERT_IDS,
    EXPERT_WEIGHTS,
    GROUP_IDS,
    PRIORITY,
    CAPACITY,
    TOP_K,
    JITTER,
    REPLACE,
    REPLACE_IDS,
    HIDDEN_MASK,
    OUTPUT_MASK,
    EXPERT_MASK,
    MIDPOINT_MASK,
    PROBABILITIES,
    CHOICE_COUNTS,
    LOSSES,
    LOGIT_MEAN,
    LOGIT_MAX,
    DIVERSITY,
    DROPPED_TOKENS,
    NUM_ARGUMENTS
  };
  // Elements of an argument are per_token * T + fixed.
  struct Shape {
    const char *name;
    int64_t per_token, fixed;
    moec_dtype dtype;
  };
  struct Given {
    bool given = false;
    size_t count = 0;
    moec_dtype dtype = MOEC_F32;
  };

  Shape shape_of(int argument) const {
    const moec_layer_info &i = layer.info();
    const MaskColumns &masks = layer.mask_columns();
    const Shape shapes[NUM_ARGUMENTS] = {{"x", i.hidden, 0, i.x_dtype},
                                         {"y", i.hidden, 0, i.y_dtype},
                                         {"logits", i.num_logits, 0, MOEC_F32},
                                         {"ids", i.top_k, 0, MOEC_I32},
                                         {"weights", i.top_k, 0, MOEC_F32},
                                         {"counts", 0, i.num_experts, MOEC_I32},
                                         {"residual", i.hidden, 0, i.x_dtype},
                                         {"noise", i.num_logits, 0, MOEC_F32},
                                         {"uniform", 1, 0, MOEC_F32},
                                         {"token_ids", 1, 0, MOEC_I32},
                                         {"expert_ids", i.top_k, 0, MOEC_I32},
                                         {"expert_weights", i.top_k, 0, MOEC_F32},
                                         {"group_ids", 1, 0, MOEC_I32},
                                         {"priority", 1, 0, MOEC_F32},
                                         {"capacity", 0, 1, MOEC_I32},
                                         {"top_k", 0, 1, MOEC_I32},
                                         {"jitter", i.hidden, 0, MOEC_F32},
                                         {"replace", i.top_k, 0, MOEC_F32},
                                         {"replace_ids", i.top_k, 0, MOEC_I32},
                                         {"hidden_mask", masks.hidden, 0, MOEC_F32},
                                         {"output_mask", masks.output, 0, MOEC_F32},
                                         {"expert_mask", masks.expert, 0, MOEC_F32},
                                         {"midpoint_mask", i.top_k, 0, MOEC_F32},
                                         {"probabilities", i.num_logits, 0, MOEC_F32},
                                         {"choice_counts", 0, i.num_choice_counts, MOEC_I32},
                                         {"losses", 0, i.num_losses, MOEC_F32},
                                         {"logit_mean", 0, 1, MOEC_F32},
                                         {"logit_max", 0, 1, MOEC_F32},
                                         {"diversity", 0, 1, MOEC_F32},
                                         {"dropped_tokens", 0, 1, MOEC_I32}};
    return shapes[argument];
  }
  template <class Pointer, class View> Forward &set(Pointer &field, const View &view, Argument argument) {
    field = view.data;
    given[argument] = {true, view.count, view.dtype};
    return *this;
  }
  template <class T> Forward &set(T *&field, Span<T> span, Argument argument) {
    field = span.data();
    given[argument] = {true, span.size(), Element<std::remove_cv_t<T>>::dtype};
    return *this;
  }

  // Finds T and compares every argument with what T tokens of this layer have.
  Result<void> check() {
    int64_t hidden = layer.info().hidden, count = static_cast<int64_t>(given[X].count);
    if (count % hidden != 0)
      return Error{MOEC_SHAPE,
                   "x has " + std::to_string(count) + " elements, expected a multiple of " + std::to_string(hidden)};
    args.num_tokens = count / hidden;
    for (int argument = 0; argument < NUM_ARGUMENTS; ++argument) {
      const Given &got = given[static_cast<size_t>(argument)];
      if (!got.given)
        continue;
      Shape shape = shape_of(argument);
      if (got.dtype != shape.dtype)
        return Error{MOEC_DTYPE, std::string(shape.name) + " holds " + dtype_name(got.dtype) + ", layer " +
                                     layer.info().name + " expects " + dtype_name(shape.dtype)};
      int64_t expected = shape.per_token * args.num_tokens + shape.fixed;
      bool lacks = shape.per_token == 0 && shape.fixed == 0; // the runtime says so
      if (argument == HIDDEN_MASK || argument == OUTPUT_MASK) {
        Result<size_t> elements = layer.input_elements(shape.name, args.num_tokens, args.tokens_per_sequence);
        lacks = !elements;
        expected = elements ? static_cast<int64_t>(*elements) : 0;
      }
      if (!lacks && got.count != static_cast<size_t>(expected))
        return Error{MOEC_SHAPE, std::string(shape.name) + " has " + std::to_string(got.count) +
                                     " elements, expected " + std::to_string(expected) + " for " +
                                     std::to_string(args.num_tokens) + " tokens"};
    }
    return {};
  }

  Layer layer;
  Weights weights_handle;
  moec_forward_args args = {};
  std::array<Given, NUM_ARGUMENTS> given = {};
  std::function<void(const moec_probe_event &)> on_event;
  bool probe_units = false;
};

inline Forward Layer::forward(const Weights &weights) const { return Forward(*this, weights); }

} // namespace v0
} // namespace moec
#endif
