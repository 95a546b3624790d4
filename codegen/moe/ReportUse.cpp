// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the results backwards: an op serves what its users serve.

#include "codegen/moe/ReportUse.h"

#include "runtime/moec_outputs.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace moec {

std::optional<uint16_t> reportRole(llvm::StringRef name) {
  for (const moec_output &output : moec_outputs)
    if (moec_is_report(&output) && name == output.name)
      return output.role;
  return std::nullopt;
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
