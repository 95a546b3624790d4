// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Entries of `frozen` -> which parameters have no gradient: roles, or some of their experts.
//
//   router.weight           the role
//   experts.up[0:8]         experts 0 .. 7 of it
//   experts.*  experts.*[0:8]   every role that begins so and, with a range, has an expert axis

#ifndef MOEC_DSL_FROZEN_H
#define MOEC_DSL_FROZEN_H

#include "dsl/LayerSpec.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moec {

struct FrozenEntry {
  std::string_view role;                            // "experts.up", or "experts." of "experts.*"
  bool wildcard = false;                            // role is what names begin with
  std::optional<std::pair<int64_t, int64_t>> range; // of experts, [first, last)

  bool names(std::string_view other) const { return wildcard ? other.substr(0, role.size()) == role : other == role; }
};

// nullopt: the brackets hold no a:b with 0 <= a < b. The views are into `text`.
std::optional<FrozenEntry> parseFrozen(std::string_view text);

// Whether `role` has no gradient at all. `spec` must be valid.
bool isFrozen(const LayerSpec &spec, std::string_view role);
// Experts of `role` without a gradient, of `experts`: one flag each. Empty: none, or the role has no expert axis.
std::vector<bool> frozenExperts(const LayerSpec &spec, std::string_view role, int64_t experts);

} // namespace moec

#endif
