// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PTX instructions that kernels use beyond LLVM's own loads, stores, arithmetic and integer atomics. Each is an
// llvm.inline_asm op whose text begins with a tag:
//
//     /*moec NAME key=value ...*/ ptx text
//
// The tag is what the emulator (codegen/emulate) executes; ptxas skips it as a comment. Instruction by instruction, i32
// unless said, `p3` a shared pointer, `p1` a global one, `->` results:
//
//     tid, ctaid, nctaid        -> i32                       special registers, x only; no side effects
//     barrier id=I threads=N                                 named barrier over N threads; id 0: the whole block
//     warp_sync                                              all 32 lanes of the warp
//     shfl_bfly mask=M          v -> v                       v of lane ^ M
//     shfl_idx                  v, lane -> v                 v of `lane`
//     shfl_up delta=D           v -> v                       v of lane - D, the own v in lanes below D
//     match_any                 v -> mask                    lanes whose v is equal
//     ballot                    v -> mask                    lanes whose v is not 0
//     div                       f32, f32 -> f32              div.full: 2 ulp
//     ex2                       f32 -> f32                   2^x, 2 ulp, subnormals flushed
//     cvt_tf32                  f32 bits -> tf32 bits        to nearest, ties away from zero (cvt.rna.tf32.f32)
//     cp_async                  p3, p1, bytes                16 bytes, zeros after the first `bytes` (0..16)
//     cp_async_commit           ; cp_async_wait n=N          groups; all but the N youngest are complete
//     cp_async_arrive           p3                           mbarrier arrival (noinc) when earlier cp_async complete
//     ldmatrix n=4 trans=0|1    p3 -> 4 x i32                four 8x8 matrices of 16-bit elements
//     stmatrix n=4              p3, 4 x i32
//     mma type=bf16|f16         4 x i32 A, 2 x i32 B, 4 x f32 C -> 4 x f32     m16n8k16
//     mma type=tf32             4 x i32 A, 2 x i32 B, 4 x f32 C -> 4 x f32     m16n8k8
//     mbar_init                 p3, count
//     mbar_arrive               p3
//     mbar_expect               p3, bytes                    arrive.expect_tx
//     mbar_wait                 p3, parity                   until the phase of that parity is complete
//     fence_mbar_init           ; fence_async                fence.mbarrier_init, fence.proxy.async.shared::cta
//     fence_async_global                                     fence.proxy.async.global: TMA sees earlier kernels' stores
//     tma_load_3d               p3, map pointer, x, y, z, p3 mbarrier     a box at {x, y, z}, x innermost
//     tma_prefetch              map pointer
//     wgmma n=N type=bf16|f16   N/2 x f32 D, i64 desc A, i64 desc B, scale_d -> N/2 x f32    m64nNk16, both K-major
//     wgmma_fence regs=R        R x f32 -> R x f32           accumulators pass through, so nothing moves across it
//     wgmma_commit
//     wgmma_wait n=G regs=R     R x f32 -> R x f32           accumulators may be read after it
//     setmaxnreg n=N dir=inc|dec
//     grid_wait                 ; grid_launch                griddepcontrol.wait, .launch_dependents
//     store_v4                  p1, 4 x i32                  plain 16-byte store (st.global.v4.b32)
//     red_add_f32 at=B          p1, f32                      f32 at p1 + B bytes += f32, relaxed, subnormals flushed

#ifndef MOEC_CODEGEN_CUDA_PTX_H
#define MOEC_CODEGEN_CUDA_PTX_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"

#include <string>

namespace moec {

// One inline_asm op. `tag` is "NAME key=value ...", `text` the PTX with $0, $1, ... for results then operands,
// `constraints` LLVM's string. LLVM may merge and move pure ops; it leaves the others in place.
struct PtxOp {
  std::string tag, text, constraints;
  bool pure = false;
};

// Emits `op` at the builder's place. `results` holds one type per result.
llvm::SmallVector<mlir::Value> emitPtx(mlir::OpBuilder &builder, mlir::Location loc, const PtxOp &op,
                                       mlir::TypeRange results, mlir::ValueRange operands);

} // namespace moec

#endif
