// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A row program being lowered to CUDA: CudaRows.cpp has rows, memory and the order of ops, CudaRowOps.cpp the ops.
//
// A value of a row is a scalar (shape [L]), the same in all lanes of the row's warp, or a run of elements (shape
// [L,N]): in global memory where it is an input, a gathered row or a result nothing else reads, else in the warp's part
// of shared memory, 4 bytes per element whatever its type, for as long as something reads it.
//
//     shared memory   | warp 0: runs | warp 1: runs | ...      the same offsets for every warp
//
// Maps that share a loop (moe/MapLoops.h) hand their elements on in registers, to sums over the row as well. Lanes
// exchange elements through shared memory only between ops, where there is a warp_sync.

#ifndef MOEC_CODEGEN_CUDA_CUDAROWSLOWERING_H
#define MOEC_CODEGEN_CUDA_CUDAROWSLOWERING_H

#include "codegen/cuda/CudaRows.h"

#include "codegen/cuda/CudaRun.h"
#include "codegen/cuda/CudaTopK.h"
#include "codegen/lower/RouteRow.h"
#include "codegen/moe/MapLoops.h"
#include "codegen/plan/StageArgs.h"

#include <limits>

namespace moec {

class CudaRowsLowering {
public:
  CudaRowsLowering(moe::RowProgramOp op, const RowStrides &strides)
      : e(mlir::OpBuilder(op.getContext()), op.getLoc()), runs(e), op(op),
        strides(bindArgs<int64_t>(argsOf(op), strides)) {}

  // Inside another kernel.
  CudaRowsLowering(const CudaEmitter &within, moe::RowProgramOp op, const RowStrides &strides)
      : e(within), runs(e), op(op), strides(bindArgs<int64_t>(argsOf(op), strides)) {}

  CudaKernelFacts run(mlir::ModuleOp module, llvm::StringRef symbol, int64_t sm);
  int64_t within(CudaKernelShell &shell, const RowProgramArgs<mlir::Value> &own, int64_t threads, int64_t mostBytes);

private:
  using Values = CudaEmitter::Values;

  static int64_t size(mlir::Type element) { return element.isInteger(1) ? 4 : element.getIntOrFloatBitWidth() / 8; }
  static mlir::RankedTensorType tensor(mlir::Value v) { return mlir::cast<mlir::RankedTensorType>(v.getType()); }

  void begin();
  void placeWarp(mlir::arith::ConstantOp warpBytes);
  mlir::arith::ConstantOp settledLater() { return mlir::arith::ConstantIntOp::create(e.b, e.loc, e.i64(), 0); }
  void lowerRow();
  void bindInput(mlir::BlockArgument argument);
  void lowerStep(const RowStep &step);
  void lowerOp(mlir::Operation &op);
  void lowerScalarMap(moe::MapOp op);
  void lowerMaps(const RowStep &maps);
  using Elements = llvm::DenseMap<mlir::Value, mlir::Value>; // of runs, at one column
  void loadElements(const RowStep &maps, mlir::Value n, Elements &at);
  Values mapOperands(moe::MapOp op, int64_t count, mlir::Value n, const Elements &at);
  void lowerReduce(moe::ReduceOp op);
  void reduceSegments(const RowRun &x, const RowRun &out, int64_t segments, bool sum);
  void lowerSoftmax(moe::SoftmaxOp op);
  void lowerTopK(moe::TopKOp op);
  void lowerColumns(moe::ColumnsOp op);
  void lowerPrefixSum(moe::PrefixSumOp op);
  void lowerLookup(moe::LookupOp op);
  void lowerMember(moe::MemberOp op);
  void lowerTake(moe::TakeOp op);
  void lowerPut(moe::PutOp op);
  void lowerGather(moe::GatherOp op);
  void lowerSlotRows(moe::SlotRowsOp op);
  void storeResult(mlir::Value result, mlir::Value buffer, int64_t stride);
  void copyWide(mlir::Value to, mlir::Value from, int64_t bytes);

  RowRun allocate(mlir::Type element, int64_t count) {
    int64_t offset = memory.allocate(count * 4);
    return {e.at(warpMemory, offset), element, count, 4, offset, 4};
  }
  RowRun place(mlir::Value result, const RowStep &step);
  RowRun place(mlir::Value result) { return place(result, {result.getDefiningOp()}); }
  void release(const RowStep &step);
  mlir::Value lane32() { return e.toI32(runs.lane); }
  void byFirstLane(llvm::function_ref<void()> body) { e.when(e.equal(runs.lane, e.c(0)), body); }

  mlir::Value joinMax(mlir::Value acc, mlir::Value x) { // NaN loses; it stays only while nothing else came
    mlir::Value greater = e.compare(mlir::arith::CmpFPredicate::OGT, x, acc);
    return e.select(e.either(greater, e.compare(mlir::arith::CmpFPredicate::UNO, acc, acc)), x, acc);
  }
  mlir::Value join(bool sum, mlir::Value acc, mlir::Value x) { return sum ? e.addF(acc, x) : joinMax(acc, x); }
  mlir::Value neutral(bool sum) { return e.f(sum ? 0.0 : std::numeric_limits<double>::quiet_NaN()); }
  // This lane's part of elements [begin, begin + count) joined, each passed through `map` first.
  mlir::Value foldLane(const RowRun &x, mlir::Value begin, int64_t count, bool sum,
                       llvm::function_ref<mlir::Value(mlir::Value)> map = nullptr);
  mlir::Value foldWarp(mlir::Value acc, bool sum) {
    runs.joinLanes(acc, [&](mlir::Value a, mlir::Value x) { return join(sum, a, x); });
    return acc;
  }

  CudaEmitter e;
  RunWalker runs;
  moe::RowProgramOp op;
  RowProgramArgs<int64_t> strides;
  SharedRuns memory;
  RowProgramArgs<mlir::Value> buffers;
  mlir::Value warp, warpMemory, row;
  llvm::DenseMap<mlir::Value, RowRun> values;
  llvm::DenseMap<mlir::Value, RouteRow> routes;
  llvm::DenseSet<mlir::Value> stored; // results that their op writes itself
  llvm::SmallPtrSet<mlir::Operation *, 32> done;
  mlir::Value sequenceTokens; // where readsSequence
  bool touched = false;       // shared memory since the last warp_sync
};

} // namespace moec

#endif
