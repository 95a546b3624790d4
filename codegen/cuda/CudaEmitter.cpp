// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Arithmetic, shared memory and warp instructions of the CUDA emitter.

#include "codegen/cuda/CudaEmitter.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace moec {

const IsaFacts &cudaFacts() {
  static const IsaFacts facts = {Isa::Baseline,   "cuda", "", "", /*lanes=*/1, /*registers=*/0, /*fma=*/true,
                                 /*bf16Dot=*/true};
  return facts;
}

Value CudaEmitter::widen(Value x) {
  if (x.getType().isF32())
    return x;
  return x.getType().isBF16() ? fromBf16(x) : arith::ExtFOp::create(b, loc, f32(), x).getResult();
}

Value CudaEmitter::narrow(Value x, Type element) {
  return element.isF32() ? x : arith::TruncFOp::create(b, loc, element, x).getResult();
}

Value CudaEmitter::shared() {
  const char *name = "moec_shared";
  auto module = function->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto type = LLVM::LLVMArrayType::get(b.getI8Type(), 0);
    LLVM::GlobalOp::create(b, loc, type, /*isConstant=*/false, LLVM::Linkage::External, name, Attribute(),
                           /*alignment=*/1024, /*addrSpace=*/3);
  }
  return LLVM::AddressOfOp::create(b, loc, sharedPtr(), name);
}

void CudaEmitter::atomicAdd(Value address, Value value) {
  LLVM::AtomicRMWOp::create(b, loc, LLVM::AtomicBinOp::add, address, value, LLVM::AtomicOrdering::monotonic);
}

void CudaEmitter::reduceAdd(Value address, int64_t offset, Value value) {
  std::string at = std::to_string(offset);
  effect("red_add_f32 at=" + at, "red.global.add.f32 [$0+" + at + "], $1;", "l,f", {address, value});
}

void CudaEmitter::effect(std::string tag, std::string text, std::string constraints, ValueRange operands) {
  emitPtx(b, loc, {std::move(tag), std::move(text), std::move(constraints), false}, {}, operands);
}

Value CudaEmitter::special(std::string name) {
  return emitPtx(b, loc, {name, "mov.u32 $0, %" + name + ".x;", "=r", true}, {i32()}, {})[0];
}

void CudaEmitter::barrier(int64_t id, int64_t threads) {
  std::string i = std::to_string(id), n = std::to_string(threads);
  effect("barrier id=" + i + " threads=" + n, "bar.sync " + i + ", " + n + ";", "", {});
}

void CudaEmitter::warpSync() { effect("warp_sync", "bar.warp.sync 0xffffffff;", "", {}); }

// Lanes exchange 32 bits; a float travels as its bits.
Value CudaEmitter::shuffle(std::string tag, std::string form, ValueRange operands) {
  Values inputs(operands);
  Type type = inputs[0].getType();
  if (type.isF32())
    inputs[0] = bitcast(inputs[0], i32());
  std::string constraints = inputs.size() == 2 ? "=r,r,r" : "=r,r";
  Value v =
      emitPtx(b, loc, {std::move(tag), "shfl.sync." + form + ", 0xffffffff;", constraints, false}, {i32()}, inputs)[0];
  return type.isF32() ? bitcast(v, type) : v;
}

Value CudaEmitter::shflBfly(Value v, int64_t mask) {
  std::string m = std::to_string(mask);
  return shuffle("shfl_bfly mask=" + m, "bfly.b32 $0, $1, " + m + ", 0x1f", v);
}

Value CudaEmitter::shflIdx(Value v, Value lane) { return shuffle("shfl_idx", "idx.b32 $0, $1, $2, 0x1f", {v, lane}); }

Value CudaEmitter::shflUp(Value v, int64_t delta) {
  std::string d = std::to_string(delta);
  return shuffle("shfl_up delta=" + d, "up.b32 $0, $1, " + d + ", 0x0", v);
}

Value CudaEmitter::matchAny(Value v) {
  return emitPtx(b, loc, {"match_any", "match.any.sync.b32 $0, $1, 0xffffffff;", "=r,r", false}, {i32()}, {v})[0];
}

Value CudaEmitter::ballot(Value v) {
  return emitPtx(
      b, loc,
      {"ballot", "{ .reg .pred p; setp.ne.b32 p, $1, 0; vote.sync.ballot.b32 $0, p, 0xffffffff; }", "=r,r", false},
      {i32()}, {v})[0];
}

Value CudaEmitter::div(Value x, Value y) {
  return emitPtx(b, loc, {"div", "div.full.f32 $0, $1, $2;", "=f,f,f", true}, {f32()}, {x, y})[0];
}

Value CudaEmitter::roundTf32(Value bits) {
  return emitPtx(b, loc, {"cvt_tf32", "cvt.rna.tf32.f32 $0, $1;", "=r,r", true}, {i32()}, {bits})[0];
}

Value CudaEmitter::ex2(Value x) {
  return emitPtx(b, loc, {"ex2", "ex2.approx.ftz.f32 $0, $1;", "=f,f", true}, {f32()}, {x})[0];
}

void CudaEmitter::gridWait() { effect("grid_wait", "griddepcontrol.wait;", "", {}); }
void CudaEmitter::gridLaunch() { effect("grid_launch", "griddepcontrol.launch_dependents;", "", {}); }

void CudaEmitter::storeV4(Value to, ArrayRef<Value> v) {
  effect("store_v4", "st.global.v4.b32 [$0], {$1, $2, $3, $4};", "l,r,r,r,r", {to, v[0], v[1], v[2], v[3]});
}

CudaEmitter::Values CudaEmitter::inlineScalar(Region &region, ValueRange args) {
  IRMapping mapping;
  mapping.map(region.getArguments(), args);
  for (Operation &op : region.front().without_terminator())
    b.clone(op, mapping);
  Values results;
  for (Value value : region.front().getTerminator()->getOperands())
    results.push_back(mapping.lookup(value));
  return results;
}

// The clamps keep h and l finite, so that their product is never inf times 0; beyond them 2^h is inf or 0 by itself.
// Comparisons are ordered: a NaN passes.
static Value expandExp(CudaEmitter &e, Value x) {
  const double log2e = 1.44269504088896341, ln2 = 0.693147180559945309;
  double high = double(float(log2e));
  x = e.select(e.compare(arith::CmpFPredicate::OGT, x, e.f(89.0)), e.f(89.0), x);
  x = e.select(e.compare(arith::CmpFPredicate::OLT, x, e.f(-104.0)), e.f(-104.0), x);
  Value h = e.mulF(x, e.f(high));
  Value l = e.fma(x, e.f(high), arith::NegFOp::create(e.b, e.loc, h));
  l = e.fma(x, e.f(log2e - high), l);
  // The correction multiplies: where ex2 overflows, infinity plus infinity times a negative l would be NaN.
  return e.mulF(e.ex2(h), e.fma(l, e.f(ln2), e.f(1.0)));
}

static Value one(CudaEmitter &e) { return e.f(1.0); }

void expandCudaMath(Operation *root) {
  SmallVector<Operation *> work;
  auto replace = [&](llvm::function_ref<Value(CudaEmitter &, Operation *)> with) {
    for (Operation *op : work) {
      CudaEmitter e(OpBuilder(op), op->getLoc());
      op->getResult(0).replaceAllUsesWith(with(e, op));
      op->erase();
    }
    work.clear();
  };
  root->walk([&](Operation *op) {
    if (llvm::isa<math::ExpOp, math::RsqrtOp>(op) && op->getResult(0).getType().isF32())
      work.push_back(op);
  });
  replace([](CudaEmitter &e, Operation *op) -> Value {
    Value x = op->getOperand(0);
    return llvm::isa<math::ExpOp>(op) ? expandExp(e, x) : e.div(one(e), math::SqrtOp::create(e.b, e.loc, x));
  });
  expandMath(root, cudaFacts());
  root->walk([&](arith::DivFOp op) {
    if (op.getType().isF32())
      work.push_back(op);
  });
  replace([](CudaEmitter &e, Operation *op) { return e.div(op->getOperand(0), op->getOperand(1)); });
}

} // namespace moec
