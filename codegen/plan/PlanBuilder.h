// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of one planStages() call. Private to codegen/plan/Plan*.cpp.

#ifndef MOEC_CODEGEN_PLAN_PLANBUILDER_H
#define MOEC_CODEGEN_PLAN_PLANBUILDER_H

#include "codegen/moe/LayerInputs.h"
#include "codegen/moe/MoeDialect.h"
#include "codegen/moe/ReportUse.h"
#include "codegen/plan/PlanStages.h"
#include "codegen/plan/StageArgs.h"

#include <map>
#include <optional>

namespace moec {

class PlanBuilder {
public:
  PlanBuilder(mlir::func::FuncOp layer, LaunchPlan &plan) : layer(layer), plan(plan), reports(layer) {}
  mlir::LogicalResult run(const PlanOptions &options);

private:
  mlir::func::FuncOp layer;
  LaunchPlan &plan;
  ReportUse reports;
  llvm::DenseMap<mlir::Value, uint16_t> buffers;
  llvm::DenseMap<mlir::Value, uint16_t> routeSteps;             // step of a !moe.route value
  std::map<std::pair<void *, uint16_t>, uint16_t> routeBuffers; // by route and part
  std::map<uint16_t, uint16_t> weightBuffers;                   // by region
  mlir::LogicalResult weightStatus = mlir::success();           // of the last vectorBuffer

  // PlanStages.cpp
  uint16_t addBuffer(moec_buffer buffer, llvm::StringRef name);
  uint16_t bufferOf(mlir::Value value);
  uint16_t routeBuffer(mlir::Value route, uint16_t part);
  uint16_t operandBuffer(mlir::Value value);
  uint16_t argument(const StageArg &arg); // except Matrices
  template <typename Op> std::vector<uint16_t> argsFor(Op op) {
    return listArgs(mapArgs<uint16_t>(argsOf(op), [&](const StageArg &arg) { return argument(arg); }));
  }
  moec_step &addStep(uint16_t kind, llvm::StringRef name, llvm::ArrayRef<uint16_t> args, mlir::Operation *stage);
  mlir::LogicalResult addMatmul(moe::GroupedMatmulOp op);
  mlir::LogicalResult addRowProgram(moe::RowProgramOp op);
  mlir::LogicalResult addCombine(moe::CombineOp op);
  mlir::LogicalResult addDispatch(moe::DispatchOp op);
  mlir::LogicalResult addCapacity(moe::CapacityOp op);
  mlir::LogicalResult addTopTokens(moe::TopTokensOp op);
  mlir::LogicalResult addTokenReduce(moe::TokenReduceOp op);
  mlir::LogicalResult addTokenTotal(moe::TokenTotalOp op);
  mlir::LogicalResult addSlots(moe::SlotsOp op);
  mlir::LogicalResult addSlotInputs(moe::SlotInputsOp op);
  bool addCopies(); // results that are another result too, and what is a result without a stage of its own
  mlir::LogicalResult checkResults();
  mlir::LogicalResult fillHeader(const PlanOptions &options);
  mlir::LogicalResult checkLimits();

  // PlanGradients.cpp
  bool backward() const { return plan.header.pass == MOEC_PASS_BACKWARD; }
  uint16_t passArgument(mlir::BlockArgument argument, llvm::StringRef role); // grad.y, grad.losses, saved.N
  mlir::LogicalResult addOuter(moe::GroupedOuterOp op);
  mlir::LogicalResult addGroupSum(moe::GroupSumOp op);
  mlir::LogicalResult addSlotValues(moe::SlotValuesOp op);
  mlir::LogicalResult addSlotProducts(moe::SlotProductsOp op);
  mlir::LogicalResult addParameterSum(moe::ParameterSumOp op);
  mlir::LogicalResult addScaledRows(moe::ScaledRowsOp op);
  // The caller's gradient that `value` is, if it goes to it at once: an outer product of one matrix parameter.
  std::optional<uint16_t> directGradient(mlir::Value value);
  mlir::LogicalResult addGradients(); // copies of the others to the caller

  // PlanWeights.cpp
  std::optional<uint16_t> panelBuffer(moe::GroupedMatmulOp op); // all parts in one region
  std::optional<uint16_t> matrixBuffer(mlir::Value parameter);  // alone
  uint16_t vectorBuffer(mlir::Value parameter);
  uint16_t squaresBuffer(moe::SquareSumsOp op);
  void shareMatrices(moec_weight &weight);
  uint16_t weightBuffer(moec_weight weight, const std::string &name);
  std::optional<uint16_t> roleOf(mlir::Value parameter, bool matrix);
  bool hasMembers(mlir::Value parameter); // one role per group, one behind the other
  mlir::LogicalResult addMembers(unsigned index, moec_role role);
  mlir::LogicalResult readStorage(llvm::StringRef name, mlir::DictionaryAttr storage, moec_role &role);
  mlir::LogicalResult finishWeights();
};

// PlanSlots.cpp: gives every workspace and optional buffer a slot. Buffers share a slot only if their lifetimes, from
// the first to the last step that uses them, are disjoint.
void assignSlots(LaunchPlan &plan);

moec_extent rowBound(moe::RouteType type); // the most rows that a route of this type can have
int64_t elementBytesOf(mlir::Type type);   // i1 is stored as i32, as kernels of rows do
uint16_t typeCodeOf(mlir::Type type);      // moec_dtype

} // namespace moec

#endif
