// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fused stages, plan and schedule in -> the kernels of one CUDA target in one module, and its launches.

#ifndef MOEC_CODEGEN_CUDA_CUDASTAGES_H
#define MOEC_CODEGEN_CUDA_CUDASTAGES_H

#include "codegen/cuda/CudaDispatch.h"
#include "codegen/cuda/CudaMatmul.h"
#include "codegen/cuda/CudaPlan.h"
#include "codegen/moe/MoeDialect.h"
#include "codegen/plan/RouteFront.h"
#include "codegen/schedule/Schedule.h"
#include "codegen/tile/MatmulStage.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace moec {

// One use per target and context. Steps become launches in plan order:
//
//     rows, combine   one kernel; parameters T, the step's arguments, offsets of the route it runs over
//     dispatch        the kernels of lowerCudaDispatch, with a list per block size its matmuls use
//     capacity, top_tokens, columns, slots, and rows that are slot inputs: one kernel; parameters T, the step's
//     arguments
//                     (of slots: its route's tables and lists), the tokens of one sequence
//     row program and dispatch of a front (RouteFront.h), up to the schedule's tokens: one kernel, CudaFront.h, in the
//     row program's
//                     place; with the sums of its router, where that is split. Beyond, kernels of their own
//     counts          one kernel, only when asked
//     matmul          one kernel per schedule entry, for its range of T; the list of its block size after row_token.
//                     With splits two, the second adds partial sums; contiguous and gathered two, the first copies rows
//     matmul without a route, marked joined, up to joinedTokens: none; it runs in the launches of the matmul behind it
//     matmul and combine, marked unordered: zeros for the sums of tokens, the matmul, which adds to them, the combine's
//     epilogue
// Sums of a split router that a front adds: of its calls, with the parameters of the kernel that made the shares.
struct FrontSums {
  size_t router;
  int64_t firstToken, lastToken;
  mlir::OwningOpRef<mlir::ModuleOp> tile;
  std::vector<moec_cuda_param> params;
};

class CudaStages {
public:
  CudaStages(const LaunchPlan &plan, const Schedule &schedule, CudaArch arch, mlir::ModuleOp module,
             llvm::StringRef templatesDir);

  // Adds step `step`, whose op is `op` (null: a step of the runtime). False: error() says why.
  bool add(size_t step, mlir::Operation *op);
  // The text of the matmul kernels before lowering instead, nothing is lowered: for --stage printing.
  void printTiles(llvm::raw_ostream *os) { tiles = os; }

  CudaTargetPlan takePlan() { return std::move(target); }
  const std::string &error() const { return message; }
  bool isTemplateError() const { return templateError; } // the error is a template's
  bool isUnsupported() const { return unsupported; }     // the layer is too large for the target in some way

private:
  bool addStep(size_t step, mlir::Operation *op);
  bool addRows(size_t step, mlir::Operation *op);
  bool addDispatch(size_t step);
  CudaDispatchShape dispatchShape(size_t step) const;
  bool makeDispatchTables(size_t step, const CudaDispatchShape &shape); // once
  void addDispatchParams(size_t step, std::vector<moec_cuda_param> &params) const;
  bool addTokens(size_t step, mlir::Operation *op);
  bool addSlots(size_t step, mlir::Operation *op);
  bool addCounts(size_t step);
  bool addMatmul(size_t step, moe::GroupedMatmulOp op);
  // A matmul kernel to be made: of an entry, for a part of its range; `second` is the step that runs beside, if one
  // does.
  struct MatmulJob {
    size_t step;
    moe::GroupedMatmulOp op;
    const CudaEntry &entry;
    int64_t firstToken, lastToken;
    std::optional<size_t> second = std::nullopt;
  };
  bool addMatmulEntry(size_t step, moe::GroupedMatmulOp op, const CudaEntry &entry, int64_t firstToken,
                      std::optional<size_t> second);
  bool addMatmulKernel(const MatmulJob &job);
  void addMatmulParams(const MatmulJob &job, const MatmulStage &stage, const CudaMatmulFacts &facts,
                       CudaPlannedLaunch &launch);
  // Whether strides let `dense`, marked so, run in the launches of the step behind it.
  bool joins(size_t dense, moe::GroupedMatmulOp op);

  // The front that the step is the router, the row program or the dispatch of; null: none of this schedule.
  const RouteFront *frontAt(std::optional<size_t> step) const;
  size_t frontParams(const RouteFront &front) const;
  int64_t firstBehindFront(size_t step) const; // tokens from which the step has kernels of its own
  bool addFronts(const RouteFront &front, moe::RowProgramOp rows);
  bool addFront(const RouteFront &front, moe::RowProgramOp rows, int64_t firstToken, int64_t lastToken,
                FrontSums *sums);

  void setBlocksPerSm(llvm::StringRef symbol, int64_t threads, int64_t blocks);
  void addSums(size_t step, tile::KernelOp kernel, const CudaPlannedLaunch &first);
  // The combine that the rows of matmul step `step` are added up for, which is marked so.
  size_t combineOf(size_t step) const;
  uint16_t sumsOf(size_t combine, int64_t columns); // table of its tokens' sums, made by the first call
  void addClear(size_t step, size_t combine, int64_t columns);
  MatmulStage describe(size_t step, moe::GroupedMatmulOp op, const CudaEntry &entry) const;

  CudaPlannedLaunch &addLaunch(size_t step, const std::string &symbol, const CudaKernelFacts &facts);
  // Pointers to the step's arguments; routes are told from buffers.
  void addArguments(size_t step, std::vector<moec_cuda_param> &params) const;
  std::vector<int64_t> stridesOf(size_t step) const; // of its arguments, in bytes
  moec_cuda_param argument(size_t step, unsigned number) const;
  moec_cuda_param mapOf(size_t step, const CudaMatmulFacts &facts);
  moec_cuda_param mapOf(const moec_cuda_map &map); // in the target's list, once
  // A of a contiguous kernel: the buffer, or a table of rows in the route's order, which addPermute fills.
  moec_cuda_param rowMapOf(const MatmulJob &job, const MatmulStage &stage, const CudaMatmulFacts &facts);
  bool addPermute(const MatmulJob &job, const MatmulStage &stage);
  uint16_t listOf(uint16_t route, int64_t blockRows) const;
  std::string symbolOf(size_t step, const std::string &variant) const;
  bool checkShared(const std::string &symbol, const CudaKernelFacts &facts);
  bool fail(std::string text, bool isUnsupported = false);
  bool printTile(size_t step, moe::GroupedMatmulOp op, const CudaEntry &entry);

  const LaunchPlan &plan;
  const Schedule &schedule;
  const CudaArchFacts &arch;
  mlir::ModuleOp module;
  std::string templatesDir;
  llvm::raw_ostream *tiles = nullptr;

  CudaTargetPlan target;
  // of a route's matmuls: sizes, their T
  std::map<uint16_t, std::map<int64_t, std::vector<std::pair<int64_t, int64_t>>>> blockRows;
  std::map<uint16_t, uint16_t> dispatchScratch; // table of a dispatch
  std::vector<RouteFront> fronts;
  int64_t frontTokens = 0; // 0: no front
  std::vector<FrontSums> frontSums;
  std::map<std::pair<uint16_t, int64_t>, uint16_t> lists; // table of a route's list of a block size
  std::map<size_t, uint16_t> sums;                        // table of a combine's sums of tokens
  std::map<size_t, uint16_t> permuted;                    // table of a matmul's rows in the order of the route
  std::string message;
  bool templateError = false, unsupported = false;
};

} // namespace moec

#endif
