// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of inputs; runtime/moec.h says the same to callers.

#include "codegen/moe/LayerInputs.h"

#include "runtime/moec_abi.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace moec {

static const LayerInput inputs[] = {
    {"residual", MOEC_ROLE_RESIDUAL, InputShape::LikeX, false, "[T,H]",
     "what the router or the shared expert reads instead of x"},
    {"noise", MOEC_ROLE_NOISE, InputShape::Rows, false, "[T,E] f32", "draws added to the logits"},
    {"uniform", MOEC_ROLE_UNIFORM, InputShape::Tokens, false, "[T] f32",
     "draws of [0,1) that decide about second experts"},
    {"token_ids", MOEC_ROLE_TOKEN_IDS, InputShape::Tokens, true, "[T] i32", "rows of router.table"},
    {"expert_ids", MOEC_ROLE_EXPERT_IDS, InputShape::Rows, true, "[T,K] i32", "experts of every token, -1 = none"},
    {"expert_weights", MOEC_ROLE_EXPERT_WEIGHTS, InputShape::Rows, false, "[T,K] f32", "their weights"},
    {"group_ids", MOEC_ROLE_GROUP_IDS, InputShape::Tokens, true, "[T] i32", "group of every token"},
    {"priority", MOEC_ROLE_PRIORITY, InputShape::Tokens, false, "[T] f32",
     "the order in which tokens take places: larger first"},
    {"capacity", MOEC_ROLE_CAPACITY, InputShape::One, true, "[1] i32", "places per expert"},
    {"top_k", MOEC_ROLE_TOP_K, InputShape::One, true, "[1] i32", "choices to use"},
    {"jitter", MOEC_ROLE_JITTER, InputShape::Rows, false, "[T,H] f32",
     "draws of [0,1) that jitter what the router reads"},
    {"replace", MOEC_ROLE_REPLACE, InputShape::Rows, false, "[T,K] f32", "draws of [0,1): which ids are replaced"},
    {"replace_ids", MOEC_ROLE_REPLACE_IDS, InputShape::Rows, true, "[T,K] i32", "the experts that replace them"},
    {"hidden_mask", MOEC_ROLE_HIDDEN_MASK, InputShape::Rows, false, "[T,K*I] f32",
     "dropout: factors of every choice's inner values"},
    {"output_mask", MOEC_ROLE_OUTPUT_MASK, InputShape::Rows, false, "[T,K*N] f32",
     "dropout: factors of every choice's outputs"},
    {"expert_mask", MOEC_ROLE_EXPERT_MASK, InputShape::Rows, false, "[T,E] f32",
     "0 where a token does without an expert"},
    {"midpoint_mask", MOEC_ROLE_MIDPOINT_MASK, InputShape::Rows, false, "[T,2] f32",
     "0 where a weight is a third of its score"},
};

ArrayRef<LayerInput> layerInputs() { return inputs; }

const LayerInput *findLayerInput(StringRef role) {
  const LayerInput *found = llvm::find_if(inputs, [&](const LayerInput &input) { return input.name == role; });
  return found == std::end(inputs) ? nullptr : found;
}

bool fitsInput(const LayerInput &input, RankedTensorType type, RankedTensorType x) {
  if (input.shape == InputShape::LikeX)
    return type == x;
  Type element = type.getElementType();
  if (input.integer ? !element.isInteger(32) : !element.isF32())
    return false;
  if (input.shape == InputShape::One)
    return type.getShape() == ArrayRef<int64_t>{1};
  bool rows = type.getRank() >= 1 && type.isDynamicDim(0);
  return rows &&
         (input.shape == InputShape::Tokens ? type.getRank() == 1
                                            : type.getRank() == 2 && !type.isDynamicDim(1) && type.getDimSize(1) > 0);
}

const LayerInput *inputOf(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  auto function = argument ? dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp()) : func::FuncOp();
  auto role = function ? function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "moe.role") : StringAttr();
  return role ? findLayerInput(role.getValue()) : nullptr;
}

} // namespace moec
