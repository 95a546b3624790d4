// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/cuda/CudaMatmulBlock.h"

#include <algorithm>

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

Value CudaMatmulBlock::chunkOffset(const SlotSide &side, Value line, Value chunk) const {
  int64_t chunks = std::min<int64_t>(side.chunks(), 8);
  Value key = chunks == 8 ? line : e.div32(line, chunks == 4 ? 2 : 4);
  key = arith::AndIOp::create(e.b, e.loc, key, e.c32(int32_t(chunks - 1)));
  Value place = arith::XOrIOp::create(e.b, e.loc, chunk, key);
  return e.add(e.mul32(line, side.lineBytes()), e.mul32(place, 16));
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

Value wgmmaDescriptor(CudaEmitter &e, const SlotSide &side, Value address) {
  Value bits = LLVM::PtrToIntOp::create(e.b, e.loc, e.i32(), address);
  bits = arith::AndIOp::create(e.b, e.loc, bits, e.c32(0x3ffff));
  Value start = e.unsignedI64(arith::ShRUIOp::create(e.b, e.loc, bits, e.c32(4)));
  uint64_t atoms = side.depthFirst ? uint64_t(atomRows * side.rowBytes) / 16 : 1;
  return arith::OrIOp::create(e.b, e.loc, start, e.c(int64_t(1ull << 62 | 64ull << 32 | atoms << 16)));
}

} // namespace moec
