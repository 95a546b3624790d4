// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of instruction sets and the names of targets.

#include "codegen/Target.h"

#include <set>

namespace moec {

const IsaFacts &isaFacts(Isa isa) {
  static const IsaFacts facts[] = {
      {Isa::Baseline, "baseline", "x86-64", "", 4, 16, false, false},
      {Isa::Avx2, "avx2", "x86-64-v3", "", 8, 16, true, false},
      {Isa::Avx512, "avx512", "x86-64-v4", "", 16, 32, true, false},
      {Isa::Avx512Bf16, "avx512_bf16", "x86-64-v4", "+avx512bf16", 16, 32, true, true},
      {Isa::Amx, "amx", "x86-64-v4", "+amx-tile,+amx-bf16,+avx512bf16", 16, 32, true, true},
  };
  return facts[unsigned(isa)];
}

// sm_80 counts what the smallest of its later devices have, compute capability 8.6, 8.9 and 12.0: 99 KiB a block.
const CudaArchFacts &cudaArchFacts(CudaArch arch) {
  static const CudaArchFacts facts[] = {
      {CudaArch::Sm80, "sm_80", 80, false, 99 << 10, 164 << 10},
      {CudaArch::Sm90a, "sm_90a", 90, true, 227 << 10, 228 << 10},
  };
  return facts[unsigned(arch)];
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

bool parseTarget(llvm::StringRef text, std::vector<CudaArch> &out) {
  bool known = text == "cuda";
  std::set<CudaArch> archs(out.begin(), out.end());
  for (unsigned i = 0; i < numCudaArchs; ++i)
    if (text == "cuda" || text == "cuda:" + cudaArchFacts(CudaArch(i)).name.str()) {
      known = true;
      archs.insert(CudaArch(i));
    }
  out.assign(archs.rbegin(), archs.rend());
  return known;
}

std::vector<std::string> targetNames() {
  std::vector<std::string> names = {"cpu"};
  for (unsigned i = MOEC_NUM_ISAS; i-- > 0;)
    names.push_back("cpu:" + isaFacts(Isa(i)).name.str());
  names.push_back("cuda");
  for (unsigned i = numCudaArchs; i-- > 0;)
    names.push_back("cuda:" + cudaArchFacts(CudaArch(i)).name.str());
  return names;
}

} // namespace moec
