// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Mistakes planted into the ops that differentiation made: the comparison with differences of the reference must see
// each, or it could not see the mistake of a rule.

#include "tests/grad/GradientCase.h"

#include "codegen/check/RandomSpec.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <gtest/gtest.h>

#include <set>

using namespace moec;
using namespace mlir;

namespace {

// One way to spoil an op; false: it does not apply to this one.
struct Mistake {
  const char *name;
  bool (*plant)(Operation *op);
};

template <typename Op> bool dropTerm(Operation *op) { // a + b -> a
  auto sum = dyn_cast<Op>(op);
  if (!sum)
    return false;
  sum.getResult().replaceAllUsesWith(sum->getOperand(0));
  return true;
}

template <typename From, typename To> bool exchange(Operation *op) {
  auto from = dyn_cast<From>(op);
  if (!from)
    return false;
  OpBuilder builder(op);
  op->getResult(0).replaceAllUsesWith(To::create(builder, op->getLoc(), op->getOperand(0), op->getOperand(1)));
  return true;
}

template <typename Op> bool dropOp(Operation *op) { // f(a) -> a
  auto one = dyn_cast<Op>(op);
  if (!one || one->getOperand(0).getType() != one->getResult(0).getType())
    return false;
  one->getResult(0).replaceAllUsesWith(one->getOperand(0));
  return true;
}

bool turnMask(Operation *op) { // the other branch
  auto select = dyn_cast<arith::SelectOp>(op);
  if (!select)
    return false;
  Value taken = select.getTrueValue();
  select.getTrueValueMutable().assign(select.getFalseValue());
  select.getFalseValueMutable().assign(taken);
  return true;
}

bool forgetMask(Operation *op) {
  auto select = dyn_cast<arith::SelectOp>(op);
  if (!select || select.getTrueValue().getDefiningOp<arith::ConstantOp>())
    return false;
  select.getResult().replaceAllUsesWith(select.getTrueValue());
  return true;
}

bool otherConstant(Operation *op) {
  auto constant = dyn_cast<arith::ConstantOp>(op);
  auto number = constant ? dyn_cast<FloatAttr>(constant.getValue()) : FloatAttr();
  if (!number || number.getValueAsDouble() == 0 || !std::isfinite(number.getValueAsDouble()))
    return false;
  constant.setValueAttr(FloatAttr::get(number.getType(), number.getValueAsDouble() * 1.5));
  return true;
}

bool maximumForSum(Operation *op) {
  auto reduce = dyn_cast<moe::ReduceOp>(op);
  if (!reduce || reduce.getKind() != moe::ReduceKind::sum)
    return false;
  reduce.setKind(moe::ReduceKind::max);
  return true;
}

bool unweighted(Operation *op) {
  auto combine = dyn_cast<moe::CombineOp>(op);
  if (!combine || !combine.getWeights())
    return false;
  combine.getWeightsMutable().clear();
  return true;
}

// A value of the same type that was computed before: a stale buffer.
template <typename Op, unsigned operand> bool staleOperand(Operation *op) {
  auto one = dyn_cast<Op>(op);
  if (!one || one->getNumOperands() <= operand)
    return false;
  Value now = one->getOperand(operand);
  for (Operation *before = op->getPrevNode(); before; before = before->getPrevNode())
    for (Value other : before->getResults())
      if (other != now && other.getType() == now.getType() && rowSpaceOf(other) == rowSpaceOf(now)) {
        one->setOperand(operand, other);
        return true;
      }
  return false;
}

bool otherScope(Operation *op) {
  auto reduce = dyn_cast<moe::TokenReduceOp>(op);
  if (!reduce)
    return false;
  reduce.setKind(moe::ReduceKind::max);
  return true;
}

const Mistake mistakes[] = {
    {"a_term_of_a_sum_dropped", dropTerm<arith::AddFOp>},
    {"a_term_of_a_difference_dropped", dropTerm<arith::SubFOp>},
    {"a_factor_dropped", dropTerm<arith::MulFOp>},
    {"a_divisor_dropped", dropTerm<arith::DivFOp>},
    {"plus_for_minus", exchange<arith::SubFOp, arith::AddFOp>},
    {"minus_for_plus", exchange<arith::AddFOp, arith::SubFOp>},
    {"times_for_over", exchange<arith::DivFOp, arith::MulFOp>},
    {"a_sign_dropped", dropOp<arith::NegFOp>},
    {"an_exponential_dropped", dropOp<math::ExpOp>},
    {"the_other_branch", turnMask},
    {"a_mask_forgotten", forgetMask},
    {"another_constant", otherConstant},
    {"a_maximum_for_a_sum", maximumForSum},
    {"a_combine_without_weights", unweighted},
    {"a_token_reduce_of_another_kind", otherScope},
    {"a_stale_gradient_of_a_matmul", staleOperand<moe::GroupedMatmulOp, 0>},
    {"stale_rows_of_an_outer_product", staleOperand<moe::GroupedOuterOp, 0>},
    {"stale_inputs_of_an_outer_product", staleOperand<moe::GroupedOuterOp, 1>},
    {"stale_values_in_slots", staleOperand<moe::SlotValuesOp, 0>},
    {"stale_rows_of_slot_products", staleOperand<moe::SlotProductsOp, 1>},
    {"a_stale_gradient_of_a_gather", staleOperand<moe::GatherOp, 0>},
    {"a_stale_softmax_of_a_map", staleOperand<moe::MapOp, 0>},
    {"stale_values_put", staleOperand<moe::PutOp, 0>},
    {"other_ids", staleOperand<moe::PutOp, 1>},
    {"a_stale_sum_of_groups", staleOperand<moe::GroupSumOp, 0>},
};

// Layers that between them have every rule.
std::vector<std::string> layers() {
  std::vector<std::string> texts;
  RandomSizes sizes;
  sizes.most = 12;
  sizes.experts = 6;
  for (uint64_t seed = 1; seed <= 80; ++seed)
    texts.push_back(randomSpecText(seed, sizes));
  return texts;
}

// Whether some direction shows a wrong gradient, or the gradients cannot be computed at all.
bool isSeen(GradientCase &one) {
  if (!one.runInterpreter())
    return true;
  for (const auto &[name, values] : one.tensors) {
    GradientCase::Difference found = one.along(name, 7);
    double tolerance = 1e-4 * std::max(found.size, std::fabs(found.wanted)) + 1e-6 * (1 + found.value);
    if (found.steady && !(std::fabs(found.found - found.wanted) <= tolerance))
      return true;
  }
  return false;
}

// The ops behind the forward layer, and those of their regions.
std::vector<Operation *> madeByDifferentiation(GradientCase &one) {
  Operation *last = one.both.built.lastForward;
  std::vector<Operation *> out;
  for (Operation *op = last->getNextNode(); op && !isa<func::ReturnOp>(op); op = op->getNextNode())
    op->walk([&](Operation *inner) { out.push_back(inner); });
  return out;
}

TEST(PlantedMistakes, each_kind_is_seen) {
  std::map<std::string, int> planted, seen;
  for (const std::string &text : layers())
    for (const Mistake &mistake : mistakes) {
      if (planted[mistake.name] >= 3)
        continue;
      GradientCase one;
      ASSERT_TRUE(one.both.built.read(text));
      if (one.both.built.spec->experts.act == Activation::Custom || !one.both.built.buildGradient())
        break;
      ASSERT_TRUE(one.prepare(7, 1));
      if (isSeen(one))
        break; // a kink, say: nothing to learn from this layer
      ScopedDiagnosticHandler silent(&one.both.built.context, [](mlir::Diagnostic &) { return success(); });
      one.got = {};
      bool done = false;
      for (Operation *op : madeByDifferentiation(one))
        if (!done && mistake.plant(op))
          done = true;
      if (!done)
        continue;
      ++planted[mistake.name];
      seen[mistake.name] += isSeen(one);
    }
  int kinds = 0, all = 0, caught = 0;
  for (const Mistake &mistake : mistakes) {
    EXPECT_GE(planted[mistake.name], 1) << mistake.name << " was never planted";
    EXPECT_GE(seen[mistake.name], 1) << mistake.name << ", planted " << planted[mistake.name] << " times";
    kinds += seen[mistake.name] > 0;
    all += planted[mistake.name];
    caught += seen[mistake.name];
  }
  EXPECT_GE(kinds, 20);
  std::printf("%d of %d mistakes seen, %d kinds\n", caught, all, kinds);
}

} // namespace
