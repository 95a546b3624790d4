// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a spec and an instruction set -> a layer that was compiled, linked and packed, and the oracle beside it.

#ifndef MOEC_TESTS_CPU_COMPILEDLAYER_H
#define MOEC_TESTS_CPU_COMPILEDLAYER_H

#include "CallResult.h"
#include "GuardedBuffer.h"
#include "LayerParameters.h"

#include "codegen/emulate/LoadedPackage.h"
#include "codegen/pipeline/Pipeline.h"
#include "runtime/moec.h"

#include <gtest/gtest.h>

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
const std::vector<CpuTarget> &cpuTargets(); // baseline, avx2, avx512, avx512_bf16, amx_emulated
bool machineRuns(const CpuTarget &target);  // else the test is to be skipped
void PrintTo(const CpuTarget &target, std::ostream *os);
std::string targetTestName(const testing::TestParamInfo<CpuTarget> &info);

enum class Workspace { Ones, Nan, Previous }; // its contents before the call

struct CallSetup {
  int threads = 1; // 1..3
  Edge edge = Edge::Back;
  Workspace workspace = Workspace::Ones;
  bool optional = true; // ask for logits, ids, weights and counts
};

class CompiledLayer : public LayerParameters {
public:
  // Parameters are drawn and packed. Null: a failure was reported to gtest.
  // workspaceLimit: of a call; 0: none.
  static std::unique_ptr<CompiledLayer> make(const std::string &json, const CpuTarget &target,
                                             const std::string &schedule = "", int64_t workspaceLimit = 0);
  ~CompiledLayer();

  void pack(); // the parameters of the moment

  // x [T,H] of values that the activation type holds.
  CallResult run(const std::vector<float> &x, const CallSetup &setup = {});

  std::unique_ptr<CompiledPackage> package;

private:
  CompiledLayer() = default;
  bool compile(const CpuTarget &target, const std::string &schedule, int64_t workspaceLimit);
  bool createLayers();

  std::unique_ptr<LoadedPackage> loaded;
  moec_layer *layers[3] = {};   // for 1, 2 and 3 threads
  moec_weights *packed[3] = {}; // over one buffer
  std::unique_ptr<GuardedBuffer> packedBytes;
  std::vector<unsigned char> lastWorkspace;
  moec_layer_info info = {};
};

} // namespace moec

#endif
