// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// checkStage decides what is legal, so that no rule is written twice; the cheap bounds here only spare it work.

#include "codegen/search/CudaCandidates.h"

#include "codegen/TemplateFiles.h"
#include "codegen/tune/TuneCandidate.h"

#include <algorithm>
#include <set>

namespace moec {

// What multiplies; a template of an overlay is of its own kind.
static std::string multiplierOf(const std::string &name) {
  return name == "cuda/contiguous" ? "cuda/warp_specialised" : name;
}

static int64_t splitsOf(const CudaEntry &entry) {
  auto found = entry.kernel.integers.find("splits");
  return found == entry.kernel.integers.end() ? 1 : found->second;
}

bool haveSameCudaBits(const CudaEntry &a, const CudaEntry &b) {
  return multiplierOf(a.kernel.templateName) == multiplierOf(b.kernel.templateName) && splitsOf(a) == splitsOf(b);
}

namespace {

class Combinations {
public:
  Combinations(const MatmulStage &stage, const CudaStage &schedule, size_t index, bool otherBits,
               const std::string &templatesDir)
      : stage(stage), schedule(schedule), index(index), from(schedule.entries[index]), otherBits(otherBits),
        templatesDir(templatesDir) {
    seen.insert(candidateText(from));
  }

  std::vector<CudaEntry> run() {
    for (const std::string &name : templateNames(templatesDir, "kernels/cuda"))
      combine("cuda/" + name);
    return std::move(found);
  }

private:
  // Another template keeps the values that it has too and takes its own defaults for the others.
  bool bind(const std::string &name) {
    Result<std::optional<TemplateText>> text = readTemplate(templatesDir, "kernels/" + name + ".mlir");
    if (!text || !*text)
      return false;
    entry = from;
    entry.kernel = {name, {}, {}};
    for (const TemplateParameter &parameter : templateParameters((*text)->text)) {
      std::string key = parameter.name.substr(1);
      int64_t number = 0;
      if (parameterKind(parameter) != ParameterKind::Integer || !defaultInteger(parameter, number))
        continue;
      auto kept = from.kernel.integers.find(key);
      bool neutral = key == "splits" || key == "early" || key == "vacant" || key == "lag";
      entry.kernel.integers[key] = kept != from.kernel.integers.end() ? kept->second : neutral ? 1 : number;
    }
    return true;
  }

  void combine(const std::string &name) {
    if (!bind(name) || (!otherBits && !haveSameCudaBits(entry, from)))
      return;
    bool roles = has("consumers");
    auto values = [&](const char *key, std::vector<int64_t> all) { return has(key) ? all : std::vector<int64_t>{1}; };
    for (int64_t consumers : values("consumers", {1, 2}))
      for (int64_t warpsM : values("warps_m", {1, 2, 4}))
        for (int64_t warpsN : values("warps_n", {1, 2, 4, 8}))
          for (int64_t blockM : {8, 16, 32, 64, 128})
            for (int64_t blockN : {16, 32, 64, 128, 192, 256})
              for (int64_t blockK : roles ? std::vector<int64_t>{64} : std::vector<int64_t>{16, 32, 64}) {
                set("consumers", consumers), set("warps_m", warpsM), set("warps_n", warpsN);
                set("block_m", blockM), set("block_n", blockN), set("block_k", blockK);
                addStages();
              }
  }

  bool has(const char *key) const { return entry.kernel.integers.count(key); }
  void set(const char *key, int64_t value) {
    if (has(key))
      entry.kernel.integers[key] = value;
  }

  // Bytes that cannot fit, and the shortest ring first: if that is not legal, none is.
  void addStages() {
    const CudaEntry base = entry;
    const std::map<std::string, int64_t> &v = base.kernel.integers;
    int64_t slot = v.at("block_k") * (v.at("block_m") * stage.inputBytes() + v.at("block_n") * stage.weightBytes());
    for (int64_t stages = has("lag") || has("consumers") ? 3 : 2; stages <= 8; ++stages) {
      if (stages * slot > cudaArchFacts(schedule.arch).maxSharedBytes)
        break;
      entry = base;
      set("stages", stages);
      auto lag = from.kernel.integers.find("lag");
      set("lag", std::min(lag == from.kernel.integers.end() ? 1 : lag->second, stages - 2));
      if (v.count("consumers") && v.at("consumers") < 2)
        set("vacant", 1);
      if (!legal())
        break;
      if (seen.insert(candidateText(entry)).second)
        found.push_back(entry);
    }
    entry = base;
  }

  bool legal() const {
    CudaStage changed = schedule;
    changed.entries[index] = entry;
    return bool(checkStage(stage, changed, templatesDir));
  }

  const MatmulStage &stage;
  const CudaStage &schedule;
  size_t index;
  const CudaEntry &from;
  bool otherBits;
  const std::string &templatesDir;
  CudaEntry entry; // under construction
  std::set<std::string> seen;
  std::vector<CudaEntry> found;
};

} // namespace

std::vector<CudaEntry> cudaCandidates(const MatmulStage &stage, const CudaStage &schedule, size_t index, bool otherBits,
                                      const std::string &templatesDir) {
  return Combinations(stage, schedule, index, otherBits, templatesDir).run();
}

} // namespace moec
