// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer, T and a routing skew -> inputs that are routed that way, and what a call on them must compute and read.
//
// Routing is made by the router itself and is part of the time. Coordinate 0 of every x row is 1 and column 0 of the
// router's weights is log p(e); the other logits are normal of deviation 1. So
//   uniform   p(e) = 1
//   zipf      p(e) = 1 / (1 + e)
//   one-hot   the first K experts are ahead by 30: every token chooses them

#ifndef MOEC_CODEGEN_BENCH_BENCHWORKLOAD_H
#define MOEC_CODEGEN_BENCH_BENCHWORKLOAD_H

#include "AliasedWeights.h"
#include "Ceilings.h"

#include "codegen/check/CallInputs.h"
#include "codegen/check/LayerRun.h"
#include "codegen/package/PlanTables.h"

#include "dsl/LayerSpec.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {

enum class Skew { Uniform, Zipf, OneHot };
std::optional<Skew> parseSkew(const std::string &text);

// What a benchmark must know about a layer, whether it comes from a spec or is written in the dialect.
struct BenchTensor {
  Role role;
  DataType type = DataType::F32;
};
struct BenchFacts {
  int64_t hidden = 0, choices = 0;
  DataType activation = DataType::F32;
  std::vector<BenchTensor> tensors;
  std::function<void(int64_t tokens, CallInputs &)> drawInputs; // what a call of T tokens is given besides x

  bool hasRouter() const;      // a router.weight, which is what a skew acts on
  DataType matrixType() const; // of the first expert matrix; f32 without one
  Factors factors() const;     // what the matmuls of the experts multiply: bf16 only if rows and weights are
};
BenchFacts benchFacts(const LayerSpec &spec);

// Weights of a layer. All expert matrices share one block of memory, because their values do not affect time and a
// layer of 20 GB then needs no second copy. The router's weights have their own block.
struct BenchWeights {
  std::vector<PageBuffer> memory;
  std::unique_ptr<RepeatedPages> repeated; // replaces the shared block if that does not fit into memory
  RoleTensors tensors;
};
bool makeBenchWeights(const BenchFacts &facts, Skew skew, bool repeat, BenchWeights &out);

int64_t benchSourceBytes(const BenchFacts &facts);             // of the shared block
double benchWeightBytes(const BenchFacts &facts, bool repeat); // of all that makeBenchWeights allocates

// Lower bound of a call's work: only expert matrices (routed and shared), logical sizes without padding. Of a backward
// call also the gradients of these matrices: it writes every byte of them, also for experts without rows.
struct CallWork {
  double flops = 0, weightBytes = 0;                  // weightBytes: of weights that are read, and of gradients
  int64_t expertsTouched = 0, rows = 0, mostRows = 0; // mostRows: of the busiest expert
};
// `counts`: rows of each expert. `gradients`: the type of the gradients that a backward plan makes.
CallWork workOf(const PlanTables &plan, int64_t tokens, const std::vector<int32_t> &counts,
                DataType gradients = DataType::F32);

// Whether a step multiplies rows with matrices of experts, or makes the gradients of such matrices.
bool isExpertMatmul(const PlanTables &plan, const moec_step &step);

// `variants` inputs of T rows for successive calls: each routes to different experts, so that weights are cold at T =
// 1.
class BenchInputs {
public:
  BenchInputs(const BenchFacts &facts, int64_t tokens, int variants);
  bool ready() const { return x.data() != nullptr; }
  const void *at(int variant) const;
  int count() const { return variants; }
  const CallInputs &others() const { return more; } // inputs besides x, the same for all variants

private:
  PageBuffer x;
  CallInputs more;
  int variants;
  size_t stride;
};

} // namespace moec

#endif
