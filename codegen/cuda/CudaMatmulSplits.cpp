// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Depth split over blocks: sums of a share -> a table, and the kernel that adds the shares. Which block is done first
// does not matter, because none adds to what another wrote: bits repeat.

#include "codegen/cuda/CudaMatmulLowering.h"

using namespace mlir;

namespace moec {

static constexpr int64_t sum_threads = 128, shares_in_flight = 16;

Value CudaMatmulLowering::partialAt(Value share, Value row, Value column, int64_t part) {
  int64_t n = shape("n");
  Value line = e.add(e.mul(e.add(e.mul(share, mode.splitRows), row), parts), e.c(part));
  return e.at(*args.partials, e.mul(e.add(e.mul(line, n), column), 4));
}

void CudaMatmulLowering::storePartials(const Values &acc) {
  for (int64_t i = 0; i < fragmentRows(); ++i)
    e.when(e.less(fragmentRow(i), tile.rows), [&] {
      Value row = e.add(tile.row0, fragmentRow(i));
      for (int64_t j = 0; j < fragmentColumns(); ++j) {
        Value column = e.add(tile.column0, fragmentColumn(j));
        whenColumn(column, [&] {
          for (int64_t part = 0; part < parts; ++part)
            e.store(acc[size_t(accumulatorIndex(part, i, j))], partialAt(tile.share, row, column, part), 4);
        });
      }
    });
}

// One output a thread, neighbours in a row: out[index / n, index % n].
CudaKernelFacts CudaMatmulLowering::runSums(ModuleOp module, StringRef symbol) {
  CudaMatmulArgs<unsigned> like = cudaMatmulArgs(kernel);
  CudaKernelShell shell(e, module, symbol, countArgs(like), sm);
  begin(shell, shell.bind(like));
  Value index = e.add(e.mul(e.unsignedI64(e.ctaid()), sum_threads), e.unsignedI64(e.tid()));
  e.when(e.less(index, e.mul(numTokens, shape("n"))), [&] { addShares(index); });
  shell.finish(e, sum_threads);
  CudaKernelFacts facts;
  facts.blockThreads = sum_threads;
  facts.unitsPerToken = shape("n");
  facts.unitsPerBlock = sum_threads;
  return facts;
}

void CudaMatmulLowering::sumsWithin(const CudaEmitter &outer, CudaKernelShell &shell,
                                    const CudaMatmulArgs<Value> &arguments, int64_t threads) {
  e.b.setInsertionPoint(outer.b.getInsertionBlock(), outer.b.getInsertionPoint());
  e.function = outer.function;
  begin(shell, arguments);
  e.loop(e.unsignedI64(e.tid()), e.mul(numTokens, shape("n")), threads, [&](Value index) { addShares(index); });
}

void CudaMatmulLowering::addShares(Value index) {
  kernel.getBody().walk([&](tile::StoreOp op) { addShares(op, index); });
}

// Loads of several shares are under way at a time; they are added one by one.
void CudaMatmulLowering::addShares(tile::StoreOp op, Value index) {
  Value row = e.divU(index, shape("n")), column = e.remU(index, shape("n"));
  tile.group = e.c(0);
  Values sums(size_t(parts), e.f(0));
  for (int64_t first = 0; first < splits; first += shares_in_flight) {
    Values loaded;
    for (int64_t share = first; share < std::min(first + shares_in_flight, splits); ++share)
      for (int64_t part = 0; part < parts; ++part)
        loaded.push_back(e.load(e.f32(), partialAt(e.c(share), row, column, part), 4));
    for (auto [i, x] : llvm::enumerate(loaded)) {
      Value &sum = sums[i % size_t(parts)];
      sum = e.addF(sum, x);
    }
  }
  Value result = columnValue(op, sums, rowOperands(op.getExtra(), row), row, column);
  int64_t size = result.getType().getIntOrFloatBitWidth() / 8;
  e.store(result, e.at(stage.out, e.add(e.mul(row, shape("out_stride")), e.mul(column, size))), unsigned(size));
}

} // namespace moec
