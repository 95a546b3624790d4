// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One walk over the template.

#include "codegen/cuda/CudaMatmulShape.h"

#include "codegen/cuda/CudaMatmul.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;

namespace moec {

static int64_t integer(IntegerAttr attribute) { return attribute.getInt(); }
static int64_t quotientUp(int64_t x, int64_t y) { return int64_t(llvm::divideCeil(uint64_t(x), uint64_t(y))); }

CudaMatmulShape::CudaMatmulShape(tile::KernelOp kernel, int64_t sm)
    : n(kernel.shape("n")), k(kernel.shape("k")), parts(kernel.shape("parts")), aStride(kernel.shape("a_stride")),
      outStride(kernel.shape("out_stride")), mode(kernel.mode()),
      access(cast<tile::RowsType>(kernel.args().a.getType()).getAccess().getValue()) {
  b.depthFirst = mode.transposed;
  matrices = kernel.getMatrices() ? kernel.getMatrices()->getSExtValue() : parts;
  if (sm >= 90 && kernel.getEarly())
    early = EarlyWork(kernel.getEarly()->getSExtValue());
  kernel.getBody().walk([&](Operation *op) {
    if (auto ring = dyn_cast<tile::RingOp>(op)) {
      auto type = ring.getType();
      int64_t depth = integer(type.getBlockK());
      a.element = type.getIn(), b.element = type.getWeight();
      a.rows = integer(type.getBlockM()), b.rows = integer(type.getBlockN());
      a.rowBytes = depth * a.elementBytes(), b.rowBytes = depth * b.elementBytes();
      b.offset = a.rows * a.rowBytes;
      stages = integer(type.getStages());
      kSteps = quotientUp(k, depth);
    } else if (auto clear = dyn_cast<tile::ClearOp>(op)) {
      warpsM = integer(clear.getType().getWarpsM()), warpsN = integer(clear.getType().getWarpsN());
      columnsFirst = clear.getType().columnsFirst();
    } else if (auto tiles = dyn_cast<tile::ForTilesOp>(op)) {
      splits = tiles.getSplits() ? tiles.getSplits()->getSExtValue() : 1;
    } else if (auto copy = dyn_cast<tile::CopyOp>(op)) {
      prologue = &copy.getPrologue(), prologueOperands = copy.getExtra();
    } else if (auto fill = dyn_cast<tile::FillOp>(op)) {
      prologue = &fill.getPrologue(), prologueOperands = fill.getExtra();
    } else if (auto found = dyn_cast<tile::RolesOp>(op)) {
      roles = {found.getConsumers().getSExtValue(), found.getLag().getSExtValue(),
               found.getVacant() && found.getVacant()->getSExtValue() == 2};
    }
  });
  kSteps = quotientUp(kSteps, splits);
}

int64_t CudaMatmulShape::earlySteps() const { return std::min(hasRoles() ? stages : stages - 1, kSteps); }
int64_t CudaMatmulShape::tileColumns() const { return quotientUp(n, columns()); }
int64_t CudaMatmulShape::copiesOf(const SlotSide &side) const {
  return quotientUp(side.lines() * side.chunks(), copyThreads());
}
bool CudaMatmulShape::copiesAsync() const { return aStride % 16 == 0 && (!prologue || prologue->empty()); }
int64_t CudaMatmulShape::paddedBytes() const {
  return int64_t(llvm::alignTo(uint64_t(b.depthFirst ? n : k), uint64_t(b.perChunk()))) * b.elementBytes();
}

CudaMatmulArgs<unsigned> cudaMatmulArgs(tile::KernelOp kernel) {
  CudaMatmulShape shape(kernel, /*sm=*/0);
  CudaMatmulArgs<unsigned> args;
  args.stage = numberArgs(kernel.args());
  if (shape.mode.routed)
    args.list.emplace();
  if (shape.splits > 1)
    args.partials.emplace();
  if (shape.mode.unordered)
    args.sums.emplace();
  if (shape.mode.weighted)
    args.sums->weights.emplace();
  if (shape.mode.joined) {
    args.joined = args.stage;
    args.joined->rowToken.reset();
  }
  return numberArgs(args);
}

} // namespace moec
