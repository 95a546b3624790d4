// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A valid LayerSpec -> every parameter it has, with shape. The order is fixed: it is the order of packages and reports.

#include "dsl/LayerSpec.h"
#include "dsl/text/JsonTree.h"

#include <cstdlib>

namespace moec {

std::string tokenGroupRole(int64_t group, const char *part) {
  return "router.group" + std::to_string(group) + "." + part;
}

namespace {

// Collects roles in order.
struct RoleList {
  std::vector<Role> roles;
  void vector(std::string name, int64_t n) { roles.push_back({std::move(name), {n}, false, false}); }
  void matrix(std::string name, int64_t out, int64_t in) { roles.push_back({std::move(name), {out, in}, false, true}); }
  void expertVector(std::string name, int64_t experts, int64_t n) {
    roles.push_back({std::move(name), {experts, n}, true, false});
  }
  void expertMatrix(std::string name, int64_t experts, int64_t out, int64_t in) {
    roles.push_back({std::move(name), {experts, out, in}, true, true});
  }
  // NAME_weight and NAME_bias of a norm over n columns, of every expert if there are `experts`.
  void norm(const std::string &name, const std::optional<NormSpec> &norm, int64_t n, int64_t experts = 0) {
    if (!norm || !norm->weight)
      return;
    auto add = [&](const std::string &role) { experts ? expertVector(role, experts, n) : vector(role, n); };
    add(name + "_weight");
    if (norm->kind == NormKind::LayerNorm)
      add(name + "_bias");
  }
};

void addTransformRoles(RoleList &list, const RouterSpec &router) {
  for (const LogitTransform &transform : router.transform) {
    if (transform.op == TransformOp::Temperature && transform.learned)
      list.vector("router.temperature", 1);
    if (transform.op == TransformOp::Cosine && transform.learned)
      list.vector("router.scale", 1);
  }
}

// Rows and biases of every group of tokens that has experts of its own.
void addGroupRoles(RoleList &list, const LayerSpec &spec) {
  const RouterSpec &router = spec.router;
  int64_t groups = router.tokenGroups->count, each = spec.experts.count / groups;
  for (int64_t g = 0; g < groups; ++g) {
    list.matrix(tokenGroupRole(g, "weight"), each, spec.hidden);
    if (router.bias)
      list.vector(tokenGroupRole(g, "bias"), each);
    if (router.choiceBias)
      list.vector(tokenGroupRole(g, "choice_bias"), each);
  }
}

void addRouterRoles(RoleList &list, const LayerSpec &spec) {
  const RouterSpec &router = spec.router;
  int64_t rows = spec.routerRows(), weightRows = spec.logitColumns() + spec.sharedRows();
  if (spec.hasOwnExperts())
    addGroupRoles(list, spec);
  else if (spec.hasRouterWeight())
    list.matrix("router.weight", weightRows, spec.hidden);
  if (router.kind == RouterKind::Soft)
    list.matrix("router.slots", spec.experts.count * router.slots, spec.hidden);
  if (router.kind == RouterKind::Hierarchical) {
    int64_t levelRows = 1;
    for (size_t n = 0; n < router.levels.size(); ++n) {
      levelRows *= router.levels[n].count;
      if (router.levels[n].kind == RouterKind::TokenChoice)
        list.matrix("router.level" + std::to_string(n) + ".weight", levelRows, spec.hidden);
    }
  }
  if (router.bias && !spec.hasOwnExperts())
    list.vector("router.bias", weightRows);
  if (router.choiceBias && !router.tokenGroups)
    list.vector("router.choice_bias", rows);
  if (router.choiceBias && router.tokenGroups && !spec.hasOwnExperts())
    for (int64_t g = router.kind == RouterKind::Table ? 1 : 0; g < router.tokenGroups->count; ++g)
      list.vector(tokenGroupRole(g, "choice_bias"), rows);
  if (router.globalScale)
    list.vector("router.global_scale", 1);
  if (router.expertScale)
    list.vector("router.expert_scale", rows);
  if (router.input.norm && router.input.norm->weight)
    list.vector("router.input_scale", spec.hidden);
  if (router.kind == RouterKind::Table)
    list.roles.push_back({"router.table", {router.vocab ? router.vocab : -1, router.select.k}, false, false});
  addTransformRoles(list, router);
  if (router.noise.kind == NoiseKind::Learned)
    list.matrix("router.noise_weight", spec.logitColumns(), spec.hidden);
}

void addLoraRoles(RoleList &list, const LayerSpec &spec, int64_t in, int64_t width, int64_t out) {
  if (!spec.experts.lora)
    return;
  int64_t count = spec.experts.count, rank = spec.experts.lora->rank;
  if (spec.experts.lora->at == LoraAt::Parallel) {
    list.expertMatrix("experts.lora_a", count, rank, in);
    list.expertMatrix("experts.lora_b", count, out, rank);
    return;
  }
  auto pair = [&](const std::string &name, int64_t to, int64_t from) {
    list.expertMatrix(name + "_lora_a", count, rank, from);
    list.expertMatrix(name + "_lora_b", count, to, rank);
  };
  bool linear = spec.experts.form == ExpertForm::Linear;
  if (spec.experts.form == ExpertForm::Glu)
    pair("experts.gate", width, in);
  pair("experts.up", linear ? out : width, in);
  for (int64_t n = 1; n < spec.experts.layers; ++n)
    pair("experts.hidden" + std::to_string(n), width, width);
  if (!linear)
    pair("experts.down", out, width);
}

void addExpertRoles(RoleList &list, const LayerSpec &spec) {
  const ExpertsSpec &experts = spec.experts;
  bool linear = experts.form == ExpertForm::Linear, glu = experts.form == ExpertForm::Glu;
  // Inside a latent layer experts never see H.
  int64_t in = experts.latent ? experts.latent->dim : spec.hidden;
  int64_t width = linear ? in : experts.heterogeneous() ? -1 : experts.intermediate[0];
  int64_t count = experts.count;
  if (experts.latent) {
    list.matrix("latent.in", in, spec.hidden);
    if (experts.latent->bias)
      list.vector("latent.in_bias", in);
    list.norm("latent.norm_in", experts.latent->normIn, in);
  }
  if (glu)
    list.expertMatrix("experts.gate", count, width, in);
  list.expertMatrix("experts.up", count, width, in);
  for (int64_t n = 1; n < experts.layers; ++n)
    list.expertMatrix("experts.hidden" + std::to_string(n), count, width, width);
  if (!linear)
    list.expertMatrix("experts.down", count, in, width);
  if (experts.bias.in) {
    if (glu)
      list.expertVector("experts.gate_bias", count, width);
    list.expertVector("experts.up_bias", count, width);
    for (int64_t n = 1; n < experts.layers; ++n)
      list.expertVector("experts.hidden" + std::to_string(n) + "_bias", count, width);
  }
  if (experts.bias.out && !linear)
    list.expertVector("experts.down_bias", count, in);
  list.norm("experts.norm", experts.normOut, in, experts.normOut && experts.normOut->perExpert ? count : 0);
  addLoraRoles(list, spec, in, width, in);
  if (experts.zero && experts.zero->kind == ZeroKind::Constant)
    list.matrix("experts.zero_constant", spec.hidden, experts.zero->count);
  if (experts.latent) {
    list.norm("latent.norm_out", experts.latent->normOut, in);
    list.matrix("latent.out", spec.hidden, in);
    if (experts.latent->bias)
      list.vector("latent.out_bias", spec.hidden);
  }
}

// Blocks are stacked on a leading axis when there are several; one block has no such axis.
void addSharedRoles(RoleList &list, const LayerSpec &spec) {
  if (!spec.shared)
    return;
  const SharedSpec &shared = *spec.shared;
  auto matrix = [&](const char *name, int64_t out, int64_t in) {
    Role role{name, {out, in}, false, true};
    if (shared.count > 1)
      role.shape.insert(role.shape.begin(), shared.count);
    list.roles.push_back(role);
  };
  auto vector = [&](const char *name, int64_t n) {
    Role role{name, {n}, false, false};
    if (shared.count > 1)
      role.shape.insert(role.shape.begin(), shared.count);
    list.roles.push_back(role);
  };
  bool linear = shared.form == ExpertForm::Linear, glu = shared.form == ExpertForm::Glu;
  int64_t width = linear ? spec.hidden : shared.intermediate;
  if (glu)
    matrix("shared.gate", width, spec.hidden);
  matrix("shared.up", width, spec.hidden);
  if (!linear)
    matrix("shared.down", spec.hidden, width);
  if (shared.bias.in && glu)
    vector("shared.gate_in_bias", width); // shared.gate_bias is the bias of the branch gate
  if (shared.bias.in)
    vector("shared.up_bias", width);
  if (shared.bias.out && !linear)
    vector("shared.down_bias", spec.hidden);
  if (shared.gate == SharedGate::Sigmoid || shared.gate == SharedGate::Softmax2)
    list.matrix("shared.gate_weight", shared.gate == SharedGate::Softmax2 ? 2 : 1, spec.hidden);
  if (shared.gate == SharedGate::Softmax2)
    list.vector("shared.gate_bias", 2);
}

void addLayerRoles(RoleList &list, const LayerSpec &spec) {
  if (spec.combine.bias)
    list.vector("output.bias", spec.hidden);
  list.norm("output.norm", spec.combine.normOut, spec.hidden);
  if (spec.layer.wrap == LayerWrap::Depth || spec.router.kind == RouterKind::Depth)
    list.matrix("depth.weight", 1, spec.hidden);
  if (spec.layer.wrap == LayerWrap::Skip) {
    list.matrix("skip.weight", 1, spec.hidden);
    list.vector("skip.bias", 1);
  }
  if (spec.layer.wrap == LayerWrap::Conditional) {
    list.matrix("selector.weight", 1, spec.hidden);
    list.vector("selector.bias", 1);
  }
  if (spec.layer.dense) {
    const DenseSpec &dense = *spec.layer.dense;
    bool linear = dense.form == ExpertForm::Linear;
    int64_t width = linear ? spec.hidden : dense.intermediate;
    if (dense.form == ExpertForm::Glu)
      list.matrix("dense.gate", width, spec.hidden);
    list.matrix("dense.up", width, spec.hidden);
    if (!linear)
      list.matrix("dense.down", spec.hidden, width);
  }
}

} // namespace

// Options are stored only where they differ from their defaults, and the default of a word is the first of its list.
bool LossSpec::is(const char *key, const char *word) const {
  auto found = options.find(key);
  return found != options.end() && found->second == "\"" + std::string(word) + "\"";
}
bool LossSpec::flag(const char *key) const {
  auto found = options.find(key);
  return found != options.end() && found->second == "true";
}
int64_t LossSpec::integer(const char *key, int64_t fallback) const {
  auto found = options.find(key);
  return found == options.end() ? fallback : std::strtoll(found->second.c_str(), nullptr, 10);
}
double LossSpec::number(const char *key, double fallback) const {
  auto found = options.find(key);
  return found == options.end() ? fallback : doubleOf(found->second).value_or(fallback);
}

bool LayerSpec::hasRouterWeight() const {
  switch (router.kind) {
  case RouterKind::TokenChoice:
  case RouterKind::ExpertChoice:
  case RouterKind::ProductKey:
    return true;
  case RouterKind::Table:
  case RouterKind::Random:
    return router.weightMode == WeightMode::Gathered;
  case RouterKind::Dense:
    return routerRows() > 1;
  case RouterKind::External:
  case RouterKind::Soft:
  case RouterKind::Hierarchical:
  case RouterKind::Depth:
    return false;
  }
  return false;
}

std::vector<std::string> LayerSpec::inputNames() const {
  std::vector<std::string> names;
  auto need = [&](bool needed, const char *name) {
    if (needed)
      names.push_back(name);
  };
  bool reads = hasRouterWeight() || router.kind == RouterKind::Soft || router.kind == RouterKind::Hierarchical;
  bool second = router.select.kind == SelectKind::SecondPolicy, external = router.kind == RouterKind::External;
  need((router.input.from == BranchInput::Residual && reads) || (shared && shared->input == BranchInput::Residual),
       "residual");
  need((takesNoise() && reads) || (second && router.select.second == SecondPolicy::Gumbel), "noise");
  need(second && router.select.second == SecondPolicy::Random2P, "uniform");
  need(router.kind == RouterKind::Table, "token_ids");
  need(external || router.kind == RouterKind::Random || takesSamples(), "expert_ids");
  need(external, "expert_weights");
  bool givenLevel = router.kind == RouterKind::Hierarchical && router.levels[0].kind == RouterKind::Table;
  need(givenLevel || router.tokenGroups, "group_ids");
  need(capacity && capacity->order == CapacityOrder::Random, "priority");
  need(capacity && capacity->mode == CapacityMode::Dynamic, "capacity");
  need(inputs.topK, "top_k");
  // Those of training.
  need(takesJitter() && (reads || router.input.jitterScope == JitterScope::Layer), "jitter");
  need(replacesIds(), "replace");
  need(replacesIds(), "replace_ids");
  need(takesHiddenMask(), "hidden_mask");
  need(takesOutputMask(), "output_mask");
  need(takesExpertMask(), "expert_mask");
  need(takesSamples(), "midpoint_mask");
  return names;
}

int64_t LayerSpec::inputColumns(const std::string &name) const {
  if (name == "residual" || name == "jitter")
    return hidden;
  if (name == "noise")
    return logitColumns();
  if (name == "expert_mask")
    return routerRows();
  int64_t perRow = router.kind == RouterKind::Soft ? 1 : choices();
  if (name == "hidden_mask")
    return perRow * experts.widest();
  if (name == "output_mask")
    return perRow * expertOutputs();
  bool perChoice = name == "expert_ids" || name == "expert_weights" || name == "replace" || name == "replace_ids" ||
                   name == "midpoint_mask";
  return perChoice ? choices() : 1;
}

int64_t LayerSpec::inputRows(const std::string &name, int64_t tokens, int64_t sequences) const {
  if (name == "capacity" || name == "top_k")
    return 1;
  if (router.kind == RouterKind::Soft && (name == "hidden_mask" || name == "output_mask"))
    return slots() * (router.scope == SelectScope::Batch ? 1 : sequences);
  return tokens;
}

std::vector<Role> rolesOf(const LayerSpec &spec) {
  RoleList list;
  addRouterRoles(list, spec);
  addExpertRoles(list, spec);
  addSharedRoles(list, spec);
  addLayerRoles(list, spec);
  return std::move(list.roles);
}

static bool isRouterMatrix(const Role &role) { return role.matrix && role.name.rfind("router.", 0) == 0; }

DataType storedType(const LayerSpec &spec, const Role &role) {
  if (!role.matrix)
    return DataType::F32;
  return isRouterMatrix(role) ? spec.dtype.router : spec.dtype.weight;
}

std::vector<Role> tensorsOf(const LayerSpec &spec) {
  std::vector<Role> tensors;
  for (const Role &role : rolesOf(spec)) {
    if (!role.expertAxis || !spec.experts.heterogeneous()) {
      tensors.push_back(role);
      continue;
    }
    for (int64_t e = 0; e < spec.experts.count; ++e) {
      Role own{role.name + "." + std::to_string(e), {}, false, role.matrix, role.name, e};
      for (size_t i = 1; i < role.shape.size(); ++i)
        own.shape.push_back(role.shape[i] < 0 ? spec.experts.width(e) : role.shape[i]);
      tensors.push_back(std::move(own));
    }
  }
  return tensors;
}

} // namespace moec
