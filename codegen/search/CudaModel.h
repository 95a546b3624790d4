// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A matmul stage, an entry of its CUDA schedule, what the assembler said of the kernel, and a device as data -> how
// long a call's launch should take. No kernel runs; nothing here knows an architecture by name.
//
//     blocks     of a multiprocessor at once: the least of  registers / (threads * registers of a thread, in eights),
//                shared memory / (a block's + 1 KiB), threads, and what the launch asks for
//     tiles      sum over groups of ceil(rows / block_m), times ceil(n * parts / block_n), times splits
//     turns      tiles that one multiprocessor computes: blocks * ceil(tiles / (blocks * multiprocessors)) if there are
//                more tiles than fit at once, else ceil(tiles / multiprocessors)
//
//     tensor     turns * (2 * rows that are multiplied * block_n * steps * block_k / (rate * busy * peak of a
//                multiprocessor) + epilogue, where a block has the multiprocessor to itself and copies meanwhile)
//     busy       min(1, warps that multiply at once / 4), or / 8 where mma or FMA multiply: one warp of four cannot
//                issue for the others, and waits for its own results
//     L2         tiles * block_k * steps * (block_m * A bytes + block_n * B bytes) / l2, and the output
//     DRAM       (weights of groups that have rows, once; rows in, of A and of the epilogue; rows out)
//                / min(dram, bytes in flight / latency)
//                bytes in flight: (stages - 1) * a slot * the blocks that have a tile
//     time       max(tensor, L2, DRAM) + startup - what `early` does before the launch in front ends
//
// Rows are binomial (RowClasses.h). A kernel that spills or does not fit has no time: it is never chosen.

#ifndef MOEC_CODEGEN_SEARCH_CUDAMODEL_H
#define MOEC_CODEGEN_SEARCH_CUDAMODEL_H

#include "codegen/pipeline/StageCompiler.h"
#include "codegen/schedule/Schedule.h"
#include "codegen/search/RowClasses.h"
#include "codegen/tile/MatmulStage.h"

#include <optional>
#include <string>

namespace moec {

// A GPU. Rates are per second of the whole device.
struct GpuFacts {
  const char *key;  // of --gpu: "h100"
  const char *name; // as the driver says it
  int capability;   // 90
  int multiprocessors;
  double dramBytes, l2Bytes, tensorFlops, fmaFlops;                  // data sheet
  double reached;                                                    // of dram and peak, by large copies and products
  double clock, dramLatency;                                         // per second; seconds
  int64_t registers, sharedBytes, blockSharedBytes, threads, blocks; // of a multiprocessor; of a block
};

// Null: no such device.
const GpuFacts *findGpu(llvm::StringRef key);
std::string gpuKeys(); // "h100, h200, a100"
// The device that is modelled for an architecture without --gpu: h100 for sm_90a, a100 for sm_80.
const GpuFacts &gpuOf(CudaArch arch);

struct CudaPrediction {
  double seconds = 0;          // 0: none, `unfit` says why
  const char *bound = "";      // "tensor", "L2", "DRAM": what takes longest
  int64_t blocks = 0;          // of a multiprocessor
  std::string unfit;           // "spills 64 bytes per thread"
  double flops = 0, bytes = 0; // useful multiplications and additions; bytes from and to DRAM
};

// `cost`: without registers (0) those of the accumulators and 40 more are assumed.
CudaPrediction predictCuda(const MatmulStage &stage, const CudaEntry &entry, const CudaKernelFigures &cost,
                           const GpuFacts &gpu, int64_t tokens, const TuneRouting &routing);

} // namespace moec

#endif
