// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A line reader for LLVM's AT&T syntax: `symbol:`, `.LBB0_1:`, `\tmnemonic\toperands`, directives and # comments.

#include "AssemblyText.h"

#include <algorithm>
#include <map>
#include <sstream>

namespace moec {

bool Instruction::touchesStack() const {
  return operands.find("(%rsp") != std::string::npos || operands.find("(%rbp") != std::string::npos;
}

int64_t countOf(const Instructions &code, const std::string &prefix) {
  return std::count_if(code.begin(), code.end(),
                       [&](const Instruction &i) { return i.mnemonic.compare(0, prefix.size(), prefix) == 0; });
}

std::vector<Instructions> AssemblyFunction::innermostLoops(const std::string &prefix) const {
  std::map<std::string, size_t> places(labels.begin(), labels.end());
  std::vector<std::pair<size_t, size_t>> loops; // first and last instruction
  for (size_t i = 0; i < code.size(); ++i) {
    auto target = places.find(code[i].operands);
    if (code[i].mnemonic[0] == 'j' && target != places.end() && target->second <= i)
      loops.push_back({target->second, i});
  }
  std::map<std::pair<size_t, size_t>, Instructions> found;
  for (size_t i = 0; i < code.size(); ++i) {
    if (code[i].mnemonic.compare(0, prefix.size(), prefix))
      continue;
    const std::pair<size_t, size_t> *smallest = nullptr;
    for (const auto &loop : loops)
      if (loop.first <= i && i <= loop.second &&
          (!smallest || loop.second - loop.first < smallest->second - smallest->first))
        smallest = &loop;
    if (smallest)
      found[*smallest] = Instructions(code.begin() + smallest->first, code.begin() + smallest->second + 1);
  }
  std::vector<Instructions> result;
  for (auto &[place, instructions] : found)
    result.push_back(instructions);
  return result;
}

std::vector<AssemblySection> readAssembly(const std::string &text) {
  std::vector<AssemblySection> sections;
  std::istringstream lines(text);
  const std::string marker = "# ---- ";
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, marker.size(), marker) == 0) {
      sections.push_back({line.substr(marker.size()), {}});
      continue;
    }
    line = line.substr(0, line.find('#'));
    size_t last = line.find_last_not_of(" \t");
    if (last == std::string::npos || sections.empty())
      continue;
    line.resize(last + 1);
    auto &functions = sections.back().functions;
    if (line[0] != '\t' && line.back() == ':') {
      line.pop_back();
      if (line.compare(0, 5, "moec_") == 0)
        functions.push_back({line, {}, {}});
      else if (!functions.empty())
        functions.back().labels.push_back({line, functions.back().code.size()});
    } else if (line[0] == '\t' && line[1] != '.' && !functions.empty()) {
      size_t tab = line.find('\t', 1);
      functions.back().code.push_back({line.substr(1, tab - 1), tab == std::string::npos ? "" : line.substr(tab + 1)});
    }
  }
  return sections;
}

} // namespace moec
