// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Manifest, files and plan in -> lines and members out.

#include "codegen/package/PackageReport.h"

#include "codegen/package/CallMemory.h"
#include "codegen/package/StoredLibrary.h"

#include "codegen/Machine.h"

#include "dsl/DataType.h"
#include "runtime/moec.h"
#include "runtime/moec_outputs.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace moec {

bool PackageFacts::complete() const {
  return std::all_of(files.begin(), files.end(),
                     [](const StoredPackage::FileState &state) { return state.problem.empty(); });
}

// Why the runtime takes `taken` (-1: none) and not `isa`.
static std::string useOf(int isa, int taken) {
  const char *limit = std::getenv("MOEC_MAX_ISA");
  if (isa == taken)
    return "taken";
  if (isa > moec_cpu_isa())
    return "this machine does not have it";
  if (isa < taken)
    return "a better one is taken";
  if (limit && *limit)
    return std::string("MOEC_MAX_ISA is ") + escaped(limit);
  return "avx512 is taken to be faster on this CPU, and the package was not tuned on one like it";
}

static std::string lastError(moec_status status) {
  char text[1024];
  moec_last_error(text, sizeof text);
  return std::string(moec_status_name(status)) + ": " + escaped(text);
}

Result<PackageFacts> factsOf(const StoredPackage &stored, const moec_package *package) {
  PackageFacts facts;
  facts.files = stored.states();
  if (!package)
    return facts;
  Result<PlanTables> plan = readStoredPlan(stored, package);
  if (!plan)
    return plan.takeError();
  if (const moec_package *pass = backwardOf(package)) {
    Result<PlanTables> backward = readPlan(pass);
    if (!backward)
      return stored.damaged("its backward pass: " + backward.error().message);
    facts.backward = std::move(*backward);
  }
  const moec_plan_header &header = plan->header;
  for (const moec_output &output : moec_outputs)
    if (moec_is_report(&output) && std::any_of(plan->buffers.begin(), plan->buffers.end(),
                                               [&](const moec_buffer &buffer) { return buffer.role == output.role; }))
      facts.reports.emplace_back(output.name);
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.spin_us = -1;
  moec_layer *layer = nullptr;
  moec_layer_info info = {};
  info.struct_size = sizeof info;
  int taken = -1;
  if (!header.isa_mask)
    facts.cannotRun = "the package has no kernels for CPUs";
  else if (moec_status status = moec_layer_create(package, &options, &layer); status != MOEC_OK)
    facts.cannotRun = lastError(status);
  else if (moec_layer_get_info(layer, &info) == MOEC_OK)
    taken = info.isa;
  std::vector<int64_t> tokens = {1, 32, 512, header.max_tokens};
  tokens.erase(std::remove_if(tokens.begin(), tokens.end() - 1, [&](int64_t t) { return t >= header.max_tokens; }),
               tokens.end() - 1);
  for (int64_t t : tokens) {
    size_t bytes = 0;
    if (layer && moec_layer_workspace_bytes(layer, t, &bytes) == MOEC_OK)
      facts.workspace.push_back({t, int64_t(bytes)});
    if (facts.backward) {
      facts.saved.push_back({t, savedBytes(*plan, t)});
      facts.backwardSpace.push_back({t, workspaceBytes(*facts.backward, t, 1)});
    }
  }
  moec_layer_destroy(layer);
  for (int isa = MOEC_NUM_ISAS - 1; isa >= 0; --isa)
    if (header.isa_mask >> isa & 1)
      facts.isas.push_back({moec_isa_name(isa), useOf(isa, taken)});
  facts.plan = std::move(*plan);
  return facts;
}

std::vector<Diagnostic> fileErrors(const StoredPackage &stored, const PackageFacts &facts) {
  std::vector<Diagnostic> errors;
  for (const StoredPackage::FileState &state : facts.files)
    if (!state.problem.empty())
      errors.push_back(stored.damaged(state.path + ": " + state.problem));
  return errors;
}

static std::string joined(const std::vector<std::string> &words, const char *between = " ") {
  std::string text;
  for (const std::string &word : words)
    text += (text.empty() ? "" : between) + word;
  return text;
}

static std::string sizeText(int64_t bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double size = double(bytes);
  size_t unit = 0;
  while (size >= 1024 && unit + 1 < std::size(units))
    size /= 1024, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
  return text;
}

static std::string line(const char *head, const std::string &text) {
  std::string padded = head;
  padded.resize(std::max<size_t>(padded.size() + 1, 13), ' ');
  return padded + text + "\n";
}

static std::string shapeText(const moec_role &role) {
  std::string text;
  for (unsigned i = 0; i < role.rank && i < 3; ++i)
    text += (text.empty() ? "[" : ",") + std::to_string(role.dims[i]);
  return text + "]";
}

static std::string typeText(uint32_t type) { return std::string(dataTypeName(DataType(type))); }

// "heuristics", "given for router cpu:avx2", "3 ranges of records".
static std::string scheduleText(const ScheduleOrigin &origin) {
  std::string text = origin.given.empty() ? "" : "given for " + joined(origin.given, ", ");
  if (!origin.tuned.empty())
    text += (text.empty() ? "" : "; ") + std::string("tuning records for ") + std::to_string(origin.tuned.size()) +
            (origin.tuned.size() == 1 ? " range" : " ranges");
  return text.empty() ? "heuristics" : text + "; heuristics for the rest";
}

// "1.0 MiB at 1, 3.0 MiB at 32"
static std::string spaceText(const std::vector<PackageFacts::CallSpace> &calls) {
  std::string text;
  for (const PackageFacts::CallSpace &call : calls)
    text += (text.empty() ? "" : ", ") + sizeText(call.bytes) + " at " + std::to_string(call.tokens);
  return text;
}

static std::string templatesText(const PackageManifest &manifest) {
  std::vector<std::string> words;
  for (const auto &[path, use] : manifest.templates)
    words.push_back(path + (use.builtIn ? "" : " (of --templates, " + use.hash.substr(0, 12) + ")"));
  return joined(words, ", ");
}

std::string packageText(const StoredPackage &stored, const PackageFacts &facts) {
  const PackageManifest &manifest = stored.manifest();
  const PackageOptions &options = manifest.options;
  std::string text =
      line("package", manifest.name + ", library " + manifest.library + ", made by moec " + manifest.moecVersion +
                          " with LLVM " + manifest.llvmVersion + ", ABI " + manifest.abi);
  text += line("identity", manifest.identity);
  if (facts.plan) {
    const moec_plan_header &header = facts.plan->header;
    text += line("layer", std::to_string(header.num_experts) + " experts, top-" + std::to_string(header.top_k) +
                              ", H " + std::to_string(header.hidden) + ", x " + typeText(header.x_dtype) + ", y " +
                              typeText(header.y_dtype));
  }
  if (!manifest.callsAbi.empty())
    text += line("calls", escaped(manifest.callsAbi) + ": " + joined(manifest.calls));
  if (!manifest.source.empty()) {
    text +=
        line("made from", manifest.source + ", targets " + joined(options.targets) + ", max-tokens " +
                              std::to_string(options.maxTokens) +
                              (options.workspaceLimit ? ", workspace-limit " + sizeText(options.workspaceLimit) : "") +
                              ", math " + options.math + ", det " + options.determinism);
    text += line("schedule", scheduleText(manifest.schedule));
    text += line("templates", templatesText(manifest));
  }
  if (facts.plan) {
    text += line("this machine", machineFacts().brand);
    for (const PackageFacts::IsaUse &isa : facts.isas)
      text += line("", isa.name + std::string(isa.name.size() < 13 ? 13 - isa.name.size() : 1, ' ') + isa.use);
    if (!facts.cannotRun.empty())
      text += line("", "takes none: " + facts.cannotRun);
    if (!manifest.cudaTargets.empty())
      text += line("GPUs", joined(manifest.cudaTargets));
    text += line("reports", facts.reports.empty() ? "none" : joined(facts.reports));
    text +=
        line("workspace",
             (facts.workspace.empty() ? "unknown" : spaceText(facts.workspace) + " tokens, one thread") +
                 (facts.plan->header.chunk_tokens ? ", in chunks of " + std::to_string(facts.plan->header.chunk_tokens)
                                                  : ""));
    if (facts.backward) {
      text += line("trains", joined(gradientTexts(*facts.backward)));
      text += line("saved", spaceText(facts.saved) + " tokens");
      text += line("backward", spaceText(facts.backwardSpace) + " tokens of workspace, one thread");
    }
    text += line("weights", sizeText(int64_t(facts.plan->packedBytes())) + " packed");
    for (const moec_role &role : facts.plan->roles)
      text += line("", escaped(facts.plan->text(role.name)) + " " + shapeText(role));
  }
  size_t wrong = size_t(std::count_if(facts.files.begin(), facts.files.end(),
                                      [](const StoredPackage::FileState &state) { return !state.problem.empty(); }));
  return text + line("files", wrong ? std::to_string(wrong) + " of " + std::to_string(facts.files.size()) +
                                          " are not those that manifest.json lists"
                                    : std::to_string(facts.files.size()) + ", as manifest.json lists them");
}

static void writeMadeFrom(JsonWriter &json, const PackageManifest &manifest) {
  const PackageOptions &options = manifest.options;
  json.attribute("source", manifest.source);
  json.attributeArray("targets", [&] {
    for (const std::string &target : options.targets)
      json.value(target);
  });
  json.attribute("max_tokens", options.maxTokens);
  json.attribute("workspace_limit", options.workspaceLimit);
  json.attribute("math", options.math);
  json.attribute("determinism", options.determinism);
  json.attributeArray("given_stages", [&] {
    for (const std::string &stage : manifest.schedule.given)
      json.value(stage);
  });
  json.attribute("tuned_ranges", manifest.schedule.tuned.size());
  json.attributeObject("templates", [&] {
    for (const auto &[path, use] : manifest.templates)
      json.attributeObject(path, [&, &hash = use.hash, builtIn = use.builtIn] {
        json.attribute("sha256", hash);
        json.attribute("built_in", builtIn);
      });
  });
}

static void writeSpace(JsonWriter &json, const char *key, const std::vector<PackageFacts::CallSpace> &calls) {
  json.attributeArray(key, [&] {
    for (const PackageFacts::CallSpace &call : calls)
      json.object([&] {
        json.attribute("tokens", call.tokens);
        json.attribute("bytes", call.bytes);
      });
  });
}

static void writePlan(JsonWriter &json, const PackageFacts &facts) {
  const moec_plan_header &header = facts.plan->header;
  json.attribute("experts", header.num_experts);
  json.attribute("top_k", header.top_k);
  json.attribute("hidden", header.hidden);
  json.attribute("x_dtype", typeText(header.x_dtype));
  json.attribute("y_dtype", typeText(header.y_dtype));
  json.attribute("max_tokens", header.max_tokens);
  json.attribute("chunk_tokens", header.chunk_tokens);
  json.attribute("packed_weights_bytes", facts.plan->packedBytes());
  json.attribute("trains", facts.backward.has_value());
  json.attribute("cpu", machineFacts().brand);
  json.attributeArray("isas", [&] {
    for (const PackageFacts::IsaUse &isa : facts.isas)
      json.object([&] {
        json.attribute("isa", isa.name);
        json.attribute("taken", isa.use == "taken");
        json.attribute("use", isa.use);
      });
  });
  json.attribute("cannot_run", facts.cannotRun);
  json.attributeArray("reports", [&] {
    for (const std::string &report : facts.reports)
      json.value(report);
  });
  writeSpace(json, "workspace", facts.workspace);
  if (facts.backward) {
    json.attributeArray("gradients", [&] {
      for (const std::string &name : gradientTexts(*facts.backward))
        json.value(name);
    });
    writeSpace(json, "saved", facts.saved);
    writeSpace(json, "backward_workspace", facts.backwardSpace);
  }
  json.attributeArray("roles", [&] {
    for (const moec_role &role : facts.plan->roles)
      json.object([&] {
        json.attribute("name", facts.plan->text(role.name));
        json.attributeArray("shape", [&] {
          for (unsigned i = 0; i < role.rank && i < 3; ++i)
            json.value(role.dims[i]);
        });
      });
  });
}

void writePackageMembers(JsonWriter &json, const StoredPackage &stored, const PackageFacts &facts) {
  const PackageManifest &manifest = stored.manifest();
  json.attribute("name", manifest.name);
  json.attribute("spec_sha256", manifest.identity);
  json.attributeObject("versions", [&] {
    json.attribute("moec", manifest.moecVersion);
    json.attribute("abi", manifest.abi);
    json.attribute("llvm", manifest.llvmVersion);
  });
  json.attribute("library", manifest.library);
  json.attributeObject("calls", [&] {
    json.attribute("abi", manifest.callsAbi);
    json.attributeArray("functions", [&] {
      for (const std::string &call : manifest.calls)
        json.value(call);
    });
  });
  json.attributeObject("made_from", [&] { writeMadeFrom(json, manifest); });
  json.attributeArray("cuda_targets", [&] {
    for (const std::string &target : manifest.cudaTargets)
      json.value(target);
  });
  if (facts.plan)
    writePlan(json, facts);
  json.attribute("complete", facts.complete());
  json.attributeArray("files", [&] {
    for (const StoredPackage::FileState &state : facts.files)
      json.object([&] {
        json.attribute("path", state.path);
        json.attribute("problem", state.problem);
      });
  });
}

} // namespace moec
