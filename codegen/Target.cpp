// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of instruction sets and the names of targets.

#include "codegen/Target.h"

namespace moec {

const IsaFacts &isaFacts(Isa isa) {
  static const IsaFacts facts[] = {
      {Isa::Baseline, "baseline", "x86-64", "", 4, 16, false, false},
      {Isa::Avx2, "avx2", "x86-64-v3", "", 8, 16, true, false},
      {Isa::Avx512, "avx512", "x86-64-v4", "", 16, 32, true, false},
      {Isa::Amx, "amx", "x86-64-v4", "+amx-tile,+amx-bf16,+avx512bf16", 16, 32, true, true},
  };
  return facts[unsigned(isa)];
}

bool parseTarget(llvm::StringRef text, IsaSet &out) {
  if (text == "cpu") {
    out.mask |= IsaSet::all().mask;
    return true;
  }
  if (!text.consume_front("cpu:"))
    return false;
  for (unsigned i = 0; i < MOEC_NUM_ISAS; ++i)
    if (isaFacts(Isa(i)).name == text) {
      out.mask |= 1u << i;
      return true;
    }
  return false;
}

std::vector<std::string> targetNames() {
  std::vector<std::string> names = {"cpu"};
  for (unsigned i = MOEC_NUM_ISAS; i-- > 0;)
    names.push_back("cpu:" + isaFacts(Isa(i)).name.str());
  return names;
}

} // namespace moec
