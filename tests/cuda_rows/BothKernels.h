// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A row_program or combine as moe text -> its CUDA kernel on the emulator and its CPU kernel, run on the same bytes.

#ifndef MOEC_TESTS_CUDA_ROWS_BOTHKERNELS_H
#define MOEC_TESTS_CUDA_ROWS_BOTHKERNELS_H

#include "codegen/cuda/CudaKernel.h"
#include "codegen/emulate/CudaEmulator.h"

#include "mlir/IR/MLIRContext.h"

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace llvm::orc {
class LLJIT;
}

namespace moec {

// All dialects and conversions kernels are made with.
std::unique_ptr<mlir::MLIRContext> makeKernelContext();

// Kernels on an emulated device.
class EmulatedKernels {
public:
  // Takes a module of CUDA kernels (scf, arith, llvm); error() says why they cannot be loaded.
  EmulatedKernels(mlir::ModuleOp kernels, uint64_t seed);
  ~EmulatedKernels();
  const std::string &error() const { return loadError; }

  // A device copy of `bytes`, 16-byte aligned; lives as long as this object.
  void *upload(const std::vector<char> &bytes);
  // Launches with grid, block and shared memory as `facts` has them for T tokens. "" or the findings.
  std::string launch(const std::string &symbol, const CudaKernelFacts &facts, int64_t numTokens,
                     std::vector<void *> pointers);

private:
  CudaEmulator emulator;
  std::string image, loadError;
  void *module = nullptr;
};

// One buffer of a stage: `rows` 0 for a parameter. Filled by the test before the run.
struct TestBuffer {
  mlir::Type element;
  int64_t columns = 1;
  bool dynamic = true, output = false;
  std::vector<char> bytes;
  float at(int64_t i) const; // as float, whatever the element type; integers exactly
  void set(int64_t i, double value);
  void resize(int64_t rows);
};

struct TestRoute {
  int64_t groups = 0, choices = 0;
  std::vector<int32_t> offsets, rowToken, rowSlot, slotRow;
};

// The first row_program or combine of `text`, which is a module of one function.
class BothKernels {
public:
  explicit BothKernels(const std::string &text, uint64_t seed = 1);
  ~BothKernels();

  std::vector<TestBuffer> inputs; // without routes
  TestRoute route;                // ids uniform over -1 .. groups + 1, made by prepare
  CudaKernelFacts facts;

  // Buffers for T tokens, filled with normal numbers (integers: 0 .. 9), and the route.
  void prepare(int64_t numTokens);
  // Runs both; "" or what went wrong. `outputs` and `expected` in result order.
  std::string run();
  std::vector<TestBuffer> outputs, expected;

  std::mt19937_64 random;

private:
  void lower(const std::string &text, uint64_t seed);
  void runOnHost(std::vector<char *> &buffers, int64_t numRows);

  std::unique_ptr<mlir::MLIRContext> context;
  std::unique_ptr<EmulatedKernels> deviceKernels;
  std::unique_ptr<llvm::orc::LLJIT> hostCode;
  std::string error;
  std::vector<int> order; // per stage input: its index in inputs, -1 for the route
  std::vector<char> routeInputs;
  std::vector<TestBuffer> results;
  int64_t scratchBytes = 0, tokens = 0, rows = 0;
  bool isCombine = false;
};

// "" or the first element of `got` that is not `want`: floats within tolerance * max(1, |want|), integers exactly.
std::string compareBuffers(const std::vector<TestBuffer> &got, const std::vector<TestBuffer> &want, double tolerance);

} // namespace moec

#endif
