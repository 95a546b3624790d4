// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// out[g,m,n] = sum over the rows r of group g of A[r,m] B[r,n]: a matmul whose depth, the rows, differs by group.
//
// A block computes one tile. Rows are copied ahead into a ring of slots as in the templates' multistage kernel, through
// the route where they are gathered, so that no copy of them is made in memory; the number of steps follows from the
// route.

#include "codegen/cuda/CudaOuter.h"

#include "codegen/cuda/CudaGroups.h"
#include "codegen/cuda/CudaOuterTile.h"
#include "codegen/plan/StageArgs.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace moec {
namespace {

class OuterLowering {
public:
  OuterLowering(moe::GroupedOuterOp op, const RowStrides &rowStrides, const CudaOuterResult &result, int64_t sm)
      : e(OpBuilder(op.getContext()), op.getLoc()), op(op), strides(bindArgs<int64_t>(argsOf(op), rowStrides)),
        result(result), sm(sm), m(columnsOf(op.getA())), n(columnsOf(op.getB())),
        groups(op.getRoute() ? cast<moe::RouteType>(op.getRoute().getType()).getGroups() : 1),
        tile(cast<RankedTensorType>(op.getA().getType()).getElementType(), m, n, groups, sm) {}

  CudaKernelFacts run(ModuleOp module, StringRef symbol) {
    CudaKernelShell shell(e, module, symbol, countArgs(strides), sm, {}, /*sequence=*/result.toCaller);
    args = shell.bind(strides);
    block.numTokens = shell.numTokens;
    block.findThread();
    Value unit = e.unsignedI64(e.ctaid());
    group = e.divU(unit, tilesM() * tilesN());
    Value inGroup = e.remU(unit, tilesM() * tilesN());
    a = {args.a, e.mul(e.divU(inGroup, tilesN()), shape.a.rows), args.tokenA, strides.a, m};
    b = {args.b, e.mul(e.remU(inGroup, tilesN()), shape.b.rows), args.tokenB, strides.b, n};
    findRows();
    store(shell, multiplyAll());
    shell.finish(e, shape.threads());
    return {shape.threads(), shape.stages * shape.slotBytes(), 1, 0, groups * tilesM() * tilesN()};
  }

private:
  using Values = CudaEmitter::Values;
  static int64_t columnsOf(Value v) { return cast<RankedTensorType>(v.getType()).getDimSize(1); }
  int64_t tilesM() const { return int64_t(llvm::divideCeil(uint64_t(m), uint64_t(shape.a.rows))); }
  int64_t tilesN() const { return int64_t(llvm::divideCeil(uint64_t(n), uint64_t(shape.b.rows))); }

  void findRows() {
    CudaGroupRows own = rowsOfGroup(e, args.offsets, groups, group, block.numTokens, op.getFrozen());
    rows.first = own.first, rows.last = own.last;
    rows.steps = e.ceilDiv(e.sub(rows.last, rows.first), tile.depth());
  }

  void copy(Value step) {
    e.when(e.less(step, rows.steps), [&] {
      slots.copy(shape.a, a, rows, step);
      slots.copy(shape.b, b, rows, step);
    });
    e.cpAsyncCommit();
  }

  // What multiplies reads what was copied, by threads or, for wgmma, by the asynchronous proxy.
  Values multiplyAll() {
    for (int64_t s = 0; s < tile.ahead(); ++s)
      copy(e.c(s));
    Values zeros(size_t(shape.accumulators()), e.f(0));
    auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), rows.steps, e.c(1), zeros);
    {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPointToEnd(loop.getBody());
      Value step = loop.getInductionVar(), next = e.add(step, e.c(tile.ahead()));
      e.cpAsyncWait(tile.ahead() - 1);
      if (tile.wgmma)
        e.fenceAsync();
      e.barrier(0, shape.threads());
      Values acc(loop.getRegionIterArgs());
      if (tile.wgmma) {
        acc = slots.multiply(acc, step);
        copy(next);
      } else {
        copy(next);
        acc = slots.multiply(acc, step);
      }
      scf::YieldOp::create(e.b, e.loc, acc);
    }
    e.cpAsyncWait(0);
    Values sums(loop.getResults());
    return tile.wgmma ? e.wgmmaWait(0, sums) : sums;
  }

  void store(CudaKernelShell &shell, const Values &sums) {
    if (!result.toCaller)
      return storeTile(sums, e.f32(), false);
    CudaGradientForm form(e, shell.sequence());
    whenForm(e, form, result.shortTypes, [&](Type type, bool adds) { storeTile(sums, type, adds); });
  }

  // Two neighbouring columns at once where both or neither exist and their address is aligned.
  void storeTile(const Values &sums, Type type, bool adds) {
    int64_t size = type.getIntOrFloatBitWidth() / 8, run = shape.tensorCores() && n % 2 == 0 ? 2 : 1;
    for (int64_t i = 0; i < shape.fragmentRows(); ++i) {
      Value row = e.add(a.column0, block.fragmentRow(i));
      Value line = e.at(args.out, e.mul(e.mul(e.add(e.mul(group, m), row), n), size));
      e.when(e.less(row, e.c(m)), [&] {
        for (int64_t j = 0; j < shape.fragmentColumns(); j += run) {
          Value column = e.add(b.column0, block.fragmentColumn(j));
          Values values;
          for (int64_t l = 0; l < run; ++l)
            values.push_back(sums[slots.sumAt(i, j + l)]);
          auto body = [&] { storeGradient(e, e.at(line, e.mul(column, size)), values, type, adds); };
          if (n % shape.b.rows == 0)
            body();
          else
            e.when(e.less(column, e.c(n)), body);
        }
      });
    }
  }

  CudaEmitter e;
  moe::GroupedOuterOp op;
  OuterArgs<int64_t> strides;
  OuterArgs<Value> args;
  const CudaOuterResult &result;
  int64_t sm, m, n, groups;
  CudaOuterTile tile;
  const CudaMatmulShape &shape = tile.shape;
  CudaMatmulBlock block = {e, shape};
  CudaOuterSlots slots = {block, tile};
  CudaOuterSource a, b;
  CudaOuterRows rows;
  Value group; // i64
};

} // namespace

CudaKernelFacts lowerCudaOuter(moe::GroupedOuterOp op, const RowStrides &strides, const CudaOuterResult &result,
                               int64_t sm, ModuleOp module, StringRef symbol) {
  return OuterLowering(op, strides, result, sm).run(module, symbol);
}

} // namespace moec
