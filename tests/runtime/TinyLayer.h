// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The hand-written package, random weights and inputs for it, and its meaning as a float64 loop.

#ifndef MOEC_TESTS_RUNTIME_TINYLAYER_H
#define MOEC_TESTS_RUNTIME_TINYLAYER_H

#include "runtime/moec.h"
#include "runtime/moec_abi.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

extern "C" const moec_package *tiny_package(void);

// NOTE: the thread sanitizer refuses to start threads in the child of a process with threads.
#if defined(__SANITIZE_THREAD__)
#define MOEC_TEST_UNDER_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MOEC_TEST_UNDER_TSAN
#endif
#endif

namespace moec {
namespace test {

constexpr int64_t experts = 4, choices = 2, hidden = 8, inner = 6, maxTokens = 512;

std::string lastError();

// Bytes with an alignment of 4096.
class AlignedBytes {
public:
  explicit AlignedBytes(size_t bytes, int fill = 0);
  ~AlignedBytes();
  AlignedBytes(const AlignedBytes &) = delete;
  AlignedBytes &operator=(const AlignedBytes &) = delete;
  void *data() const { return memory; }
  size_t size() const { return bytes; }

private:
  void *memory;
  size_t bytes;
};

// `bytes` bytes that end at an inaccessible page and begin after one. `align` moves the end down to keep the start
// aligned.
class GuardedBytes {
public:
  GuardedBytes(size_t bytes, size_t align);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes &) = delete;
  GuardedBytes &operator=(const GuardedBytes &) = delete;
  void *data() const { return start; }

private:
  void *mapping;
  size_t mappingBytes;
  char *start;
};

// A copy of the hand-written package whose plan and functions a test may change before it makes a layer of it.
class EditablePackage {
public:
  EditablePackage();
  moec_package package;
  std::vector<moec_kernel_fn> functions;
  char *bytes() { return static_cast<char *>(blob.data()); }
  moec_plan_header &header() { return *static_cast<moec_plan_header *>(blob.data()); }
  moec_buffer &buffer(int i) { return reinterpret_cast<moec_buffer *>(bytes() + header().buffers.offset)[i]; }
  moec_step &step(int i) { return reinterpret_cast<moec_step *>(bytes() + header().steps.offset)[i]; }
  moec_role &role(int i) { return reinterpret_cast<moec_role *>(bytes() + header().roles.offset)[i]; }
  moec_weight &weight(int i) { return reinterpret_cast<moec_weight *>(bytes() + header().weights.offset)[i]; }
  uint16_t &arg(int i) { return reinterpret_cast<uint16_t *>(bytes() + header().args.offset)[i]; }
  uint8_t &cover(int i) { return reinterpret_cast<uint8_t *>(bytes() + header().covers.offset)[i]; }

private:
  AlignedBytes blob;
};

// Random parameters by role, row-major.
struct TinyWeights {
  explicit TinyWeights(unsigned seed);
  std::vector<float> router, gate, up, down;
  std::vector<moec_tensor> tensors() const;
};

std::vector<float> randomInput(int64_t numTokens, unsigned seed);

// A layer of `package` with packed weights.
class TinyLayer {
public:
  explicit TinyLayer(const TinyWeights &weights, const moec_layer_options *options = nullptr,
                     const moec_package *package = tiny_package());
  ~TinyLayer();
  TinyLayer(const TinyLayer &) = delete;
  TinyLayer &operator=(const TinyLayer &) = delete;
  moec_layer *layer = nullptr;
  moec_weights *weights = nullptr;
  size_t workspaceBytes(int64_t numTokens) const;

private:
  AlignedBytes packed;
};

moec_layer_options threadOptions(int32_t maxThreads);

struct TinyResult {
  std::vector<float> y, logits, weights;
  std::vector<int32_t> ids, counts;
  bool operator==(const TinyResult &other) const; // bit for bit
};

// Runs one call that asks for everything; workspace and outputs are filled with `poison` before.
TinyResult runTiny(const TinyLayer &tiny, const std::vector<float> &x, int poison = 0xff);

// The layer in float64. `ids` of the result are the reference's own.
struct TinyReference {
  std::vector<double> y, logits, weights;
  std::vector<int32_t> ids;
};
TinyReference referenceTiny(const TinyWeights &weights, const std::vector<float> &x);

// Expects `got` to be what the reference says, within `tolerance` of the largest magnitude.
void expectReference(const TinyWeights &weights, const std::vector<float> &x, const TinyResult &got);

} // namespace test
} // namespace moec

#endif
