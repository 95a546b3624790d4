// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package with a sanitizer's checks in its kernels -> a layer whose every buffer is a heap block of exactly the bytes
// that moec.h asks for, so that one byte more touches a red zone.

#ifndef MOEC_TESTS_SANITIZED_SANITIZEDLAYER_H
#define MOEC_TESTS_SANITIZED_SANITIZEDLAYER_H

#include "dsl/Reference.h"
#include "runtime/moec.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moec {

// A heap block of exactly `bytes` bytes, every byte 0xff.
class ExactBuffer {
public:
  ExactBuffer(size_t bytes, size_t alignment);
  ~ExactBuffer() { std::free(block); }
  ExactBuffer(const ExactBuffer &) = delete;
  ExactBuffer &operator=(const ExactBuffer &) = delete;

  void *data() const { return block; }
  size_t size() const { return bytes; }
  template <class T> T *as() const { return static_cast<T *>(block); }

private:
  void *block;
  size_t bytes;
};

// A package this program is linked with and the spec it was made of.
struct SanitizedPackage {
  const char *name, *specFile; // the file is relative to the repository
  const moec_package *(*package)(void);
  int32_t isa; // MOEC_ISA_*, the highest to use
};
std::vector<SanitizedPackage> sanitizedPackages(); // each on every ISA of this machine but AMX
void PrintTo(const SanitizedPackage &package, std::ostream *os);
std::string packageTestName(const testing::TestParamInfo<SanitizedPackage> &info);

// Everything one call wrote.
struct SanitizedCall {
  moec_status status = MOEC_INTERNAL;
  std::vector<unsigned char> y; // [T,H] in the output type
  std::vector<float> logits, weights;
  std::vector<int32_t> ids, counts;
  bool sameBits(const SanitizedCall &other) const;
};

// Bytes that a call lacks.
struct Shortage {
  size_t x = 0, y = 0;  // at the end of the buffer
  size_t workspace = 0; // at its end, and the call is told so
  size_t poisoned = 0;  // first bytes of the workspace, which the address sanitizer then forbids
};

class SanitizedLayer {
public:
  // A layer for `threads` with parameters drawn from N(0, 0.5²). Null: a failure was reported to gtest.
  static std::unique_ptr<SanitizedLayer> make(const SanitizedPackage &package, int threads);
  ~SanitizedLayer();

  std::vector<float> randomX(int64_t tokens) const; // [T,H], rounded to the activation type; row t depends on t alone
  SanitizedCall run(const std::vector<float> &x, const Shortage &shortage = {}) const; // thread-safe
  // One call that writes to a y of the caller's choice, without optional outputs. Thread-safe.
  moec_status runInto(const std::vector<float> &x, void *y) const;
  ReferenceOutputs oracle(const std::vector<float> &x) const;
  // Empty: y, and where asked for the choices, of the first tokens agree with the oracle.
  std::string disagreement(const SanitizedCall &actual, int64_t tokens, const ReferenceOutputs &expected) const;
  size_t yBytes(int64_t tokens) const;
  size_t workspaceBytes(int64_t tokens) const;

  LayerSpec spec;
  moec_layer_info info = {};

private:
  SanitizedLayer() = default;
  bool read(const SanitizedPackage &package);
  bool create(const SanitizedPackage &package, int threads);
  bool pack();
  std::unique_ptr<ExactBuffer> stored(const std::vector<float> &x, size_t shortage) const;

  std::map<std::string, Role> roles;
  std::map<std::string, std::vector<float>> tensors;
  std::unique_ptr<ExactBuffer> packed;
  moec_layer *layer = nullptr;
  moec_weights *weights = nullptr;
};

} // namespace moec

#endif
