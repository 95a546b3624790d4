// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Row ops: every row by itself, in the order of MoeOps.td.

#include "codegen/interpret/InterpreterFrame.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mlir;

namespace moec::interpret {

using namespace moe;

static constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// ---- operands of regions -----------------------------------------------------------------------------------------

RegionOperands::RegionOperands(Frame &frame, OperandRange operands, ArrayAttr kindList) {
  for (auto [i, operand] : llvm::enumerate(operands)) {
    tensors.push_back(&frame.tensor(operand));
    kinds.push_back(kindAt(kindList, unsigned(i)));
  }
}

void RegionOperands::fetch(int64_t row, int64_t column, int64_t columns, int64_t group, double *out) const {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor &v = *tensors[i];
    switch (kinds[i]) {
    case OperandKind::elem:
      out[i] = v.at(row, column);
      break;
    case OperandKind::row:
      out[i] = v.data[size_t(row)];
      break;
    case OperandKind::col:
      out[i] = v.data[size_t((v.shape.size() == 2 ? group * columns : 0) + column)];
      break;
    case OperandKind::segment:
      out[i] = v.at(row, column / (columns / v.columns()));
      break;
    case OperandKind::scalar:
      out[i] = v.data[0];
      break;
    }
  }
}

bool RegionOperands::rounded() const {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor *tensor) { return tensor->rounded; });
}

// ---- ops ---------------------------------------------------------------------------------------------------------

LogicalResult interpretMap(Frame &frame, MapOp op) {
  ScalarRegion region;
  if (failed(region.compile(op.getBody(), frame.shape.round)))
    return failure();
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  RegionOperands operands(frame, op.getInputs(), op.getKinds());
  std::vector<double> values(operands.size());
  int64_t columns = out->columns();
  for (auto [i, input] : llvm::enumerate(op.getInputs())) {
    auto type = cast<RankedTensorType>(input.getType());
    int64_t groups = out->route ? out->route->groups : 0;
    if (kindAt(op.getKinds(), unsigned(i)) == OperandKind::col && type.getRank() == 2 && type.getDimSize(0) != groups)
      return op.emitOpError("operand ") << i << " has a row for each of " << type.getDimSize(0)
                                        << " groups, the rows are those of " << groups;
  }
  for (int64_t r = 0; r < out->rows(); ++r) {
    int64_t group = out->route ? out->route->groupOf(r) : 0;
    region.reset();
    for (int64_t n = 0; n < columns; ++n) {
      operands.fetch(r, n, columns, group, values.data());
      out->at(r, n) = region.run(values);
    }
    frame.noteMargin(*out, r, region.closest(), 1);
  }
  if (region.divided())
    return op.emitOpError("divides an integer by zero");
  out->rounded |= region.rounds();
  frame.set(op.getResult(), std::move(*out));
  return success();
}

// Columns of one segment of a row, for ops whose segments divide the columns.
static std::vector<TokenRange> segmentsOf(int64_t columns, std::optional<uint64_t> segments) {
  int64_t count = int64_t(segments.value_or(1)), length = columns / count;
  std::vector<TokenRange> ranges;
  for (int64_t s = 0; s < count; ++s)
    ranges.push_back({s * length, (s + 1) * length});
  return ranges;
}

LogicalResult interpretReduce(Frame &frame, ReduceOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  const Tensor &x = frame.tensor(op.getInput());
  bool sum = op.getKind() == ReduceKind::sum;
  for (int64_t r = 0; r < out->rows(); ++r)
    for (auto [s, segment] : llvm::enumerate(segmentsOf(x.columns(), op.getSegments()))) {
      double acc = sum ? 0 : nan, squares = 0, count = double(segment.last - segment.first);
      for (int64_t n = segment.first; n < segment.last; ++n) {
        acc = sum ? acc + x.at(r, n) : joinMax(acc, x.at(r, n));
        squares += x.at(r, n) * x.at(r, n);
      }
      out->at(r, int64_t(s)) = sum ? frame.summed(op.getResult(), acc, squares, count) : acc;
    }
  frame.set(op.getResult(), std::move(*out));
  return success();
}

LogicalResult interpretSoftmax(Frame &frame, SoftmaxOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  const Tensor &x = frame.tensor(op.getInput());
  for (int64_t r = 0; r < out->rows(); ++r)
    for (TokenRange segment : segmentsOf(x.columns(), op.getSegments())) {
      double most = nan, sum = 0, count = double(segment.last - segment.first);
      for (int64_t n = segment.first; n < segment.last; ++n)
        most = joinMax(most, x.at(r, n));
      for (int64_t n = segment.first; n < segment.last; ++n)
        sum += out->at(r, n) = std::exp(x.at(r, n) - most);
      for (int64_t n = segment.first; n < segment.last; ++n)
        out->at(r, n) = frame.softmaxed(out->at(r, n) / sum, most - x.at(r, n), count);
    }
  frame.set(op.getResult(), std::move(*out));
  return success();
}

LogicalResult interpretColumns(Frame &frame, ColumnsOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  for (int64_t r = 0; r < out->rows(); ++r)
    for (int64_t n = 0; n < out->columns(); ++n)
      out->at(r, n) = op.getNumbers() ? double((*op.getNumbers())[size_t(n)]) : double(n);
  frame.set(op.getResult(), std::move(*out));
  return success();
}

LogicalResult interpretPrefixSum(Frame &frame, PrefixSumOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  const Tensor &x = frame.tensor(op.getInput());
  for (int64_t r = 0; r < out->rows(); ++r) {
    double before = 0, squares = 0;
    for (int64_t n = 0; n < out->columns(); ++n) {
      out->at(r, n) = frame.summed(op.getResult(), before, squares, double(n));
      before += x.at(r, n);
      squares += x.at(r, n) * x.at(r, n);
    }
  }
  frame.set(op.getResult(), std::move(*out));
  return success();
}

LogicalResult interpretLookup(Frame &frame, LookupOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  const Tensor &table = frame.tensor(op.getTable()), &index = frame.tensor(op.getIndex());
  for (int64_t r = 0; r < out->rows(); ++r) {
    double at = index.data[size_t(r)];
    bool inside = at >= 0 && at < double(table.rows());
    for (int64_t n = 0; n < out->columns(); ++n)
      out->at(r, n) = inside ? table.at(int64_t(at), n) : -1;
  }
  frame.set(op.getResult(), std::move(*out));
  return success();
}

LogicalResult interpretTopK(Frame &frame, TopKOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  const Tensor &x = frame.tensor(op.getChoice());
  int64_t k = int64_t(op.getK());
  for (int64_t r = 0; r < out->rows(); ++r)
    for (auto [s, segment] : llvm::enumerate(segmentsOf(x.columns(), op.getSegments()))) {
      std::vector<int64_t> order(size_t(segment.last - segment.first));
      std::iota(order.begin(), order.end(), segment.first);
      size_t decided = std::min(order.size(), size_t(k) + 1); // the first that is not chosen too
      std::partial_sort(order.begin(), order.begin() + int64_t(decided), order.end(), [&](int64_t a, int64_t b) {
        double va = x.at(r, a), vb = x.at(r, b);
        return isLarger(va, vb) || (!isLarger(vb, va) && a < b);
      });
      double size = 0;
      for (int64_t n : order)
        if (std::isfinite(x.at(r, n)))
          size = std::max(size, std::fabs(x.at(r, n)));
      for (size_t j = 0; j + 1 < decided; ++j)
        frame.noteMargin(*out, r, x.at(r, order[j]) - x.at(r, order[j + 1]), size);
      for (int64_t j = 0; j < k; ++j)
        out->at(r, int64_t(s) * k + j) = double(order[size_t(j)]);
    }
  frame.set(op.getIds(), std::move(*out));
  return success();
}

// The column that an id names; -1: none.
static int64_t columnAt(double id, int64_t columns) { return id >= 0 && id < double(columns) ? int64_t(id) : -1; }

LogicalResult interpretMember(Frame &frame, MemberOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  const Tensor &ids = frame.tensor(op.getIds());
  for (int64_t r = 0; r < out->rows(); ++r)
    for (int64_t j = 0; j < ids.columns(); ++j)
      if (int64_t n = columnAt(ids.at(r, j), out->columns()); n >= 0)
        out->at(r, n) = 1;
  frame.set(op.getMask(), std::move(*out));
  return success();
}

LogicalResult interpretTake(Frame &frame, TakeOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  const Tensor &x = frame.tensor(op.getInput()), &ids = frame.tensor(op.getIds());
  bool vector = x.shape.size() == 1; // the same for all rows
  int64_t columns = vector ? x.rows() : x.columns();
  for (int64_t r = 0; r < out->rows(); ++r)
    for (int64_t j = 0; j < out->columns(); ++j) {
      int64_t n = columnAt(ids.at(r, j), columns);
      out->at(r, j) = n < 0 ? 0 : vector ? x.data[size_t(n)] : x.at(r, n);
    }
  frame.set(op.getResult(), std::move(*out));
  return success();
}

LogicalResult interpretPut(Frame &frame, PutOp op) {
  std::optional<Tensor> out = frame.makeRows(op);
  if (!out)
    return failure();
  const Tensor &v = frame.tensor(op.getInput()), &ids = frame.tensor(op.getIds());
  for (int64_t r = 0; r < out->rows(); ++r)
    for (int64_t j = 0; j < ids.columns(); ++j)
      if (int64_t n = columnAt(ids.at(r, j), out->columns()); n >= 0)
        out->at(r, n) += v.at(r, j);
  frame.set(op.getResult(), std::move(*out));
  return success();
}

// The body sees whole tensors: its ops treat every row by itself, so that the order of rows and ops does not matter.
LogicalResult interpretRowProgram(Frame &frame, RowProgramOp op) {
  Frame inner(frame.shape, frame.margins, frame.choices);
  Block &body = op.getBody().front();
  for (auto [argument, input] : llvm::zip(body.getArguments(), op.getInputs())) {
    inner.values[argument] = frame.values[input];
    if (frame.values[input].route)
      inner.rowsOfProgram = frame.values[input].route;
  }
  for (Operation &each : body.without_terminator())
    if (failed(inner.run(&each)))
      return failure();
  for (auto [result, value] : llvm::zip(op.getResults(), body.getTerminator()->getOperands()))
    frame.values[result] = inner.values[value];
  return success();
}

} // namespace moec::interpret
