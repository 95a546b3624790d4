// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Emitter: short spellings of the llvm, arith and vector ops in CPU kernels.
//
// Addresses are byte offsets on opaque pointers, integers are i64, f32 work is on vectors of `lanes` elements. bf16
// values are converted here and nowhere else: without AVX512-BF16 a truncation left to LLVM becomes a library call.

#ifndef MOEC_CODEGEN_LOWER_EMITTER_H
#define MOEC_CODEGEN_LOWER_EMITTER_H

#include "codegen/Target.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"

namespace moec {

class Emitter {
public:
  Emitter(mlir::OpBuilder builder, mlir::Location loc, const IsaFacts &isa) : b(builder), loc(loc), isa(isa) {}

  mlir::OpBuilder b;
  mlir::Location loc;
  const IsaFacts &isa;
  mlir::LLVM::LLVMFuncOp function; // the kernel being built; set by KernelFunction

  // -- types
  mlir::Type i64() { return b.getI64Type(); }
  mlir::Type f32() { return b.getF32Type(); }
  mlir::Type ptr() { return mlir::LLVM::LLVMPointerType::get(b.getContext()); }
  mlir::VectorType vec(mlir::Type element, int64_t lanes) { return mlir::VectorType::get({lanes}, element); }
  mlir::VectorType vecF32() { return vec(f32(), isa.lanes); }

  // -- integers
  mlir::Value c(int64_t value) { return mlir::arith::ConstantIntOp::create(b, loc, i64(), value); }
  mlir::Value c32(int32_t value) { return mlir::arith::ConstantIntOp::create(b, loc, b.getI32Type(), value); }
  mlir::Value add(mlir::Value x, mlir::Value y) { return mlir::arith::AddIOp::create(b, loc, x, y); }
  mlir::Value sub(mlir::Value x, mlir::Value y) { return mlir::arith::SubIOp::create(b, loc, x, y); }
  mlir::Value mul(mlir::Value x, mlir::Value y) { return mlir::arith::MulIOp::create(b, loc, x, y); }
  mlir::Value mul(mlir::Value x, int64_t y) { return y == 1 ? x : mul(x, c(y)); }
  mlir::Value minS(mlir::Value x, mlir::Value y) { return mlir::arith::MinSIOp::create(b, loc, x, y); }
  mlir::Value maxS(mlir::Value x, mlir::Value y) { return mlir::arith::MaxSIOp::create(b, loc, x, y); }
  mlir::Value divU(mlir::Value x, int64_t y) {
    return y == 1 ? x : mlir::arith::DivUIOp::create(b, loc, x, c(y)).getResult();
  }
  mlir::Value remU(mlir::Value x, int64_t y) { return mlir::arith::RemUIOp::create(b, loc, x, c(y)); }
  mlir::Value ceilDiv(mlir::Value x, int64_t y) { return y == 1 ? x : divU(add(x, c(y - 1)), y); }
  mlir::Value less(mlir::Value x, mlir::Value y) {
    return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::slt, x, y);
  }
  mlir::Value select(mlir::Value cond, mlir::Value x, mlir::Value y) {
    return mlir::arith::SelectOp::create(b, loc, cond, x, y);
  }
  // i64 of an index, an i32 or an i64
  mlir::Value toI64(mlir::Value value) {
    if (value.getType().isIndex())
      return mlir::arith::IndexCastOp::create(b, loc, i64(), value);
    if (value.getType() == i64())
      return value;
    return mlir::arith::ExtSIOp::create(b, loc, i64(), value);
  }

  // -- memory
  mlir::Value at(mlir::Value base, mlir::Value byteOffset) {
    return mlir::LLVM::GEPOp::create(b, loc, base.getType(), b.getI8Type(), base,
                                     mlir::ArrayRef<mlir::LLVM::GEPArg>{byteOffset});
  }
  mlir::Value at(mlir::Value base, int64_t byteOffset) {
    if (byteOffset == 0)
      return base;
    if (byteOffset > INT32_MAX || byteOffset < INT32_MIN)
      return at(base, c(byteOffset));
    return mlir::LLVM::GEPOp::create(b, loc, base.getType(), b.getI8Type(), base,
                                     mlir::ArrayRef<mlir::LLVM::GEPArg>{int32_t(byteOffset)});
  }
  mlir::Value load(mlir::Type type, mlir::Value address, unsigned align) {
    return mlir::LLVM::LoadOp::create(b, loc, type, address, align);
  }
  void store(mlir::Value value, mlir::Value address, unsigned align) {
    mlir::LLVM::StoreOp::create(b, loc, value, address, align);
  }
  // `bytes` on the stack, allocated in the function's entry block; 64-byte aligned
  mlir::Value stack(int64_t bytes);
  void copy(mlir::Value to, mlir::Value from, int64_t bytes) {
    mlir::LLVM::MemcpyInlineOp::create(b, loc, to, from, b.getI64IntegerAttr(bytes), /*isVolatile=*/false);
  }

  // Address of `numbers` as i32 constants of the module, with `padding` zeros behind them.
  mlir::Value numberTable(llvm::ArrayRef<int32_t> numbers, int64_t padding, unsigned addressSpace);

  // -- vectors
  mlir::Value splat(mlir::Value scalar, int64_t lanes) {
    return mlir::vector::BroadcastOp::create(b, loc, vec(scalar.getType(), lanes), scalar);
  }
  mlir::Value constant(double value, int64_t lanes) {
    auto type = vec(f32(), lanes);
    return mlir::arith::ConstantOp::create(b, loc, mlir::DenseElementsAttr::get(type, float(value)));
  }
  mlir::Value constantI32(int32_t value, int64_t lanes) {
    auto type = vec(b.getI32Type(), lanes);
    return mlir::arith::ConstantOp::create(b, loc, mlir::DenseElementsAttr::get(type, value));
  }
  mlir::Value bitcast(mlir::Value value, mlir::Type type) {
    return mlir::arith::BitcastOp::create(b, loc, type, value);
  }
  mlir::Value addF(mlir::Value x, mlir::Value y) { return mlir::arith::AddFOp::create(b, loc, x, y); }
  mlir::Value mulF(mlir::Value x, mlir::Value y) { return mlir::arith::MulFOp::create(b, loc, x, y); }
  // x*y + z, fused if the ISA has fma
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z) {
    if (isa.fma)
      return mlir::math::FmaOp::create(b, loc, x, y, z);
    return addF(mulF(x, y), z);
  }

  // -- bf16 <-> f32, scalars or vectors; round to nearest even, NaN stays NaN
  mlir::Value toBf16(mlir::Value value);
  mlir::Value fromBf16(mlir::Value value);
  // f32 vector of `lanes` elements of `element` (f32 or bf16) at `address`
  mlir::Value loadAsF32(mlir::Type element, mlir::Value address, int64_t lanes);

  // -- loops and branches; the body emits through this emitter
  void loop(mlir::Value first, mlir::Value last, int64_t step, llvm::function_ref<void(mlir::Value)> body);
  void when(mlir::Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise = nullptr);

  using Values = llvm::SmallVector<mlir::Value>;
  // acc = step(acc, i) for i = first, first + stride, ... below end. Each run of `run` values of i begins with
  // `neutral`; runs are then joined in order. The error of a sum grows with n/run + run instead of n.
  Values foldInRuns(mlir::Value first, mlir::Value end, int64_t stride, int64_t run, const Values &neutral,
                    llvm::function_ref<Values(const Values &, mlir::Value)> step,
                    llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> join);

  // Clones the straight-line scalar `region` on vectors of `lanes` elements (lanes 1: on scalars), with `args` as its
  // arguments, and returns what its terminator yields.
  llvm::SmallVector<mlir::Value> inlineVectorised(mlir::Region &region, mlir::ValueRange args, int64_t lanes);
};

// Replaces math.exp, expm1, tanh, erf, log and log1p below `root` by arithmetic: no kernel may call a math library.
void expandMath(mlir::Operation *root, const IsaFacts &isa);

} // namespace moec

#endif
