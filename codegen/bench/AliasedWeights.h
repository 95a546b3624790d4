// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer whose experts do not fit into memory -> packed weights in which experts share storage, so that its time can
// still be measured.
//
//   packed region of E experts   | 0 | 1 | ... | D-1 | D ... E-1: one block of scratch, mapped again and again |
//
// Packing writes all of it; calls of moec_layer_forward_aliased with D distinct groups read only the first D. D experts
// are many times larger than any cache, so weights come from memory as they would with E.

#ifndef MOEC_CODEGEN_BENCH_ALIASEDWEIGHTS_H
#define MOEC_CODEGEN_BENCH_ALIASEDWEIGHTS_H

#include "codegen/check/RandomTensors.h"
#include "codegen/package/PlanTables.h"

#include <cstdint>

namespace moec {

// How many experts get their own storage; 0: all. `otherBytes`: of everything else that is in memory with the packed
// weights, the unpacked ones and the packed ones of another layer; `layers`: how many layers share what there is.
int64_t distinctExperts(const PlanTables &plan, int64_t otherBytes, int64_t layers = 1);

// Bytes of packed weights that have storage of their own.
double packedBytes(const PlanTables &plan, int64_t distinct);

// True if weights that are packed for one plan serve the other: the same layer in the same layout.
bool samePackedWeights(const PlanTables &a, const PlanTables &b);

// Pages of one block of memory, mapped again and again. data() is null without memory.
class RepeatedPages {
public:
  RepeatedPages() = default;
  RepeatedPages(size_t bytes, size_t blockBytes);
  ~RepeatedPages();
  RepeatedPages(const RepeatedPages &) = delete;
  RepeatedPages &operator=(const RepeatedPages &) = delete;

  void *data() const { return pointer; }
  size_t blockBytes() const { return block; } // the written part; the rest repeats it

private:
  void *pointer = nullptr;
  size_t bytes = 0, block = 0;
};

class AliasedWeights {
public:
  AliasedWeights(const PlanTables &plan, int64_t distinct);
  bool ready() const { return good; }
  void *data() const { return memory.data(); }
  size_t size() const { return memory.size(); }

private:
  PageBuffer memory;
  bool good = false;
};

} // namespace moec

#endif
