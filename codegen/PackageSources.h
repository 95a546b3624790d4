// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What decided a package beside its spec: files, options, and where the kernels of its schedule come from. The manifest
// lists them and share/NAME holds them, so that the package can be made again.

#ifndef MOEC_CODEGEN_PACKAGESOURCES_H
#define MOEC_CODEGEN_PACKAGESOURCES_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

// Ranges of a schedule that heuristics did not choose.
struct ScheduleOrigin {
  struct Tuned {
    std::string stage, target, rows; // "experts_down", "cpu:avx512", "9..12"
    std::string record;              // SHA-256 of the record's line, 64 hex digits
    bool exact = false;              // measured on the model of CPU or GPU that compiled
  };
  std::vector<std::string> given; // stages of --schedule: "experts_down cpu:avx512"; "front cuda:sm_90a"
  std::vector<Tuned> tuned;       // by stage, then by target and rows
  std::string records;            // the lines that `tuned` names, each once, in order of their first use
};

// Whether a template is a function or the derivative of one: a package keeps their texts.
inline bool isFunctionPath(std::string_view path) {
  return path.rfind("functions/", 0) == 0 || path.rfind("derivatives/", 0) == 0;
}

// A file of templates/ or of the folder of --templates.
struct TemplateUse {
  std::string path; // "functions/silu.mlir"
  std::string text;
  bool builtIn = true; // the text is the one that moec has under this name
};

// Those of --target, --max-tokens, ... that the package depends on, as they took effect: what changes nothing for its
// targets has its default.
struct PackageOptions {
  std::vector<std::string> targets; // "cpu:avx2", "cuda:sm_80"
  int64_t maxTokens = 0, workspaceLimit = 0;
  std::string math = "exact", determinism = "run", sanitizer; // sanitizer: "address", "thread" or empty
};

struct PackageSources {
  PackageOptions options;
  std::string layerText;              // of a layer in the dialect; empty: it has a spec
  std::vector<TemplateUse> templates; // every function and kernel in use, by path
  ScheduleOrigin schedule;
};

} // namespace moec

#endif
