// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Constraints of `experts`, `shared`, `combine.apply` and `dtype`.

#include "dsl/spec/SpecCheckList.h"

namespace moec {

void SpecCheckList::checkExperts() {
  checkWidths();
  checkZeroExperts();
  checkApplyInput();
  checkShared();
  checkTypes();
  checkQuant();
  checkLora();
}

void SpecCheckList::checkWidths() {
  const ExpertsSpec &experts = spec.experts;
  if (!readable({"experts.form", "experts.intermediate", "experts.count"}))
    return;
  if (experts.form != ExpertForm::Linear && experts.intermediate.empty())
    fail("E-MISSING", "experts.intermediate", "key \"experts.intermediate\" is required",
         "it is the inner width of an expert");
  if (!experts.heterogeneous())
    return;
  if (int64_t(experts.intermediate.size()) != experts.count)
    fail("E-HETERO", "experts.intermediate",
         "experts.intermediate lists " + std::to_string(experts.intermediate.size()) + " widths for " +
             std::to_string(experts.count) + " experts",
         "give one width for all, or one per expert");
  if (readable({"experts.quant"}) && experts.quant.kind != QuantKind::None)
    fail("E-HETERO", "experts.quant.kind", "experts of different width cannot be quantised",
         "use one width, or quant.kind none");
}

// An identity expert returns its input, so what it gets and gives must be the hidden width.
void SpecCheckList::checkZeroExperts() {
  if (!spec.experts.zero || !readable({"experts.zero", "router.kind", "combine.apply", "experts.latent"}))
    return;
  if (spec.experts.count + spec.experts.zero->count > maxExperts)
    fail("E-ZERO", "experts.zero.count", rowsText() + " is larger than " + std::to_string(maxExperts));
  std::string with;
  if (spec.combine.apply == CombineApply::Input)
    with = "combine.apply input";
  else if (spec.experts.latent)
    with = "experts.latent";
  else if (spec.router.kind == RouterKind::ExpertChoice || spec.router.kind == RouterKind::Soft ||
           spec.router.kind == RouterKind::ProductKey)
    with = "router.kind " + std::string(routerKindWords[int(spec.router.kind)]);
  if (!with.empty())
    fail("E-ZERO", "experts.zero", "experts.zero does not go with " + with,
         "an identity expert needs the hidden width and a weight on its output");
}

// E(w*x) = w*E(x) does not hold, and biases make the difference larger: only the bias-free form is defined.
void SpecCheckList::checkApplyInput() {
  if (spec.combine.apply != CombineApply::Input || !readable({"combine.apply", "experts.bias", "capacity"}))
    return;
  const char *hint = "use combine.apply output; input scaling and biases do not commute";
  if (spec.experts.bias.in)
    fail("E-APPLY-INPUT", "experts.bias.in", "combine.apply input does not go with experts.bias.in", hint);
  if (spec.experts.bias.out)
    fail("E-APPLY-INPUT", "experts.bias.out", "combine.apply input does not go with experts.bias.out", hint);
  if (spec.capacity && spec.capacity->dropped == Dropped::Identity)
    fail("E-APPLY-INPUT", "capacity.dropped", "combine.apply input does not go with capacity.dropped identity",
         "use capacity.dropped zero");
}

void SpecCheckList::checkShared() {
  if (!spec.shared || !readable({"shared"}))
    return;
  const SharedSpec &shared = *spec.shared;
  if (shared.intermediate == 0 && shared.form != ExpertForm::Linear)
    fail("E-SHARED-DIM", "shared.intermediate", "key \"shared.intermediate\" is required",
         "it is the inner width of the shared block");
  if (shared.gate == SharedGate::Softmax2 && shared.reduce == SharedReduce::Mean)
    fail("E-SHARED-DIM", "shared.reduce", "shared.gate softmax2 does not go with shared.reduce mean",
         "softmax2 weighs the routed and the shared sum; use shared.reduce sum");
  if (shared.gate != SharedGate::Router || !readable({"router"}))
    return;
  const RouterSpec &router = spec.router;
  auto refuse = [&](bool bad, const std::string &with) {
    if (bad)
      fail("E-SHARED-ROUTER", "shared.gate", "shared.gate router does not go with " + with,
           "rows of the router weigh the shared experts together with those that a token chooses by its logits");
  };
  refuse(router.kind != RouterKind::TokenChoice, "router.kind " + std::string(routerKindWords[int(router.kind)]));
  refuse(router.select.kind == SelectKind::SparseMixer || router.select.kind == SelectKind::SecondPolicy,
         "select.kind " + std::string(selectKindWords[int(router.select.kind)]));
  refuse(router.noise.kind != NoiseKind::None, "router.noise");
  refuse(router.weightMode != WeightMode::Gathered, "fixed router.weight_mode");
  refuse(spec.hasOwnExperts(), "token_groups.experts own");
}

void SpecCheckList::checkTypes() {
  if (!readable({"dtype"}))
    return;
  auto isFloat = [](DataType type) { return type == DataType::F32 || type == DataType::BF16 || type == DataType::F16; };
  // A single name stands for all keys of the block.
  auto refuse = [&](const char *key, DataType type, const std::string &expected, const std::string &hint) {
    std::string path = std::string("dtype.") + key;
    fail("E-DTYPE", source.written(path) ? path : "dtype",
         path + " cannot be " + std::string(dataTypeName(type)) + ", expected " + expected, hint);
  };
  const DataTypes &types = spec.dtype;
  std::string quantHint = "quantised experts are described by experts.quant";
  if (!isFloat(types.activation))
    refuse("activation", types.activation, "f32, bf16 or f16", quantHint);
  else if (!isFloat(types.output))
    refuse("output", types.output, "f32, bf16 or f16", {});
  if (types.accumulate != DataType::F32)
    refuse("accumulate", types.accumulate, "f32", "sums over H or I in a narrower type lose the result");
  bool fp8 = types.weight == DataType::FP8E4M3 || types.weight == DataType::FP8E5M2;
  if (isFloat(types.activation) && !isFloat(types.weight) && !fp8)
    refuse("weight", types.weight, "f32, bf16, f16, fp8_e4m3 or fp8_e5m2", quantHint);
  else if (types.router != types.weight && !isFloat(types.router))
    refuse("router", types.router, "f32, bf16 or f16", {});
}

void SpecCheckList::checkQuant() {
  const QuantSpec &quant = spec.experts.quant;
  if (!readable({"experts.quant", "experts.intermediate", "hidden", "passes"}))
    return;
  bool narrow =
      quant.kind != QuantKind::None || spec.dtype.weight == DataType::FP8E4M3 || spec.dtype.weight == DataType::FP8E5M2;
  if (narrow && spec.passes.backward)
    fail("E-QUANT-BWD", "passes", "weight gradients are not defined for quantised weights",
         "use \"passes\": [\"forward\", \"backward_input\"], or float weights");
  if (quant.kind == QuantKind::None || quant.kind == QuantKind::Int8)
    return;
  std::string kind(quantKindWords[int(quant.kind)]);
  std::vector<int64_t> block = quant.block;
  if (block.empty() && quant.kind == QuantKind::MxFp4)
    block = {32};
  if (block.empty() && quant.kind == QuantKind::NvFp4)
    block = {16};
  size_t extents = quant.kind == QuantKind::Fp8Block ? 2 : 1;
  if (block.size() != extents) {
    fail("E-QUANT-SHAPE", "experts.quant.block",
         "quant.kind " + kind + " needs a block of " + std::to_string(extents) +
             (extents == 1 ? " extent" : " extents") + ", found " + std::to_string(block.size()),
         extents == 2 ? "for example \"block\": [128, 128], rows and columns" : "for example \"block\": [32]");
    return;
  }
  int64_t last = block.back(), first = block.front();
  auto refuse = [&](const char *path, const std::string &name, int64_t size, int64_t unit) {
    fail("E-QUANT-SHAPE", path,
         name + " (" + std::to_string(size) + ") is not a multiple of the quant block (" + std::to_string(unit) + ")");
  };
  for (int64_t width : spec.experts.intermediate)
    if (width % last != 0 || width % first != 0) {
      refuse("experts.intermediate", "experts.intermediate", width, width % last != 0 ? last : first);
      break;
    }
  if (spec.hidden % last != 0 || spec.hidden % first != 0)
    refuse("hidden", "hidden", spec.hidden, spec.hidden % last != 0 ? last : first);
}

void SpecCheckList::checkLora() {
  if (!spec.experts.lora || !readable({"experts.lora", "experts.quant", "passes"}))
    return;
  bool perMatrix = spec.experts.lora->at == LoraAt::PerMatrix;
  if (perMatrix && spec.experts.quant.kind != QuantKind::None && spec.trains())
    fail("E-LORA-QUANT", "experts.lora.at", "lora.at per_matrix has no backward pass over quantised weights",
         "use lora.at parallel, or \"passes\": [\"forward\"]");
}

} // namespace moec
