// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Template text and typed values in -> package text out.

#include "PackageTemplate.h"

#include "codegen/TemplateFiles.h"

#include "dsl/spec/SpecReader.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace moec {

bool PackageValues::identifier(StringRef key, StringRef text) {
  if (!isLayerName({text.data(), text.size()}))
    return false;
  values[key.str()] = text.str();
  return true;
}

bool PackageValues::upperIdentifier(StringRef key, StringRef text) {
  if (!isLayerName({text.data(), text.size()}))
    return false;
  values[key.str()] = text.upper();
  return true;
}

void PackageValues::integer(StringRef key, int64_t value) { values[key.str()] = std::to_string(value); }

void PackageValues::word(StringRef key, StringRef text) { values[key.str()] = text.str(); }

bool PackageValues::roleLine(StringRef key, StringRef role, const std::vector<int64_t> &dims) {
  if (role.empty() ||
      !all_of(role, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; }))
    return false;
  std::string line = " *   " + role.str();
  line.resize(std::max<size_t>(line.size() + 1, 28), ' ');
  line += '[';
  for (auto [i, dim] : enumerate(dims))
    line += (i ? "," : "") + std::to_string(dim);
  values[key.str()] += line + "]\n";
  return true;
}

const std::string *PackageValues::find(StringRef key) const {
  auto it = values.find(key.str());
  return it == values.end() ? nullptr : &it->second;
}

Result<std::string> fillPackageTemplate(StringRef name, const PackageValues &values) {
  Result<std::optional<TemplateText>> read = readTemplate("", ("package/" + name).str());
  if (!read || !*read)
    return Diagnostic::error("E-INTERNAL", "no package template named " + name.str());
  std::string out;
  StringRef rest = (*read)->text;
  if (rest.split('\n').first.contains("SPDX-License-Identifier"))
    rest = rest.split('\n').second; // the licence of the template is not that of the file made from it
  while (true) {
    auto [plain, tail] = rest.split('@');
    out += plain;
    if (tail.empty())
      return out;
    auto [key, after] = tail.split('@');
    const std::string *value = values.find(key);
    if (!value)
      return Diagnostic::error("E-INTERNAL", "package template " + name.str() + " asks for \"" + key.str() +
                                                 "\", which has no value");
    out += *value;
    rest = after;
  }
}

} // namespace moec
