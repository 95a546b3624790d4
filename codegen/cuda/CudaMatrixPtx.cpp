// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The instructions of matmul kernels: asynchronous copies, tensor cores, mbarriers, TMA, wgmma.

#include "codegen/cuda/CudaEmitter.h"

using namespace mlir;

namespace moec {

static std::string repeat(llvm::StringRef item, int64_t count) {
  std::string out;
  for (int64_t i = 0; i < count; ++i)
    out += (i ? "," : "") + item.str();
  return out;
}

// "$first, ..., $(first + count - 1)"
static std::string range(int64_t first, int64_t count) {
  std::string out;
  for (int64_t i = 0; i < count; ++i)
    out += (i ? ", $" : "$") + std::to_string(first + i);
  return out;
}

// Operands "0", "1", ...: each shares the register of the result of that number.
static std::string tied(int64_t count) {
  std::string out;
  for (int64_t i = 0; i < count; ++i)
    out += (i ? "," : "") + std::to_string(i);
  return out;
}

static std::string typeName(Type type) { return type.isBF16() ? "bf16" : type.isF16() ? "f16" : "tf32"; }

void CudaEmitter::cpAsync(Value to, Value from, Value bytes) {
  effect("cp_async", "cp.async.cg.shared.global [$0], [$1], 16, $2;", "l,l,r", {to, from, bytes});
}

void CudaEmitter::cpAsyncCommit() { effect("cp_async_commit", "cp.async.commit_group;", "", {}); }

void CudaEmitter::cpAsyncWait(int64_t n) {
  effect("cp_async_wait n=" + std::to_string(n), "cp.async.wait_group " + std::to_string(n) + ";", "", {});
}

void CudaEmitter::cpAsyncArrive(Value mbarrier) {
  effect("cp_async_arrive", "cp.async.mbarrier.arrive.noinc.shared.b64 [$0];", "l", mbarrier);
}

CudaEmitter::Values CudaEmitter::ldmatrix(Value from, bool trans) {
  std::string form = trans ? ".trans" : "";
  return emitPtx(b, loc,
                 {std::string("ldmatrix n=4 trans=") + (trans ? "1" : "0"),
                  "ldmatrix.sync.aligned.m8n8.x4" + form + ".shared.b16 {" + range(0, 4) + "}, [$4];",
                  repeat("=r", 4) + ",l", false},
                 {i32(), i32(), i32(), i32()}, {from});
}

void CudaEmitter::stmatrix(Value to, ArrayRef<Value> v) {
  effect("stmatrix n=4", "stmatrix.sync.aligned.m8n8.x4.shared.b16 [$0], {" + range(1, 4) + "};", "l,r,r,r,r",
         {to, v[0], v[1], v[2], v[3]});
}

CudaEmitter::Values CudaEmitter::mma(Type type, ArrayRef<Value> a, ArrayRef<Value> bOperand, ArrayRef<Value> c) {
  std::string name = typeName(type), shape = type.isF32() ? "m16n8k8" : "m16n8k16";
  Values operands(a);
  operands.append(bOperand.begin(), bOperand.end());
  operands.append(c.begin(), c.end());
  std::string text = "mma.sync.aligned." + shape + ".row.col.f32." + name + "." + name + ".f32 {" + range(0, 4) +
                     "}, {" + range(4, 4) + "}, {" + range(8, 2) + "}, {" + range(10, 4) + "};";
  return emitPtx(b, loc,
                 {"mma type=" + name, text, repeat("=f", 4) + "," + repeat("r", 6) + "," + repeat("f", 4), false},
                 {f32(), f32(), f32(), f32()}, operands);
}

void CudaEmitter::mbarInit(Value mbarrier, Value count) {
  effect("mbar_init", "mbarrier.init.shared::cta.b64 [$0], $1;", "l,r", {mbarrier, count});
}

void CudaEmitter::mbarArrive(Value mbarrier) {
  effect("mbar_arrive", "mbarrier.arrive.shared::cta.b64 _, [$0];", "l", mbarrier);
}

void CudaEmitter::mbarExpect(Value mbarrier, Value bytes) {
  effect("mbar_expect", "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "l,r", {mbarrier, bytes});
}

// try_wait suspends the thread for a while by itself; labels are local to the braces.
void CudaEmitter::mbarWait(Value mbarrier, Value parity) {
  effect("mbar_wait",
         "{ .reg .pred p; wait: mbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1; @p bra done; bra wait; done: }",
         "l,r", {mbarrier, parity});
}

void CudaEmitter::fenceMbarInit() { effect("fence_mbar_init", "fence.mbarrier_init.release.cluster;", "", {}); }
void CudaEmitter::fenceAsyncGlobal() { effect("fence_async_global", "fence.proxy.async.global;", "", {}); }
void CudaEmitter::fenceAsync() { effect("fence_async", "fence.proxy.async.shared::cta;", "", {}); }

void CudaEmitter::tmaLoad3d(Value to, Value map, ArrayRef<Value> xyz, Value mbarrier) {
  effect("tma_load_3d",
         "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [$0], [$1, {$2, $3, $4}], "
         "[$5];",
         "l,l,r,r,r,l", {to, map, xyz[0], xyz[1], xyz[2], mbarrier});
}

void CudaEmitter::tmaPrefetch(Value map) { effect("tma_prefetch", "prefetch.tensormap [$0];", "l", map); }

CudaEmitter::Values CudaEmitter::wgmma(int64_t n, Type type, ArrayRef<Value> d, Value descA, Value descB, Value scaleD,
                                       bool transA, bool transB) {
  int64_t count = n / 2, after = 2 * count;
  std::string name = typeName(type), size = std::to_string(n);
  std::string text = "{ .reg .pred p; setp.ne.b32 p, $" + std::to_string(after + 2) +
                     ", 0; wgmma.mma_async.sync.aligned.m64n" + size + "k16.f32." + name + "." + name + " {" +
                     range(0, count) + "}, " + range(after, 2) + ", p, 1, 1, " + (transA ? "1, " : "0, ") +
                     (transB ? "1" : "0") + "; }";
  Values operands(d);
  operands.append({descA, descB, scaleD});
  return emitPtx(b, loc,
                 {"wgmma n=" + size + " type=" + name + (transA ? " transa=1" : "") + (transB ? " transb=1" : ""), text,
                  repeat("=f", count) + "," + tied(count) + ",l,l,r", false},
                 SmallVector<Type>(count, f32()), operands);
}

CudaEmitter::Values CudaEmitter::passThrough(std::string tag, std::string text, ArrayRef<Value> registers) {
  int64_t count = int64_t(registers.size());
  return emitPtx(
      b, loc, {tag + " regs=" + std::to_string(count), std::move(text), repeat("=f", count) + "," + tied(count), false},
      SmallVector<Type>(count, f32()), registers);
}

CudaEmitter::Values CudaEmitter::wgmmaFence(ArrayRef<Value> accumulators) {
  return passThrough("wgmma_fence", "wgmma.fence.sync.aligned;", accumulators);
}

void CudaEmitter::wgmmaCommit() { effect("wgmma_commit", "wgmma.commit_group.sync.aligned;", "", {}); }

CudaEmitter::Values CudaEmitter::wgmmaWait(int64_t n, ArrayRef<Value> accumulators) {
  std::string groups = std::to_string(n);
  return passThrough("wgmma_wait n=" + groups, "wgmma.wait_group.sync.aligned " + groups + ";", accumulators);
}

void CudaEmitter::setMaxNreg(int64_t n, bool increase) {
  std::string dir = increase ? "inc" : "dec", count = std::to_string(n);
  effect("setmaxnreg n=" + count + " dir=" + dir, "setmaxnreg." + dir + ".sync.aligned.u32 " + count + ";", "", {});
}

} // namespace moec
