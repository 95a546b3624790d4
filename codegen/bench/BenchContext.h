// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a benchmark's figures depend on: layer, compiler, package, machine, time. Written into every result, so that a
// figure can be repeated, and compared with others of its kind only.

#ifndef MOEC_CODEGEN_BENCH_BENCHCONTEXT_H
#define MOEC_CODEGEN_BENCH_BENCHCONTEXT_H

#include "codegen/Machine.h"

#include "dsl/text/JsonWriter.h"

#include <cstdint>
#include <string>

namespace moec {

struct BenchContext {
  std::string name, isa, skew; // layer, instruction set in use, routing
  int threads = 1;
  bool cold = true; // weights come from memory
  std::string moecVersion;
  std::string specHash;                          // 64 hex digits: of the canonical spec, or of the .mlir text
  std::string packageHash;                       // 64 hex digits: of libNAME.a, as manifest.json lists it
  std::string date;                              // "2026-11-23T14:05:59Z"
  std::string inputType, weightType, outputType; // "bf16"
  std::string gradientType;                      // of matrices; empty: no backward call was timed
  int64_t experts = 0, distinctExperts = 0;      // distinctExperts: how many have their own storage; 0: all
  MachineFacts machine;
};

// Version of the form of results; a reader refuses others.
constexpr int64_t benchFormat = 1;

// The members of a JSON object, which is open.
void writeContext(JsonWriter &os, const BenchContext &context);

} // namespace moec

#endif
