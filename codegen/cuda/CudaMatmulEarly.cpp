// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a kernel of sm_90a does before griddepcontrol.wait, while the launch before still runs.
//
// Weights are the layer's and do not change within a call. Which of them a block reads first follows from T, or from a
// list of items: it may be read where the launch that wrote it is not the one before, since every kernel lets the next
// one start only after its own wait (CudaKernelShell). The list is read around the first-level cache, which may still
// hold that of an earlier call. A's rows, epilogue operands and every store come behind the wait.

#include "codegen/cuda/CudaMatmulLowering.h"

using namespace mlir;

namespace moec {

// The first steps of the block's first tile. With roles by one thread, whose arrival also covers what comes of A; else
// by all threads, and the copies belong to the group of step 0, which is committed later.
void CudaMatmulLowering::askForWeights() {
  if (!shape.asksEarly())
    return;
  auto ask = [&] {
    Value first = e.unsignedI64(e.ctaid());
    e.when(e.less(first, tiles.count(ListRead::Fresh)), [&] {
      tiles.enter(first, ListRead::Fresh);
      tiles.tile.step0 = e.c(0);
      copies.findWeights();
      e.loop(e.c(0), e.c(shape.earlySteps()), 1, [&](Value step) {
        if (!shape.hasRoles())
          return copies.copyWeights(tiles.depthStep(step), block.slotAddress(step, shape.b));
        roles.askForWeights(step);
      });
    });
  };
  shape.hasRoles() ? e.when(e.equal(block.tid, e.c32(0)), ask) : ask();
  tiles.tile = CudaTile();
}

} // namespace moec
