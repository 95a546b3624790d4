// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/build/Scores.h"

using namespace mlir;

namespace moec {

using moe::OperandKind;

// The function file of a score that is computed element by element.
static StringRef functionOf(Score score) {
  switch (score) {
  case Score::Sigmoid:
    return "sigmoid";
  case Score::SqrtSoftplus:
    return "sqrtsoftplus";
  case Score::Softplus:
    return "softplus";
  case Score::Relu:
    return "relu";
  case Score::Softmax:
  case Score::Identity:
    break;
  }
  llvm_unreachable("no function of one element");
}

Value scored(RowOps &ops, Score score, const char *key, Value z, int64_t runs) {
  if (score == Score::Softmax)
    return ops.softmax(z, runs);
  if (score == Score::Identity)
    return z;
  return ops.map({{z, OperandKind::elem}}, RowOps::typeOf(z),
                 [&](ValueRange v) { return ops.apply(functionOf(score), key, v[0]); });
}

Value probabilities(RowOps &ops, Score score, const char *key, Value z) {
  if (score == Score::Softmax || score == Score::Identity)
    return ops.softmax(z);
  Value s = scored(ops, score, key, z);
  return ops.map({{s, OperandKind::elem}, {ops.sumRows(s), OperandKind::row}}, RowOps::typeOf(s),
                 [&](ValueRange v) { return ops.divide(v[0], ops.add(v[1], ops.number(1e-20))); });
}

} // namespace moec
