// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package with a sanitizer's checks in its kernels -> a layer whose every buffer has exactly the bytes that moec.h
// asks for, so that one byte more is noticed.

#ifndef MOEC_TESTS_SANITIZED_SANITIZEDLAYER_H
#define MOEC_TESTS_SANITIZED_SANITIZEDLAYER_H

#include "ExactBuffer.h"

#include "runtime/moec.h"
#include "tests/cpu/CallResult.h"
#include "tests/cpu/LayerParameters.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace moec {

// A package this program is linked with and the spec it was made of.
struct SanitizedPackage {
  const char *name, *specFile; // the file is relative to the repository
  const moec_package *(*package)(void);
  int32_t isa; // MOEC_ISA_*, the highest to use
};
std::vector<SanitizedPackage> sanitizedPackages(); // each on every ISA of this machine but AMX
void PrintTo(const SanitizedPackage &package, std::ostream *os);
std::string packageTestName(const testing::TestParamInfo<SanitizedPackage> &info);

// Bytes that a call lacks.
struct Shortage {
  size_t x = 0, y = 0;  // at the end of the buffer
  size_t workspace = 0; // at its end, and the call is told so
  size_t poisoned = 0;  // first bytes of the workspace, which the address sanitizer then forbids
};

class SanitizedLayer : public LayerParameters {
public:
  // A layer for `threads` with parameters drawn and packed. Null: a failure was reported to gtest.
  static std::unique_ptr<SanitizedLayer> make(const SanitizedPackage &package, int threads);
  ~SanitizedLayer();

  // x [T,H] of values that the activation type holds. Thread-safe.
  CallResult run(const std::vector<float> &x, Place place = Place::Heap, const Shortage &shortage = {}) const;
  // One call that writes to a y of the caller's choice, without optional outputs. Thread-safe.
  moec_status runInto(const std::vector<float> &x, void *y) const;
  size_t yBytes(int64_t tokens) const;
  size_t workspaceBytes(int64_t tokens) const;

  moec_layer_info info = {};

private:
  SanitizedLayer() = default;
  bool read(const SanitizedPackage &package);
  bool create(const SanitizedPackage &package, int threads);
  bool pack();
  // args: the optional outputs, the rest is set here.
  moec_status forward(int64_t tokens, const ExactBuffer &x, void *y, const ExactBuffer &workspace,
                      moec_forward_args args) const;

  std::unique_ptr<ExactBuffer> packed;
  moec_layer *layer = nullptr;
  moec_weights *weights = nullptr;
};

} // namespace moec

#endif
