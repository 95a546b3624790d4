// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// layer.hpp - a package and options in -> a layer; checkpoints, tensors or packed files in -> its weights.
#ifndef MOEC_LAYER_HPP
#define MOEC_LAYER_HPP

#include "memory.hpp"
#include "package.hpp"
#include "pool.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moec {
inline namespace v0 {

struct LayerOptions {
  int32_t threads = 0;  // the calling thread included; 0 = 1, or those of `pool`
  int32_t max_isa = -1; // MOEC_ISA_* of moec_abi.h; -1 = no limit
  int32_t spin_us = 0;
  Pool pool; // threads shared with other layers
  // Runs body(i, worker) for every i in [0, count) and returns when all are done; `worker` is in [0, threads), and no
  // two bodies running at once share one. Called from any thread that calls the layer.
  std::function<void(int64_t count, const Body &body)> parallel_for;
  bool cuda = false;
  int32_t cuda_device = -1;          // its ordinal; -1 = the current context's, or the first
  const void *cuda_driver = nullptr; // another moec_cuda_driver, which outlives the layer
};

struct Role {
  std::string name;
  std::vector<int64_t> dims;
  int32_t gradient = MOEC_GRADIENT_NONE; // MOEC_GRADIENT_*
};

// Columns n of the masks [T,n] of calls that train. With soft routing those of dropout are [B,n], a row for each
// sequence, or [1,n] with scope batch, and their runs of columns are slots instead of choices.
struct MaskColumns {
  int64_t hidden = 0; // K·I: the inner values of every choice, I those of the widest expert
  int64_t output = 0; // K·N: the outputs of every choice, N = H or the latent width
  int64_t expert = 0; // routed experts, then zero experts
};

// Elements for one role, or for one expert of it ("experts.gate.3"). Without dims: the role's shape.
struct Tensor {
  std::string role;
  View data;
  std::vector<int64_t> dims;
  Tensor(std::string of, View elements, std::vector<int64_t> shape = {})
      : role(std::move(of)), data(elements), dims(std::move(shape)) {}
};

// A checkpoint, and what goes before the names of its tensors.
struct Source {
  std::string path, prefix;
};

class Backward;
class Forward;
class Weights;

class Layer {
public:
  Layer(const Layer &) = default; // also for rvalues: a handle is never empty
  Layer &operator=(const Layer &) = default;
  static Result<Layer> create(Package package, LayerOptions options = {}) {
    auto state = std::make_shared<State>(std::move(package), std::move(options));
    moec_layer_options c = {};
    c.struct_size = sizeof c;
    c.max_threads = state->options.threads;
    c.max_isa = state->options.max_isa + 1;
    c.spin_us = state->options.spin_us;
    c.device = state->options.cuda ? MOEC_DEVICE_CUDA : MOEC_DEVICE_CPU;
    c.cuda_device = state->options.cuda_device + 1;
    c.cuda_driver = state->options.cuda_driver;
    c.pool = state->options.pool.get();
    if (state->options.parallel_for) {
      c.parallel_for = run_hosted;
      c.parallel_for_context = state.get();
    }
    moec_status status = moec_layer_create(state->package.get(), &c, &state->layer);
    if (status == MOEC_OK) {
      state->info.struct_size = sizeof state->info;
      status = moec_layer_get_info(state->layer, &state->info);
    }
    if (status != MOEC_OK)
      return last_error(status);
    Layer layer(state);
    state->masks = layer.find_mask_columns();
    return layer;
  }

  const moec_layer_info &info() const { return state->info; }
  const MaskColumns &mask_columns() const { return state->masks; }
  moec_layer *get() const { return state->layer; }

  std::vector<Role> roles() const {
    std::vector<Role> all;
    for (int32_t i = 0; i < info().num_roles; ++i) {
      const char *name = nullptr;
      int32_t rank = 0;
      int64_t dims[4] = {};
      int32_t gradient = MOEC_GRADIENT_NONE;
      if (moec_layer_role(get(), i, &name, &rank, dims) == MOEC_OK &&
          moec_layer_role_gradient(get(), i, &gradient) == MOEC_OK)
        all.push_back({name, std::vector<int64_t>(dims, dims + rank), gradient});
    }
    return all;
  }

  size_t weights_bytes() const {
    size_t bytes = 0;
    return moec_layer_weights_bytes(get(), &bytes) == MOEC_OK ? bytes : 0;
  }

  // Weights from checkpoints: a safetensors file, an index of shards, or a folder. A tensor is taken from the last
  // source that has it. The buffer is the Weights' own.
  Result<Weights> load(const std::string &path, const std::string &prefix = "") const;
  Result<Weights> load_sources(const std::vector<Source> &sources) const;
  // Weights from memory.
  Result<Weights> pack(const std::vector<Tensor> &tensors) const;
  // The same into a buffer of the caller, which outlives the Weights; CUDA layers: memory of their device.
  Result<Weights> load_into(void *buffer, size_t bytes, const std::vector<Source> &sources) const;
  Result<Weights> pack_into(void *buffer, size_t bytes, const std::vector<Tensor> &tensors) const;
  // Packed weights that are in memory already, and a file of them (moec pack) that is mapped. `verify` compares them
  // with their checksum. The caller's buffer outlives the Weights.
  Result<Weights> map(const void *buffer, size_t bytes, bool verify = false) const;
  Result<Weights> map_file(const std::string &path, bool verify = false) const;

  // Workspace for calls of up to max_tokens tokens.
  Result<size_t> workspace_bytes(int64_t max_tokens, int64_t tokens_per_sequence = 0, bool reports = false) const {
    moec_forward_args args = {};
    float report = 0;
    args.struct_size = sizeof args;
    args.num_tokens = max_tokens;
    args.tokens_per_sequence = tokens_per_sequence;
    args.out_logit_mean = reports ? &report : nullptr;
    size_t bytes = 0;
    moec_status status = moec_layer_workspace_bytes_call(get(), &args, &bytes);
    if (status != MOEC_OK)
      return last_error(status);
    return bytes;
  }
  Result<Buffer> workspace(int64_t max_tokens, int64_t tokens_per_sequence = 0, bool reports = false) const {
    Result<size_t> bytes = workspace_bytes(max_tokens, tokens_per_sequence, reports);
    if (!bytes)
      return bytes.error();
    return Buffer::allocate(*bytes);
  }

  // What a call that backward follows keeps, and the workspace of a backward call: layers of a spec with
  // "passes": ["forward", "backward"].
  Result<size_t> saved_bytes(int64_t tokens, int64_t tokens_per_sequence = 0) const {
    return bytes_of(moec_layer_saved_bytes, tokens, tokens_per_sequence);
  }
  Result<Buffer> saved(int64_t tokens, int64_t tokens_per_sequence = 0) const {
    return allocated(saved_bytes(tokens, tokens_per_sequence));
  }
  Result<size_t> backward_workspace_bytes(int64_t max_tokens, int64_t tokens_per_sequence = 0) const {
    return bytes_of(moec_layer_backward_workspace_bytes, max_tokens, tokens_per_sequence);
  }
  Result<Buffer> backward_workspace(int64_t max_tokens, int64_t tokens_per_sequence = 0) const {
    return allocated(backward_workspace_bytes(max_tokens, tokens_per_sequence));
  }

  // Elements of the input `name` of a call: "x", or as Forward names it.
  Result<size_t> input_elements(const std::string &name, int64_t tokens, int64_t tokens_per_sequence = 0) const {
    int64_t count = 0;
    moec_status status = moec_layer_input_elements(get(), name.c_str(), tokens, tokens_per_sequence, &count);
    if (status != MOEC_OK)
      return last_error(status);
    return static_cast<size_t>(count);
  }

  // A call: layer.forward(weights).x(x).y(y).run(workspace).
  Forward forward(const Weights &weights) const;
  // Gradients of a call that kept `saved`, with its weights:
  // layer.backward(weights).x(x).grad_y(dy).saved(kept).grad_x(dx).gradient("experts.gate", dgate).run(workspace).
  Backward backward(const Weights &weights) const;

private:
  friend class Weights;
  struct State {
    Package package;
    LayerOptions options;
    moec_layer *layer = nullptr;
    moec_layer_info info = {};
    MaskColumns masks;
    State(Package of, LayerOptions with) : package(std::move(of)), options(std::move(with)) {}
    State(const State &) = delete;
    State &operator=(const State &) = delete;
    ~State() { moec_layer_destroy(layer); }
  };
  explicit Layer(std::shared_ptr<const State> made) : state(std::move(made)) {}
  static void run_hosted(void *context, int64_t count, void (*body)(void *, int64_t, int32_t),
                         void *argument) noexcept {
    static_cast<const State *>(context)->options.parallel_for(count, Body(body, argument));
  }
  MaskColumns find_mask_columns() const {
    const moec_layer_info &i = info();
    MaskColumns columns;
    columns.expert = i.num_choice_counts ? i.num_choice_counts : std::max(i.num_logits, i.num_experts);
    int64_t runs = i.top_k ? i.top_k : i.num_logits; // choices of a token, or slots of a sequence
    for (const Role &role : roles()) {
      size_t rank = role.dims.size();
      if (role.name == "experts.down" ||
          role.name.rfind("experts.down.", 0) == 0) { // [..,N,I] of all experts, or of one
        columns.hidden = std::max(columns.hidden, runs * role.dims[rank - 1]);
        columns.output = runs * role.dims[rank - 2];
      } else if (role.name == "experts.up" && columns.output == 0) { // of linear experts, which have nothing else
        columns.output = runs * role.dims[rank - 2];
      }
    }
    return columns;
  }
  using BytesOf = moec_status (*)(const moec_layer *, int64_t, int64_t, size_t *);
  Result<size_t> bytes_of(BytesOf function, int64_t tokens, int64_t tokens_per_sequence) const {
    size_t bytes = 0;
    moec_status status = function(get(), tokens, tokens_per_sequence, &bytes);
    if (status != MOEC_OK)
      return last_error(status);
    return bytes;
  }
  static Result<Buffer> allocated(Result<size_t> bytes) {
    return bytes ? Buffer::allocate(*bytes) : Result<Buffer>(bytes.error());
  }
  using Owner = std::shared_ptr<const void>;
  Result<Weights> load(Owner owner, void *buffer, size_t bytes, const std::vector<Source> &sources) const;
  Result<Weights> pack(Owner owner, void *buffer, size_t bytes, const std::vector<Tensor> &tensors) const;
  Result<std::shared_ptr<Buffer>> own_buffer() const {
    if (info().device == MOEC_DEVICE_CUDA)
      return Error{MOEC_UNSUPPORTED_DEVICE, "the layer runs on CUDA: pass a buffer in memory of its device"};
    Result<Buffer> buffer = Buffer::allocate(weights_bytes());
    if (!buffer)
      return buffer.error();
    return std::make_shared<Buffer>(*std::move(buffer));
  }
  std::vector<int64_t> dims_of(const std::string &role) const {
    size_t dot = role.rfind('.');
    for (Role &known : roles()) {
      if (known.name == role)
        return known.dims;
      if (dot != std::string::npos && known.name == role.substr(0, dot) && known.dims.size() > 1)
        return {known.dims.begin() + 1, known.dims.end()};
    }
    return {};
  }
  std::shared_ptr<const State> state;
};

// A handle and, unless the caller gave it, the buffer it reads.
class Weights {
public:
  Weights(const Weights &) = default; // also for rvalues: a handle is never empty
  Weights &operator=(const Weights &) = default;
  moec_weights *get() const { return state->weights; }
  // The packed form: written to a file, it can be mapped by every program that has the package.
  Span<const char> packed() const { return {static_cast<const char *>(state->buffer), state->bytes}; }

private:
  friend class Layer;
  struct State {
    Layer layer;
    std::shared_ptr<const void> owned; // keeps `buffer`; empty if it is the caller's
    const void *buffer;
    size_t bytes;
    moec_weights *weights = nullptr;
    State(Layer of, std::shared_ptr<const void> owner, const void *packed, size_t size)
        : layer(std::move(of)), owned(std::move(owner)), buffer(packed), bytes(size) {}
    State(const State &) = delete;
    State &operator=(const State &) = delete;
    ~State() { moec_weights_destroy(weights); }
  };
  explicit Weights(std::shared_ptr<State> made) : state(std::move(made)) {}

  // fill(&handle) makes the handle of weights in `buffer`.
  template <class Fill>
  static Result<Weights> make(const Layer &layer, std::shared_ptr<const void> owned, const void *buffer, size_t bytes,
                              Fill fill) {
    auto state = std::make_shared<State>(layer, std::move(owned), buffer, bytes);
    moec_status status = fill(&state->weights);
    if (status != MOEC_OK)
      return last_error(status);
    return Weights(std::move(state));
  }
  std::shared_ptr<const State> state;
};

} // namespace v0
} // namespace moec
#endif
