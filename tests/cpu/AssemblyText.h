// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What --stop-after=emit prints -> functions, their instructions and their innermost loops.

#ifndef MOEC_TESTS_CPU_ASSEMBLYTEXT_H
#define MOEC_TESTS_CPU_ASSEMBLYTEXT_H

#include <string>
#include <vector>

namespace moec {

struct Instruction {
  std::string mnemonic; // "tdpbf16ps"
  std::string operands; // "%tmm3, %tmm2, %tmm1"

  // Some operand is memory addressed by the stack or frame pointer.
  bool touchesStack() const;
};

using Instructions = std::vector<Instruction>;
int64_t countOf(const Instructions &code, const std::string &mnemonicPrefix);

struct AssemblyFunction {
  std::string symbol;
  Instructions code;
  // The code of the smallest loops (label .. backward jump) that hold an instruction with this mnemonic prefix.
  std::vector<Instructions> innermostLoops(const std::string &mnemonicPrefix) const;

  std::vector<std::pair<std::string, size_t>> labels; // label, index of the instruction behind it
};

struct AssemblySection {
  std::string isa; // "avx512"
  std::vector<AssemblyFunction> functions;
};

std::vector<AssemblySection> readAssembly(const std::string &text);

} // namespace moec

#endif
