// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CudaEmitter: short spellings of the ops in CUDA kernels: the scalar half of Emitter, and one function for every
// instruction of Ptx.h.
//
// A kernel is written for one thread. Values are scalars; global memory is address space 1, shared memory 3. Functions
// are in the order of Ptx.h, which says what each does; `id`, `threads`, `mask`, `delta`, `n` are part of the
// instruction and therefore plain integers.

#ifndef MOEC_CODEGEN_CUDA_CUDAEMITTER_H
#define MOEC_CODEGEN_CUDA_CUDAEMITTER_H

#include "codegen/cuda/Ptx.h"
#include "codegen/lower/Emitter.h"

namespace moec {

// One lane, fma, native bf16 conversion.
const IsaFacts &cudaFacts();

constexpr int64_t cudaWarpThreads = 32;

class CudaEmitter : public Emitter {
public:
  CudaEmitter(mlir::OpBuilder builder, mlir::Location loc) : Emitter(builder, loc, cudaFacts()) {}

  using Values = llvm::SmallVector<mlir::Value>;

  // -- types
  mlir::Type i32() { return b.getI32Type(); }
  mlir::Type i1() { return b.getI1Type(); }
  mlir::Type globalPtr() { return mlir::LLVM::LLVMPointerType::get(b.getContext(), 1); }
  mlir::Type sharedPtr() { return mlir::LLVM::LLVMPointerType::get(b.getContext(), 3); }

  // -- scalars
  mlir::Value f(double value) { return mlir::arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(value))); }
  mlir::Value compare(mlir::arith::CmpIPredicate p, mlir::Value x, mlir::Value y) {
    return mlir::arith::CmpIOp::create(b, loc, p, x, y);
  }
  mlir::Value compare(mlir::arith::CmpFPredicate p, mlir::Value x, mlir::Value y) {
    return mlir::arith::CmpFOp::create(b, loc, p, x, y);
  }
  mlir::Value equal(mlir::Value x, mlir::Value y) { return compare(mlir::arith::CmpIPredicate::eq, x, y); }
  mlir::Value both(mlir::Value x, mlir::Value y) { return mlir::arith::AndIOp::create(b, loc, x, y); }
  mlir::Value either(mlir::Value x, mlir::Value y) { return mlir::arith::OrIOp::create(b, loc, x, y); }
  mlir::Value toI32(mlir::Value x) { return mlir::arith::TruncIOp::create(b, loc, i32(), x); }
  mlir::Value unsignedI64(mlir::Value x) { return mlir::arith::ExtUIOp::create(b, loc, i64(), x); }
  // i32 with constants; by 1, and plus 0, x itself
  mlir::Value div32(mlir::Value x, int64_t y) {
    return y == 1 ? x : mlir::arith::DivUIOp::create(b, loc, x, c32(int32_t(y))).getResult();
  }
  mlir::Value rem32(mlir::Value x, int64_t y) {
    return y == 1 ? c32(0) : mlir::arith::RemUIOp::create(b, loc, x, c32(int32_t(y))).getResult();
  }
  mlir::Value add32(mlir::Value x, int64_t y) { return y == 0 ? x : add(x, c32(int32_t(y))); }
  mlir::Value mul32(mlir::Value x, int64_t y) { return y == 1 ? x : mul(x, c32(int32_t(y))); }
  mlir::Value bitCount(mlir::Value x) { return mlir::LLVM::CtPopOp::create(b, loc, x.getType(), x); }
  // x of f32, bf16 or f16 <-> f32; bf16 by cvt.rn (a NaN becomes the canonical one)
  mlir::Value widen(mlir::Value x);
  mlir::Value narrow(mlir::Value x, mlir::Type element);

  // -- memory
  mlir::Value shared(); // start of the block's dynamic shared memory, 1024-byte aligned
  // A load that no first-level cache answers: of what another kernel wrote, before this one has waited for its end.
  mlir::Value loadFresh(mlir::Type type, mlir::Value address, unsigned align) {
    return mlir::LLVM::LoadOp::create(b, loc, type, address, align, /*isVolatile=*/true);
  }
  // *address += value, both i32, relaxed; no result
  void atomicAdd(mlir::Value address, mlir::Value value);
  // the same for f32 in global memory, `offset` bytes behind `address`; additions of several threads have no defined
  // order
  void reduceAdd(mlir::Value address, int64_t offset, mlir::Value value);

  // -- special registers, as i32
  mlir::Value tid() { return special("tid"); }
  mlir::Value ctaid() { return special("ctaid"); }
  mlir::Value nctaid() { return special("nctaid"); }

  // -- block and warp
  void barrier(int64_t id, int64_t threads);
  void warpSync();
  mlir::Value shflBfly(mlir::Value v, int64_t mask);    // v: i32 or f32, also in the next two
  mlir::Value shflIdx(mlir::Value v, mlir::Value lane); // lane: i32
  mlir::Value shflUp(mlir::Value v, int64_t delta);
  mlir::Value matchAny(mlir::Value v); // i32 -> mask
  mlir::Value ballot(mlir::Value v);   // i32 -> mask

  // -- arithmetic; pure
  mlir::Value div(mlir::Value x, mlir::Value y);
  mlir::Value roundTf32(mlir::Value bits); // i32: bits of an f32 -> of the nearest tf32
  mlir::Value ex2(mlir::Value x);

  // -- asynchronous copies: `to` and mbarriers are shared pointers, `from` a global one, `bytes` i32
  void cpAsync(mlir::Value to, mlir::Value from, mlir::Value bytes);
  void cpAsyncCommit();
  void cpAsyncWait(int64_t n);
  void cpAsyncArrive(mlir::Value mbarrier);

  // -- matrices
  Values ldmatrix(mlir::Value from, bool trans);                // 4 x i32
  void stmatrix(mlir::Value to, llvm::ArrayRef<mlir::Value> v); // 4 x i32; sm_90
  // type: bf16, f16 (m16n8k16) or f32 (tf32, m16n8k8); a 4 x i32, b 2 x i32, c 4 x f32 -> 4 x f32
  Values mma(mlir::Type type, llvm::ArrayRef<mlir::Value> a, llvm::ArrayRef<mlir::Value> bOperand,
             llvm::ArrayRef<mlir::Value> c);

  // -- mbarriers, TMA, wgmma, register budget: sm_90a
  void mbarInit(mlir::Value mbarrier, mlir::Value count); // count: i32
  void mbarArrive(mlir::Value mbarrier);
  void mbarExpect(mlir::Value mbarrier, mlir::Value bytes); // bytes: i32
  void mbarWait(mlir::Value mbarrier, mlir::Value parity);  // parity: i32
  void fenceMbarInit();
  void fenceAsync(); // of shared memory
  void fenceAsyncGlobal();
  void tmaLoad3d(mlir::Value to, mlir::Value map, llvm::ArrayRef<mlir::Value> xyz, mlir::Value mbarrier); // xyz: i32
  void tmaPrefetch(mlir::Value map);
  // d: N/2 x f32, descriptors i64, scaleD i32 (0: d is not read), which operands are depth first -> N/2 x f32
  Values wgmma(int64_t n, mlir::Type type, llvm::ArrayRef<mlir::Value> d, mlir::Value descA, mlir::Value descB,
               mlir::Value scaleD, bool transA = false, bool transB = false);
  Values wgmmaFence(llvm::ArrayRef<mlir::Value> accumulators);
  void wgmmaCommit();
  Values wgmmaWait(int64_t n, llvm::ArrayRef<mlir::Value> accumulators);
  void setMaxNreg(int64_t n, bool increase);

  // -- grid dependency (sm_90), plain 16-byte store
  void gridWait();
  void gridLaunch();
  void storeV4(mlir::Value to, llvm::ArrayRef<mlir::Value> v); // global pointer, 16-byte aligned; 4 x i32

  // Clones the straight-line scalar `region` with `args` as its arguments and returns what its terminator yields.
  Values inlineScalar(mlir::Region &region, mlir::ValueRange args);

private:
  void effect(std::string tag, std::string text, std::string constraints, mlir::ValueRange operands);
  mlir::Value special(std::string name);
  mlir::Value shuffle(std::string tag, std::string form, mlir::ValueRange operands);
  Values passThrough(std::string tag, std::string text, llvm::ArrayRef<mlir::Value> registers);
};

// Replaces math.exp, expm1, tanh, erf, log, log1p, rsqrt and every f32 division below `root` by arithmetic, ex2 and
// div:
//
//     exp x = 2^h (1 + l ln 2),  h = x log2 e rounded, l = x log2 e - h exactly      4e-7 relative on [-87, 88]
//
// Results below 2^-126 are 0. A NaN stays NaN.
void expandCudaMath(mlir::Operation *root);

} // namespace moec

#endif
