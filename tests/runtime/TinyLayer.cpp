// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Definitions of TinyLayer.h.

#include "TinyLayer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <sys/mman.h>
#include <unistd.h>

namespace moec {
namespace test {

std::string lastError() {
  char text[1024];
  moec_last_error(text, sizeof(text));
  return text;
}

AlignedBytes::AlignedBytes(size_t bytes, int fill) : bytes(bytes) {
  memory = std::aligned_alloc(4096, (bytes + 4096) / 4096 * 4096);
  std::memset(memory, fill, bytes);
}

AlignedBytes::~AlignedBytes() { std::free(memory); }

GuardedBytes::GuardedBytes(size_t bytes, size_t align) {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), rounded = (bytes + page - 1) / page * page;
  mappingBytes = rounded + 2 * page;
  mapping = mmap(nullptr, mappingBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *first = static_cast<char *>(mapping) + page;
  if (rounded)
    mprotect(first, rounded, PROT_READ | PROT_WRITE);
  start = first + (rounded - bytes) / align * align;
  std::memset(first, 0xff, rounded);
}

GuardedBytes::~GuardedBytes() { munmap(mapping, mappingBytes); }

EditablePackage::EditablePackage() : package(*tiny_package()), blob(tiny_package()->plan_bytes) {
  std::memcpy(blob.data(), package.plan, package.plan_bytes);
  functions.assign(package.functions, package.functions + package.num_functions);
  package.plan = blob.data();
  package.functions = functions.data();
}

static std::vector<float> randomValues(int64_t count, float scale, std::mt19937 &generator) {
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float &value : values)
    value = uniform(generator);
  return values;
}

TinyWeights::TinyWeights(unsigned seed) {
  std::mt19937 generator(seed);
  router = randomValues(experts * hidden, 1.0f, generator);
  gate = randomValues(experts * inner * hidden, 1.0f, generator);
  up = randomValues(experts * inner * hidden, 1.0f, generator);
  down = randomValues(experts * hidden * inner, 1.0f, generator);
}

std::vector<moec_tensor> TinyWeights::tensors() const {
  return {{"router.weight", router.data(), MOEC_F32, 2, {experts, hidden, 0, 0}},
          {"experts.gate", gate.data(), MOEC_F32, 3, {experts, inner, hidden, 0}},
          {"experts.up", up.data(), MOEC_F32, 3, {experts, inner, hidden, 0}},
          {"experts.down", down.data(), MOEC_F32, 3, {experts, hidden, inner, 0}}};
}

std::vector<float> randomInput(int64_t numTokens, unsigned seed) {
  std::mt19937 generator(seed);
  return randomValues(numTokens * hidden, 2.0f, generator);
}

moec_layer_options threadOptions(int32_t maxThreads) {
  moec_layer_options options = {};
  options.struct_size = sizeof(options);
  options.max_threads = maxThreads;
  return options;
}

TinyLayer::TinyLayer(const TinyWeights &source, const moec_layer_options *options, const moec_package *package)
    : packed(16384, 0xff) {
  std::vector<moec_tensor> tensors = source.tensors();
  EXPECT_EQ(moec_layer_create(package, options, &layer), MOEC_OK) << lastError();
  EXPECT_EQ(moec_weights_pack(layer, tensors.data(), tensors.size(), packed.data(), packed.size(), &weights), MOEC_OK)
      << lastError();
}

TinyLayer::~TinyLayer() {
  moec_weights_destroy(weights);
  moec_layer_destroy(layer);
}

size_t TinyLayer::workspaceBytes(int64_t numTokens) const {
  size_t bytes = 0;
  EXPECT_EQ(moec_layer_workspace_bytes(layer, numTokens, &bytes), MOEC_OK) << lastError();
  return bytes;
}

bool TinyResult::operator==(const TinyResult &other) const {
  auto same = [](const auto &a, const auto &b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0);
  };
  return same(y, other.y) && same(logits, other.logits) && same(weights, other.weights) && same(ids, other.ids) &&
         same(counts, other.counts);
}

TinyResult runTiny(const TinyLayer &tiny, const std::vector<float> &x, int poison) {
  int64_t numTokens = static_cast<int64_t>(x.size()) / hidden;
  size_t t = static_cast<size_t>(numTokens);
  AlignedBytes input(x.size() * sizeof(float)), output(x.size() * sizeof(float), poison);
  AlignedBytes workspace(tiny.workspaceBytes(numTokens), poison);
  TinyResult result;
  result.y.resize(x.size());
  result.logits.resize(t * experts);
  result.weights.resize(t * choices);
  result.ids.resize(t * choices);
  result.counts.resize(experts);
  std::memcpy(input.data(), x.data(), x.size() * sizeof(float));
  moec_forward_args args = {};
  args.struct_size = sizeof(args);
  args.num_tokens = numTokens;
  args.x = input.data();
  args.y = output.data();
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.size();
  args.out_logits = result.logits.data();
  args.out_weights = result.weights.data();
  args.out_ids = result.ids.data();
  args.out_counts = result.counts.data();
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
  std::memcpy(result.y.data(), output.data(), x.size() * sizeof(float));
  return result;
}

// y[t,:] += weight * Wd[e] · (silu(Wg[e] x) * Wu[e] x)
static void addExpert(const TinyWeights &w, const float *x, int64_t e, double weight, double *y) {
  double h[inner];
  for (int64_t i = 0; i < inner; ++i) {
    double gate = 0, up = 0;
    for (int64_t d = 0; d < hidden; ++d) {
      gate += double(w.gate[(e * inner + i) * hidden + d]) * x[d];
      up += double(w.up[(e * inner + i) * hidden + d]) * x[d];
    }
    h[i] = gate / (1 + std::exp(-gate)) * up;
  }
  for (int64_t d = 0; d < hidden; ++d)
    for (int64_t i = 0; i < inner; ++i)
      y[d] += weight * w.down[(e * hidden + d) * inner + i] * h[i];
}

TinyReference referenceTiny(const TinyWeights &w, const std::vector<float> &x) {
  size_t numTokens = x.size() / hidden;
  TinyReference r;
  r.y.resize(x.size());
  for (size_t t = 0; t < numTokens; ++t) {
    double logits[experts], total = 0;
    for (int64_t e = 0; e < experts; ++e) {
      logits[e] = 0;
      for (int64_t d = 0; d < hidden; ++d)
        logits[e] += double(w.router[e * hidden + d]) * x[t * hidden + d];
      r.logits.push_back(logits[e]);
    }
    int first = 0, second = -1;
    for (int e = 1; e < experts; ++e)
      first = logits[e] > logits[first] ? e : first;
    for (int e = 0; e < experts; ++e)
      if (e != first && (second < 0 || logits[e] > logits[second]))
        second = e;
    total = 1 + std::exp(logits[second] - logits[first]);
    double weights[] = {1 / total, 1 - 1 / total};
    int ids[] = {first, second};
    for (int j = 0; j < choices; ++j) {
      r.ids.push_back(ids[j]);
      r.weights.push_back(weights[j]);
      addExpert(w, &x[t * hidden], ids[j], weights[j], &r.y[t * hidden]);
    }
  }
  return r;
}

// f32 sums of 8, 8 and 6 products, exp and division: a few hundred roundings of 6e-8 at most.
static void expectNear(const std::vector<float> &got, const std::vector<double> &want, const char *what) {
  ASSERT_EQ(got.size(), want.size());
  double largest = 1e-30;
  for (double value : want)
    largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], 2e-6 * largest) << what << "[" << i << "]";
}

void expectReference(const TinyWeights &weights, const std::vector<float> &x, const TinyResult &got) {
  TinyReference want = referenceTiny(weights, x);
  ASSERT_EQ(got.ids, want.ids);
  expectNear(got.logits, want.logits, "logits");
  expectNear(got.weights, want.weights, "weights");
  expectNear(got.y, want.y, "y");
  std::vector<int32_t> counts(experts);
  for (int32_t id : want.ids)
    ++counts[static_cast<size_t>(id)];
  EXPECT_EQ(got.counts, counts);
}

} // namespace test
} // namespace moec
