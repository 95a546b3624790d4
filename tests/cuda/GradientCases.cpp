// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec-cuda-gradients SPEC OUT.gradients TEMPLATES T... -> calls of so many tokens and their gradients in float64, with
// the limits that `moec verify --grad` holds kernels to.
//
// Exit: 0 done, 1 they cannot be computed, 2 usage.

#include "CheckedPackage.h"
#include "StoredGradients.h"

#include "codegen/check/OracleCheck.h"
#include "codegen/gradcheck/SpecGradients.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace moec;

namespace {

constexpr int64_t mostElements = 8192; // of a tensor and T

// One row of every piece of about the same number of rows, at another place in each.
std::vector<int64_t> rowsToKeep(int64_t rows, int64_t columns) {
  std::vector<int64_t> kept;
  int64_t count = std::max<int64_t>(1, mostElements / columns);
  for (int64_t i = 0; rows > count && i < count; ++i) {
    int64_t first = i * rows / count, end = (i + 1) * rows / count;
    kept.push_back(first + i * 7919 % (end - first));
  }
  return kept;
}

void keep(const std::string &name, const interpret::Tensor &exact, const RowSpread &spread, StoredCall &to) {
  StoredGradient &gradient = to.wanted[name];
  int64_t columns = std::max<int64_t>(1, exact.shape.empty() ? 1 : exact.shape.back());
  gradient.rows = rowsToKeep(int64_t(spread.rows()), columns);
  gradient.exact = exact.data;
  gradient.slack = gradient.rows.empty() ? spread.slack() : spread.slackOf(gradient.rows);
  if (gradient.rows.empty())
    return;
  gradient.exact.clear();
  for (int64_t row : gradient.rows)
    gradient.exact.insert(gradient.exact.end(), exact.data.begin() + row * columns,
                          exact.data.begin() + (row + 1) * columns);
}

PageBuffer copyOf(const PageBuffer &from, size_t bytes) {
  PageBuffer copy(bytes + 64);
  if (copy.data() && bytes)
    std::memcpy(copy.data(), from.data(), bytes);
  return copy;
}

// Gradients of few tokens have few errors, and many runs show how large they can be.
int64_t runsOf(int64_t tokens) { return tokens < 32 ? INT64_MAX : 32; }

// False: `error`.
bool keepCall(SpecGradients &oracle, const RoleTensors &weights, int64_t tokens, StoredGradients &out,
              std::string &error) {
  if (!succeeded(oracle.draw(weights, storedWeightsSeed, tokens), error) ||
      !succeeded(oracle.settle(runsOf(tokens)), error))
    return false;
  const GradientExpectation &expected = oracle.expectation();
  StoredCall stored;
  stored.call.tokens = tokens;
  stored.call.inputs = expected.call.inputs;
  stored.call.coefficients = expected.call.coefficients;
  stored.call.x = copyOf(expected.call.x, size_t(tokens) * out.xBytes);
  stored.call.dy = copyOf(expected.call.dy, size_t(tokens) * out.dyBytes);
  for (const auto &[name, tensor] : expected.exact)
    keep(name, *tensor, expected.spreads.at(name), stored);
  if (tokens && expected.undecided == size_t(tokens))
    error = "T=" + std::to_string(tokens) + ": rounding decides about all tokens";
  out.calls.push_back(std::move(stored));
  return error.empty();
}

bool keepAll(const LayerSpec &spec, const std::string &templatesDir, const std::vector<int64_t> &tokens,
             StoredGradients &out, std::string &error) {
  Result<std::unique_ptr<SpecGradients>> oracle = SpecGradients::make(spec, templatesDir, {});
  RandomLayer weights;
  error = "no memory";
  if (!oracle || !weights.make(spec, storedWeightsSeed)) {
    error = oracle ? error : oracle.error().placedMessage();
    return false;
  }
  error.clear();
  out.inputNames = (*oracle)->inputs();
  out.matrices = (*oracle)->weightType();
  out.xBytes = size_t(spec.hidden * dataTypeBits(spec.dtype.activation) / 8);
  out.dyBytes = size_t(spec.hidden * dataTypeBits(spec.dtype.output) / 8);
  for (int64_t t : tokens)
    if (!keepCall(**oracle, weights.tensors, t, out, error))
      return false;
  return true;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: moec-cuda-gradients SPEC OUT TEMPLATES T...\n");
    return 2;
  }
  std::vector<int64_t> tokens;
  for (int i = 4; i < argc; ++i)
    tokens.push_back(std::atoll(argv[i]));
  std::string error;
  std::optional<LayerSpec> spec = readSpecFile(argv[1], error);
  StoredGradients out;
  bool good = spec && keepAll(*spec, argv[3], tokens, out, error);
  if (good && !out.write(argv[2])) {
    good = false;
    error = std::string(argv[2]) + " cannot be written";
  }
  if (!good)
    std::fprintf(stderr, "moec-cuda-gradients: %s: %s\n", argv[1], error.c_str());
  return good ? 0 : 1;
}
