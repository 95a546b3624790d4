// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops of backward passes, in the order of MoeGradOps.td.

#include "codegen/interpret/InterpreterFrame.h"

#include <cmath>

using namespace mlir;

namespace moec::interpret {

using namespace moe;

// The rows [first, last) of group g of `route`; without a route all of `rows`.
static TokenRange groupRows(const RouteRef &route, int64_t rows, int64_t g) {
  return route ? TokenRange{route->offsets[size_t(g)], route->offsets[size_t(g + 1)]} : TokenRange{0, rows};
}

// Those that are computed: not frozen.
template <typename Op> static bool isComputed(Op op, int64_t group) {
  return !op.getFrozen() || !llvm::is_contained(*op.getFrozen(), group);
}

static LogicalResult expectRows(Operation *op, const Tensor &rows, const RouteRef &route) {
  return rows.route == route ? success() : op->emitOpError("the rows are not those of its route");
}

LogicalResult interpretGroupedOuter(Frame &frame, GroupedOuterOp op) {
  const Tensor &a = frame.tensor(op.getA()), &b = frame.tensor(op.getB());
  RouteRef route = op.getRoute() ? frame.route(op.getRoute()) : a.route;
  if (failed(expectRows(op, a, op.getGatheredA() ? nullptr : route)) ||
      failed(expectRows(op, b, op.getGatheredB() ? nullptr : route)))
    return failure();
  auto rowOf = [&](bool gathered, int64_t r) { return gathered ? int64_t(route->rowToken[size_t(r)]) : r; };
  if (!op.getRoute())
    route = nullptr;
  Tensor out = frame.make(op.getResult(), 0);
  int64_t m = a.columns(), n = b.columns(), groups = int64_t(out.data.size()) / (m * n);
  for (int64_t g = 0; g < groups; ++g) {
    TokenRange rows = isComputed(op, g) ? groupRows(route, a.rows(), g) : TokenRange{0, 0};
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0, ofA = 0, ofB = 0;
        for (int64_t r = rows.first; r < rows.last; ++r) {
          double x = a.at(rowOf(op.getGatheredA(), r), i), y = b.at(rowOf(op.getGatheredB(), r), j);
          sum += x * y;
          ofA += x * x;
          ofB += y * y;
        }
        out.data[size_t((g * m + i) * n + j)] =
            frame.shape.round.sum(sum, std::sqrt(ofA), std::sqrt(ofB), double(rows.last - rows.first));
      }
  }
  out.rounded = a.rounded || b.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretGroupSum(Frame &frame, GroupSumOp op) {
  const Tensor &x = frame.tensor(op.getInput());
  RouteRef route = frame.route(op.getRoute());
  if (failed(expectRows(op, x, route)))
    return failure();
  Tensor out = frame.make(op.getResult(), 0);
  int64_t n = x.columns();
  bool all = out.shape.size() == 1;
  for (int64_t g = 0; g < (all ? 1 : route->groups); ++g) {
    TokenRange rows = isComputed(op, g) ? groupRows(all ? nullptr : route, x.rows(), g) : TokenRange{0, 0};
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, squares = 0;
      for (int64_t r = rows.first; r < rows.last; ++r) {
        sum += x.at(r, j);
        squares += x.at(r, j) * x.at(r, j);
      }
      out.data[size_t(g * n + j)] = frame.summed(op.getResult(), sum, squares, double(rows.last - rows.first));
    }
  }
  out.rounded = x.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretRowsOf(Frame &frame, RowsOfOp op) {
  Tensor out = frame.tensor(op.getInput());
  out.route = frame.route(op.getRoute());
  if (out.rows() != out.route->numRows())
    return op.emitOpError("x has ") << out.rows() << " rows, the route " << out.route->numRows();
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretSlotValues(Frame &frame, SlotValuesOp op) {
  const Tensor &x = frame.tensor(op.getInput());
  RouteRef route = frame.route(op.getRoute());
  if (failed(expectRows(op, x, route)))
    return failure();
  Tensor out = frame.make(op.getResult(), frame.shape.tokens);
  for (size_t slot = 0; slot < out.data.size(); ++slot)
    if (int64_t row = route->slotRow[slot]; row >= 0)
      out.data[slot] = x.data[size_t(row)];
  out.rounded = x.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretSlotProducts(Frame &frame, SlotProductsOp op) {
  const Tensor &a = frame.tensor(op.getA()), &rows = frame.tensor(op.getRows());
  RouteRef route = frame.route(op.getRoute());
  if (failed(expectRows(op, rows, route)))
    return failure();
  if (a.route || a.rows() != frame.shape.tokens)
    return op.emitOpError("a has the rows of a route, expected tokens");
  Tensor out = frame.make(op.getResult(), frame.shape.tokens);
  for (int64_t t = 0; t < out.rows(); ++t)
    for (int64_t j = 0; j < out.columns(); ++j) {
      int64_t row = route->slotRow[size_t(t * out.columns() + j)];
      if (row < 0)
        continue;
      double sum = 0, ofA = 0, ofRows = 0;
      for (int64_t h = 0; h < a.columns(); ++h) {
        sum += a.at(t, h) * rows.at(row, h);
        ofA += a.at(t, h) * a.at(t, h);
        ofRows += rows.at(row, h) * rows.at(row, h);
      }
      out.at(t, j) = frame.shape.round.sum(sum, std::sqrt(ofA), std::sqrt(ofRows), double(a.columns()));
    }
  out.rounded = a.rounded || rows.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretParameterSum(Frame &frame, ParameterSumOp op) {
  Tensor out = frame.make(op.getResult(), 0);
  for (Value input : op.getInputs()) {
    const Tensor &v = frame.tensor(input);
    for (size_t i = 0; i < out.data.size(); ++i)
      out.data[i] += v.data[i];
    out.rounded |= v.rounded;
  }
  if (ReferenceRounding *errors = frame.shape.round.errors)
    for (double &v : out.data)
      v = errors->rounded(v, DataType::F32);
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretScaledRows(Frame &frame, ScaledRowsOp op) {
  const Tensor &w = frame.tensor(op.getMatrix()), &v = frame.tensor(op.getValues());
  Tensor out = frame.make(op.getResult(), 0);
  double factor = op.getFactor().convertToDouble();
  for (int64_t n = 0; n < w.rows(); ++n)
    for (int64_t k = 0; k < w.columns(); ++k) {
      double scaled = factor * v.data[size_t(n)] * w.at(n, k);
      out.at(n, k) = frame.shape.round.errors ? frame.shape.round.errors->rounded(scaled, DataType::F32) : scaled;
    }
  out.rounded = w.rounded || v.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

} // namespace moec::interpret
