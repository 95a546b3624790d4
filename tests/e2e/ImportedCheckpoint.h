// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A checkpoint and its config.json -> moec import hf, moec compile and moec_weights_load -> outputs to compare.

#ifndef MOEC_TESTS_E2E_IMPORTEDCHECKPOINT_H
#define MOEC_TESTS_E2E_IMPORTEDCHECKPOINT_H

#include "CheckpointFile.h"

#include "codegen/check/GoldenTensors.h"
#include "dsl/spec/SpecReader.h"

#include <dlfcn.h>
#include <filesystem>
#include <map>
#include <string>

struct moec_package;

namespace moec {

// An empty folder that goes away with its owner.
struct WorkFolder {
  std::filesystem::path path;
  WorkFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "moec-import-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~WorkFolder() { std::filesystem::remove_all(path); }
  std::string operator/(const char *name) const { return (path / name).string(); }
};

// moec import hf of folder/config.json: the spec as layer.json, and the prefix that was printed; empty after an error.
std::string importIn(const WorkFolder &folder, const std::string &flags, std::string &error);

// folder/layer.json; a test's failure if it is no spec.
LayerSpec specIn(const WorkFolder &folder);

// moec compile of folder/layer.json, loaded; `package` is null after an error.
struct Package {
  void *library = nullptr;
  const moec_package *package = nullptr;
  std::string error;

  explicit Package(const WorkFolder &folder);
  ~Package();
  Package(const Package &) = delete;
};

// Every role under its name in `layout`, which must name all of them and no other.
void storeRoles(const LayerSpec &spec, const std::map<std::string, GoldenTensor> &parameters, const std::string &prefix,
                const std::string &layout, CheckpointFile &file);

// A layer without a golden case: random parameters, the reference on a spec written by hand.
struct Referenced {
  std::string label, config;
  std::string prefix; // of the layer's tensors, which the importer must print
  std::string layout; // where the roles stand, a line each
  std::string spec;
  std::string flags = {}; // of moec import hf
};

void PrintTo(const Referenced &referenced, std::ostream *os);

// Fails the test unless the imported layer gives the reference's outputs.
void checkReferenced(const Referenced &referenced);

namespace layouts {

// Lines of a layout: `names` are those of gate (none: "-"), up and down behind `stem`, with `words` behind each.
std::string lines(const std::string &block, const std::string &stem, const std::string &names,
                  const std::string &words);
// Gate and up in the halves of one tensor.
std::string halves(const std::string &block, const std::string &both, const std::string &down, const std::string &axes);

inline const std::string proj = "gate_proj.weight up_proj.weight down_proj.weight",
                         plainProj = "- up_proj.weight down_proj.weight", w132 = "w1.weight w3.weight w2.weight";
inline const std::string experts = lines("experts.", "mlp.experts.{e}.", proj, "per_expert"),
                         gate = "router.weight mlp.gate.weight\n",
                         shared = lines("shared.", "mlp.shared_experts.", proj, ""),
                         sharedGated = lines("shared.", "mlp.shared_expert.", proj, "") +
                                       "shared.gate_weight mlp.shared_expert_gate.weight\n",
                         mixtralLayout = "router.weight block_sparse_moe.gate.weight\n" +
                                         lines("experts.", "block_sparse_moe.experts.{e}.", w132, "per_expert");

} // namespace layouts

} // namespace moec

#endif
