// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// out[t, h] = epilogue(sum_j w[t, j] * rows[slot_row[t*K + j], h], ...): a run of columns stays in registers while the
// token's choices are added in ascending order.

#include "codegen/cpu/LowerRows.h"

#include "codegen/lower/KernelFunction.h"
#include "codegen/plan/StageArgs.h"

using namespace mlir;

namespace moec {
namespace {

class CombineLowering {
public:
  CombineLowering(moe::CombineOp op, const RowStrides &strides, const IsaFacts &isa)
      : e(OpBuilder(op.getContext()), op.getLoc(), isa), op(op), strides(bindArgs<int64_t>(argsOf(op), strides)) {
    auto type = cast<RankedTensorType>(op.getRows().getType());
    rowElement = type.getElementType();
    hidden = type.getDimSize(1);
    choices = cast<moe::RouteType>(op.getRoute().getType()).getChoices();
    outElement = cast<RankedTensorType>(op.getResult().getType()).getElementType();
  }

  void run(ModuleOp module, StringRef symbol) {
    KernelFunction shell(e, module, symbol);
    buffers = shell.bind(e, strides);
    // whole runs of vectors, then single vectors, then elements
    int64_t lanes = e.isa.lanes, run = lanes * (e.isa.registers / 2), wide = hidden / run * run;
    int64_t vectors = hidden / lanes * lanes;
    e.loop(shell.first, shell.last, 1, [&](Value t) {
      columns(t, 0, wide, run, lanes);
      columns(t, wide, vectors, lanes, lanes);
      columns(t, vectors, hidden, 1, 1);
    });
    shell.finish(e);
  }

private:
  static int64_t size(Type element) { return element.isBF16() ? 2 : 4; }

  // Columns [begin, end) in runs of `run`, each run / width values of `width` lanes.
  void columns(Value t, int64_t begin, int64_t end, int64_t run, int64_t width) {
    if (begin == end)
      return;
    e.loop(e.c(begin), e.c(end), run, [&](Value h) {
      Value zero =
          width > 1 ? e.constant(0, width) : arith::ConstantOp::create(e.b, e.loc, e.b.getF32FloatAttr(0)).getResult();
      SmallVector<Value> acc(run / width, zero);
      auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), e.c(choices), e.c(1), acc);
      {
        OpBuilder::InsertionGuard guard(e.b);
        e.b.setInsertionPointToEnd(loop.getBody());
        SmallVector<Value> inner(loop.getRegionIterArgs());
        scf::YieldOp::create(e.b, e.loc, addChoice(t, loop.getInductionVar(), h, inner, width));
      }
      for (auto [i, v] : llvm::enumerate(loop.getResults()))
        finish(t, e.add(h, e.c(int64_t(i) * width)), v, width);
    });
  }

  // acc + w * row of choice j; a choice without a row adds nothing (not zero times something).
  SmallVector<Value> addChoice(Value t, Value j, Value h, ArrayRef<Value> acc, int64_t width) {
    Value slot = e.add(e.mul(t, choices), j);
    Value row = e.toI64(e.load(e.b.getI32Type(), e.at(buffers.slotRow, e.mul(slot, 4)), 4));
    Value present = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::sge, row, e.c(0));
    auto branch = scf::IfOp::create(e.b, e.loc, ValueRange(acc).getTypes(), present, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(e.b, e.loc, acc);
    e.b.setInsertionPointToStart(branch.thenBlock());
    Value p = e.at(buffers.rows, e.add(e.mul(row, strides.rows), e.mul(h, size(rowElement))));
    Value weight;
    if (buffers.weights) {
      weight = e.load(e.f32(), e.at(*buffers.weights, e.mul(slot, 4)), 4);
      if (width > 1)
        weight = e.splat(weight, width);
    }
    SmallVector<Value> out;
    for (auto [i, a] : llvm::enumerate(acc)) {
      Value x = value(rowElement, e.at(p, int64_t(i) * width * size(rowElement)), width);
      if (rowElement.isBF16())
        x = e.fromBf16(x);
      out.push_back(weight ? e.fma(weight, x, a) : e.addF(a, x));
    }
    scf::YieldOp::create(e.b, e.loc, out);
    return SmallVector<Value>(branch.getResults());
  }

  Value value(Type element, Value p, int64_t width) {
    return e.load(width == 1 ? element : Type(e.vec(element, width)), p, unsigned(size(element)));
  }

  void finish(Value t, Value h, Value acc, int64_t width) {
    SmallVector<Value> inputs = {acc};
    for (auto [i, operand] : llvm::enumerate(op.getEpilogueOperands())) {
      Type element = cast<RankedTensorType>(operand.getType()).getElementType();
      Value base = buffers.epilogue[i];
      int64_t stride = strides.epilogue[i], bytes = size(element);
      moe::OperandKind kind = moe::kindAt(op.getEpilogueKinds(), unsigned(i));
      if (kind == moe::OperandKind::elem || kind == moe::OperandKind::col) {
        Value offset = e.mul(h, bytes);
        if (kind == moe::OperandKind::elem)
          offset = e.add(offset, e.mul(t, stride));
        inputs.push_back(value(element, e.at(base, offset), width));
        continue;
      }
      Value scalar = value(element, kind == moe::OperandKind::row ? e.at(base, e.mul(t, stride)) : base, 1);
      inputs.push_back(width == 1 ? scalar : e.splat(scalar, width));
    }
    Value out = op.getEpilogue().empty() ? acc : e.inlineVectorised(op.getEpilogue(), inputs, width)[0];
    Value to = e.at(buffers.out, e.add(e.mul(t, strides.out), e.mul(h, size(outElement))));
    e.store(out, to, unsigned(size(outElement)));
  }

  Emitter e;
  moe::CombineOp op;
  CombineArgs<int64_t> strides;
  CombineArgs<Value> buffers;
  Type rowElement, outElement;
  int64_t hidden = 0, choices = 0;
};

} // namespace

int64_t lowerCombine(moe::CombineOp op, const RowStrides &strides, const IsaFacts &isa, ModuleOp module,
                     StringRef symbol) {
  CombineLowering(op, strides, isa).run(module, symbol);
  return 0;
}

} // namespace moec
