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
#include "codegen/plan/StageArgs.h"
#include "codegen/schedule/Schedule.h"
#include "codegen/tile/MatmulStage.h"

#include "dsl/text/Diagnostic.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace moec {

// One use per target and context. Steps become launches in plan order:
//
//     rows, combine   one kernel
//     dispatch        the kernels of lowerCudaDispatch, with one list per block size that its matmuls use
//     capacity, top_tokens, columns, slots, slot inputs
//                     one kernel
//     row program and dispatch of a front (RouteFront.h)
//                     up to the schedule's tokens one kernel (CudaFront.h) in the row program's place, which also adds
//                     the sums of a split router; for more tokens separate kernels
//     counts          one kernel, if the call asks for counts
//     groups, copy    one kernel
//     gradient        one kernel for each of the caller's buffers that it fills
//     matmul          one kernel per schedule entry, for its range of T. splits > 1: two launches, the second adds
//                     partial sums. contiguous and gathered: two launches, the first permutes rows
//     matmul without a route, marked joined
//                     up to joinedTokens none: it runs in the launches of the next matmul
//     matmul and combine, marked unordered
//                     three launches: clear the sums of tokens, matmul that adds to them, epilogue of the combine
//
// A kernel and its launch have the same struct of arguments (CudaArgs.h).

// Sums of a split router that a front adds, in calls of firstToken to lastToken tokens; `args` are those of the kernel
// that made the shares.
struct FrontSums {
  size_t router;
  int64_t firstToken, lastToken;
  mlir::OwningOpRef<mlir::ModuleOp> tile;
  CudaMatmulArgs<moec_cuda_param> args;
};

class CudaStages {
public:
  CudaStages(const LaunchPlan &plan, const Schedule &schedule, CudaArch arch, mlir::ModuleOp module,
             llvm::StringRef templatesDir);

  // Adds step `step`, whose op is `op` (null: a step of the runtime). False: error() says why.
  bool add(size_t step, mlir::Operation *op);
  // Prints the matmul kernels instead of lowering them, for --stop-after instantiate.
  void printTiles(llvm::raw_ostream *os) { tiles = os; }

  CudaTargetPlan takePlan() { return std::move(target); }
  // E-TEMPLATE in a template, E-UNSUPPORTED if the layer exceeds a limit of the target, else E-INTERNAL.
  const Diagnostic &error() const { return failure; }

private:
  bool addStep(size_t step, mlir::Operation *op);
  bool addRowProgram(size_t step, moe::RowProgramOp program);
  bool addCombine(size_t step, moe::CombineOp combine);
  bool addDispatch(size_t step);
  CudaDispatchShape dispatchShape(size_t step) const;
  bool makeDispatchTables(size_t step, const CudaDispatchShape &shape); // once
  CudaDispatchArgs<moec_cuda_param> dispatchParams(size_t step) const;
  bool addTokens(size_t step, mlir::Operation *op);
  bool addSlots(size_t step, mlir::Operation *op);
  bool addCounts(size_t step);
  bool addGroups(size_t step, mlir::Operation *op); // a kernel of backward passes only
  bool addGradients(size_t step);
  bool addCopy(size_t step);
  bool addMatmul(size_t step, moe::GroupedMatmulOp op);
  // A matmul kernel to generate for an entry and a part of its range of T; `second` is the op of the step before, if
  // that is joined to it, else null.
  struct MatmulJob {
    size_t step;
    moe::GroupedMatmulOp op;
    const CudaEntry &entry;
    int64_t firstToken, lastToken;
    moe::GroupedMatmulOp second = nullptr;
  };
  bool addMatmulEntry(size_t step, moe::GroupedMatmulOp op, const CudaEntry &entry, int64_t firstToken,
                      moe::GroupedMatmulOp second);
  bool addMatmulKernel(const MatmulJob &job);
  CudaMatmulArgs<moec_cuda_param> matmulParams(const MatmulJob &job, const MatmulStage &stage,
                                               const CudaMatmulFacts &facts);
  // Whether strides let `dense`, which is marked joined, run in the launches of the next step.
  bool joins(size_t dense, moe::GroupedMatmulOp op);

  // The front to which the step belongs as router, row program or dispatch; null: none in this schedule.
  const RouteFront *frontAt(std::optional<size_t> step) const;
  size_t frontParams(const RouteFront &front) const; // of its kernel, at most
  int64_t firstBehindFront(size_t step) const;       // the fewest tokens for which the step has its own kernels
  bool addFronts(const RouteFront &front, moe::RowProgramOp rows);
  bool addFront(const RouteFront &front, moe::RowProgramOp rows, int64_t firstToken, int64_t lastToken,
                FrontSums *sums);

  void setBlocksPerSm(llvm::StringRef symbol, int64_t threads, int64_t blocks);
  void addSums(size_t step, tile::KernelOp kernel, const CudaPlannedLaunch &first);
  // The step of the combine, marked unordered, whose sums the matmul adds to.
  size_t combineOf(size_t step, moe::GroupedMatmulOp op) const;
  uint16_t sumsOf(size_t combine, int64_t columns); // table of its tokens' sums, made by the first call
  void addClear(size_t step, size_t combine, int64_t columns);
  MatmulStage describe(size_t step, moe::GroupedMatmulOp op, const CudaEntry &entry) const;

  CudaPlannedLaunch &addLaunch(size_t step, const std::string &symbol, const CudaKernelFacts &facts);
  std::vector<int64_t> stridesOf(size_t step) const; // of its arguments, in bytes
  moec_cuda_param paramOf(uint16_t buffer) const;    // a buffer of the plan or a part of a route
  // The arguments of step `step`, which is that of `op`.
  template <typename Op> auto paramsOf(Op op, size_t step) const {
    return mapArgs<moec_cuda_param>(buffersOf(op, plan, plan.steps[step]),
                                    [&](uint16_t buffer) { return paramOf(buffer); });
  }
  static moec_cuda_param partOf(size_t route, uint16_t part) { return {MOEC_CUDA_ROUTE, uint16_t(route), part, 0}; }
  static moec_cuda_param table(uint16_t index) { return {MOEC_CUDA_TABLE, index, 0, 0}; }
  static RouteTableArgs<moec_cuda_param> routeTables(size_t route);
  // Passes a kernel its arguments behind T.
  template <template <typename> class Args>
  static void pass(CudaPlannedLaunch &launch, const Args<moec_cuda_param> &args) {
    llvm::append_range(launch.params, listArgs(args));
  }
  moec_cuda_param mapOf(uint16_t weights, const CudaMatmulFacts &facts); // a buffer of matrices
  moec_cuda_param mapOf(const moec_cuda_map &map);                       // in the target's list, once
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

  std::vector<moec_weight> weights; // as the target packs them
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
  Diagnostic failure;                                     // why add() was false
};

} // namespace moec

#endif
