// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names of the arguments that a backward function has besides those of forward (grad/Partition.h).

#ifndef MOEC_CODEGEN_MOE_PASSARGUMENTS_H
#define MOEC_CODEGEN_MOE_PASSARGUMENTS_H

#include "llvm/ADT/StringRef.h"

namespace moec {

// The unit attribute of a backward function.
constexpr llvm::StringLiteral backwardAttr = "moe.backward";

inline bool isPassArgument(llvm::StringRef role) {
  return role == "grad.y" || role == "grad.losses" || role.starts_with("saved.");
}

} // namespace moec

#endif
