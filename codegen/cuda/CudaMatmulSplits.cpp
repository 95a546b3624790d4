// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Depth split over blocks: sums of a share -> a table, and the kernel that adds the shares. Which block is done first
// does not matter, because none adds to what another wrote: bits repeat.

#include "codegen/cuda/CudaMatmulStore.h"

#include <algorithm>

using namespace mlir;

namespace moec {

static constexpr int64_t sharesInFlight = 16;

Value CudaMatmulResults::partialAt(Value share, Value row, Value column, int64_t part) {
  int64_t n = shape.n;
  Value line = e.add(e.mul(e.add(e.mul(share, shape.mode.splitRows), row), shape.parts), e.c(part));
  return e.at(*tiles.args.partials, e.mul(e.add(e.mul(line, n), column), 4));
}

void CudaMatmulResults::storePartials(const Values &acc) {
  for (int64_t i = 0; i < shape.fragmentRows(); ++i)
    e.when(e.less(block.fragmentRow(i), tiles.tile.rows), [&] {
      Value row = e.add(tiles.tile.row0, block.fragmentRow(i));
      for (int64_t j = 0; j < shape.fragmentColumns(); ++j) {
        Value column = e.add(tiles.tile.column0, block.fragmentColumn(j));
        whenColumn(column, [&] {
          for (int64_t part = 0; part < shape.parts; ++part)
            e.store(acc[size_t(shape.accumulatorIndex(part, i, j))], partialAt(tiles.tile.share, row, column, part), 4);
        });
      }
    });
}

// Loads of several shares are under way at a time; they are added one by one.
void CudaMatmulResults::addShares(tile::StoreOp op, Value index) {
  Value row = e.divU(index, shape.n), column = e.remU(index, shape.n), group = e.c(0);
  Values sums(size_t(shape.parts), e.f(0));
  for (int64_t first = 0; first < shape.splits; first += sharesInFlight) {
    Values loaded;
    for (int64_t share = first; share < std::min(first + sharesInFlight, shape.splits); ++share)
      for (int64_t part = 0; part < shape.parts; ++part)
        loaded.push_back(e.load(e.f32(), partialAt(e.c(share), row, column, part), 4));
    for (auto [i, x] : llvm::enumerate(loaded)) {
      Value &sum = sums[i % size_t(shape.parts)];
      sum = e.addF(sum, x);
    }
  }
  Value result = columnValue(op, sums, tiles.rowOperands(op.getExtra(), row), group, row, column);
  int64_t size = result.getType().getIntOrFloatBitWidth() / 8;
  e.store(result, e.at(tiles.stage.out, e.add(e.mul(row, shape.outStride), e.mul(column, size))), unsigned(size));
}

} // namespace moec
