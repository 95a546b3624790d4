// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A .unit file: one small kernel, its input, and the output the emulator gave it. Written by moec-cuda-units, read
// where there is a GPU.
//
//     text line   moec-unit 2 THREADS SHARED INPUT_BYTES OUTPUT_BYTES TOLERANCE_ULP SUMS_BYTES IMAGE_BYTES
//     then        input, output, sums, image (a cubin, or PTX with its NUL); the kernel is named "unit", its parameters
//                 are (i64 T, input pointer, output pointer, TMA descriptor of the input's first 8192 bytes as 64 rows
//                 of 64 bf16 in 128-byte swizzle; zeros for a shorter input)
//
// A word of the output is right where it differs by at most TOLERANCE_ULP, 0 for bits, or, with sums, f32 like the
// output, by
//
//     2^-20 * sums[i],   sums[i] = sum_k |a_k * b_k| of the products it adds up:
//
// what the additions inside a matrix instruction may lose, whose order and width nobody states, and a cancelling sum
// shows.

#ifndef MOEC_TESTS_CUDA_UNITCHECK_H
#define MOEC_TESTS_CUDA_UNITCHECK_H

#include "Report.h"

#include "codegen/check/DeviceMemory.h"

#include <string>
#include <vector>

namespace moec {

struct Unit {
  unsigned threads = 32, shared = 0, ulp = 0;
  std::vector<char> input, output, sums;
  std::string image;
};

bool writeUnit(const std::string &path, const Unit &unit);
bool readUnit(const std::string &path, Unit &unit);

// Loads the image and runs it once. False: `error`.
bool runUnit(const DeviceContext &device, const Unit &unit, std::vector<char> &output, std::string &error);

// The 4-byte words of the two outputs that differ by more than the unit allows, in order.
std::vector<size_t> differingWords(const Unit &unit, const std::vector<char> &output);

int checkUnits(const std::string &folder, const CaseOptions &options, const DeviceContext &device); // exit code

} // namespace moec

#endif
