// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sums over the rows of groups are made in runs of 64 rows, as those over tokens (LowerTokens.cpp). Products of a token
// with its rows are summed in 16 lanes wherever multiplication and addition are fused, so that their bits are the same.

#include "codegen/cpu/LowerGroups.h"

#include "codegen/lower/KernelFunction.h"
#include "codegen/plan/PanelLayout.h"
#include "codegen/plan/StageArgs.h"

#include <cstddef>

using namespace mlir;

namespace moec {
namespace {

constexpr int64_t rowRun = 64;

class GroupsLowering {
public:
  GroupsLowering(Operation *op, const IsaFacts &isa) : e(OpBuilder(op->getContext()), op->getLoc(), isa) {}

  void groupSum(moe::GroupSumOp op, const RowStrides &rowStrides, ModuleOp module, StringRef symbol);
  void slotValues(moe::SlotValuesOp op, const RowStrides &rowStrides, ModuleOp module, StringRef symbol);
  void slotProducts(moe::SlotProductsOp op, const RowStrides &rowStrides, ModuleOp module, StringRef symbol);
  void parameterSum(moe::ParameterSumOp op, ModuleOp module, StringRef symbol);
  void scaledRows(moe::ScaledRowsOp op, const moec_weight &weight, ModuleOp module, StringRef symbol);

private:
  using Values = Emitter::Values;
  static RankedTensorType tensor(Value v) { return cast<RankedTensorType>(v.getType()); }
  static int64_t size(Type element) { return element.isBF16() ? 2 : 4; }
  Value number(double v, int64_t width) {
    return width > 1 ? e.constant(v, width)
                     : arith::ConstantOp::create(e.b, e.loc, e.b.getF32FloatAttr(float(v))).getResult();
  }
  Value integer(Value table, Value index) { return e.toI64(e.load(e.b.getI32Type(), e.at(table, e.mul(index, 4)), 4)); }
  // f32 of `width` elements
  Value read(Type element, Value address, int64_t width) {
    Value v = e.load(width > 1 ? Type(e.vec(element, width)) : element, address, unsigned(size(element)));
    return element.isBF16() ? e.fromBf16(v) : v;
  }
  // body(column, width) over [begin, end): whole vectors, then elements
  void columns(Value begin, Value end, llvm::function_ref<void(Value, int64_t)> body) {
    int64_t lanes = e.isa.lanes;
    Value whole = e.add(begin, e.mul(e.divU(e.sub(end, begin), lanes), lanes));
    e.loop(begin, whole, lanes, [&](Value n) { body(n, lanes); });
    e.loop(whole, end, 1, [&](Value n) { body(n, 1); });
  }

  Emitter e;
};

void GroupsLowering::groupSum(moe::GroupSumOp op, const RowStrides &rowStrides, ModuleOp module, StringRef symbol) {
  auto type = tensor(op.getResult());
  bool perGroup = type.getRank() == 2;
  int64_t n = type.getShape().back(), blocks = (n + tokenReduceBlock - 1) / tokenReduceBlock;
  int64_t groups = cast<moe::RouteType>(op.getRoute().getType()).getGroups();
  GroupSumArgs<int64_t> strides = bindArgs<int64_t>(argsOf(op), rowStrides);
  KernelFunction shell(e, module, symbol);
  GroupSumArgs<Value> buffers = shell.bind(e, strides);
  SmallVector<int32_t> frozen(size_t(perGroup ? groups : 0), 0);
  if (op.getFrozen())
    for (auto frozenGroups = *op.getFrozen(); int64_t g : frozenGroups)
      frozen[size_t(g)] = 1;
  e.loop(shell.first, shell.last, 1, [&](Value unit) {
    Value group = e.divU(unit, blocks), begin = e.mul(e.remU(unit, blocks), tokenReduceBlock);
    Value end = e.minS(e.add(begin, e.c(tokenReduceBlock)), e.c(n));
    Value first = perGroup ? integer(buffers.offsets, group) : e.c(0);
    Value last = integer(buffers.offsets, perGroup ? e.add(group, e.c(1)) : e.c(groups));
    if (op.getFrozen())
      last = e.select(e.less(e.c(0), integer(e.numberTable(frozen, 0, 0), group)), first, last);
    columns(begin, end, [&](Value column, int64_t width) {
      auto step = [&](const Values &acc, Value r) -> Values {
        Value at = e.add(e.mul(r, strides.values), e.mul(column, 4));
        return {e.addF(acc[0], read(e.f32(), e.at(buffers.values, at), width))};
      };
      Value sum = e.foldInRuns(first, last, 1, rowRun, {number(0, width)}, step,
                               [&](Value a, Value b) { return e.addF(a, b); })[0];
      e.store(sum, e.at(buffers.out, e.mul(e.add(e.mul(group, n), column), 4)), 4);
    });
  });
  shell.finish(e);
}

void GroupsLowering::slotValues(moe::SlotValuesOp op, const RowStrides &rowStrides, ModuleOp module, StringRef symbol) {
  int64_t choices = tensor(op.getResult()).getDimSize(1);
  SlotValuesArgs<int64_t> strides = bindArgs<int64_t>(argsOf(op), rowStrides);
  KernelFunction shell(e, module, symbol);
  SlotValuesArgs<Value> buffers = shell.bind(e, strides);
  e.loop(shell.first, shell.last, 1, [&](Value t) {
    e.loop(e.c(0), e.c(choices), 1, [&](Value j) {
      Value row = integer(buffers.slotRow, e.add(e.mul(t, choices), j));
      Value to = e.at(buffers.out, e.add(e.mul(t, strides.out), e.mul(j, 4)));
      e.when(
          e.less(row, e.c(0)), [&] { e.store(number(0, 1), to, 4); },
          [&] { e.store(e.load(e.f32(), e.at(buffers.values, e.mul(row, strides.values)), 4), to, 4); });
    });
  });
  shell.finish(e);
}

void GroupsLowering::slotProducts(moe::SlotProductsOp op, const RowStrides &rowStrides, ModuleOp module,
                                  StringRef symbol) {
  int64_t choices = tensor(op.getResult()).getDimSize(1), n = tensor(op.getA()).getDimSize(1);
  Type ofA = tensor(op.getA()).getElementType(), ofRows = tensor(op.getRows()).getElementType();
  int64_t lanes = e.isa.fma ? 16 : e.isa.lanes, whole = n / lanes * lanes;
  SlotProductsArgs<int64_t> strides = bindArgs<int64_t>(argsOf(op), rowStrides);
  KernelFunction shell(e, module, symbol);
  SlotProductsArgs<Value> buffers = shell.bind(e, strides);
  e.loop(shell.first, shell.last, 1, [&](Value t) {
    Value a = e.at(buffers.a, e.mul(t, strides.a));
    e.loop(e.c(0), e.c(choices), 1, [&](Value j) {
      Value row = integer(buffers.slotRow, e.add(e.mul(t, choices), j));
      Value to = e.at(buffers.out, e.add(e.mul(t, strides.out), e.mul(j, 4)));
      auto product = [&] {
        Value x = e.at(buffers.rows, e.mul(row, strides.rows));
        auto dot = [&](Value begin, Value end, int64_t width) {
          auto step = [&](const Values &acc, Value h) -> Values {
            return {e.fma(read(ofA, e.at(a, e.mul(h, size(ofA))), width),
                          read(ofRows, e.at(x, e.mul(h, size(ofRows))), width), acc[0])};
          };
          return e.foldInRuns(begin, end, width, rowRun * width, {number(0, width)}, step,
                              [&](Value p, Value q) { return e.addF(p, q); })[0];
        };
        Value sum = number(0, 1);
        if (whole) {
          Value vector = dot(e.c(0), e.c(whole), lanes);
          for (int64_t count = lanes; count > 1; count /= 2) {
            SmallVector<int64_t> low, high;
            for (int64_t i = 0; i < count / 2; ++i) {
              low.push_back(i);
              high.push_back(i + count / 2);
            }
            vector = e.addF(vector::ShuffleOp::create(e.b, e.loc, vector, vector, low),
                            vector::ShuffleOp::create(e.b, e.loc, vector, vector, high));
          }
          sum = vector::ExtractOp::create(e.b, e.loc, vector, ArrayRef<int64_t>{0});
        }
        if (whole < n)
          sum = e.addF(sum, dot(e.c(whole), e.c(n), 1));
        e.store(sum, to, 4);
      };
      e.when(e.less(row, e.c(0)), [&] { e.store(number(0, 1), to, 4); }, product);
    });
  });
  shell.finish(e);
}

void GroupsLowering::parameterSum(moe::ParameterSumOp op, ModuleOp module, StringRef symbol) {
  int64_t elements = tensor(op.getResult()).getNumElements();
  KernelFunction shell(e, module, symbol);
  ParameterSumArgs<Value> buffers = shell.bind(e, argsOf(op));
  e.loop(shell.first, shell.last, 1, [&](Value unit) {
    Value begin = e.mul(unit, parameterBlock), end = e.minS(e.add(begin, e.c(parameterBlock)), e.c(elements));
    columns(begin, end, [&](Value i, int64_t width) {
      Value sum;
      for (Value values : buffers.values) {
        Value v = read(e.f32(), e.at(values, e.mul(i, 4)), width);
        sum = sum ? e.addF(sum, v) : v;
      }
      e.store(sum, e.at(buffers.out, e.mul(i, 4)), 4);
    });
  });
  shell.finish(e);
}

// One element of the panels at a time: such matrices are small.
void GroupsLowering::scaledRows(moe::ScaledRowsOp op, const moec_weight &weight, ModuleOp module, StringRef symbol) {
  int64_t k = tensor(op.getResult()).getDimSize(1), panelElements = int64_t(weight.k_padded) * panelColumns;
  Type element = tensor(op.getMatrix()).getElementType();
  KernelFunction shell(e, module, symbol);
  ScaledRowsArgs<Value> buffers = shell.bind(e, argsOf(op));
  e.loop(shell.first, shell.last, 1, [&](Value row) {
    Value factor =
        e.mulF(number(op.getFactor().convertToDouble(), 1), e.load(e.f32(), e.at(buffers.values, e.mul(row, 4)), 4));
    Value panel = e.divU(row, panelColumns), v = e.remU(row, panelColumns);
    e.loop(e.c(0), e.c(k), 1, [&](Value i) {
      Value inside;
      if (element.isF32()) {
        inside = e.add(e.mul(i, panelColumns), v);
      } else {
        Value tile = e.add(e.mul(e.divU(i, panelDepth), 2 * tileElements), e.mul(e.divU(v, halfPanel), tileElements));
        Value pair = e.mul(e.divU(e.remU(i, panelDepth), 2), panelColumns);
        inside = e.add(e.add(tile, pair), e.add(e.mul(e.remU(v, halfPanel), 2), e.remU(i, 2)));
      }
      Value at = e.mul(e.add(e.mul(panel, panelElements), inside), size(element));
      Value value = e.mulF(factor, read(element, e.at(buffers.matrix, at), 1));
      e.store(value, e.at(buffers.out, e.mul(e.add(e.mul(row, k), i), 4)), 4);
    });
  });
  shell.finish(e);
}

} // namespace

void lowerGroupSum(moe::GroupSumOp op, const RowStrides &strides, const IsaFacts &isa, ModuleOp module,
                   StringRef symbol) {
  GroupsLowering(op, isa).groupSum(op, strides, module, symbol);
}

void lowerSlotValues(moe::SlotValuesOp op, const RowStrides &strides, const IsaFacts &isa, ModuleOp module,
                     StringRef symbol) {
  GroupsLowering(op, isa).slotValues(op, strides, module, symbol);
}

void lowerSlotProducts(moe::SlotProductsOp op, const RowStrides &strides, const IsaFacts &isa, ModuleOp module,
                       StringRef symbol) {
  GroupsLowering(op, isa).slotProducts(op, strides, module, symbol);
}

void lowerParameterSum(moe::ParameterSumOp op, const IsaFacts &isa, ModuleOp module, StringRef symbol) {
  GroupsLowering(op, isa).parameterSum(op, module, symbol);
}

void lowerScaledRows(moe::ScaledRowsOp op, const moec_weight &weight, const IsaFacts &isa, ModuleOp module,
                     StringRef symbol) {
  GroupsLowering(op, isa).scaledRows(op, weight, module, symbol);
}

} // namespace moec
