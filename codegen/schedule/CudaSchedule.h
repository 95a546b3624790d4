// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CUDA half of a schedule: the heuristic for a stage and an architecture, and the rules for entries.
//
// An entry is legal for a stage if it keeps S1 (Schedule.h: the template exists, the entry sets only its parameters,
// values lie in their allowed sets) and:
//
//     D1  the template has block_m, block_n, block_k, stages, warps_m and warps_n, of whatever kind
//     D2  a row of a step, block_k elements, has 32, 64 or 128 bytes, of A and of B
//     D3  block_m is a multiple of 16 * warps_m, 8 * warps_m where unit_m is 8, block_n of 16 * parts * warps_n
//     D4  stages * block_k * (block_m * A bytes + block_n * B bytes), plus 16 bytes per stage with roles, <= shared
//         memory of a block: 99 KiB for sm_80, whose PTX later devices run, 227 KiB for sm_90a
//     D5  32 * warps_m * warps_n threads, at most 512, with at most 128 accumulators each
//     D6  a template with roles (it has consumers) needs sm_90a, bf16 or f16 input and weights, lag <= stages - 2, and
//         block_m = 64 * consumers, or with unit_m 8 block_n = 64 * parts * consumers
//     D7  a template with unit_m 8 (weights first) needs tensor cores (bf16 or f16, f32 as tf32) and rows of at least
// 64
//         bytes
//     D8  splits > 1 needs a stage without a route, a last token of at most 64, a step for every share, and at most
//         64 MiB of partial sums, splits * last token * parts * n * 4 bytes
//     D9  a template with by_tma 1 (A by TMA) needs a stage without prologue, whose rows begin at multiples of 16 bytes
//         unless they are gathered
//     D10  early > 1 needs sm_90a. early 3 also needs a launch of the same call between this stage and the step that
//         makes its lists, or before this stage if it has no lists
//     D11  vacant 2 needs two consumers

#ifndef MOEC_CODEGEN_SCHEDULE_CUDASCHEDULE_H
#define MOEC_CODEGEN_SCHEDULE_CUDASCHEDULE_H

#include "codegen/schedule/Schedule.h"

namespace moec {

// The heuristic schedule, legal for every stage of 1 <= n, k <= 2^20 with the built-in templates.
CudaStage cudaSchedule(const MatmulStage &facts, CudaArch arch);

// The default front of an architecture: up to 16 tokens; beyond that a warp would have more than one token.
CudaFrontEntry cudaFront(CudaArch arch);

// Token ranges (from 1, no gap, last open, at most maxScheduleEntries) and S1, D1 to D11 of every entry. The error,
// E-SCHEDULE "stage ffn_up sm_80 tokens 1..4: D2: ...", is at the entry's place.
Result<> checkStage(const MatmulStage &facts, const CudaStage &schedule, llvm::StringRef templatesDir = "");

// "1..4" or "17.."
std::string tokenRangeText(const CudaEntry &entry);

} // namespace moec

#endif
