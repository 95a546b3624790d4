// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of MLIR -> whether its parser may be given it. The parser calls itself for every bracket, operator and alias,
// and so do printers and verifiers afterwards: text of a few kilobytes could otherwise use up the stack.

#ifndef MOEC_CODEGEN_TEXTNESTING_H
#define MOEC_CODEGEN_TEXTNESTING_H

#include "dsl/text/Result.h"

#include "llvm/ADT/StringRef.h"

#include <string>

namespace moec {

constexpr int64_t maxTextNesting = 256;             // brackets inside each other, those of aliases included
constexpr int64_t maxTextOperators = 256;           // of one expression of an affine map
constexpr int64_t maxAliasBytes = int64_t(1) << 16; // of an alias with those that it names written out

// The error has `code` and the place in `file` where a limit is passed. What is not valid MLIR in another way is left
// to the parser.
Result<> checkNesting(llvm::StringRef text, const std::string &file, const std::string &code);

} // namespace moec

#endif
