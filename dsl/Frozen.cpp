// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "dsl/Frozen.h"

#include <algorithm>
#include <charconv>

namespace moec {

std::optional<FrozenEntry> parseFrozen(std::string_view text) {
  FrozenEntry entry;
  size_t bracket = text.find('[');
  entry.role = text.substr(0, bracket);
  if (entry.role.size() >= 2 && entry.role.substr(entry.role.size() - 2) == ".*") {
    entry.wildcard = true;
    entry.role.remove_suffix(1);
  }
  if (bracket == std::string_view::npos)
    return entry;
  int64_t first = -1, last = -1;
  const char *end = text.data() + text.size();
  auto one = std::from_chars(text.data() + bracket + 1, end, first);
  if (one.ec != std::errc() || one.ptr == end || *one.ptr != ':')
    return std::nullopt;
  auto two = std::from_chars(one.ptr + 1, end, last);
  if (two.ec != std::errc() || two.ptr + 1 != end || *two.ptr != ']' || first < 0 || first >= last)
    return std::nullopt;
  entry.range = {first, last};
  return entry;
}

bool isFrozen(const LayerSpec &spec, std::string_view role) {
  return std::any_of(spec.frozen.begin(), spec.frozen.end(), [&](const std::string &text) {
    std::optional<FrozenEntry> entry = parseFrozen(text);
    return entry && !entry->range && entry->names(role);
  });
}

static bool hasExpertAxis(const LayerSpec &spec, std::string_view name) {
  std::vector<Role> roles = rolesOf(spec);
  return std::any_of(roles.begin(), roles.end(),
                     [&](const Role &role) { return role.expertAxis && role.name == name; });
}

std::vector<bool> frozenExperts(const LayerSpec &spec, std::string_view role, int64_t experts) {
  std::vector<bool> flags;
  if (spec.frozen.empty() || !hasExpertAxis(spec, role))
    return flags;
  for (const std::string &text : spec.frozen) {
    std::optional<FrozenEntry> entry = parseFrozen(text);
    if (!entry || !entry->range || !entry->names(role))
      continue;
    flags.resize(size_t(experts));
    for (int64_t e = entry->range->first; e < std::min(entry->range->second, experts); ++e)
      flags[size_t(e)] = true;
  }
  return flags;
}

} // namespace moec
