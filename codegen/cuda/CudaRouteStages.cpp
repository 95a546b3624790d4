// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Launches of routes: dispatches and their lists, fronts, slots, counts, and what looks at whole scopes of tokens.

#include "codegen/cuda/CudaStages.h"

#include "codegen/cuda/CudaDispatch.h"
#include "codegen/cuda/CudaFront.h"
#include "codegen/cuda/CudaPlaces.h"
#include "codegen/cuda/CudaTokens.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>

using namespace mlir;

namespace moec {

// At most: those of the three kernels that a front stands for.
size_t CudaStages::frontParams(const RouteFront &front) const {
  CudaFrontArgs<unsigned> args;
  if (front.router) {
    args.split.emplace();
    args.split->stage = numberArgs(argsOf(cast<moe::GroupedMatmulOp>(plan.stageOf[*front.router])));
    args.split->partials.emplace();
  }
  args.program = numberArgs(argsOf(cast<moe::RowProgramOp>(plan.stageOf[front.rows])));
  args.dispatch = cudaDispatchArgs(dispatchShape(front.dispatch));
  return 1 + countArgs(args); // and T
}

CudaDispatchShape CudaStages::dispatchShape(size_t step) const {
  CudaDispatchShape shape;
  shape.groups = plan.steps[step].num_groups;
  shape.choices = plan.steps[step].choices;
  shape.sm = arch.sm;
  if (auto sizes = blockRows.find(uint16_t(step)); sizes != blockRows.end())
    for (const auto &[rows, tokens] : sizes->second)
      shape.lists.push_back({rows, tokens});
  return shape;
}

bool CudaStages::makeDispatchTables(size_t step, const CudaDispatchShape &shape) {
  if (dispatchScratch.count(uint16_t(step)))
    return true;
  if (shape.groups > cudaDispatchMaxGroups)
    return fail("CUDA kernels sort tokens into at most " + std::to_string(cudaDispatchMaxGroups) + " groups, found " +
                    std::to_string(shape.groups),
                true);
  if (plan.header.max_tokens > INT32_MAX / shape.choices)
    return fail("CUDA kernels count rows in 31 bits: " + std::to_string(plan.header.max_tokens) + " tokens of " +
                    std::to_string(shape.choices) + " choices are too many",
                true);
  std::string name = plan.string(plan.steps[step].name).str();
  dispatchScratch[uint16_t(step)] = target.addTable(cudaDispatchTableBytes(shape), name + " scratch");
  for (const CudaDispatchList &list : shape.lists)
    lists[{uint16_t(step), list.blockSize}] =
        target.addTable(cudaListBytes(shape.groups, shape.choices, list.blockSize),
                        name + " blocks of " + std::to_string(list.blockSize));
  return true;
}

CudaDispatchArgs<moec_cuda_param> CudaStages::dispatchParams(size_t step) const {
  CudaDispatchArgs<moec_cuda_param> args;
  args.ids = paramOf(bindArgs(DispatchArgs<uint16_t>(), plan.argsOf(plan.steps[step])).ids);
  args.route = routeTables(step);
  args.scratch = table(dispatchScratch.at(uint16_t(step)));
  for (const CudaDispatchList &list : dispatchShape(step).lists)
    args.lists.push_back(table(listOf(uint16_t(step), list.blockSize)));
  return args;
}

bool CudaStages::addDispatch(size_t step) {
  CudaDispatchShape shape = dispatchShape(step);
  if (!makeDispatchTables(step, shape))
    return false;
  std::vector<CudaDispatchKernel> kernels =
      lowerCudaDispatch(shape, UnknownLoc::get(module.getContext()), module, symbolOf(step, ""));
  for (const CudaDispatchKernel &kernel : kernels) {
    if (!checkShared(kernel.symbol, kernel.facts))
      return false;
    int64_t firstToken = std::max(kernel.minTokens, firstBehindFront(step));
    if (firstToken > kernel.maxTokens)
      continue;
    CudaPlannedLaunch &launch = addLaunch(step, kernel.symbol, kernel.facts);
    launch.launch.min_tokens = firstToken;
    launch.launch.max_tokens = kernel.maxTokens;
    pass(launch, dispatchParams(step));
  }
  return true;
}

const RouteFront *CudaStages::frontAt(std::optional<size_t> step) const {
  auto isOf = [&](const RouteFront &front) {
    return front.router == step || front.rows == step || front.dispatch == step;
  };
  auto found = llvm::find_if(fronts, isOf);
  return found == fronts.end() ? nullptr : &*found;
}

// A front runs for calls of no token too, whose groups begin and end at row 0.
int64_t CudaStages::firstBehindFront(size_t step) const { return frontAt(step) ? frontTokens + 1 : 0; }

// The router's calls with a split depth, and what is left between them.
bool CudaStages::addFronts(const RouteFront &front, moe::RowProgramOp rows) {
  int64_t next = 0;
  for (FrontSums &sums : frontSums) {
    if (sums.router != front.router)
      continue;
    int64_t first = sums.firstToken == 1 ? 0 : sums.firstToken; // without a token there is nothing to add
    if (next < first && !addFront(front, rows, next, first - 1, nullptr))
      return false;
    if (!addFront(front, rows, first, sums.lastToken, &sums))
      return false;
    next = sums.lastToken + 1;
  }
  return next > frontTokens || addFront(front, rows, next, frontTokens, nullptr);
}

bool CudaStages::addFront(const RouteFront &front, moe::RowProgramOp rows, int64_t firstToken, int64_t lastToken,
                          FrontSums *sums) {
  CudaFrontShape shape;
  if (sums)
    shape.split = *sums->tile->getOps<tile::KernelOp>().begin();
  shape.rows = rows;
  shape.strides = stridesOf(front.rows);
  shape.dispatch = dispatchShape(front.dispatch);
  shape.firstToken = firstToken;
  shape.lastToken = lastToken;
  if (!makeDispatchTables(front.dispatch, shape.dispatch))
    return false;
  std::string symbol = symbolOf(front.rows, "front_t" + std::to_string(firstToken));
  CudaKernelFacts facts = lowerCudaFront(shape, module, symbol);
  if (!checkShared(symbol, facts))
    return false;
  CudaPlannedLaunch &launch = addLaunch(front.rows, symbol, facts);
  launch.launch.min_tokens = firstToken;
  launch.launch.max_tokens = lastToken;
  CudaFrontArgs<moec_cuda_param> args = {std::nullopt, paramsOf(rows, front.rows), dispatchParams(front.dispatch)};
  if (sums)
    args.split = sums->args;
  pass(launch, args);
  return true;
}

// What looks at whole scopes: capacity, the tokens experts take, columns, inputs of slots.
bool CudaStages::addTokens(size_t step, Operation *op) {
  RowStrides strides = stridesOf(step);
  std::string symbol = symbolOf(step, "");
  CudaKernelFacts facts =
      llvm::TypeSwitch<Operation *, CudaKernelFacts>(op)
          .Case([&](moe::CapacityOp capacity) { return lowerCudaCapacity(capacity, arch.sm, module, symbol); })
          .Case([&](moe::TopTokensOp top) { return lowerCudaTopTokens(top, arch.sm, module, symbol); })
          .Case([&](moe::TokenReduceOp reduce) { return lowerCudaTokenReduce(reduce, arch.sm, module, symbol); })
          .Case([&](moe::TokenTotalOp total) { return lowerCudaTokenTotal(total, arch.sm, module, symbol); })
          .Default([&](Operation *inputs) {
            return lowerCudaSlotInputs(cast<moe::SlotInputsOp>(inputs), strides, arch.sm, module, symbol);
          });
  if (!checkShared(symbol, facts))
    return false;
  CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
  // without a token the gradient of a parameter is zero, and losses are not written
  bool ofParameter = isa<moe::TokenTotalOp>(op) && plan.header.pass == MOEC_PASS_BACKWARD;
  launch.launch.min_tokens = ofParameter ? 0 : 1;
  for (uint16_t buffer : plan.argsOf(plan.steps[step])) // the kernel has the step's arguments
    launch.params.push_back(paramOf(buffer));
  launch.params.push_back({MOEC_CUDA_SEQUENCE, 0, 0, 0});
  return true;
}

bool CudaStages::addSlots(size_t step, Operation *op) {
  const moec_step &planned = plan.steps[step];
  std::vector<int64_t> blockSizes;
  for (const auto &size : blockRows[uint16_t(step)])
    blockSizes.push_back(size.first);
  std::string symbol = symbolOf(step, ""), name = plan.string(planned.name).str();
  CudaKernelFacts facts = lowerCudaSlots(cast<moe::SlotsOp>(op), blockSizes, arch.sm, module, symbol);
  for (int64_t rows : blockSizes)
    lists[{uint16_t(step), rows}] = target.addTable(cudaListBytes(planned.num_groups, planned.choices, rows),
                                                    name + " blocks of " + std::to_string(rows));
  CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
  launch.launch.min_tokens = 1;
  CudaSlotsArgs<moec_cuda_param> args = {routeTables(step), {}};
  for (int64_t rows : blockSizes)
    args.lists.push_back(table(listOf(uint16_t(step), rows)));
  pass(launch, args);
  launch.params.push_back({MOEC_CUDA_SEQUENCE, 0, 0, 0});
  return true;
}

bool CudaStages::addCounts(size_t step) {
  const moec_step &planned = plan.steps[step];
  std::string symbol = symbolOf(step, "");
  CudaKernelFacts facts = lowerCudaCounts(plan.steps[planned.route].num_groups, arch.sm,
                                          UnknownLoc::get(module.getContext()), module, symbol);
  CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
  pass(launch, CudaCountsArgs<moec_cuda_param>{partOf(planned.route, MOEC_ROUTE_OFFSETS),
                                               paramOf(bindArgs(CountsArgs<uint16_t>(), plan.argsOf(planned)).counts)});
  return true;
}

} // namespace moec
