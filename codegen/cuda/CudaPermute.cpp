// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A thread copies 16 bytes: at once where rows begin at multiples of 16 bytes and are whole chunks, else 2 by 2.

#include "codegen/cuda/CudaPermute.h"

using namespace mlir;

namespace moec {

static constexpr int64_t permuteThreads = 256, chunkBytes = 16;

// 8 pairs of bytes from `from`, zeros for those at or past byte `left` of the row.
static Value loadPairs(CudaEmitter &e, Value from, Value left) {
  CudaEmitter::Values pairs;
  Type pair = e.b.getI16Type();
  for (int64_t i = 0; i < chunkBytes; i += 2) {
    Value exists = e.less(e.c(i), left);
    auto within = [&](bool read) {
      return [&, read](OpBuilder &builder, Location loc) {
        OpBuilder::InsertionGuard guard(e.b);
        e.b.setInsertionPoint(builder.getInsertionBlock(), builder.getInsertionPoint());
        Value x = read ? e.load(pair, e.at(from, i), 2) : arith::ConstantIntOp::create(e.b, loc, pair, 0).getResult();
        scf::YieldOp::create(e.b, loc, x);
      };
    };
    pairs.push_back(scf::IfOp::create(e.b, e.loc, exists, within(true), within(false)).getResult(0));
  }
  return vector::FromElementsOp::create(e.b, e.loc, e.vec(pair, 8), pairs);
}

CudaKernelFacts lowerCudaPermute(const CudaPermuteShape &shape, int64_t sm, Location loc, ModuleOp module,
                                 StringRef symbol) {
  CudaEmitter e(OpBuilder(loc.getContext()), loc);
  CudaPermuteArgs<Value> args;
  CudaKernelShell shell(e, module, symbol, countArgs(args), sm);
  args = shell.bind(args);
  int64_t outStride = cudaPermutedStride(shape.rowBytes), chunks = outStride / chunkBytes;
  Value index = e.add(e.mul(e.unsignedI64(e.ctaid()), permuteThreads), e.unsignedI64(e.tid()));
  Value row = e.divU(index, chunks), at = e.mul(e.remU(index, chunks), chunkBytes);
  Value rows = e.toI64(e.load(e.i32(), e.at(args.offsets, shape.groups * 4), 4));
  e.when(e.less(row, rows), [&] {
    Value token = e.toI64(e.load(e.i32(), e.at(args.rowToken, e.mul(row, 4)), 4));
    Value from = e.at(args.from, e.add(e.mul(token, shape.stride), at));
    bool whole = shape.stride % chunkBytes == 0 && shape.rowBytes % chunkBytes == 0;
    Value chunk =
        whole ? e.load(e.vec(e.i32(), 4), from, chunkBytes) : loadPairs(e, from, e.sub(e.c(shape.rowBytes), at));
    e.store(chunk, e.at(args.to, e.add(e.mul(row, outStride), at)), chunkBytes);
  });
  shell.finish(e, permuteThreads);
  return {permuteThreads, 0, permuteThreads, chunks, 0};
}

} // namespace moec
