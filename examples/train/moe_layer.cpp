// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "moe_layer.h"

#include "experts.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <type_traits>

namespace train {

static_assert(std::is_same<real, float>::value, "moe.json is a layer of f32");

static void check(moec_status status, const char *what) {
  if (status == MOEC_OK)
    return;
  char text[512];
  moec_last_error(text, sizeof text);
  throw std::runtime_error(std::string(what) + ": " + text);
}

AlignedBytes::~AlignedBytes() { std::free(memory); }

void AlignedBytes::grow(size_t wanted) {
  if (wanted <= bytes)
    return;
  std::free(memory);
  bytes = (wanted + 4095) / 4096 * 4096;
  memory = std::aligned_alloc(4096, bytes);
  if (!memory)
    throw std::bad_alloc();
}

MoePackage::MoePackage(const moec_package *package, Threads &threads) {
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.max_threads = threads.count();
  options.parallel_for = Threads::run_for_moec;
  options.parallel_for_context = &threads;
  check(moec_layer_create(package, &options, &layer), "moec_layer_create");
  info.struct_size = sizeof info;
  check(moec_layer_get_info(layer, &info), "moec_layer_get_info");
}

MoePackage::~MoePackage() { moec_layer_destroy(layer); }

MoeLayer::MoeLayer(MoePackage &of, const std::string &called)
    : package(of), name(called), purpose(std::hash<std::string>()(called)) {
  for (int32_t i = 0; i < package.info.num_roles; ++i) {
    const char *role_name;
    int32_t rank, has_gradient;
    int64_t dims[4];
    check(moec_layer_role(package.layer, i, &role_name, &rank, dims), "moec_layer_role");
    check(moec_layer_role_gradient(package.layer, i, &has_gradient), "moec_layer_role_gradient");
    roles.emplace_back(name + "." + role_name, std::vector<int64_t>(dims, dims + rank));
    roles.back().learned = has_gradient;
    roles.back().router = std::string(role_name).rfind("router.", 0) == 0;
  }
  size_t bytes;
  check(moec_layer_weights_bytes(package.layer, &bytes), "moec_layer_weights_bytes");
  packed_weights.grow(bytes);
  chosen.resize(experts());
}

MoeLayer::~MoeLayer() { moec_weights_destroy(weights); }

Parameter *MoeLayer::find_role(const std::string &role_name) {
  for (Parameter &parameter : roles)
    if (parameter.name == name + "." + role_name)
      return &parameter;
  return nullptr;
}

Parameter &MoeLayer::role(const std::string &role_name) {
  if (Parameter *found = find_role(role_name))
    return *found;
  throw std::runtime_error(std::string(package.info.name) + " has no role " + role_name);
}

void MoeLayer::collect(Parameters &out) {
  for (Parameter &parameter : roles)
    out.push_back(&parameter);
}

void MoeLayer::draw(Random &random, double output_factor) { draw_experts(*this, random, output_factor); }

// Brings the parameters into the order in which the kernels read them: once after every step of the optimiser.
void MoeLayer::pack() {
  std::vector<moec_tensor> tensors;
  for (int32_t i = 0; i < package.info.num_roles; ++i) {
    moec_tensor tensor = {nullptr, roles[i].value.data(), MOEC_F32, static_cast<int32_t>(roles[i].shape.size()), {}};
    int32_t rank;
    check(moec_layer_role(package.layer, i, &tensor.role, &rank, tensor.dims), "moec_layer_role");
    tensors.push_back(tensor);
  }
  moec_weights_destroy(weights);
  weights = nullptr;
  check(moec_weights_pack(package.layer, tensors.data(), tensors.size(), packed_weights.data(), packed_weights.size(),
                          &weights),
        "moec_weights_pack");
  packed = true;
}

void MoeLayer::forward(const real *x, int64_t count, real *y, const Routing &told) {
  if (!packed)
    pack();
  input = x;
  tokens = count;
  routing = told;
  routing.top_k = std::min<int32_t>(told.top_k, static_cast<int32_t>(package.info.top_k));
  double factor = told.own_capacity ? capacity_factor : told.capacity_factor;
  double places = std::ceil(factor * static_cast<double>(count * routing.top_k) / static_cast<double>(experts()));
  capacity = static_cast<int32_t>(factor > 0 ? std::min(places, static_cast<double>(count)) : count);
  noise.assign(count * package.info.num_logits, 0);
  if (told.noise > 0) {
    Random random(told.seed, purpose, told.step);
    for (float &draw : noise)
      draw = static_cast<float>(told.noise * random.normal());
  }
  last.counts.resize(package.info.num_choice_counts);

  moec_forward_args args = {};
  args.struct_size = sizeof args;
  args.num_tokens = count;
  args.x = x;
  args.y = y;
  args.noise = noise.data();
  args.capacity = &capacity;
  args.top_k = &routing.top_k;
  args.out_choice_counts = last.counts.data();
  args.out_losses = last.losses;
  args.out_dropped_tokens = &last.dropped_tokens;
  size_t bytes;
  check(moec_layer_workspace_bytes_call(package.layer, &args, &bytes), "moec_layer_workspace_bytes_call");
  package.workspace.grow(bytes);
  args.workspace = package.workspace.data();
  args.workspace_bytes = package.workspace.size();
  if (told.training) {
    check(moec_layer_saved_bytes(package.layer, count, 0, &bytes), "moec_layer_saved_bytes");
    saved.grow(bytes);
    args.saved = saved.data();
    args.saved_bytes = saved.size();
  }
  check(moec_layer_forward(package.layer, weights, &args), "moec_layer_forward");
  check(moec_load_of_counts(last.counts.data(), experts(), &last.load), "moec_load_of_counts");
  for (size_t e = 0; told.training && e < chosen.size(); ++e)
    chosen[e] += last.counts[e];
}

void MoeLayer::backward(const real *grad_y, real *grad_x) {
  std::vector<void *> gradients;
  for (Parameter &parameter : roles)
    gradients.push_back(parameter.learned ? parameter.gradient.data() : nullptr);
  float coefficients[2] = {routing.balance_coefficient, routing.z_coefficient};

  moec_backward_args args = {};
  args.struct_size = sizeof args;
  args.num_tokens = tokens;
  args.x = input;
  args.grad_y = grad_y;
  args.grad_losses = coefficients;
  args.saved = saved.data();
  args.saved_bytes = saved.size();
  args.grad_x = grad_x;
  args.grad_parameters = gradients.data();
  args.grad_dtype = MOEC_F32;
  args.accumulate = 1;
  args.noise = noise.data();
  args.capacity = &capacity;
  args.top_k = &routing.top_k;
  size_t bytes;
  check(moec_layer_backward_workspace_bytes(package.layer, tokens, 0, &bytes), "moec_layer_backward_workspace_bytes");
  package.workspace.grow(bytes);
  args.workspace = package.workspace.data();
  args.workspace_bytes = package.workspace.size();
  check(moec_layer_backward(package.layer, weights, &args), "moec_layer_backward");
}

void MoeLayer::follow_counts(float bias_rate, bool adapt_capacity) {
  if (Parameter *bias = find_role("router.choice_bias"); bias && bias_rate > 0) {
    check(moec_update_choice_bias(bias->value.data(), last.counts.data(), experts(), bias_rate, 1),
          "moec_update_choice_bias");
    packed = false;
  }
  if (adapt_capacity)
    check(moec_next_capacity_factor(last.counts.data(), experts(), &capacity_factor), "moec_next_capacity_factor");
}

} // namespace train
