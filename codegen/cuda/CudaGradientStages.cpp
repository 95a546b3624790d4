// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Launches of the steps that only backward passes have.
//
// A call of no token runs those of whole parameters too, whose gradients are then zero.

#include "codegen/cuda/CudaStages.h"

#include "codegen/cuda/CudaGroups.h"
#include "codegen/cuda/CudaOuter.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace moec {

static constexpr moec_cuda_param formParam = {MOEC_CUDA_FORM, 0, 0, 0};

// What a call may ask gradients of matrices to be besides f32: the types that the layer's matrices have.
static SmallVector<Type> shortTypes(const std::vector<moec_weight> &weights, MLIRContext *context) {
  Builder builder(context);
  SmallVector<Type> types;
  for (const moec_weight &weight : weights) {
    if (weight.layout == MOEC_LAYOUT_VECTOR || weight.dtype == MOEC_F32)
      continue;
    Type type = weight.dtype == MOEC_BF16 ? Type(builder.getBF16Type()) : Type(builder.getF16Type());
    if (!llvm::is_contained(types, type))
      types.push_back(type);
  }
  return types;
}

bool CudaStages::addGroups(size_t step, Operation *op) {
  RowStrides strides = stridesOf(step);
  std::string symbol = symbolOf(step, "");
  ArrayRef<uint16_t> buffers = plan.argsOf(plan.steps[step]);
  bool ofTokens = isa<moe::SlotValuesOp, moe::SlotProductsOp>(op), toCaller = false;
  CudaKernelFacts facts =
      TypeSwitch<Operation *, CudaKernelFacts>(op)
          .Case([&](moe::GroupedOuterOp outer) {
            uint16_t out = buffersOf(outer, plan, plan.steps[step]).out;
            toCaller = plan.buffers[out].kind == MOEC_BUFFER_GRADIENT;
            CudaOuterResult result = {toCaller, shortTypes(weights, module.getContext())};
            return lowerCudaOuter(outer, strides, result, arch.sm, module, symbol);
          })
          .Case([&](moe::GroupSumOp sum) { return lowerCudaGroupSum(sum, strides, arch.sm, module, symbol); })
          .Case([&](moe::SlotValuesOp values) { return lowerCudaSlotValues(values, strides, arch.sm, module, symbol); })
          .Case([&](moe::SlotProductsOp products) {
            return lowerCudaSlotProducts(products, strides, arch.sm, module, symbol);
          })
          .Case([&](moe::ParameterSumOp sum) { return lowerCudaParameterSum(sum, arch.sm, module, symbol); })
          .Default([&](Operation *scaled) {
            auto rows = cast<moe::ScaledRowsOp>(scaled);
            uint16_t matrix = buffersOf(rows, plan, plan.steps[step]).matrix;
            return lowerCudaScaledRows(rows, weights[plan.buffers[matrix].slot], arch.sm, module, symbol);
          });
  if (!checkShared(symbol, facts))
    return false;
  CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
  launch.launch.min_tokens = ofTokens ? 1 : 0;
  for (uint16_t buffer : buffers) // the kernel has the step's arguments
    launch.params.push_back(paramOf(buffer));
  if (toCaller)
    launch.params.push_back(formParam);
  return true;
}

// One launch for each role: the step's own, or those of the members of a class, whose experts may be smaller than the
// class.
bool CudaStages::addGradients(size_t step) {
  GradientArgs<uint16_t> buffers = bindArgs(GradientArgs<uint16_t>(), plan.argsOf(plan.steps[step]));
  const moec_buffer &values = plan.buffers[buffers.values], &gradient = plan.buffers[buffers.gradient];
  int64_t members = gradient.route, ofMember = members ? values.bytes.fixed / 4 / members : 0;
  SmallVector<Type> types = shortTypes(weights, module.getContext());
  for (int64_t i = 0; i < std::max<int64_t>(1, members); ++i) {
    const moec_role &role = plan.roles[size_t(gradient.slot + i)];
    CudaGradientShape shape;
    shape.matrix = role.matrix;
    shape.columns = role.dims[role.rank - 1];
    for (int d = 0; d + 1 < role.rank; ++d)
      shape.rows *= role.dims[d];
    shape.first = i * ofMember;
    shape.rowStride = members && role.rank > 1 ? int64_t(values.row_stride) / 4 : shape.columns;
    std::string symbol = symbolOf(step, members ? std::to_string(i) : "");
    CudaKernelFacts facts =
        lowerCudaStoreGradient(shape, types, arch.sm, UnknownLoc::get(module.getContext()), module, symbol);
    CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
    launch.launch.min_tokens = 0;
    pass(launch, CudaGradientArgs<moec_cuda_param>{paramOf(buffers.values),
                                                   {MOEC_CUDA_GRADIENT, uint16_t(gradient.slot + i), 0, 0}});
    launch.params.push_back(formParam);
  }
  return true;
}

bool CudaStages::addCopy(size_t step) {
  CopyArgs<uint16_t> buffers = bindArgs(CopyArgs<uint16_t>(), plan.argsOf(plan.steps[step]));
  std::string symbol = symbolOf(step, "");
  CudaKernelFacts facts =
      lowerCudaCopy(plan.buffers[buffers.to].bytes, arch.sm, UnknownLoc::get(module.getContext()), module, symbol);
  CudaPlannedLaunch &launch = addLaunch(step, symbol, facts);
  launch.launch.min_tokens = 0;
  pass(launch, CopyArgs<moec_cuda_param>{paramOf(buffers.from), paramOf(buffers.to)});
  return true;
}

} // namespace moec
