// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer whose y is known by hand with combine.rows f32 and with activation, for tests of both targets.
//
// Experts are linear and give s·(1 + e) from x = (s, s, 0, ...), s a power of two; u is the step of the activation type
// at 1. The first K experts are chosen with weight 3, and a shared block of factor 3, or the mean of two, gives
// 3·s·(1 + 3u/4).
//
//   e            u/4    3u/4   u/2 (a tie, to even)     3 + 9u/4, or half of it twice
//   rounded        0       u     0                      3 + 2u

#ifndef MOEC_TESTS_CPU_ROUNDEDROWS_H
#define MOEC_TESTS_CPU_ROUNDEDROWS_H

#include <cmath>
#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

namespace moec {

struct RoundedRows {
  std::string type; // of x and parameters: bf16 or f16; y is f32
  bool rounded;     // combine.rows is activation
  int64_t choices;  // K of 8 experts
  int64_t capacity; // tokens of an expert; 0: all
  int64_t blocks;   // of the shared expert: 0 to 2

  static constexpr int64_t hidden = 37, experts = 8;

  std::string json() const {
    std::string text = R"({"moec": 1, "name": "rounded", "hidden": 37, "dtype": {"activation": ")" + type +
                       R"(", "weight": ")" + type + R"(", "output": "f32"}, "router": {"top_k": )" +
                       std::to_string(choices) +
                       R"(, "weight_mode": "one", "scale": 3}, "experts": {"count": 8, "form": "linear"})";
    if (blocks)
      text +=
          R"(, "shared": {"form": "linear", "scale": 3, "reduce": "mean", "count": )" + std::to_string(blocks) + "}";
    if (capacity)
      text += R"(, "capacity": {"value": )" + std::to_string(capacity) + "}";
    return text + R"(, "combine": {"rows": ")" + (rounded ? "activation" : "f32") + "\"}}";
  }

  // Parameters by role, in the order of their shape.
  std::map<std::string, std::vector<float>> parameters() const {
    std::map<std::string, std::vector<float>> out;
    out["router.weight"].assign(size_t(experts * hidden), 0);
    out["experts.up"] = matrices(experts, [&](int64_t e, int64_t column) { return exact(e, column); });
    if (blocks)
      out["shared.up"] = matrices(blocks, [&](int64_t, int64_t) { return 0.75 * step(); });
    return out;
  }

  // [T,hidden]
  std::vector<float> x(int64_t tokens) const {
    std::vector<float> out(size_t(tokens * hidden), 0);
    for (int64_t t = 0; t < tokens; ++t)
      out[size_t(t * hidden)] = out[size_t(t * hidden + 1)] = float(scale(t));
    return out;
  }
  std::vector<double> y(int64_t tokens) const {
    std::vector<double> out;
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t column = 0; column < hidden; ++column) {
        double sum = 0;
        for (int64_t e = 0; e < choices && (!capacity || t < capacity); ++e)
          sum += 3 * (1 + (rounded ? ((e + column) % 3 == 1 ? step() : 0) : exact(e, column)));
        if (blocks)
          sum += 3 + (rounded ? 2 : 2.25) * step();
        out.push_back(scale(t) * sum);
      }
    return out;
  }

private:
  double step() const { return type == "f16" ? 0x1p-10 : 0x1p-7; }
  double exact(int64_t e, int64_t column) const {
    const double parts[] = {0.25, 0.75, 0.5};
    return parts[(e + column) % 3] * step();
  }
  static double scale(int64_t token) { return std::ldexp(1.0, int(token % 3)); }

  // [count,hidden,hidden]: (1, second, 0, ...) in every row
  template <typename Second> static std::vector<float> matrices(int64_t count, Second second) {
    std::vector<float> out(size_t(count * hidden * hidden), 0);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t row = 0; row < hidden; ++row) {
        size_t at = size_t((i * hidden + row) * hidden);
        out[at] = 1;
        out[at + 1] = float(second(i, row));
      }
    return out;
  }
};

inline void PrintTo(const RoundedRows &rows, std::ostream *os) { *os << rows.json(); }

// What a test is to try: one and all choices, with and without drops and shared blocks, and rows that stay f32.
inline std::vector<RoundedRows> roundedRows(const std::string &type) {
  return {{type, true, 1, 0, 0}, {type, true, 8, 0, 2}, {type, true, 8, 3, 1}, {type, false, 8, 3, 1}};
}

} // namespace moec

#endif
