// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Constraints of `weights` and `frozen`: both name roles, so the roles must be known first.

#include "dsl/spec/SpecCheckList.h"

#include "dsl/Frozen.h"
#include "dsl/text/Spelling.h"

#include <algorithm>

namespace moec {

namespace {

const Role *findRole(const std::vector<Role> &roles, std::string_view name) {
  for (const Role &role : roles)
    if (role.name == name)
      return &role;
  return nullptr;
}

std::string roleHint(const std::vector<Role> &roles, std::string_view name) {
  std::vector<std::string> names;
  std::string all;
  for (const Role &role : roles) {
    names.push_back(role.name);
    all += (all.empty() ? "" : ", ") + role.name;
  }
  auto near = closestSpelling(name, names);
  return (near ? "did you mean \"" + *near + "\"? " : "") + "roles of this layer: " + all;
}

} // namespace

void SpecCheckList::checkStorage() {
  // Which roles there are follows from the other blocks; with those in doubt every answer here would be.
  bool known = spec.experts.form == ExpertForm::Linear || !spec.experts.intermediate.empty();
  if (!known || !readable({"hidden", "router", "experts", "shared", "layer", "combine"}))
    return;
  std::vector<Role> roles = rolesOf(spec);
  checkFrozen(roles);
  if (!readable({"weights"}))
    return;
  checkWeightRoles(roles);
  checkSiblings(roles);
  checkSharedTensors();
  checkHeteroStorage(roles);
}

void SpecCheckList::checkFrozen(const std::vector<Role> &roles) {
  if (!readable({"frozen"}))
    return;
  for (size_t i = 0; i < spec.frozen.size(); ++i) {
    const std::string &text = spec.frozen[i];
    std::string path = "frozen[" + std::to_string(i) + "]";
    std::string name = text.substr(0, text.find('['));
    std::optional<FrozenEntry> entry = parseFrozen(text);
    std::vector<const Role *> named;
    for (const Role &role : roles)
      if ((entry ? *entry : *parseFrozen(name)).names(role.name))
        named.push_back(&role);
    if (named.empty()) {
      fail("E-FROZEN", path, "frozen names role " + quoteText(name) + ", which this layer does not have",
           roleHint(roles, name));
      continue;
    }
    // of several roles, those without an expert axis are left alone
    bool fits = entry && (!entry->range || std::any_of(named.begin(), named.end(), [&](const Role *role) {
                  return role->expertAxis && entry->range->second <= role->shape[0];
                }));
    if (!fits)
      fail("E-FROZEN", path, "range of " + quoteText(text) + " is not a range of experts",
           "write role[a:b] with 0 <= a < b <= experts.count, for a role with an expert axis");
  }
}

void SpecCheckList::checkWeightRoles(const std::vector<Role> &roles) {
  for (const auto &[name, storage] : spec.weights) {
    const Role *role = findRole(roles, name);
    if (role)
      checkStorageForm(*role, storage);
    else
      diagnostics.error("E-WEIGHTS", source.locateKey("weights." + name),
                        "weights names role " + quoteText(name) + ", which this layer does not have",
                        roleHint(roles, name), "weights." + name);
  }
}

void SpecCheckList::checkStorageForm(const Role &role, const WeightStorage &storage) {
  std::string path = "weights." + role.name;
  bool printable = std::all_of(storage.tensor.begin(), storage.tensor.end(), [](char c) { return c > ' ' && c < 127; });
  if (storage.tensor.empty() || !printable) {
    fail("E-WEIGHTS", path + ".tensor", "tensor name " + quoteText(storage.tensor) + " is not a name",
         "it is made of visible ASCII characters");
    return;
  }
  bool apart = spec.experts.heterogeneous();
  StackKind stack = storage.stack.value_or(!role.expertAxis ? StackKind::Single
                                           : apart          ? StackKind::PerExpert
                                                            : StackKind::Stacked);
  if (stack != StackKind::Single && !role.expertAxis)
    fail("E-WEIGHTS", path + ".stack", "role " + quoteText(role.name) + " has no expert axis to stack",
         "leave stack out, or use \"single\"");
  if (stack == StackKind::Single && role.expertAxis && role.shape[0] > 1)
    fail("E-WEIGHTS", path + ".stack", "role " + quoteText(role.name) + " has an expert axis and cannot be single",
         "use \"stacked\", \"per_expert\", \"flat_rows\" or \"interleaved_columns\"");
  bool placeholder = storage.tensor.find("{e}") != std::string::npos;
  if (placeholder && stack != StackKind::PerExpert)
    fail("E-WEIGHTS", path + ".tensor", "tensor name " + quoteText(storage.tensor) + " holds {e} but is not per_expert",
         "add \"stack\": \"per_expert\"");
  if (!placeholder && stack == StackKind::PerExpert)
    fail("E-WEIGHTS", path + ".tensor", "tensor name " + quoteText(storage.tensor) + " is per_expert but holds no {e}",
         "write {e} in place of the expert's number");
  if (storage.axes == AxesKind::InOut && !role.matrix)
    fail("E-WEIGHTS", path + ".axes", "role " + quoteText(role.name) + " is not a matrix and has no axes to swap",
         "leave axes out");
  bool flat = stack == StackKind::FlatRows;
  if ((flat || stack == StackKind::InterleavedColumns) && !role.matrix)
    fail("E-WEIGHTS", path + ".stack",
         "role " + quoteText(role.name) + " is not a matrix and has no " +
             (flat ? "rows to flatten" : "columns to interleave"),
         "use \"stacked\"");
}

// gate, up and down of one block come from one checkpoint: one of them alone is a mistake without any other sign.
void SpecCheckList::checkSiblings(const std::vector<Role> &roles) {
  for (const char *block : {"experts.", "shared."}) {
    std::string given;
    for (const char *part : {"gate", "up", "down"})
      if (given.empty() && spec.weights.count(std::string(block) + part))
        given = std::string(block) + part;
    if (given.empty())
      continue;
    for (const char *part : {"gate", "up", "down"}) {
      std::string name = std::string(block) + part;
      if (!findRole(roles, name) || spec.weights.count(name))
        continue;
      diagnostics.error("E-WEIGHTS", source.locate("weights"),
                        "role \"" + name + "\" has no storage although \"" + given + "\" has",
                        "name its tensor and part: \"second_half\" ([gate|up]) or \"odd\" ([g0,u0,...]);\n"
                        "a wrong choice gives wrong numbers without any other sign",
                        "weights." + name);
    }
  }
}

// Adapters of a fused gate and up project x once: both roles are all of one tensor.
static bool isSharedProjection(const std::string &a, const WeightStorage &one, const std::string &b,
                               const WeightStorage &other) {
  bool pair = a == "experts.gate_lora_a" && b == "experts.up_lora_a";
  return pair && one.stack == other.stack && one.axes == other.axes && one.part == other.part;
}

// Two roles may share a tensor only as different parts of it.
void SpecCheckList::checkSharedTensors() {
  for (auto a = spec.weights.begin(); a != spec.weights.end(); ++a)
    for (auto b = std::next(a); b != spec.weights.end(); ++b) {
      if (a->second.tensor != b->second.tensor || a->second.tensor.empty())
        continue;
      PartKind p = a->second.part, q = b->second.part;
      auto half = [](PartKind part) { return part == PartKind::FirstHalf || part == PartKind::SecondHalf; };
      auto turn = [](PartKind part) { return part == PartKind::Even || part == PartKind::Odd; };
      if (p != q && ((half(p) && half(q)) || (turn(p) && turn(q))))
        continue;
      if (isSharedProjection(a->first, a->second, b->first, b->second))
        continue;
      fail("E-WEIGHTS", "weights." + b->first + ".tensor",
           "roles " + quoteText(a->first) + " and " + quoteText(b->first) + " read the same part of tensor " +
               quoteText(b->second.tensor),
           "give them \"part\": \"first_half\" and \"second_half\", or \"even\" and \"odd\"");
    }
}

void SpecCheckList::checkHeteroStorage(const std::vector<Role> &roles) {
  if (!spec.experts.heterogeneous())
    return;
  for (const Role &role : roles) {
    auto found = spec.weights.find(role.name);
    if (!role.expertAxis || found == spec.weights.end() ||
        found->second.stack.value_or(StackKind::PerExpert) == StackKind::PerExpert)
      continue;
    fail("E-HETERO", "weights." + role.name + ".stack",
         "experts of different width are stored one by one, but role " + quoteText(role.name) + " is stacked",
         "use \"stack\": \"per_expert\" and a tensor name with {e}, or leave the role out: its tensors are then " +
             role.name + ".0, " + role.name + ".1 and so on");
    return;
  }
}

} // namespace moec
