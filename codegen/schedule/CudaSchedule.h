// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CUDA half of a schedule: the heuristic for a stage and an architecture, and the rules an entry keeps.
//
// An entry is legal for a stage when all of these hold (S1 is the CPU's: the template exists, what is set is a
// parameter of it, values lie in their allowed sets):
//
//     D1  the template has block_m, block_n, block_k and stages, and warps_m and warps_n, of whatever kind
//     D2  a row of a step, block_k elements, has 32, 64 or 128 bytes, of A and of B
//     D3  block_m is a multiple of 16 * warps_m, 8 * warps_m where unit_m is 8, block_n of 16 * parts * warps_n
//     D4  stages * block_k * (block_m * A bytes + block_n * B bytes), and 16 bytes a stage with roles, <= shared memory
//         of a block: 99 KiB for sm_80, whose PTX later devices run, 227 KiB for sm_90a
//     D5  32 * warps_m * warps_n threads, at most 512, hold at most 128 accumulators each
//     D6  a template with roles, which has consumers: sm_90a, bf16 input and weights or f16, block_m = 64 * consumers,
//         or where unit_m is 8 block_n a multiple of 64 * parts * consumers, lag <= stages - 2
//     D7  a template whose unit_m is 8, weights first: tensor cores (bf16 or f16, f32 as tf32), rows of at least 64
//         bytes
//     D8  splits > 1: a stage without a route, a last token of at most 64, a step for every share, and partial sums,
//         splits * last token * parts * n * 4 bytes, of at most 64 MiB
//     D9  a template whose by_tma is 1, A by TMA: nothing computes on A, and rows that are not gathered begin at
//         multiples of 16 bytes
//     D10  early > 1: sm_90a; early 3: another launch of the call stands between the stage and what says which weights
//         its blocks read first, the beginning of the call or the step that makes its lists
//     D11  vacant 2: two consumers

#ifndef MOEC_CODEGEN_SCHEDULE_CUDASCHEDULE_H
#define MOEC_CODEGEN_SCHEDULE_CUDASCHEDULE_H

#include "codegen/schedule/Schedule.h"

namespace moec {

// The heuristic schedule: legal for every stage of 1 <= n, k <= 2^20, by the built-in templates.
CudaStage cudaSchedule(const StageFacts &facts, CudaArch arch);

// The front that an architecture gets: up to 16 tokens, from where a warp has more than one of them.
CudaFrontEntry cudaFront(CudaArch arch);

// Token ranges (from 1, no gap, last open, at most maxScheduleEntries) and S1, D1 to D11 of every entry. False: `error`
// is one line "stage ffn_up sm_80 tokens 1..4: D2: ...".
bool checkStage(const StageFacts &facts, const CudaStage &schedule, std::string &error,
                llvm::StringRef templatesDir = "");

// How an error of an entry begins: "stage ffn_up sm_80 tokens 1..4: ".
std::string entryPlaceText(const CudaStage &stage, const CudaEntry &entry);

// "1..4" or "17.."
std::string tokenRangeText(const CudaEntry &entry);

} // namespace moec

#endif
