// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Routes, and what goes over them: gather, matmuls of groups, combine.

#include "codegen/interpret/InterpreterFrame.h"

#include "llvm/ADT/Hashing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mlir;

namespace moec::interpret {

using namespace moe;

LogicalResult interpretDispatch(Frame &frame, DispatchOp op) {
  const Tensor &ids = frame.tensor(op.getIds());
  if (ids.route || ids.rows() != frame.shape.tokens)
    return op.emitOpError("ids have the rows of a route, expected tokens");
  auto type = cast<RouteType>(op.getRoute().getType());
  Route route;
  route.groups = type.getGroups();
  route.choices = type.getChoices();
  route.slotRow.assign(ids.data.size(), -1);
  route.offsets.push_back(0);
  std::vector<std::vector<int64_t>> slots(size_t(route.groups));
  for (size_t slot = 0; slot < ids.data.size(); ++slot)
    if (ids.data[slot] >= 0 && ids.data[slot] < double(route.groups))
      slots[size_t(ids.data[slot])].push_back(int64_t(slot));
  for (const std::vector<int64_t> &group : slots) {
    for (int64_t slot : group) {
      route.slotRow[size_t(slot)] = route.numRows();
      route.rowToken.push_back(slot / route.choices);
      route.rowChoice.push_back(slot % route.choices);
    }
    route.offsets.push_back(route.numRows());
  }
  for (size_t slot = 0; slot < ids.data.size(); ++slot) {
    uint64_t &choice = frame.choices[slot / size_t(route.choices)];
    choice = llvm::hash_combine(choice, std::max<int64_t>(-1, int64_t(ids.data[slot])));
  }
  frame.set(op.getRoute(), std::move(route));
  return success();
}

LogicalResult interpretSlots(Frame &frame, SlotsOp op) {
  auto type = cast<RouteType>(op.getRoute().getType());
  Route route;
  route.groups = type.getGroups();
  route.choices = type.getChoices();
  int64_t each = route.choices / route.groups;
  route.slotRow.assign(size_t(frame.shape.tokens * route.choices), -1);
  route.offsets.push_back(0);
  std::vector<TokenRange> scopes = scopesOf(frame, op.getScope(), 0);
  for (int64_t g = 0; g < route.groups; ++g) {
    for (TokenRange scope : scopes)
      for (int64_t s = g * each; s < (g + 1) * each; ++s) {
        for (int64_t t = scope.first; t < scope.last; ++t)
          route.slotRow[size_t(t * route.choices + s)] = route.numRows();
        route.rowToken.push_back(scope.first);
        route.rowChoice.push_back(s);
      }
    route.offsets.push_back(route.numRows());
  }
  frame.set(op.getRoute(), std::move(route));
  return success();
}

LogicalResult interpretGather(Frame &frame, GatherOp op) {
  const Tensor &x = frame.tensor(op.getInput());
  RouteRef route = frame.route(op.getRoute());
  if (x.route || x.rows() != frame.shape.tokens)
    return op.emitOpError("gathers from rows of a route, expected tokens");
  Tensor out = frame.make(op.getResult(), route->numRows(), route);
  int64_t columns = op.bySlot() ? op.slotColumns() : 0;
  for (int64_t r = 0; r < out.rows(); ++r)
    for (int64_t h = 0; h < out.columns(); ++h)
      out.at(r, h) = x.at(route->rowToken[size_t(r)], route->rowChoice[size_t(r)] * columns + h);
  out.rounded = x.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretSlotRows(Frame &frame, SlotRowsOp op) {
  const Tensor &x = frame.tensor(op.getInput());
  RouteRef route = frame.route(op.getRoute());
  int64_t slots = int64_t(op.getSlots());
  std::vector<TokenRange> scopes = scopesOf(frame, op.getScope(), 0);
  std::optional<ArrayRef<int32_t>> numbers = op.getNumbers();
  Tensor out = frame.make(op.getResult(), route->numRows(), route);
  for (int64_t r = 0; r < out.rows(); ++r) {
    int64_t token = route->rowToken[size_t(r)], choice = route->rowChoice[size_t(r)];
    int64_t scope = llvm::find_if(scopes, [&](TokenRange range) { return range.first == token; }) - scopes.begin();
    int64_t row = scope * slots + (numbers ? (*numbers)[size_t(choice)] : choice);
    if (row >= x.rows())
      return op.emitOpError("reads row ") << row << " of " << x.rows();
    for (int64_t n = 0; n < out.columns(); ++n)
      out.at(r, n) = x.at(row, n);
  }
  out.rounded = x.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretSlotInputs(Frame &frame, SlotInputsOp op) {
  const Tensor &x = frame.tensor(op.getInput()), &w = frame.tensor(op.getWeights());
  RouteRef route = frame.route(op.getRoute());
  auto slots = op.getRoute().getDefiningOp<SlotsOp>();
  if (!slots)
    return op.emitOpError("C1: the route comes from slots");
  Tensor out = frame.make(op.getResult(), route->numRows(), route);
  Type element = cast<RankedTensorType>(op.getResult().getType()).getElementType();
  std::vector<TokenRange> scopes = scopesOf(frame, slots.getScope(), 0);
  const Roundings &round = frame.shape.round;
  for (int64_t r = 0; r < out.rows(); ++r) {
    int64_t first = route->rowToken[size_t(r)];
    auto scope = llvm::find_if(scopes, [&](TokenRange range) { return range.first == first; });
    for (int64_t h = 0; h < out.columns(); ++h) {
      double sum = 0, weights = 0, inputs = 0;
      for (int64_t t = first; t < scope->last; ++t) {
        double weight = w.at(t, route->rowChoice[size_t(r)]), input = x.at(t, h);
        sum += weight * input;
        weights += weight * weight;
        inputs += input * input;
      }
      sum = round.sum(sum, std::sqrt(weights), std::sqrt(inputs), double(scope->last - first));
      out.at(r, h) = round.stored(element, sum);
    }
  }
  out.rounded = x.rounded || w.rounded || (round.narrow && !element.isF32());
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretCombine(Frame &frame, CombineOp op) {
  ScalarRegion epilogue;
  if (failed(epilogue.compile(op.getEpilogue(), frame.shape.round)))
    return failure();
  const Tensor &rows = frame.tensor(op.getRows());
  RouteRef route = frame.route(op.getRoute());
  if (rows.route != route)
    return op.emitOpError("the rows are not those of its route");
  Tensor out = frame.make(op.getResult(), frame.shape.tokens);
  const Tensor *weights = op.getWeights() ? &frame.tensor(op.getWeights()) : nullptr;
  RegionOperands operands(frame, op.getEpilogueOperands(), op.getEpilogueKinds());
  std::vector<double> values(operands.size() + 1);
  for (int64_t t = 0; t < out.rows(); ++t) {
    epilogue.reset();
    for (int64_t h = 0; h < out.columns(); ++h) {
      double sum = 0, squares = 0, size = 0;
      for (int64_t j = 0; j < route->choices; ++j) {
        int64_t row = route->slotRow[size_t(t * route->choices + j)];
        double weight = weights ? weights->at(t, j) : 1;
        if (row < 0)
          continue;
        sum += weight * rows.at(row, h);
        squares += weight * weight;
        size += rows.at(row, h) * rows.at(row, h);
      }
      out.at(t, h) = frame.shape.round.sum(sum, std::sqrt(squares), std::sqrt(size), double(route->choices));
      if (epilogue.empty())
        continue;
      values[0] = out.at(t, h);
      operands.fetch(t, h, out.columns(), 0, values.data() + 1);
      out.at(t, h) = epilogue.run(values);
    }
    frame.noteMargin(out, t, epilogue.closest(), 1);
  }
  if (epilogue.divided())
    return op.emitOpError("divides an integer by zero");
  out.rounded = rows.rounded || (weights && weights->rounded) || operands.rounded() || epilogue.rounds();
  frame.set(op.getResult(), std::move(out));
  return success();
}

namespace {

// Rows of A times rows of B as a kernel may compute them.
class MatmulErrors {
public:
  MatmulErrors(const Frame &frame, GroupedMatmulOp op, const std::vector<const double *> &b, int64_t depth)
      : round(frame.shape.round), b(b), depth(depth) {
    auto isF32 = [](Value value) { return cast<RankedTensorType>(value.getType()).getElementType().isF32(); };
    bool exact = frame.shape.exact && frame.shape.exact->contains(op);
    tf32 = round.errors && round.errors->tf32 && !exact && isF32(op.getA()) && isF32(op.getB().front());
    columns = cast<RankedTensorType>(op.getType()).getDimSize(1);
    transposed = op.getTransposed();
  }

  // `row` of A becomes what the products see.
  void enter(std::vector<double> &row) {
    for (double &v : row)
      v = tf32 ? round.errors->roundedToTf32(v) : v;
    length = round.errors ? std::sqrt(std::inner_product(row.begin(), row.end(), row.begin(), 0.0)) : 0;
  }

  // With column n of the matrix of `group`.
  double product(const std::vector<double> &row, size_t part, int64_t group, int64_t n) {
    const double *matrix = b[part] + group * columns * depth, *column = matrix + (transposed ? n : n * depth);
    int64_t step = transposed ? columns : 1;
    if (!round.errors && step == 1)
      return std::inner_product(row.begin(), row.end(), column, 0.0);
    double sum = 0, squares = 0;
    for (int64_t k = 0; k < depth; ++k) {
      double v = tf32 ? round.errors->roundedToTf32(column[k * step]) : column[k * step];
      sum += row[size_t(k)] * v;
      squares += v * v;
    }
    return round.sum(sum, length, std::sqrt(squares), double(depth));
  }

private:
  const Roundings &round;
  const std::vector<const double *> &b;
  const int64_t depth;
  int64_t columns = 0;
  bool tf32 = false, transposed = false;
  double length = 0; // of the row of A
};

} // namespace

LogicalResult interpretGroupedMatmul(Frame &frame, GroupedMatmulOp op) {
  ScalarRegion prologue, epilogue;
  if (failed(prologue.compile(op.getPrologue(), frame.shape.round)) ||
      failed(epilogue.compile(op.getEpilogue(), frame.shape.round)))
    return failure();
  const Tensor &a = frame.tensor(op.getA());
  RouteRef route = op.getRoute() ? frame.route(op.getRoute()) : nullptr;
  RouteRef expected = op.getGathered() ? nullptr : route ? route : a.route;
  if (a.route != expected)
    return op.emitOpError("A has rows of another route");
  Tensor out = frame.make(op.getResult(), route ? route->numRows() : a.rows(), route ? route : a.route);
  RegionOperands before(frame, op.getPrologueOperands(), op.getPrologueKinds());
  RegionOperands after(frame, op.getEpilogueOperands(), op.getEpilogueKinds());
  size_t parts = op.getB().size();
  std::vector<const double *> b;
  for (Value part : op.getB())
    b.push_back(frame.tensor(part).data.data());
  int64_t depth = op.depth(), columns = out.columns();
  std::vector<double> row(static_cast<size_t>(depth)), first(before.size() + 1), last(parts + after.size());
  MatmulErrors errors(frame, op, b, depth);
  for (int64_t r = 0; r < out.rows(); ++r) {
    int64_t group = route ? route->groupOf(r) : 0, from = op.getGathered() ? route->rowToken[size_t(r)] : r;
    prologue.reset();
    epilogue.reset();
    std::copy_n(&a.data[size_t(from * depth)], depth, row.begin());
    for (int64_t k = 0; k < depth && !prologue.empty(); ++k) {
      first[0] = row[size_t(k)];
      before.fetch(r, k, depth, group, first.data() + 1);
      row[size_t(k)] = prologue.run(first);
    }
    errors.enter(row);
    for (int64_t n = 0; n < columns; ++n) {
      for (size_t p = 0; p < parts; ++p)
        last[p] = errors.product(row, p, group, n);
      if (!epilogue.empty())
        after.fetch(r, n, columns, group, last.data() + parts);
      out.at(r, n) = epilogue.empty() ? last[0] : epilogue.run(last);
    }
    frame.noteMargin(out, r, std::min(prologue.closest(), epilogue.closest()), 1);
  }
  if (prologue.divided() || epilogue.divided())
    return op.emitOpError("divides an integer by zero");
  out.rounded = a.rounded || before.rounded() || after.rounded() || prologue.rounds() || epilogue.rounds();
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretSquareSums(Frame &frame, SquareSumsOp op) {
  const Tensor &matrix = frame.tensor(op.getMatrix());
  Tensor out = frame.make(op.getResult(), 0);
  for (int64_t n = 0; n < out.rows(); ++n) {
    double sum = 0;
    for (int64_t k = 0; k < matrix.columns(); ++k)
      sum += matrix.at(n, k) * matrix.at(n, k);
    out.data[size_t(n)] = frame.shape.round.errors ? frame.shape.round.errors->rounded(sum, DataType::F32) : sum;
  }
  frame.set(op.getResult(), std::move(out));
  return success();
}

} // namespace moec::interpret
