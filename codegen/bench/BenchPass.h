// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which calls of a layer a benchmark times.

#ifndef MOEC_CODEGEN_BENCH_BENCHPASS_H
#define MOEC_CODEGEN_BENCH_BENCHPASS_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace moec {

//   Forward    a forward call that saves nothing, as a program that serves makes it
//   Saving     a forward call that saves what a backward call reads
//   Backward   a backward call for all gradients that the layer has
enum class BenchPass { Forward, Saving, Backward };

// In results and csv: "forward", "forward_saving", "backward".
inline const char *passName(BenchPass pass) {
  static const char *const names[] = {"forward", "forward_saving", "backward"};
  return names[unsigned(pass)];
}

inline std::optional<BenchPass> passOfName(std::string_view name) {
  for (BenchPass pass : {BenchPass::Forward, BenchPass::Saving, BenchPass::Backward})
    if (name == passName(pass))
      return pass;
  return std::nullopt;
}

// In tables: "forward", "forward that saves", "backward".
inline const char *passText(BenchPass pass) {
  return pass == BenchPass::Saving ? "forward that saves" : passName(pass);
}

// "T=32", "T=32, backward".
inline std::string callName(int64_t tokens, BenchPass pass) {
  return "T=" + std::to_string(tokens) + (pass == BenchPass::Forward ? "" : std::string(", ") + passText(pass));
}

} // namespace moec

#endif
