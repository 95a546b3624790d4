// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "session.h"

#include "experts.h"

#include <moe.h>
#include <moe_grown.h>

#include <nlohmann/json.hpp>

#include <cstring>
#include <stdexcept>

namespace train {

using nlohmann::json;

// The values of Settings under the names that a checkpoint has for them.
template <class Visit> static void visit_settings(Settings &s, Visit visit) {
  visit("hidden", s.shape.hidden), visit("layers", s.shape.layers), visit("heads", s.shape.heads);
  visit("kv_heads", s.shape.kv_heads), visit("context", s.shape.context), visit("inner", s.shape.inner);
  visit("moe_every", s.shape.moe_every), visit("dynamics", s.shape.dynamics);
  visit("experts", s.experts), visit("frozen", s.frozen), visit("sequences", s.sequences);
  Schedule &plan = s.schedule;
  visit("steps", plan.steps), visit("warm_up", plan.warm_up), visit("fine_tuning", plan.fine_tuning);
  visit("rate", plan.rate), visit("router_rate", plan.router_rate), visit("top_k", plan.top_k);
  visit("warm_up_capacity", plan.warm_up_capacity), visit("noise", plan.noise), visit("seed", plan.seed);
  visit("balance_coefficient", plan.balance_coefficient), visit("z_coefficient", plan.z_coefficient);
  visit("bias_rate", plan.bias_rate), visit("look_for_dead", plan.look_for_dead);
  visit("dead_below", plan.dead_below);
}

static const moec_package *package_with(int64_t experts) {
  if (experts == MOE_NUM_EXPERTS)
    return moe_package();
  if (experts == MOE_GROWN_NUM_EXPERTS)
    return moe_grown_package();
  throw std::runtime_error("no package has " + std::to_string(experts) + " experts; CMakeLists.txt compiles some for " +
                           std::to_string(MOE_NUM_EXPERTS) + " and " + std::to_string(MOE_GROWN_NUM_EXPERTS));
}

static Settings completed(Settings settings, const Vocabulary &vocabulary) {
  settings.shape.vocabulary = vocabulary.size();
  if (settings.shape.moe_every == 0)
    settings.experts = 0;
  settings.schedule.experts = static_cast<int32_t>(settings.experts);
  const ModelShape &s = settings.shape;
  if (s.heads < 1 || s.kv_heads < 1 || s.heads % s.kv_heads || s.hidden % (2 * s.heads))
    throw std::runtime_error("heads must be a multiple of kv-heads, and hidden of 2 * heads");
  return settings;
}

Session::Session(const Settings &wanted, const Vocabulary &characters, int thread_count)
    : settings(completed(wanted, characters)), vocabulary(characters), threads(thread_count),
      package(settings.experts ? std::make_unique<MoePackage>(package_with(settings.experts), threads) : nullptr),
      model(threads, settings.shape, make_experts()), adam(threads, model.parameters()) {
  model.draw(settings.schedule.seed);
}

Model::MakeExperts Session::make_experts() {
  if (package && package->hidden() != settings.shape.hidden)
    throw std::runtime_error("the package was compiled for hidden " + std::to_string(package->hidden()) + ", not " +
                             std::to_string(settings.shape.hidden));
  return [this](const std::string &name) {
    auto layer = std::make_unique<MoeLayer>(*package, name);
    mixtures.push_back(layer.get());
    return layer;
  };
}

Routing Session::inference() const {
  Routing routing;
  routing.top_k = settings.schedule.top_k;
  return routing;
}

void Session::save(const std::string &path) {
  SafeTensors file;
  auto add = [&](Parameters list) {
    for (Parameter *parameter : list)
      file.tensors[parameter->name] = {parameter->shape, parameter->value};
  };
  add(model.parameters());
  add(adam.moments());
  StoredTensor &rows = file.tensors["train.history"];
  rows.shape = {static_cast<int64_t>(history.size()), ROW_VALUES};
  rows.values.resize(history.size() * ROW_VALUES);
  if (!history.empty())
    std::memcpy(rows.values.data(), history.data(), history.size() * sizeof(Row));
  for (size_t i = 0; i < mixtures.size(); ++i) {
    StoredTensor &state = file.tensors["train.experts." + std::to_string(i)]; // counts are far below 2^24
    state.shape = {static_cast<int64_t>(mixtures[i]->chosen.size())};
    state.values.assign(mixtures[i]->chosen.begin(), mixtures[i]->chosen.end());
  }
  json state;
  visit_settings(settings, [&](const char *name, auto &value) { state[name] = value; });
  for (MoeLayer *layer : mixtures)
    state["capacity_factors"].push_back(layer->capacity_factor);
  state["step"] = step;
  state["adam_steps"] = adam.steps;
  state["vocabulary"] = std::vector<int>(vocabulary.characters.begin(), vocabulary.characters.end());
  file.texts = {{"format", "pt"}, {"train", state.dump()}};
  write_safetensors(path, file);
}

static json state_of(const std::string &path, const SafeTensors &file) {
  auto found = file.texts.find("train");
  json state = found == file.texts.end() ? json() : json::parse(found->second, nullptr, false);
  if (!state.is_object())
    throw std::runtime_error(path + ": was not written by this program");
  return state;
}

static Settings settings_of(const json &state, Vocabulary &vocabulary) {
  Settings settings;
  visit_settings(settings, [&](const char *name, auto &value) { state.at(name).get_to(value); });
  for (int character : state.at("vocabulary"))
    vocabulary.characters += static_cast<char>(character);
  return settings;
}

// Copies a tensor that has the parameter's shape; with `fewer` also one that has fewer rows on the first axis.
static void take(const std::string &path, const SafeTensors &file, Parameter &parameter, bool fewer = false) {
  auto found = file.tensors.find(parameter.name);
  if (found == file.tensors.end())
    throw std::runtime_error(path + ": holds no " + parameter.name);
  const StoredTensor &stored = found->second;
  std::vector<int64_t> shape = stored.shape;
  if (fewer && shape.size() == parameter.shape.size() && shape[0] < parameter.shape[0])
    shape[0] = parameter.shape[0];
  if (shape != parameter.shape)
    throw std::runtime_error(path + ": " + parameter.name + " has another shape than the model's");
  std::copy(stored.values.begin(), stored.values.end(), parameter.value.begin());
}

void Session::read(const std::string &path, const SafeTensors &file) {
  json state = state_of(path, file);
  for (Parameter *parameter : model.parameters())
    take(path, file, *parameter);
  for (Parameter *moment : adam.moments())
    take(path, file, *moment);
  const StoredTensor &rows = file.tensors.at("train.history");
  history.resize(rows.values.size() / ROW_VALUES);
  if (!history.empty())
    std::memcpy(static_cast<void *>(history.data()), rows.values.data(), history.size() * sizeof(Row));
  for (size_t i = 0; i < mixtures.size(); ++i) {
    const StoredTensor &counts = file.tensors.at("train.experts." + std::to_string(i));
    mixtures[i]->chosen.assign(counts.values.begin(), counts.values.end());
    mixtures[i]->chosen.resize(settings.experts);
    mixtures[i]->capacity_factor = state.at("capacity_factors").at(i);
  }
  step = state.at("step");
  adam.steps = state.at("adam_steps");
  model.changed();
}

// What a damaged file may do to the reading above becomes an error that names the file.
template <class Read> static std::unique_ptr<Session> reading(const std::string &path, Read read) {
  try {
    return read();
  } catch (const json::exception &error) {
    throw std::runtime_error(path + ": was not written by this program: " + error.what());
  } catch (const std::out_of_range &) {
    throw std::runtime_error(path + ": was not written by this program: parts are missing");
  }
}

// The first `frozen` experts, of every parameter that has a row or matrix for each.
static void freeze_experts(Session &session) {
  for (MoeLayer *layer : session.mixtures) {
    Parameters all;
    layer->collect(all);
    for (Parameter *parameter : all)
      if (!parameter->router)
        parameter->frozen = parameter->size() / session.settings.experts * session.settings.frozen;
  }
}

std::unique_ptr<Session> Session::open(const std::string &path, int threads) {
  return reading(path, [&] {
    SafeTensors file = read_safetensors(path);
    Vocabulary vocabulary;
    Settings settings = settings_of(state_of(path, file), vocabulary);
    auto session = std::make_unique<Session>(settings, vocabulary, threads);
    session->read(path, file);
    freeze_experts(*session);
    return session;
  });
}

std::unique_ptr<Session> Session::grow(const std::string &path, int64_t experts, int threads) {
  return reading(path, [&] {
    SafeTensors file = read_safetensors(path);
    Vocabulary vocabulary;
    Settings settings = settings_of(state_of(path, file), vocabulary);
    int64_t old = settings.experts;
    if (old == 0 || experts <= old)
      throw std::runtime_error(path + ": has " + std::to_string(old) + " experts in a layer, and cannot grow to " +
                               std::to_string(experts));
    settings.experts = experts;
    settings.frozen = old;
    auto session = std::make_unique<Session>(settings, vocabulary, threads);
    for (Parameter *parameter : session->model.parameters())
      take(path, file, *parameter, true);
    Random random(settings.schedule.seed, 2);
    for (MoeLayer *layer : session->mixtures)
      for (int64_t expert = old; expert < experts; ++expert)
        copy_expert(*layer, expert - old, expert, 0.1, random);
    session->model.changed();
    freeze_experts(*session);
    return session;
  });
}

} // namespace train
