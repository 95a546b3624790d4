// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// backward.hpp - the gradients of one call of a layer: arguments by name, checked for type and number of elements.
#ifndef MOEC_BACKWARD_HPP
#define MOEC_BACKWARD_HPP

#include "layer.hpp"

#include <string>
#include <utility>
#include <vector>

namespace moec {
inline namespace v0 {

// The gradients of  sum(grad_y * y) + sum(grad_losses * losses),  names and shapes as in moec_backward_args; T is the
// number of rows of x. x and the inputs are those of the forward call. May be run again, also with other arguments.
class Backward {
public:
  Backward(Layer of, Weights with) : layer(std::move(of)), weights_handle(std::move(with)), known(layer.roles()) {
    args.struct_size = sizeof args;
    pointers.resize(known.size());
  }

  Backward &x(View rows) {
    x_count = rows.count;
    return set(args.x, "x", rows.data, rows.count, rows.dtype, info().hidden, 0, info().x_dtype);
  }
  Backward &grad_y(View rows) {
    return set(args.grad_y, "grad_y", rows.data, rows.count, rows.dtype, info().hidden, 0, info().y_dtype);
  }
  Backward &grad_losses(Span<const float> in) { return set(args.grad_losses, "grad_losses", in, 0, info().num_losses); }
  Backward &saved(const void *memory, size_t bytes) {
    args.saved = memory;
    args.saved_bytes = bytes;
    return *this;
  }
  Backward &saved(const Buffer &memory) { return saved(memory.data(), memory.size()); }
  Backward &stream(void *cuda_stream) { return args.stream = cuda_stream, *this; }
  Backward &tokens_per_sequence(int64_t tokens) { return args.tokens_per_sequence = tokens, *this; }

  // gradients
  Backward &grad_x(MutableView rows) {
    return set(args.grad_x, "grad_x", rows.data, rows.count, rows.dtype, info().hidden, 0, info().x_dtype);
  }
  Backward &grad_residual(MutableView rows) {
    return set(args.grad_residual, "grad_residual", rows.data, rows.count, rows.dtype, info().hidden, 0,
               info().x_dtype);
  }
  Backward &grad_expert_weights(Span<float> out) {
    return set(args.grad_expert_weights, "grad_expert_weights", out, info().top_k, 0);
  }
  // Of a parameter, in the shape of Layer::roles. Vectors are of float; matrices of one type, float or the weights'.
  Backward &gradient(const std::string &role, MutableView out) {
    for (size_t i = 0; i < known.size(); ++i)
      if (known[i].name == role)
        return set_gradient(i, out);
    unknown = role;
    return *this;
  }
  // Adds the gradients of parameters to what their memory holds.
  Backward &accumulate(bool add = true) { return args.accumulate = add ? 1 : 0, *this; }

  // inputs that some layers read besides x
  Backward &residual(View rows) {
    return set(args.residual, "residual", rows.data, rows.count, rows.dtype, info().hidden, 0, info().x_dtype);
  }
  Backward &noise(Span<const float> in) { return set(args.noise, "noise", in, info().num_logits, 0); }
  Backward &uniform(Span<const float> in) { return set(args.uniform, "uniform", in, 1, 0); }
  Backward &token_ids(Span<const int32_t> in) { return set(args.token_ids, "token_ids", in, 1, 0); }
  Backward &expert_ids(Span<const int32_t> in) { return set(args.expert_ids, "expert_ids", in, info().top_k, 0); }
  Backward &expert_weights(Span<const float> in) {
    return set(args.expert_weights, "expert_weights", in, info().top_k, 0);
  }
  Backward &group_ids(Span<const int32_t> in) { return set(args.group_ids, "group_ids", in, 1, 0); }
  Backward &priority(Span<const float> in) { return set(args.priority, "priority", in, 1, 0); }
  Backward &capacity(Span<const int32_t> in) { return set(args.capacity, "capacity", in, 0, 1); }
  Backward &top_k(Span<const int32_t> in) { return set(args.top_k, "top_k", in, 0, 1); }
  Backward &jitter(Span<const float> in) { return set(args.jitter, "jitter", in, info().hidden, 0); }
  Backward &replace(Span<const float> in) { return set(args.replace, "replace", in, info().top_k, 0); }
  Backward &replace_ids(Span<const int32_t> in) { return set(args.replace_ids, "replace_ids", in, info().top_k, 0); }
  Backward &hidden_mask(Span<const float> in) {
    return set(args.hidden_mask, "hidden_mask", in, layer.mask_columns().hidden, 0);
  }
  Backward &output_mask(Span<const float> in) {
    return set(args.output_mask, "output_mask", in, layer.mask_columns().output, 0);
  }
  Backward &expert_mask(Span<const float> in) {
    return set(args.expert_mask, "expert_mask", in, layer.mask_columns().expert, 0);
  }
  Backward &midpoint_mask(Span<const float> in) {
    return set(args.midpoint_mask, "midpoint_mask", in, info().top_k, 0);
  }

  // On CUDA: puts the call on the stream; `workspace` is memory of the device.
  Result<void> run(void *workspace, size_t bytes) {
    Result<void> checked = check();
    if (!checked)
      return checked;
    args.workspace = workspace;
    args.workspace_bytes = bytes;
    args.grad_parameters = pointers.data();
    moec_status status = moec_layer_backward(layer.get(), weights_handle.get(), &args);
    return status == MOEC_OK ? Result<void>() : last_error(status);
  }
  Result<void> run(Buffer &workspace) { return run(workspace.data(), workspace.size()); }

private:
  // An argument that was given, and its elements: per_token * T + fixed.
  struct Given {
    std::string name;
    size_t count;
    moec_dtype dtype, expected;
    int64_t per_token, fixed;
  };

  const moec_layer_info &info() const { return layer.info(); }

  template <class Pointer, class Data>
  Backward &set(Pointer &field, const std::string &name, Data data, size_t count, moec_dtype dtype, int64_t per_token,
                int64_t fixed, moec_dtype expected) {
    field = data;
    for (Given &old : given)
      if (old.name == name)
        return old = {name, count, dtype, expected, per_token, fixed}, *this;
    given.push_back({name, count, dtype, expected, per_token, fixed});
    return *this;
  }
  template <class T> Backward &set(T *&field, const std::string &name, Span<T> span, int64_t per_token, int64_t fixed) {
    constexpr moec_dtype dtype = Element<std::remove_cv_t<T>>::dtype;
    return set(field, name, span.data(), span.size(), dtype, per_token, fixed, dtype);
  }
  Backward &set_gradient(size_t index, const MutableView &out) {
    int64_t elements = 1;
    for (int64_t dim : known[index].dims)
      elements *= dim;
    bool matrix = known[index].gradient == MOEC_GRADIENT_MATRIX;
    if (matrix && !typed) {
      args.grad_dtype = static_cast<int32_t>(out.dtype);
      typed = true;
    }
    moec_dtype expected = matrix ? static_cast<moec_dtype>(args.grad_dtype) : MOEC_F32;
    return set(pointers[index], "the gradient of " + known[index].name, out.data, out.count, out.dtype, 0, elements,
               expected);
  }

  // Finds T and compares every argument with what T tokens of this layer have.
  Result<void> check() {
    if (!unknown.empty())
      return Error{MOEC_INVALID_ARGUMENT, std::string("layer ") + info().name + " has no role " + unknown};
    int64_t hidden = info().hidden, count = static_cast<int64_t>(x_count);
    if (count % hidden != 0)
      return Error{MOEC_SHAPE,
                   "x has " + std::to_string(count) + " elements, expected a multiple of " + std::to_string(hidden)};
    args.num_tokens = count / hidden;
    for (const Given &got : given) {
      if (got.dtype != got.expected)
        return Error{MOEC_DTYPE, got.name + " holds " + dtype_name(got.dtype) + ", layer " + info().name + " expects " +
                                     dtype_name(got.expected)};
      int64_t expected = got.per_token * args.num_tokens + got.fixed;
      bool lacks = got.per_token == 0 && got.fixed == 0; // the runtime says so
      if (got.name == "hidden_mask" || got.name == "output_mask") {
        Result<size_t> elements = layer.input_elements(got.name, args.num_tokens, args.tokens_per_sequence);
        lacks = !elements;
        expected = elements ? static_cast<int64_t>(*elements) : 0;
      }
      if (!lacks && got.count != static_cast<size_t>(expected))
        return Error{MOEC_SHAPE, got.name + " has " + std::to_string(got.count) + " elements, expected " +
                                     std::to_string(expected) + " for " + std::to_string(args.num_tokens) + " tokens"};
    }
    return {};
  }

  Layer layer;
  Weights weights_handle;
  std::vector<Role> known;
  moec_backward_args args = {};
  std::vector<void *> pointers;
  std::vector<Given> given;
  std::string unknown;
  size_t x_count = 0;
  bool typed = false; // grad_dtype follows the first matrix
};

inline Backward Layer::backward(const Weights &weights) const { return Backward(*this, weights); }

} // namespace v0
} // namespace moec
#endif
