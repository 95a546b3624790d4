// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the results backwards: an op serves what its users serve.

#include "codegen/moe/ReportUse.h"

#include "runtime/moec_abi.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace moec {

std::optional<uint16_t> reportRole(llvm::StringRef name) {
  uint16_t role = llvm::StringSwitch<uint16_t>(name)
                      .Case("probabilities", MOEC_ROLE_PROBABILITIES)
                      .Case("choice_counts", MOEC_ROLE_CHOICE_COUNTS)
                      .Case("losses", MOEC_ROLE_LOSSES)
                      .Case("logit_mean", MOEC_ROLE_LOGIT_MEAN)
                      .Case("logit_max", MOEC_ROLE_LOGIT_MAX)
                      .Case("diversity", MOEC_ROLE_DIVERSITY)
                      .Case("dropped_tokens", MOEC_ROLE_DROPPED_TOKENS)
                      .Default(MOEC_ROLE_NONE);
  return role == MOEC_ROLE_NONE ? std::nullopt : std::optional<uint16_t>(role);
}

ReportUse::ReportUse(func::FuncOp layer) {
  constexpr uint32_t always = 1; // bit 0 does not belong to a role
  Block &block = layer.getBody().front();
  auto serve = [&](Value value, uint32_t uses) {
    if (Operation *def = value.getDefiningOp())
      asked[def] |= uses;
  };
  for (OpOperand &result : block.getTerminator()->getOpOperands()) {
    auto name = layer.getResultAttrOfType<StringAttr>(result.getOperandNumber(), "moe.role");
    std::optional<uint16_t> role = name ? reportRole(name.getValue()) : std::nullopt;
    serve(result.get(), role ? 1u << *role : always);
  }
  for (Operation &op : llvm::reverse(block.without_terminator())) {
    uint32_t uses = asked.lookup(&op);
    for (Value operand : op.getOperands())
      serve(operand, uses);
    if (uses & always)
      asked[&op] = 0;
  }
}

} // namespace moec
