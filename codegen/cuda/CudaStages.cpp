// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Step by step, kernel and launch together.

#include "codegen/cuda/CudaStages.h"

#include "codegen/cuda/CudaCombine.h"
#include "codegen/cuda/CudaPermute.h"
#include "codegen/cuda/CudaRows.h"
#include "codegen/fuse/JoinStages.h"
#include "codegen/fuse/NumericModes.h"
#include "codegen/tile/DescribeMatmul.h"
#include "codegen/tile/Instantiate.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cstring>

using namespace mlir;

namespace moec {

static constexpr llvm::StringLiteral contiguousTemplate = "cuda/contiguous";

static int64_t blockRowsOf(const CudaEntry &entry) { return entry.kernel.integers.at("block_m"); }

CudaStages::CudaStages(const LaunchPlan &plan, const Schedule &schedule, CudaArch arch, ModuleOp module,
                       llvm::StringRef templatesDir)
    : plan(plan), schedule(schedule), arch(cudaArchFacts(arch)), module(module), templatesDir(templatesDir) {
  uint64_t packedBytes;
  weights = cudaWeights(plan, packedBytes);
  target.sm = uint32_t(this->arch.sm);
  target.exact = this->arch.exact;
  for (const moec_step &step : plan.steps) {
    if (step.kind != MOEC_STEP_MATMUL || step.route == MOEC_NO_ROUTE)
      continue;
    if (const CudaStage *stage = schedule.find(plan.string(step.name), arch))
      for (const CudaEntry &entry : stage->entries)
        blockRows[step.route][blockRowsOf(entry)].push_back(
            {entry.firstToken, entry.lastToken < 0 ? INT64_MAX : entry.lastToken});
  }
  if (const CudaFrontEntry *front = schedule.findFront(arch))
    frontTokens = std::min(front->lastToken, plan.header.max_tokens);
  if (frontTokens)
    fronts = routeFronts(plan);
  llvm::erase_if(fronts, [&](const RouteFront &front) { return frontParams(front) > MOEC_MAX_CUDA_PARAMS; });
}

bool CudaStages::fail(std::string text, bool isUnsupported) {
  failure = Diagnostic::error(isUnsupported ? "E-UNSUPPORTED" : "E-INTERNAL", std::move(text));
  return false;
}

std::string CudaStages::symbolOf(size_t step, const std::string &variant) const {
  std::string stage = plan.string(plan.steps[step].name).str();
  for (char &c : stage)
    if (!llvm::isAlnum(c))
      c = '_';
  return "moec_" + plan.string(plan.header.name).str() + "__" + std::to_string(step) + "_" + stage +
         (variant.empty() ? "" : "_" + variant);
}

moec_cuda_param CudaStages::paramOf(uint16_t index) const {
  const moec_buffer &buffer = plan.buffers[index];
  if (buffer.kind == MOEC_BUFFER_ROUTE)
    return partOf(buffer.route, buffer.slot);
  if (buffer.kind == MOEC_BUFFER_GRADIENT)
    return {MOEC_CUDA_GRADIENT, buffer.slot, 0, 0};
  return {MOEC_CUDA_BUFFER, index, 0, 0};
}

RouteTableArgs<moec_cuda_param> CudaStages::routeTables(size_t route) {
  return {partOf(route, MOEC_ROUTE_OFFSETS), partOf(route, MOEC_ROUTE_ROW_TOKEN), partOf(route, MOEC_ROUTE_ROW_SLOT),
          partOf(route, MOEC_ROUTE_SLOT_ROW)};
}

std::vector<int64_t> CudaStages::stridesOf(size_t step) const {
  RowStrides strides;
  for (uint16_t buffer : plan.argsOf(plan.steps[step]))
    strides.push_back(plan.buffers[buffer].row_stride);
  return strides;
}

// Every kernel of sm_90a waits for its predecessor itself, so all of them may overlap its end.
CudaPlannedLaunch &CudaStages::addLaunch(size_t step, const std::string &symbol, const CudaKernelFacts &facts) {
  CudaPlannedLaunch made;
  made.symbol = symbol;
  made.launch.step = uint16_t(step);
  made.launch.flags = uint16_t(arch.sm >= 90 ? MOEC_CUDA_OVERLAP : 0);
  made.launch.block_threads = uint32_t(facts.blockThreads);
  made.launch.shared_bytes = uint32_t(facts.sharedBytes);
  made.launch.units = {facts.unitsPerToken, facts.unitsFixed, facts.unitsPerSequence};
  made.launch.units_per_block = uint32_t(facts.unitsPerBlock);
  made.launch.max_tokens = plan.header.max_tokens;
  made.params.push_back({MOEC_CUDA_TOKENS, 0, 0, 0});
  target.launches.push_back(std::move(made));
  return target.launches.back();
}

bool CudaStages::checkShared(const std::string &symbol, const CudaKernelFacts &facts) {
  if (facts.sharedBytes <= arch.maxSharedBytes)
    return true;
  return fail("kernel " + symbol + " needs " + std::to_string(facts.sharedBytes) +
                  " bytes of shared memory, a block of " + arch.name.str() + " has " +
                  std::to_string(arch.maxSharedBytes),
              /*isUnsupported=*/true);
}

bool CudaStages::addRowProgram(size_t step, moe::RowProgramOp program) {
  const RouteFront *front = frontAt(step);
  if (front && !addFronts(*front, program))
    return false;
  if (firstBehindFront(step) > plan.header.max_tokens)
    return true;
  std::string symbol = symbolOf(step, "");
  CudaKernelFacts facts = lowerCudaRowProgram(program, stridesOf(step), arch.sm, module, symbol);
  if (!checkShared(symbol, facts))
    return false;
  CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
  launch.launch.min_tokens = std::max<int64_t>(1, firstBehindFront(step));
  CudaRowProgramArgs<moec_cuda_param> args = {paramsOf(program, step), std::nullopt};
  if (uint16_t route = plan.steps[step].route; route != MOEC_NO_ROUTE)
    args.offsets = partOf(route, MOEC_ROUTE_OFFSETS);
  pass(launch, args);
  if (readsSequence(program))
    launch.params.push_back({MOEC_CUDA_SEQUENCE, 0, 0, 0});
  return true;
}

bool CudaStages::addCombine(size_t step, moe::CombineOp combine) {
  std::string symbol = symbolOf(step, "");
  bool summed = combine->hasAttr(moe::unorderedAttr);
  CudaKernelFacts facts =
      (summed ? lowerCudaFinish : lowerCudaCombine)(combine, stridesOf(step), arch.sm, module, symbol);
  if (!checkShared(symbol, facts))
    return false;
  CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
  launch.launch.min_tokens = 1;
  CombineArgs<moec_cuda_param> args = paramsOf(combine, step);
  if (summed)
    args.rows = table(sumsOf(step, cast<RankedTensorType>(combine.getRows().getType()).getDimSize(1)));
  pass(launch, args);
  return true;
}

uint16_t CudaStages::listOf(uint16_t route, int64_t rows) const { return lists.at({route, rows}); }

bool CudaStages::joins(size_t dense, moe::GroupedMatmulOp op) {
  auto routed = dyn_cast_or_null<moe::GroupedMatmulOp>(op->getNextNode());
  if (!op->hasAttr(moe::joinedAttr) || !routed || plan.steps[dense + 1].kind != MOEC_STEP_MATMUL)
    return false;
  MatmulStage one = describeMatmul(op, plan, plan.steps[dense]),
              two = describeMatmul(routed, plan, plan.steps[dense + 1]);
  // up to joinedTokens only kernels that find the rows of either stage
  const CudaStage *entries = schedule.find(two.name, arch.arch);
  auto byTma = [](const CudaEntry &entry) {
    return entry.firstToken <= joinedTokens && entry.kernel.templateName == contiguousTemplate;
  };
  if (llvm::any_of(entries->entries, byTma))
    return false;
  auto sameStride = [](auto pair) {
    const MatmulOperand &x = std::get<0>(pair), &y = std::get<1>(pair);
    return x.kind == "col" || x.stride == y.stride;
  };
  return two.mode.routed && one.aStride == two.aStride && one.outStride == two.outStride &&
         llvm::all_of(llvm::zip(one.epilogueOperands, two.epilogueOperands), sameStride);
}

// What of the entry's range is left from `firstToken` on: launches for two steps up to joinedTokens, then for one.
bool CudaStages::addMatmulEntry(size_t step, moe::GroupedMatmulOp op, const CudaEntry &entry, int64_t firstToken,
                                moe::GroupedMatmulOp second) {
  if (tiles)
    return printTile(step, op, entry);
  int64_t most = plan.header.max_tokens, first = std::max(entry.firstToken, firstToken);
  int64_t last = entry.lastToken < 0 ? most : std::min(entry.lastToken, most);
  int64_t both = std::min(last, joinedTokens);
  if (second && first <= both && !addMatmulKernel({step, op, entry, first, both, second}))
    return false;
  first = second ? std::max(first, both + 1) : first;
  return first > last || addMatmulKernel({step, op, entry, first, last});
}

bool CudaStages::addMatmul(size_t step, moe::GroupedMatmulOp op) {
  const CudaStage *stage = schedule.find(plan.string(plan.steps[step].name), arch.arch);
  if (!tiles && op->hasAttr(moe::unorderedAttr))
    addClear(step, combineOf(step, op), op.columns());
  auto before = dyn_cast_or_null<moe::GroupedMatmulOp>(op->getPrevNode());
  moe::GroupedMatmulOp second;
  if (before && step && joins(step - 1, before))
    second = before;
  int64_t firstToken = joins(step, op) ? joinedTokens + 1 : 1;
  for (const CudaEntry &entry : stage->entries)
    if (entry.firstToken <= plan.header.max_tokens && !addMatmulEntry(step, op, entry, firstToken, second))
      return false;
  return true;
}

// Tiles are blocks of rows times column tiles, and a route of R rows and G groups has at most min(R, R / block_m + G)
// blocks. The kernel strides by its grid, so a grid never needs more blocks than the device runs at once.
// A second stage without a route adds those of T rows.
static void setTiles(moec_cuda_launch &launch, const MatmulStage &stage, int64_t choices,
                     const std::map<std::string, int64_t> &values, int64_t splits, bool second) {
  int64_t blockM = values.at("block_m"), blockN = values.at("block_n");
  int64_t columns = splits * int64_t(llvm::divideCeil(uint64_t(stage.n), uint64_t(blockN / stage.parts)));
  bool few = stage.mode.routed && launch.max_tokens * choices <= stage.groups;
  launch.units.per_token = (choices + (second ? 1 : 0)) * columns;
  int64_t ofGroups = stage.mode.routed ? stage.groups * blockM : 0,
          ofTokens = !stage.mode.routed || second ? blockM - 1 : 0;
  launch.units.fixed = few ? 0 : columns * (ofGroups + ofTokens);
  launch.units_per_block = uint32_t(few ? 1 : blockM);
}

bool CudaStages::printTile(size_t step, moe::GroupedMatmulOp op, const CudaEntry &entry) {
  MatmulStage stage = describe(step, op, entry);
  auto tile = instantiateKernel(*module.getContext(), stage, entry.kernel, templatesDir, symbolOf(step, ""));
  if (!tile) {
    failure = tile.takeError();
    return false;
  }
  *tiles << **tile << "\n";
  return true;
}

size_t CudaStages::combineOf(size_t step, moe::GroupedMatmulOp op) const {
  uint16_t rows = buffersOf(op, plan, plan.steps[step]).out;
  for (size_t i = step + 1; i < plan.steps.size(); ++i)
    if (auto combine = dyn_cast_or_null<moe::CombineOp>(plan.stageOf[i]))
      if (buffersOf(combine, plan, plan.steps[i]).rows == rows)
        return i;
  return step; // unreachable: both ops have the mark
}

uint16_t CudaStages::sumsOf(size_t combine, int64_t columns) {
  auto found = sums.find(combine);
  if (found != sums.end())
    return found->second;
  return sums[combine] = target.addTable({4 * columns, 0, 0}, plan.string(plan.steps[combine].name).str() + " sums");
}

void CudaStages::addClear(size_t step, size_t combine, int64_t columns) {
  std::string symbol = symbolOf(combine, "clear");
  CudaKernelFacts facts = lowerCudaClear(4 * columns, arch.sm, UnknownLoc::get(module.getContext()), module, symbol);
  CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
  launch.launch.min_tokens = 1;
  pass(launch, CudaClearArgs<moec_cuda_param>{table(sumsOf(combine, columns))});
}

// The stage as a kernel of the entry computes it.
MatmulStage CudaStages::describe(size_t step, moe::GroupedMatmulOp op, const CudaEntry &entry) const {
  MatmulStage stage = describeMatmul(op, plan, plan.steps[step]);
  const moec_weight &packed = weights[plan.buffers[buffersOf(op, plan, plan.steps[step]).b].slot];
  if (packed.derived == MOEC_DERIVED_SHARED && packed.panels != packed.parts)
    stage.matrices = packed.panels;
  if (!stage.mode.routed && entry.lastToken > 0)
    stage.mode.splitRows = std::min(entry.lastToken, plan.header.max_tokens);
  return stage;
}

// The second launch of a stage with splits: parameters as the first's.
void CudaStages::addSums(size_t step, tile::KernelOp kernel, const CudaPlannedLaunch &first) {
  moec_cuda_launch launch = first.launch;
  std::vector<moec_cuda_param> params = first.params;
  std::string symbol = first.symbol + "_sums";
  CudaPlannedLaunch &sums = addLaunch(step, symbol, lowerCudaMatmulSums(kernel, arch.sm, module, symbol));
  sums.launch.min_tokens = launch.min_tokens;
  sums.launch.max_tokens = launch.max_tokens;
  sums.params = std::move(params);
}

// Told nothing, ptxas spills a kernel of 64 threads to make room for more blocks than shared memory has. Where the
// blocks that it does have leave every thread more registers than a kernel takes, they are what it is told.
void CudaStages::setBlocksPerSm(StringRef symbol, int64_t threads, int64_t blocks) {
  constexpr int64_t registersOfSm = 65536, enough = 200;
  if (registersOfSm / (threads * blocks) < enough)
    return;
  auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(symbol);
  function->setAttr("nvvm.minctasm", Builder(module.getContext()).getI32IntegerAttr(int32_t(blocks)));
}

bool CudaStages::addMatmulKernel(const MatmulJob &job) {
  const moec_step &planned = plan.steps[job.step];
  MatmulStage stage = describe(job.step, job.op, job.entry);
  stage.mode.joined = bool(job.second);
  std::string symbol = symbolOf(job.step, "t" + std::to_string(job.firstToken) + (job.second ? "_joined" : ""));
  auto made = instantiateKernel(*module.getContext(), stage, job.entry.kernel, templatesDir, symbol);
  if (!made) {
    failure = made.takeError();
    return false;
  }
  OwningOpRef<ModuleOp> tile = std::move(*made);
  tile::KernelOp kernel = *tile->getOps<tile::KernelOp>().begin();
  CudaMatmulFacts facts = lowerCudaMatmul(kernel, arch.sm, module, symbol);
  if (!checkShared(symbol, facts))
    return false;
  if (facts.aMapRows && stage.gathered && !addPermute(job, stage))
    return false;
  CudaPlannedLaunch &launch = addLaunch(job.step, symbol, facts);
  launch.launch.min_tokens = job.firstToken;
  launch.launch.max_tokens = job.lastToken;
  int64_t choices = stage.mode.routed ? plan.steps[planned.route].choices : 1;
  setTiles(launch.launch, stage, choices, job.entry.kernel.integers, facts.splits, bool(job.second));
  int64_t byShared = arch.smSharedBytes / std::max<int64_t>(1, facts.sharedBytes + 1024),
          byThreads = 1024 / facts.blockThreads;
  launch.launch.blocks_per_sm = uint32_t(std::clamp<int64_t>(std::min(byShared, byThreads), 1, 8));
  setBlocksPerSm(symbol, facts.blockThreads, launch.launch.blocks_per_sm);
  CudaMatmulArgs<moec_cuda_param> args = matmulParams(job, stage, facts);
  if (facts.splits > 1) {
    int64_t bytes = facts.splits * launch.launch.max_tokens * stage.parts * stage.n * 4;
    args.partials = table(target.addTable({0, bytes, 0}, stage.name + " partial sums"));
  }
  assert(countArgs(args) == countArgs(facts.args));
  pass(launch, args);
  if (facts.splits == 1)
    return true;
  int64_t inFront = frontAt(job.step) ? std::min(job.lastToken, frontTokens) : 0;
  CudaPlannedLaunch shares = launch; // addSums moves it
  if (job.lastToken > inFront) {
    shares.launch.min_tokens = std::max(job.firstToken, inFront + 1);
    addSums(job.step, kernel, shares);
  }
  if (inFront >= job.firstToken)
    frontSums.push_back({job.step, job.firstToken, inFront, std::move(tile), std::move(args)});
  return true;
}

CudaMatmulArgs<moec_cuda_param> CudaStages::matmulParams(const MatmulJob &job, const MatmulStage &stage,
                                                         const CudaMatmulFacts &facts) {
  uint16_t route = plan.steps[job.step].route;
  CudaMatmulArgs<moec_cuda_param> args;
  args.stage = paramsOf(job.op, job.step);
  if (facts.aMapRows) { // rows are in order
    args.stage.a = rowMapOf(job, stage, facts);
    args.stage.rowToken.reset();
  }
  auto mapWeights = [&](MatmulArgs<moec_cuda_param> &to, moe::GroupedMatmulOp op, size_t step) {
    if (facts.mapRows)
      to.b = mapOf(buffersOf(op, plan, plan.steps[step]).b, facts);
  };
  mapWeights(args.stage, job.op, job.step);
  if (stage.mode.routed)
    args.list = table(listOf(route, blockRowsOf(job.entry)));
  if (stage.mode.unordered) {
    size_t combine = combineOf(job.step, job.op);
    args.stage.out = table(sumsOf(combine, stage.n));
    args.sums = {partOf(route, MOEC_ROUTE_ROW_TOKEN), partOf(route, MOEC_ROUTE_ROW_SLOT), std::nullopt};
    if (stage.mode.weighted)
      args.sums->weights = paramsOf(cast<moe::CombineOp>(plan.stageOf[combine]), combine).weights;
  }
  if (job.second) {
    args.joined = paramsOf(job.second, job.step - 1);
    mapWeights(*args.joined, job.second, job.step - 1);
  }
  return args;
}

// The descriptor of weights in the kernel's boxes.
moec_cuda_param CudaStages::mapOf(uint16_t weights, const CudaMatmulFacts &facts) {
  moec_cuda_map map = {};
  map.weight = plan.buffers[weights].slot, map.swizzle = 128, map.box_n = uint32_t(facts.mapRows),
  map.box_k = uint32_t(facts.mapDepth);
  return mapOf(map);
}

moec_cuda_param CudaStages::rowMapOf(const MatmulJob &job, const MatmulStage &stage, const CudaMatmulFacts &facts) {
  moec_cuda_map map = {};
  map.swizzle = 128, map.box_n = uint32_t(facts.aMapRows), map.box_k = uint32_t(facts.mapDepth);
  map.dtype = stage.in;
  map.columns = uint32_t(stage.k);
  map.source = stage.gathered ? MOEC_CUDA_MAP_TABLE : MOEC_CUDA_MAP_BUFFER;
  map.index = stage.gathered ? permuted.at(job.step) : buffersOf(job.op, plan, plan.steps[job.step]).a;
  map.row_bytes = uint32_t(stage.gathered ? cudaPermutedStride(stage.k * 2) : stage.aStride);
  return mapOf(map);
}

// As many rows as the output has.
bool CudaStages::addPermute(const MatmulJob &job, const MatmulStage &stage) {
  const moec_step &planned = plan.steps[job.step];
  MatmulArgs<uint16_t> buffers = buffersOf(job.op, plan, planned);
  const moec_buffer &out = plan.buffers[buffers.out];
  CudaPermuteShape shape = {stage.k * 2, stage.aStride, int64_t(stage.groups)};
  auto rowsTimes = [&](int64_t factor) {
    auto times = [&](int64_t bytes) { return bytes / out.row_stride * factor; };
    return moec_extent{times(out.bytes.per_token), times(out.bytes.fixed), times(out.bytes.per_sequence)};
  };
  if (!permuted.count(job.step))
    permuted[job.step] = target.addTable(rowsTimes(cudaPermutedStride(shape.rowBytes)), stage.name + " rows in order");
  std::string symbol = symbolOf(job.step, "t" + std::to_string(job.firstToken) + "_permute");
  CudaKernelFacts facts = lowerCudaPermute(shape, arch.sm, UnknownLoc::get(module.getContext()), module, symbol);
  CudaPlannedLaunch &launch = addLaunch(job.step, symbol, facts);
  launch.launch.min_tokens = job.firstToken;
  launch.launch.max_tokens = job.lastToken;
  launch.launch.units = rowsTimes(facts.unitsPerToken);
  pass(launch, CudaPermuteArgs<moec_cuda_param>{paramOf(buffers.a), table(permuted[job.step]),
                                                partOf(planned.route, MOEC_ROUTE_ROW_TOKEN),
                                                partOf(planned.route, MOEC_ROUTE_OFFSETS)});
  return checkShared(symbol, facts);
}

moec_cuda_param CudaStages::mapOf(const moec_cuda_map &map) {
  auto same = [&](const moec_cuda_map &other) { return std::memcmp(&other, &map, sizeof map) == 0; };
  size_t index = size_t(llvm::find_if(target.maps, same) - target.maps.begin());
  if (index == target.maps.size())
    target.maps.push_back(map);
  return {MOEC_CUDA_MAP, uint16_t(index), 0, 0};
}

bool CudaStages::add(size_t step, Operation *op) {
  size_t before = target.launches.size();
  if (!addStep(step, op))
    return false;
  for (size_t i = before; i < target.launches.size(); ++i)
    if (size_t params = target.launches[i].params.size(); params > MOEC_MAX_CUDA_PARAMS)
      return fail("a kernel of stage '" + plan.string(plan.steps[step].name).str() + "' would take " +
                      std::to_string(params) + " arguments, at most " + std::to_string(MOEC_MAX_CUDA_PARAMS) +
                      " are passed",
                  true);
  return true;
}

bool CudaStages::addStep(size_t step, Operation *op) {
  switch (plan.steps[step].kind) {
  case MOEC_STEP_MATMUL:
    return addMatmul(step, cast<moe::GroupedMatmulOp>(op));
  case MOEC_STEP_ROWS:
    if (auto program = dyn_cast<moe::RowProgramOp>(op))
      return tiles || addRowProgram(step, program);
    if (auto combine = dyn_cast<moe::CombineOp>(op))
      return tiles || addCombine(step, combine);
    if (isa<moe::SlotValuesOp, moe::SlotProductsOp>(op))
      return tiles || addGroups(step, op);
    return tiles || addTokens(step, op);
  case MOEC_STEP_CAPACITY:
  case MOEC_STEP_TOP_TOKENS:
  case MOEC_STEP_COLUMNS:
    return tiles || addTokens(step, op);
  case MOEC_STEP_SLOTS:
    return tiles || addSlots(step, op);
  case MOEC_STEP_GROUPS:
    return tiles || addGroups(step, op);
  case MOEC_STEP_GRADIENT:
    return tiles || addGradients(step);
  case MOEC_STEP_COPY:
    return tiles || addCopy(step);
  case MOEC_STEP_DISPATCH:
    return tiles || addDispatch(step);
  default:
    return tiles || addCounts(step);
  }
}

} // namespace moec
