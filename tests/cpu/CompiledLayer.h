// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a spec and an instruction set -> a layer that was compiled, linked and packed, and the oracle beside it.

#ifndef MOEC_TESTS_CPU_COMPILEDLAYER_H
#define MOEC_TESTS_CPU_COMPILEDLAYER_H

#include "GuardedBuffer.h"

#include "codegen/Pipeline.h"
#include "dsl/Compare.h"
#include "dsl/Reference.h"
#include "runtime/moec.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moec {

// One way to run a package. Emulated AMX runs everywhere: tiles are calls, the rest of a kernel is baseline code.
struct CpuTarget {
  const char *name;
  Isa isa;
  bool emulated;
};
const std::vector<CpuTarget> &cpuTargets(); // baseline, avx2, avx512, amx_emulated
bool machineRuns(const CpuTarget &target);  // else the test is to be skipped
void PrintTo(const CpuTarget &target, std::ostream *os);
std::string targetTestName(const testing::TestParamInfo<CpuTarget> &info);

// Everything one call wrote.
struct CallResult {
  moec_status status = MOEC_INTERNAL;
  std::vector<unsigned char> yBytes;  // [T,H] in the output type
  std::vector<double> y;              // the same, widened
  std::vector<float> logits, weights; // [T,R], [T,K]
  std::vector<int32_t> ids, counts;   // [T,K], [E]
  bool inBounds = false;              // canaries beside y, the optional outputs and the workspace are intact

  bool sameBits(const CallResult &other) const;
  bool sameRowBits(const CallResult &other, int64_t token) const; // y, ids and weights of one token
};

enum class Workspace { Ones, Nan, Previous }; // its contents before the call

struct CallSetup {
  int threads = 1; // 1..3
  Edge edge = Edge::Back;
  Workspace workspace = Workspace::Ones;
  bool optional = true; // ask for logits, ids, weights and counts
};

class CompiledLayer {
public:
  // Parameters start as draws from N(0, 0.5²) rounded to the weight type. Null: a failure was reported to gtest.
  static std::unique_ptr<CompiledLayer> make(const std::string &json, const CpuTarget &target,
                                             const std::string &schedule = "");
  ~CompiledLayer();

  // Parameters take effect with the next pack(). Values are rounded to the weight type.
  void set(const std::string &role, const std::vector<float> &values);
  void fill(const std::string &role, float value);
  std::vector<float> &tensor(const std::string &role) { return tensors.at(role); }
  void scale(const std::string &role, float factor);
  void pack();

  // Draws from N(0,1) rounded to the activation type; row t is the same for every count.
  std::vector<float> randomX(int64_t numTokens, unsigned seed = 1) const;
  // x [T,H] of values that the activation type holds.
  CallResult run(const std::vector<float> &x, const CallSetup &setup = {});
  // The oracle with the parameters set at the moment.
  ReferenceOutputs oracle(const std::vector<float> &x) const;

  LayerSpec spec;
  std::unique_ptr<CompiledPackage> package;

private:
  CompiledLayer() = default;
  bool compile(const CpuTarget &target, const std::string &schedule);
  bool createLayers();
  float rounded(DataType type, float value) const;

  std::map<std::string, Role> roles;
  std::map<std::string, std::vector<float>> tensors;
  std::unique_ptr<LoadedPackage> loaded;
  moec_layer *layers[3] = {};     // for 1, 2 and 3 threads
  moec_weights *packed[3] = {};   // over one buffer
  std::unique_ptr<GuardedBuffer> packedBytes;
  std::vector<unsigned char> lastWorkspace;
  moec_layer_info info = {};
};

// Largest allowed error for y relative to max|y|: f32 2e-5; bf16 storage 1e-2, a few of its roundings (2^-9 each).
double toleranceOf(const LayerSpec &spec);

// Compares rows [0, T) of a call with the first rows of the oracle: y, and ids and weights where the choice was clear,
// which at least half of the tokens must be. Empty: they agree.
std::string disagreement(const LayerSpec &spec, const CallResult &actual, const ReferenceOutputs &expected);

} // namespace moec

#endif
