// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that look at all tokens of a scope: places of groups, tokens of columns, sums over tokens.

#include "codegen/interpret/InterpreterFrame.h"

#include <algorithm>
#include <cmath>
#include <tuple>

using namespace mlir;

namespace moec::interpret {

using namespace moe;

std::vector<TokenRange> scopesOf(const Frame &frame, Scope scope, int64_t groupTokens) {
  int64_t tokens = frame.shape.tokens, length = scope == Scope::sequence ? frame.sequenceTokens()
                                                : scope == Scope::group  ? groupTokens
                                                                         : tokens;
  std::vector<TokenRange> scopes;
  for (int64_t first = 0; first < tokens; first += length)
    scopes.push_back({first, std::min(tokens, first + length)});
  return scopes;
}

namespace {

bool isPresent(const Tensor *present, int64_t token) { return !present || present->data[size_t(token)] != 0; }

// C for a scope. A share is value * n * times / over in this order of operations.
template <typename Op> int64_t placesOf(Op op, const Tensor *present, TokenRange scope, double given) {
  double n = 0, value = op.getValue().convertToDouble();
  for (int64_t t = scope.first; t < scope.last; ++t)
    n += isPresent(present, t);
  if (op.getMode() == PlacesMode::share)
    value = value * n * double(op.getTimes()) / double(op.getOver());
  value = op.getRound() == Rounding::floor  ? std::floor(value)
          : op.getRound() == Rounding::ceil ? std::ceil(value)
                                            : std::floor(value + 0.5);
  if (op.getMode() == PlacesMode::given)
    value = given;
  return int64_t(std::clamp(std::clamp(value, double(op.getLeast()), double(op.getMost())), 0.0, double(INT32_MAX)));
}

struct Slot {
  int64_t token, choice;
};

class Places {
public:
  Places(Frame &frame, CapacityOp op)
      : frame(frame), op(op), ids(frame.tensor(op.getIds())), kept(ids), keys(optional(op.getKeys())),
        rank(optional(op.getRanked())), present(optional(op.getPresent())), placed(ids.data.size(), false) {}

  Tensor run() {
    double given = op.getPlaces() ? frame.tensor(op.getPlaces()).data[0] : 0;
    for (size_t slot = 0; slot < kept.data.size(); ++slot)
      if (rank && kept.data[slot] < 0)
        kept.data[slot] = -1;
    for (TokenRange scope : scopesOf(frame, op.getScope(), int64_t(op.getGroupTokens()))) {
      room.assign(size_t(op.getGroups()), placesOf(op, present, scope, given));
      for (Slot slot : queueOf(scope))
        place(slot);
    }
    return std::move(kept);
  }

private:
  const Tensor *optional(Value value) { return value ? &frame.tensor(value) : nullptr; }
  double keyOf(Slot slot) const { return !keys ? 0 : keys->at(slot.token, keys->columns() > 1 ? slot.choice : 0); }

  std::vector<Slot> queueOf(TokenRange scope) {
    std::vector<Slot> queue;
    for (int64_t t = scope.first; t < scope.last; ++t)
      for (int64_t j = 0; j < ids.columns(); ++j)
        queue.push_back({t, j});
    bool byChoice = !op.getTokenMajor();
    std::sort(queue.begin(), queue.end(), [&](Slot a, Slot b) {
      if (byChoice && a.choice != b.choice)
        return a.choice < b.choice;
      if (isLarger(keyOf(a), keyOf(b)) || isLarger(keyOf(b), keyOf(a)))
        return isLarger(keyOf(a), keyOf(b));
      return std::tie(a.token, a.choice) < std::tie(b.token, b.choice);
    });
    for (size_t i = 1; keys && i < queue.size(); ++i)
      if (!byChoice || queue[i].choice == queue[i - 1].choice)
        frame.noteMargin(*keys, queue[i].token, keyOf(queue[i - 1]) - keyOf(queue[i]),
                         std::max(std::fabs(keyOf(queue[i])), std::fabs(keyOf(queue[i - 1]))));
    return queue;
  }

  bool hasRoom(int64_t id) const { return id >= int64_t(room.size()) || room[size_t(id)] > 0; }

  // The best id with room that no slot of the token with a place names; -1: none.
  int64_t nextBest(Slot slot) {
    int64_t best = -1;
    for (int64_t id = 0; id < rank->columns(); ++id) {
      bool named = false;
      for (int64_t j = 0; j < ids.columns(); ++j)
        named |= placed[size_t(slot.token * ids.columns() + j)] && kept.at(slot.token, j) == double(id);
      bool better = best < 0 || isLarger(rank->at(slot.token, id), rank->at(slot.token, best));
      if (!named && hasRoom(id) && better)
        best = id;
    }
    return best;
  }

  void place(Slot slot) {
    double &id = kept.at(slot.token, slot.choice);
    if (rank && id >= 0 && id < double(rank->columns()))
      id = double(nextBest(slot));
    placed[size_t(slot.token * ids.columns() + slot.choice)] = true;
    if (id < 0 || id >= double(room.size()))
      return;
    if (room[size_t(id)] > 0)
      --room[size_t(id)];
    else
      id = -1;
  }

  Frame &frame;
  CapacityOp op;
  const Tensor &ids;
  Tensor kept;
  const Tensor *keys, *rank, *present;
  std::vector<bool> placed;
  std::vector<int64_t> room;
};

// `op`'s operands must all have the rows of tokens.
LogicalResult checkTokens(Frame &frame, Operation *op) {
  for (Value operand : op->getOperands()) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (type && type.getRank() && type.isDynamicDim(0) && frame.tensor(operand).route)
      return op->emitOpError("has rows of a route, expected tokens");
  }
  return success();
}

} // namespace

LogicalResult interpretCapacity(Frame &frame, CapacityOp op) {
  if (failed(checkTokens(frame, op)))
    return failure();
  frame.set(op.getKept(), Places(frame, op).run());
  if (op.getQueue()) // the op's own: nothing is said about its contents
    frame.set(op.getQueue(), frame.make(op.getQueue(), frame.shape.tokens));
  return success();
}

LogicalResult interpretTopTokens(Frame &frame, TopTokensOp op) {
  if (failed(checkTokens(frame, op)))
    return failure();
  const Tensor &x = frame.tensor(op.getInput());
  const Tensor *present = op.getPresent() ? &frame.tensor(op.getPresent()) : nullptr;
  Tensor mask = frame.make(op.getMask(), frame.shape.tokens);
  for (TokenRange scope : scopesOf(frame, op.getScope(), int64_t(op.getGroupTokens()))) {
    int64_t places = placesOf(op, present, scope, 0);
    for (int64_t n = 0; n < x.columns(); ++n) {
      std::vector<int64_t> tokens;
      for (int64_t t = scope.first; t < scope.last; ++t)
        if (isPresent(present, t))
          tokens.push_back(t);
      std::sort(tokens.begin(), tokens.end(), [&](int64_t a, int64_t b) {
        return isLarger(x.at(a, n), x.at(b, n)) || (!isLarger(x.at(b, n), x.at(a, n)) && a < b);
      });
      size_t taken = std::min(tokens.size(), size_t(places));
      for (size_t i = 0; i < taken; ++i)
        mask.at(tokens[i], n) = 1;
      if (taken == 0 || taken == tokens.size())
        continue;
      double last = x.at(tokens[taken - 1], n), next = x.at(tokens[taken], n);
      for (size_t i : {taken - 1, taken})
        frame.noteMargin(x, tokens[i], last - next, std::max(std::fabs(last), std::fabs(next)));
    }
  }
  frame.set(op.getMask(), std::move(mask));
  return success();
}

LogicalResult interpretTokenReduce(Frame &frame, TokenReduceOp op) {
  if (failed(checkTokens(frame, op)))
    return failure();
  const Tensor &x = frame.tensor(op.getInput());
  Tensor out = frame.make(op.getResult(), frame.shape.tokens);
  bool sum = op.getKind() == ReduceKind::sum;
  for (TokenRange scope : scopesOf(frame, op.getScope(), 0))
    for (int64_t n = 0; n < x.columns(); ++n) {
      double acc = sum ? 0 : std::nan(""), squares = 0;
      for (int64_t t = scope.first; t < scope.last; ++t) {
        acc = sum ? acc + x.at(t, n) : joinMax(acc, x.at(t, n));
        squares += x.at(t, n) * x.at(t, n);
      }
      acc = sum ? frame.summed(op.getResult(), acc, squares, double(scope.last - scope.first)) : acc;
      for (int64_t t = scope.first; t < scope.last; ++t)
        out.at(t, n) = acc;
    }
  out.rounded = x.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

LogicalResult interpretTokenTotal(Frame &frame, TokenTotalOp op) {
  if (failed(checkTokens(frame, op)))
    return failure();
  const Tensor &x = frame.tensor(op.getInput());
  Tensor out = frame.make(op.getResult(), 0);
  for (int64_t n = 0; n < x.columns(); ++n) {
    double sum = 0, most = std::nan(""), squares = 0;
    for (int64_t t = 0; t < x.rows(); ++t) {
      sum += x.at(t, n);
      squares += x.at(t, n) * x.at(t, n);
      most = joinMax(most, x.at(t, n));
    }
    sum = frame.summed(op.getResult(), sum, squares, double(x.rows()));
    out.data[size_t(n)] = op.getKind() == TotalKind::max   ? most
                          : op.getKind() == TotalKind::sum ? sum
                                                           : sum / double(x.rows());
  }
  out.rounded = x.rounded;
  frame.set(op.getResult(), std::move(out));
  return success();
}

} // namespace moec::interpret
