// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The walk of a matmul template: arguments, tiles of the grid, and what each op of the template becomes.

#include "codegen/cuda/CudaMatmulLowering.h"

#include "codegen/cuda/CudaMatmulMultiply.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace moec {

static constexpr int64_t sumThreads = 128;

// 384 threads begin with 168 registers each, 64,512 in all. Consumers hold up to 128 sums; the producer holds the
// addresses of 8 rows, for which 56 are too few.
static constexpr int64_t producerRegisters = 88, consumerRegisters = 208;

void CudaMatmulLowering::begin(CudaKernelShell &shell, const CudaMatmulArgs<Value> &arguments) {
  block.numTokens = shell.numTokens;
  tiles.bind(arguments);
}

CudaMatmulFacts CudaMatmulLowering::facts() const {
  CudaMatmulFacts facts;
  facts.blockThreads = shape.threads();
  facts.sharedBytes = shape.stages * (shape.slotBytes() + (shape.hasRoles() ? 16 : 0));
  if (shape.hasRoles()) {
    facts.aMapRows = shape.byTma() ? shape.a.rows : 0;
    facts.mapRows = shape.b.depthFirst ? shape.b.depth() : shape.columns();
    facts.mapDepth = shape.b.depthFirst ? atomRows : shape.b.depth();
  }
  facts.unitsPerToken = shape.tileColumns() * shape.splits;
  facts.unitsFixed = shape.tileColumns() * shape.splits * (shape.a.rows - 1);
  facts.unitsPerBlock = shape.a.rows;
  facts.splits = shape.splits;
  facts.args = cudaMatmulArgs(kernel);
  return facts;
}

CudaMatmulFacts CudaMatmulLowering::run(ModuleOp module, StringRef symbol) {
  CudaMatmulFacts made = facts();
  llvm::SmallVector<size_t> maps;
  if (shape.byTma())
    maps.push_back(made.args.stage.a);
  if (shape.hasRoles())
    maps.push_back(made.args.stage.b);
  if (shape.hasRoles() && shape.mode.joined)
    maps.push_back(made.args.joined->b);
  CudaKernelShell shell(e, module, symbol, countArgs(made.args), sm, maps, /*sequence=*/false, shape.waitsItself());
  begin(shell, shell.bind(made.args));
  block.findThread();
  if (!shape.hasRoles() && shape.waitsItself()) { // with roles, their threads wait
    askForWeights();
    CudaKernelShell::waitForPredecessor(e);
  }
  lowerBlock(kernel.getBody().front());
  shell.finish(e, shape.threads());
  return made;
}

bool CudaMatmulLowering::lowerOp(Operation *op) {
  bool known = true;
  TypeSwitch<Operation *>(op)
      .Case<tile::ForTilesOp>([&](auto o) { lowerTiles(o); })
      .Case<tile::RingOp>([&](auto o) { values[o.getResult()] = {block.shared}; })
      .Case<tile::CopyOp>([&](auto o) { lowerCopy(o); })
      .Case<tile::AwaitOp>([&](auto) {
        e.cpAsyncWait(shape.stages - 2);
        e.barrier(0, shape.threads());
      })
      .Case<tile::DrainOp>([&](auto) {
        e.cpAsyncWait(0);
        e.barrier(0, shape.threads());
      })
      .Case<tile::ClearOp>([&](auto o) { values[o.getResult()] = Accumulator(size_t(shape.accumulators()), e.f(0)); })
      .Case<tile::MultiplyOp>([&](auto o) {
        Accumulator acc = values[o.getAcc()];
        values[o.getResult()] = emitMultiply(block, acc, value(o.getStep()));
      })
      .Case<tile::RolesOp>([&](auto o) { lowerRoles(o); })
      .Case<tile::FillOp>([&](auto o) { roles.fill(e.toI64(value(o.getStep()))); })
      .Case<tile::FlushOp>([&](auto) { roles.flush(steps); })
      .Case<tile::ConsumeOp>([&](auto o) {
        Accumulator acc = values[o.getAcc()];
        values[o.getResult()] = roles.consume(acc, e.toI64(value(o.getStep())));
      })
      .Case<tile::FinishOp>([&](auto o) {
        Accumulator acc = values[o.getAcc()];
        values[o.getResult()] = roles.finish(acc);
      })
      .Case<tile::StoreOp>([&](auto o) { results.store(o, values[o.getAcc()]); })
      .Default([&](Operation *) { known = false; });
  return known;
}

void CudaMatmulLowering::lowerTiles(tile::ForTilesOp op) {
  Value total = tiles.count(), first = e.unsignedI64(e.ctaid()), step = e.unsignedI64(e.nctaid());
  // with roles, the steps of the tiles before are carried along
  auto loop = scf::ForOp::create(e.b, e.loc, first, total, step, shape.hasRoles() ? ValueRange(e.c(0)) : ValueRange());
  {
    OpBuilder::InsertionGuard guard(e.b);
    Value index = loop.getInductionVar();
    if (shape.hasRoles()) {
      e.b.setInsertionPointToEnd(loop.getBody());
      tiles.tile.step0 = loop.getRegionIterArgs()[0];
    } else {
      e.b.setInsertionPoint(loop.getBody()->getTerminator());
    }
    if (shape.asksEarly() && !shape.hasRoles())
      tiles.tile.isFirst = e.equal(index, first);
    tiles.enter(index);
    copies.findRows();
    copies.findWeights();
    Block &body = op.getBody().front();
    values[body.getArgument(0)] = {index};
    values[body.getArgument(1)] = {index};
    if (returnsVacant(op)) {
      Value row0 = e.unsignedI64(e.mul32(e.div32(block.warpM, 4), 64)); // of this consumer
      e.when(e.less(row0, tiles.tile.rows), [&] { lowerBlock(body); }, [&] { roles.returnSlots(); });
    } else {
      lowerBlock(body);
    }
    if (shape.hasRoles())
      scf::YieldOp::create(e.b, e.loc, e.add(tiles.tile.step0, e.c(shape.kSteps)));
  }
  if (shape.hasRoles())
    steps = loop.getResult(0);
  tiles.tile.isSecond = Value();
}

void CudaMatmulLowering::lowerCopy(tile::CopyOp op) {
  Value step = e.toI64(value(op.getStep()));
  e.when(e.less(step, e.c(shape.kSteps)), [&] {
    copies.copyRows(tiles.depthStep(step), block.slotAddress(step, shape.a));
    auto copyB = [&] { copies.copyWeights(tiles.depthStep(step), block.slotAddress(step, shape.b)); };
    shape.asksEarly() ? e.when(tiles.wasAsked(step), [] {}, copyB) : copyB();
  });
  e.cpAsyncCommit();
}

void CudaMatmulLowering::lowerRoles(tile::RolesOp op) {
  roles.initialiseBarriers();
  Value isProducer = e.compare(arith::CmpIPredicate::ult, block.tid, e.c32(cudaWarpgroupThreads));
  e.when(
      isProducer,
      [&] {
        if (shape.movesRegisters())
          e.setMaxNreg(producerRegisters, false);
        if (shape.waitsItself()) {
          askForWeights();
          CudaKernelShell::waitForPredecessor(e);
        }
        if (shape.byTma()) // kernels before stored the rows that TMA reads
          e.when(e.equal(block.tid, e.c32(0)), [&] { e.fenceAsyncGlobal(); });
        lowerBlock(op.getProducer().front());
      },
      [&] {
        if (shape.movesRegisters())
          e.setMaxNreg(consumerRegisters, true);
        if (shape.waitsItself())
          CudaKernelShell::waitForPredecessor(e);
        lowerBlock(op.getConsumer().front());
      });
}

// A consumer whose 64 rows all lie behind the tile's last.
bool CudaMatmulLowering::returnsVacant(tile::ForTilesOp op) const {
  auto found = dyn_cast<tile::RolesOp>(op->getParentOp());
  return found && op->getParentRegion() == &found.getConsumer() && shape.roles->vacantReturns &&
         shape.roles->consumers > 1;
}

// One output a thread, neighbours in a row: out[index / n, index % n].
CudaKernelFacts CudaMatmulLowering::runSums(ModuleOp module, StringRef symbol) {
  CudaMatmulArgs<unsigned> like = cudaMatmulArgs(kernel);
  CudaKernelShell shell(e, module, symbol, countArgs(like), sm);
  begin(shell, shell.bind(like));
  Value index = e.add(e.mul(e.unsignedI64(e.ctaid()), sumThreads), e.unsignedI64(e.tid()));
  e.when(e.less(index, e.mul(block.numTokens, shape.n)), [&] { addShares(index); });
  shell.finish(e, sumThreads);
  CudaKernelFacts facts;
  facts.blockThreads = sumThreads;
  facts.unitsPerToken = shape.n;
  facts.unitsPerBlock = sumThreads;
  return facts;
}

void CudaMatmulLowering::sumsWithin(const CudaEmitter &outer, CudaKernelShell &shell,
                                    const CudaMatmulArgs<Value> &arguments, int64_t threads) {
  e.b.setInsertionPoint(outer.b.getInsertionBlock(), outer.b.getInsertionPoint());
  e.function = outer.function;
  begin(shell, arguments);
  e.loop(e.unsignedI64(e.tid()), e.mul(block.numTokens, shape.n), threads, [&](Value index) { addShares(index); });
}

void CudaMatmulLowering::addShares(Value index) {
  kernel.getBody().walk([&](tile::StoreOp op) { results.addShares(op, index); });
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
