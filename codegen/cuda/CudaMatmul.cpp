// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The walk of a matmul template: arguments, tiles of the grid, and what each op of the template becomes.

#include "codegen/cuda/CudaMatmulLowering.h"

#include "runtime/moec_cuda_abi.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace moec {

static int64_t integer(IntegerAttr attribute) { return attribute.getInt(); }
static int64_t splitsOf(tile::ForTilesOp tiles) { return tiles.getSplits() ? tiles.getSplits()->getSExtValue() : 1; }

CudaMatmulLowering::CudaMatmulLowering(tile::KernelOp kernel, int64_t sm)
    : TemplateWalk(e), e(OpBuilder(kernel.getContext()), kernel.getLoc()), kernel(kernel), sm(sm) {
  readTemplate();
}

int64_t CudaMatmulLowering::shape(StringRef name) { return kernel.shape(name); }

void CudaMatmulLowering::readTemplate() {
  parts = shape("parts");
  mode = kernel.mode();
  early = sm >= 90 && kernel.getEarly() ? kernel.getEarly()->getSExtValue() : 1;
  auto rows = cast<tile::RowsType>(kernel.getBody().getArgument(0).getType());
  gathered = rows.getAccess().getValue() == tile::Access::gathered;
  contiguous = rows.getAccess().getValue() == tile::Access::contiguous;
  kernel.getBody().walk([&](Operation *op) {
    if (auto ring = dyn_cast<tile::RingOp>(op)) {
      auto type = ring.getType();
      int64_t depth = integer(type.getBlockK());
      a.element = type.getIn(), b.element = type.getWeight();
      a.rows = integer(type.getBlockM()), b.rows = integer(type.getBlockN());
      a.rowBytes = depth * a.elementBytes(), b.rowBytes = depth * b.elementBytes();
      b.offset = a.rows * a.rowBytes;
      stages = integer(type.getStages());
      kSteps = int64_t(llvm::divideCeil(uint64_t(shape("k")), uint64_t(depth)));
    } else if (auto clear = dyn_cast<tile::ClearOp>(op)) {
      warpsM = integer(clear.getType().getWarpsM()), warpsN = integer(clear.getType().getWarpsN());
      columnsFirst = clear.getType().columnsFirst();
    } else if (auto tiles = dyn_cast<tile::ForTilesOp>(op)) {
      splits = splitsOf(tiles);
    } else if (auto copy = dyn_cast<tile::CopyOp>(op)) {
      prologue = &copy.getPrologue(), prologueOperands = copy.getExtra();
    } else if (auto fill = dyn_cast<tile::FillOp>(op)) {
      prologue = &fill.getPrologue(), prologueOperands = fill.getExtra();
    } else if (auto roles = dyn_cast<tile::RolesOp>(op)) {
      consumers = roles.getConsumers().getSExtValue(), lag = roles.getLag().getSExtValue();
      vacantReturns = roles.getVacant() && roles.getVacant()->getSExtValue() == 2;
    }
  });
  kSteps = int64_t(llvm::divideCeil(uint64_t(kSteps), uint64_t(splits)));
}

Value CudaMatmulLowering::div32(Value x, int64_t y) {
  return y == 1 ? x : arith::DivUIOp::create(e.b, e.loc, x, e.c32(int32_t(y))).getResult();
}
Value CudaMatmulLowering::rem32(Value x, int64_t y) {
  return y == 1 ? e.c32(0) : arith::RemUIOp::create(e.b, e.loc, x, e.c32(int32_t(y))).getResult();
}
Value CudaMatmulLowering::add32(Value x, int64_t y) { return y == 0 ? x : e.add(x, e.c32(int32_t(y))); }
Value CudaMatmulLowering::mul32(Value x, int64_t y) { return y == 1 ? x : e.mul(x, e.c32(int32_t(y))); }

Value CudaMatmulLowering::slotAddress(Value step, const Side &side) {
  Value slot = rem32(e.toI32(e.toI64(step)), stages);
  return e.at(shared, e.toI64(add32(mul32(slot, slotBytes()), side.offset)));
}

Value CudaMatmulLowering::chunkOffset(const Side &side, Value row, Value chunk) {
  int64_t chunks = side.chunks();
  Value key = chunks == 8 ? row : div32(row, chunks == 4 ? 2 : 4);
  key = arith::AndIOp::create(e.b, e.loc, key, e.c32(int32_t(chunks - 1)));
  Value place = arith::XOrIOp::create(e.b, e.loc, chunk, key);
  return e.add(mul32(row, side.rowBytes), mul32(place, 16));
}

CudaMatmulArgs<unsigned> cudaMatmulArgs(tile::KernelOp kernel) {
  MatmulMode mode = kernel.mode();
  CudaMatmulArgs<unsigned> args;
  args.stage = numberArgs(kernel.args());
  if (mode.routed)
    args.list.emplace();
  kernel.getBody().walk([&](tile::ForTilesOp tiles) {
    if (splitsOf(tiles) > 1)
      args.partials.emplace();
  });
  if (mode.unordered)
    args.sums.emplace();
  if (mode.weighted)
    args.sums->weights.emplace();
  if (mode.joined) {
    args.joined = args.stage;
    args.joined->rowToken.reset();
  }
  return numberArgs(args);
}

// Of the first stage outside of tiles and where there is no other. A descriptor is chosen where it is used.
void CudaMatmulLowering::chooseStage() {
  stage = args.stage;
  if (tile.isSecond) {
    auto choose = [&](Value &one, Value two) { one = e.select(tile.isSecond, two, one); };
    choose(stage.a, args.joined->a);
    if (!hasRoles())
      choose(stage.b, args.joined->b);
    choose(stage.out, args.joined->out);
    for (auto [i, operand] : llvm::enumerate(stage.prologue))
      choose(operand, args.joined->prologue[i]);
    for (auto [i, operand] : llvm::enumerate(stage.epilogue))
      choose(operand, args.joined->epilogue[i]);
  }
  zipArgs(kernel.args(), stage, [&](Value argument, Value pointer) {
    if (argument)
      values[argument] = {pointer};
  });
}

void CudaMatmulLowering::begin(CudaKernelShell &shell, const CudaMatmulArgs<Value> &arguments) {
  numTokens = shell.numTokens;
  args = arguments;
  chooseStage();
}

CudaMatmulFacts CudaMatmulLowering::run(ModuleOp module, StringRef symbol) {
  CudaMatmulArgs<unsigned> positions = cudaMatmulArgs(kernel);
  llvm::SmallVector<size_t> maps;
  if (contiguous)
    maps.push_back(positions.stage.a);
  if (hasRoles())
    maps.push_back(positions.stage.b);
  if (hasRoles() && mode.joined)
    maps.push_back(positions.joined->b);
  CudaKernelShell shell(e, module, symbol, countArgs(positions), sm, maps, /*sequence=*/false,
                        /*waitsItself=*/early > 1);
  begin(shell, shell.bind(positions));
  tid = e.tid();
  lane = rem32(tid, cuda_warp_threads);
  Value warp = div32(tid, cuda_warp_threads);
  if (hasRoles()) // consumers count from behind the producer
    warp = e.sub(warp, e.c32(warpgroup_threads / cuda_warp_threads));
  warpM = div32(warp, warpsN);
  warpN = rem32(warp, warpsN);
  shared = e.shared();
  if (!hasRoles() && early > 1) { // with roles, their threads wait
    askForWeights();
    waitForPredecessor();
  }
  lowerBlock(kernel.getBody().front());
  shell.finish(e, threads());
  CudaMatmulFacts facts;
  facts.blockThreads = threads();
  facts.sharedBytes = stages * (slotBytes() + (hasRoles() ? 16 : 0));
  if (hasRoles())
    facts.aMapRows = contiguous ? a.rows : 0, facts.mapRows = columns(), facts.mapDepth = b.rowBytes / b.elementBytes();
  facts.unitsPerToken = tileColumns() * splits;
  facts.unitsFixed = tileColumns() * splits * (a.rows - 1);
  facts.unitsPerBlock = a.rows;
  facts.splits = splits;
  facts.args = positions;
  return facts;
}

bool CudaMatmulLowering::lowerOp(Operation *op) {
  bool known = true;
  TypeSwitch<Operation *>(op)
      .Case<tile::ForTilesOp>([&](auto o) { lowerTiles(o); })
      .Case<tile::RingOp>([&](auto o) { values[o.getResult()] = {shared}; })
      .Case<tile::CopyOp>([&](auto o) { lowerCopy(o); })
      .Case<tile::AwaitOp>([&](auto) {
        e.cpAsyncWait(stages - 2);
        e.barrier(0, threads());
      })
      .Case<tile::DrainOp>([&](auto) {
        e.cpAsyncWait(0);
        e.barrier(0, threads());
      })
      .Case<tile::ClearOp>([&](auto o) {
        values[o.getResult()] = Accumulator(size_t(parts * fragmentRows() * fragmentColumns()), e.f(0));
      })
      .Case<tile::MultiplyOp>([&](auto o) {
        Accumulator acc = values[o.getAcc()];
        values[o.getResult()] = multiply(acc, value(o.getStep()));
      })
      .Case<tile::RolesOp>([&](auto o) { lowerRoles(o); })
      .Case<tile::FillOp>([&](auto o) { lowerFill(o); })
      .Case<tile::FlushOp>([&](auto) { lowerFlush(); })
      .Case<tile::ConsumeOp>([&](auto o) {
        Accumulator acc = values[o.getAcc()];
        values[o.getResult()] = consume(acc, e.toI64(value(o.getStep())));
      })
      .Case<tile::FinishOp>([&](auto o) {
        Accumulator acc = values[o.getAcc()];
        values[o.getResult()] = finish(acc);
      })
      .Case<tile::StoreOp>([&](auto o) { lowerStore(o); })
      .Default([&](Operation *) { known = false; });
  return known;
}

int64_t CudaMatmulLowering::tileColumns() {
  return int64_t(llvm::divideCeil(uint64_t(shape("n")), uint64_t(columns())));
}

Value CudaMatmulLowering::loadOfList(Type type, Value address) {
  return beforeWait ? e.loadFresh(type, address, 16) : e.load(type, address, 16);
}

Value CudaMatmulLowering::countTiles() {
  Value items = mode.routed ? e.toI64(loadOfList(e.i32(), *args.list)) : e.ceilDiv(numTokens, a.rows);
  if (mode.joined) {
    firstItems = items;
    items = e.add(items, e.ceilDiv(numTokens, a.rows));
  }
  return e.mul(items, tileColumns() * splits);
}

void CudaMatmulLowering::enterTile(Value index) {
  if (splits > 1) {
    tile.share = e.remU(index, splits);
    tile.firstStep = e.mul(tile.share, kSteps);
    index = e.divU(index, splits);
  }
  tile.column0 = e.mul(e.remU(index, tileColumns()), columns());
  loadTile(e.divU(index, tileColumns()));
  if (mode.joined)
    chooseStage();
}

void CudaMatmulLowering::lowerTiles(tile::ForTilesOp op) {
  Value total = countTiles(), first = e.unsignedI64(e.ctaid()), step = e.unsignedI64(e.nctaid());
  // with roles, the steps of the tiles before are carried along
  auto loop = scf::ForOp::create(e.b, e.loc, first, total, step, hasRoles() ? ValueRange(e.c(0)) : ValueRange());
  {
    OpBuilder::InsertionGuard guard(e.b);
    Value index = loop.getInductionVar();
    if (hasRoles()) {
      e.b.setInsertionPointToEnd(loop.getBody());
      tile.step0 = loop.getRegionIterArgs()[0];
    } else {
      e.b.setInsertionPoint(loop.getBody()->getTerminator());
    }
    if (asksEarly() && !hasRoles())
      tile.isFirst = e.equal(index, first);
    enterTile(index);
    findRows();
    findWeights();
    Block &body = op.getBody().front();
    values[body.getArgument(0)] = {index};
    values[body.getArgument(1)] = {index};
    if (returnsVacant(op)) {
      Value row0 = e.unsignedI64(mul32(div32(warpM, 4), 64)); // of this consumer
      e.when(e.less(row0, tile.rows), [&] { lowerBlock(body); }, [&] { returnSlots(); });
    } else {
      lowerBlock(body);
    }
    if (hasRoles())
      scf::YieldOp::create(e.b, e.loc, e.add(tile.step0, e.c(kSteps)));
  }
  if (hasRoles())
    steps = loop.getResult(0);
  tile.isSecond = Value();
}

void CudaMatmulLowering::loadTile(Value index) {
  if (mode.joined) { // an item of the list, which may be empty, or rows of all tokens
    tile.isSecond = e.compare(arith::CmpIPredicate::uge, index, firstItems);
    Value own = e.sub(index, firstItems);
    index = e.select(tile.isSecond, e.c(0), index);
    loadItem(index);
    Value row0 = e.mul(own, a.rows);
    tile.group = e.select(tile.isSecond, e.c(0), tile.group);
    tile.row0 = e.select(tile.isSecond, row0, tile.row0);
    tile.rows = e.select(tile.isSecond, e.minS(e.c(a.rows), e.sub(numTokens, row0)), tile.rows);
    return;
  }
  if (!mode.routed) {
    tile.group = e.c(0);
    tile.row0 = e.mul(index, a.rows);
    tile.rows = e.minS(e.c(a.rows), e.sub(numTokens, tile.row0));
    return;
  }
  loadItem(index);
}

void CudaMatmulLowering::loadItem(Value index) {
  Value at = e.at(*args.list, e.add(e.mul(index, sizeof(moec_cuda_item)), e.c(16)));
  Value item = loadOfList(e.vec(e.i32(), 4), at);
  auto field = [&](int64_t i) {
    return e.toI64(vector::ExtractOp::create(e.b, e.loc, item, ArrayRef<int64_t>{i}).getResult());
  };
  tile.group = field(0), tile.row0 = field(1), tile.rows = field(2);
}

CudaMatmulFacts lowerCudaMatmul(tile::KernelOp kernel, int64_t sm, ModuleOp module, StringRef symbol) {
  return CudaMatmulLowering(kernel, sm).run(module, symbol);
}

void emitCudaMatmulSums(CudaEmitter &e, CudaKernelShell &shell, tile::KernelOp kernel, int64_t sm,
                        const CudaMatmulArgs<Value> &args, int64_t threads) {
  CudaMatmulLowering(kernel, sm).sumsWithin(e, shell, args, threads);
}

CudaKernelFacts lowerCudaMatmulSums(tile::KernelOp kernel, int64_t sm, ModuleOp module, StringRef symbol) {
  return CudaMatmulLowering(kernel, sm).runSums(module, symbol);
}

} // namespace moec
