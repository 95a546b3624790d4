// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values of every token -> sums and means over the tokens of a call, for reports and losses.
//
// Tokens that a wrap leads around the experts do not count: means and sums are over the tokens that reach the router.

#ifndef MOEC_CODEGEN_BUILD_CALLTOTALS_H
#define MOEC_CODEGEN_BUILD_CALLTOTALS_H

#include "codegen/build/RowOps.h"

namespace moec {

class CallTotals : public RowOps {
public:
  // `present` [T,1] i32: 1 where a token reaches the router; null: every token does.
  CallTotals(const RowOps &ops, mlir::Value present) : RowOps(ops), present(present) {}

  mlir::Value ifPresent(mlir::Value values);   // [T,N]; 0 in rows of tokens that do not reach the router
  mlir::Value presentTokens(moe::Scope scope); // [T,1] f32, how many reach the router, at least 1
  mlir::Value sumOver(mlir::Value values, moe::Scope scope = moe::Scope::batch); // [T,N]: each column's sum
  mlir::Value meanOver(mlir::Value values);                                      // [T,N]: each column's mean
  mlir::Value meanOfTokens(mlir::Value row); // [T], rescaled so that total(mean) averages over present tokens only
  mlir::Value total(mlir::Value values, moe::TotalKind kind); // [T,N] -> [N]

private:
  mlir::Value present;
};

} // namespace moec

#endif
