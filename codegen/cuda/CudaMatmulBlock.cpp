// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cuda/CudaMatmulBlock.h"

using namespace mlir;

namespace moec {

void CudaMatmulBlock::findThread() {
  tid = e.tid();
  lane = e.rem32(tid, cudaWarpThreads);
  Value warp = e.div32(tid, cudaWarpThreads);
  if (shape.hasRoles()) // consumers count from behind the producer
    warp = e.sub(warp, e.c32(cudaWarpgroupThreads / cudaWarpThreads));
  warpM = e.div32(warp, shape.warpsN);
  warpN = e.rem32(warp, shape.warpsN);
  shared = e.shared();
}

Value CudaMatmulBlock::slotAddress(Value step, const SlotSide &side) const {
  Value slot = e.rem32(e.toI32(e.toI64(step)), shape.stages);
  return e.at(shared, e.toI64(e.add32(e.mul32(slot, shape.slotBytes()), side.offset)));
}

Value CudaMatmulBlock::chunkOffset(const SlotSide &side, Value row, Value chunk) const {
  int64_t chunks = side.chunks();
  Value key = chunks == 8 ? row : e.div32(row, chunks == 4 ? 2 : 4);
  key = arith::AndIOp::create(e.b, e.loc, key, e.c32(int32_t(chunks - 1)));
  Value place = arith::XOrIOp::create(e.b, e.loc, chunk, key);
  return e.add(e.mul32(row, side.rowBytes), e.mul32(place, 16));
}

Value CudaMatmulBlock::fragmentRow(int64_t i) const {
  Value inWarp = !shape.tensorCores() ? e.add32(e.div32(lane, 8), 4 * i)
                 : shape.columnsFirst ? e.add32(e.mul32(e.rem32(lane, 4), 2), 8 * (i / 2) + i % 2)
                                      : e.add32(e.div32(lane, 4), 8 * i);
  return e.unsignedI64(e.add(e.mul32(warpM, shape.rowsPerWarp()), inWarp));
}

Value CudaMatmulBlock::fragmentColumn(int64_t j) const {
  Value first = !shape.tensorCores() ? e.rem32(lane, 8)
                : shape.columnsFirst ? e.div32(lane, 4)
                                     : e.mul32(e.rem32(lane, 4), 2);
  Value inWarp = e.add32(first, shape.columnDistance(j));
  return e.unsignedI64(e.add(e.mul32(warpN, shape.columnsPerWarp()), inWarp));
}

} // namespace moec
