// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LaunchPlan in -> manifest text out. Keys are written in one fixed order; no time, path or host name is.

#include "Manifest.h"

#include "ManifestCuda.h"

#include "dsl/DataType.h"
#include "runtime/moec.h"
#include "runtime/moec_outputs.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/JSON.h"

#include <algorithm>
#include <set>

using namespace llvm;

namespace moec {

bool isMaskOfSlots(const moec_buffer &buffer) {
  bool mask = buffer.role == MOEC_ROLE_HIDDEN_MASK || buffer.role == MOEC_ROLE_OUTPUT_MASK;
  return mask && !buffer.bytes.per_token && buffer.row_stride;
}

std::string specHashText(const LaunchPlan &plan) { return identityText(plan.header); }

std::string moecVersion() {
  return std::to_string(MOEC_VERSION_MAJOR) + "." + std::to_string(MOEC_VERSION_MINOR) + "." +
         std::to_string(MOEC_VERSION_PATCH);
}

std::vector<StringRef> reportsOf(const LaunchPlan &plan) {
  std::vector<StringRef> names;
  for (const moec_output &output : moec_outputs)
    if (moec_is_report(&output) &&
        any_of(plan.buffers, [&](const moec_buffer &buffer) { return buffer.role == output.role; }))
      names.push_back(output.name);
  return names;
}

std::vector<std::string> isaNames(uint32_t mask) {
  std::vector<std::string> names;
  for (unsigned i = 0; i < MOEC_NUM_ISAS; ++i)
    if (mask >> i & 1)
      names.push_back(isaFacts(Isa(i)).name.str());
  return names;
}

std::vector<std::string> machineNames(const CompiledPackage &package) {
  std::vector<std::string> names = isaNames(package.plan.header.isa_mask);
  for (auto target = package.cuda.targets.rbegin(); target != package.cuda.targets.rend(); ++target)
    names.push_back("sm_" + std::to_string(target->sm) + (target->exact ? "a" : ""));
  return names;
}

static StringRef dtypeText(uint32_t code) {
  std::string_view name = dataTypeName(DataType(code));
  return {name.data(), name.size()};
}

int64_t cudaWorkspaceBytes(const LaunchPlan &plan, const CudaTargetPlan &target, int64_t numTokens) {
  std::set<size_t> used = target.buffers();
  return sharedWorkspaceBytes(plan, numTokens, [&](size_t i) { return used.count(i) != 0; }) +
         cudaTableBytes(target, numTokens);
}

int64_t largestWorkspaceBytes(const CompiledPackage &package, int64_t numTokens, int64_t workers) {
  int64_t most = package.plan.header.isa_mask ? workspaceBytes(package.plan, numTokens, workers) : 0;
  for (const CudaTargetPlan &target : package.cuda.targets)
    most = std::max(most, cudaWorkspaceBytes(package.plan, target, numTokens));
  return most;
}

namespace {

// The parts of the manifest, each one function.
class ManifestWriter {
public:
  ManifestWriter(const CompiledPackage &package, raw_ostream &os) : package(package), plan(package.plan), json(os, 2) {}

  void write(StringRef library, ArrayRef<StringLiteral> calls, const FileDigests &files);

private:
  void identity();
  void madeFrom(StringRef library);
  void argumentList();
  void argument(StringRef name, uint32_t dtype, StringRef columns, int64_t extent, bool optional);
  void argument(StringRef name, uint32_t dtype, bool optional, llvm::function_ref<void()> shape);
  void slotRows(const moec_buffer &buffer);
  void workspace(const LaunchPlan &plan);
  void weights();
  void buffers(const LaunchPlan &plan);
  void steps(const CompiledPackage &package);
  void saved();
  void training(const CompiledPackage &backward);
  void extent(StringRef key, moec_extent value);

  const CompiledPackage &package;
  const LaunchPlan &plan;
  json::OStream json;
};

} // namespace

void ManifestWriter::extent(StringRef key, moec_extent value) {
  json.attributeObject(key, [&] {
    json.attribute("per_token", value.per_token);
    json.attribute("fixed", value.fixed);
    if (value.per_sequence)
      json.attribute("per_sequence", value.per_sequence);
  });
}

StringRef determinismWord(uint32_t determinism) {
  return determinism == 0 ? "off" : determinism == 1 ? "run" : "batch";
}

void ManifestWriter::identity() {
  json.attribute("schema", "moec.manifest/1");
  json.attribute("name", package.name);
  json.attribute("entry", package.name + "_package");
  json.attributeObject("versions", [&] {
    json.attribute("moec", moecVersion());
    json.attribute("abi", std::to_string(MOEC_ABI_MAJOR) + "." + std::to_string(MOEC_ABI_MINOR));
    json.attribute("llvm", LLVM_VERSION_STRING);
  });
  json.attribute("spec_sha256", specHashText(plan));
  json.attributeArray("isas", [&] {
    for (const std::string &isa : isaNames(plan.header.isa_mask))
      json.value(isa);
  });
  json.attributeObject("sizes", [&] {
    json.attribute("hidden", plan.header.hidden);
    json.attribute("num_experts", plan.header.num_experts);
    json.attribute("top_k", plan.header.top_k);
    json.attribute("max_tokens", plan.header.max_tokens);
    if (plan.header.chunk_tokens)
      json.attribute("chunk_tokens", plan.header.chunk_tokens);
  });
  json.attribute("determinism", determinismWord(plan.header.determinism));
}

// `moec compile share/NAME` reads this back (codegen/package/PackageManifest.h).
void ManifestWriter::madeFrom(StringRef library) {
  const PackageSources &sources = package.sources;
  const PackageOptions &options = sources.options;
  json.attributeObject("made_from", [&] {
    json.attribute("source", package.canonicalSpec.empty() ? "layer.mlir" : "spec.json");
    json.attributeObject("options", [&] {
      json.attributeArray("targets", [&] {
        for (const std::string &target : options.targets)
          json.value(target);
      });
      json.attribute("max_tokens", options.maxTokens);
      if (options.workspaceLimit)
        json.attribute("workspace_limit", options.workspaceLimit);
      json.attribute("math", options.math);
      json.attribute("determinism", options.determinism);
      json.attribute("library", library);
      if (!options.sanitizer.empty())
        json.attribute("sanitizer", options.sanitizer);
    });
    json.attributeObject("templates", [&] {
      for (const TemplateUse &used : sources.templates)
        json.attributeObject(used.path, [&] {
          json.attribute("sha256", hexText(sha256(used.text)));
          json.attribute("built_in", used.builtIn);
        });
    });
    json.attributeObject("schedule", [&] {
      json.attributeArray("given", [&] {
        for (const std::string &stage : sources.schedule.given)
          json.value(stage);
      });
      json.attributeArray("tuned", [&] {
        for (const ScheduleOrigin::Tuned &tuned : sources.schedule.tuned)
          json.object([&] {
            json.attribute("stage", tuned.stage);
            json.attribute("target", tuned.target);
            json.attribute("rows", tuned.rows);
            json.attribute("record_sha256", tuned.record);
            json.attribute("exact", tuned.exact);
          });
      });
    });
  });
}

void ManifestWriter::argument(StringRef name, uint32_t dtype, StringRef columns, int64_t extent, bool optional) {
  argument(name, dtype, optional, [&] {
    if (columns != "E" && extent)
      json.value("T");
    json.value(extent ? extent : 1);
  });
}

// Rows of slots: [B,S,n] of B sequences, or [S,n] of the whole call.
void ManifestWriter::slotRows(const moec_buffer &buffer) {
  moec_extent bytes = buffer.bytes;
  argument(plan.string(buffer.name), buffer.dtype, false, [&] {
    if (bytes.per_sequence)
      json.value("B");
    json.value((bytes.per_sequence + bytes.fixed) / buffer.row_stride);
    json.value(int64_t(buffer.row_stride / 4));
  });
}

void ManifestWriter::argument(StringRef name, uint32_t dtype, bool optional, llvm::function_ref<void()> shape) {
  json.object([&] {
    json.attribute("name", name);
    json.attribute("dtype", dtypeText(dtype));
    json.attributeArray("shape", shape);
    json.attribute("strides", "row-major without gaps");
    json.attribute("alignment_bytes", optional ? 4 : 16);
    json.attribute("bytes_read_past_end", 0);
    json.attribute("optional", optional);
  });
}

static StringRef columnsOf(const moec_output &output) {
  return output.shape == MOEC_SHAPE_TN ? "L" : output.shape == MOEC_SHAPE_TK ? "K" : "E";
}

void ManifestWriter::argumentList() {
  json.attributeArray("arguments", [&] {
    for (const moec_buffer &buffer : plan.buffers) {
      switch (buffer.role) {
      case MOEC_ROLE_X:
        argument("x", buffer.dtype, "H", plan.header.hidden, false);
        break;
      case MOEC_ROLE_Y:
        argument("y", buffer.dtype, "H", plan.header.hidden, false);
        break;
      default:
        for (const moec_output &output : moec_outputs)
          if (output.role == buffer.role)
            argument(output.name, buffer.dtype, columnsOf(output),
                     (buffer.bytes.per_token ? buffer.bytes.per_token : buffer.bytes.fixed) / 4, true);
        if (isMaskOfSlots(buffer))
          slotRows(buffer);
        else if (buffer.kind == MOEC_BUFFER_INPUT)
          argument(plan.string(buffer.name), buffer.dtype, "", buffer.bytes.per_token / 4, false);
        break;
      }
    }
  });
}

void ManifestWriter::workspace(const LaunchPlan &plan) {
  json.attributeObject("workspace", [&] {
    json.attribute("alignment_bytes", MOEC_WORKSPACE_ALIGN);
    json.attribute(
        "formula",
        "sum over slots of up(max over members of per_token*T + per_sequence*B + fixed) + sum over routes of "
        "(up(4*(groups+1)) + 3*up(4*T*choices)) + up(item_bytes*(items.per_token*T + items.fixed "
        "+ items_per_worker*W + 1)) + W*up(scratch_bytes); up(n) = n rounded up to 256; W workers; B sequences; the "
        "last report_slots slots "
        "only in calls that ask for reports");
    json.attribute("report_slots", int64_t(plan.header.num_report_slots)); // the last ones
    json.attributeArray("slots", [&] {
      for (const auto &slot : slotMembers(plan))
        json.array([&] {
          for (moec_extent member : slot)
            json.object([&] {
              json.attribute("per_token", member.per_token);
              json.attribute("fixed", member.fixed);
              if (member.per_sequence)
                json.attribute("per_sequence", member.per_sequence);
            });
        });
    });
    json.attributeArray("routes", [&] {
      for (const moec_step &step : plan.steps)
        if (step.kind == MOEC_STEP_DISPATCH || step.kind == MOEC_STEP_SLOTS)
          json.object([&] {
            json.attribute("groups", step.num_groups);
            json.attribute("choices", step.choices);
          });
    });
    extent("items", plan.header.items);
    json.attribute("item_bytes", int64_t(sizeof(moec_item)));
    json.attribute("items_per_worker", MOEC_ITEMS_PER_WORKER);
    json.attribute("scratch_bytes", plan.header.scratch_bytes);
  });
}

void ManifestWriter::weights() {
  json.attribute("packed_weights_bytes", int64_t(plan.packedBytes()));
  json.attributeArray("roles", [&] {
    for (const moec_role &role : plan.roles)
      json.object([&] {
        json.attribute("name", plan.string(role.name));
        json.attributeArray("shape", [&] {
          for (unsigned i = 0; i < role.rank && i < 3; ++i)
            json.value(role.dims[i]);
        });
      });
  });
  json.attributeArray("regions", [&] {
    for (const moec_weight &weight : plan.packedWeights())
      json.object([&] {
        json.attribute("layout", weight.layout == MOEC_LAYOUT_PANELS ? "panels" : "vector");
        json.attribute("dtype", dtypeText(weight.dtype));
        json.attributeArray("roles", [&] {
          for (unsigned part = 0; part < weight.parts && part < 2; ++part)
            for (size_t i = 0;
                 i < (weight.role_per_group ? weight.groups : 1) && weight.role[part] + i < plan.roles.size(); ++i)
              json.value(plan.string(plan.roles[weight.role[part] + i].name));
        });
        // experts of different width: the roles of part 0, one per group, then those of part 1
        if (weight.role_per_group)
          json.attribute("role_per_group", true);
        if (weight.transposed) // n is the roles' inner extent
          json.attribute("transposed", true);
        json.attribute("groups", weight.groups);
        json.attribute("n", weight.n);
        json.attribute("k", weight.k);
        json.attribute("offset", int64_t(weight.offset));
        json.attribute("bytes", int64_t(weight.bytes));
      });
  });
}

void ManifestWriter::buffers(const LaunchPlan &plan) {
  static const char *kinds[] = {"input", "output", "weight", "workspace", "optional_output", "route", "gradient"};
  json.attributeArray("buffers", [&] {
    for (const moec_buffer &buffer : plan.buffers)
      json.object([&] {
        json.attribute("name", plan.string(buffer.name));
        json.attribute("kind", buffer.kind < std::size(kinds) ? kinds[buffer.kind] : "unknown");
        json.attribute("slot", int64_t(buffer.slot));
        json.attribute("dtype", dtypeText(buffer.dtype));
        extent("bytes", buffer.bytes);
      });
  });
}

void ManifestWriter::steps(const CompiledPackage &package) {
  const LaunchPlan &plan = package.plan;
  json.attributeArray("steps", [&] {
    for (const moec_step &step : plan.steps)
      json.object([&] {
        json.attribute("name", plan.string(step.name));
        json.attribute("kind", stepKindName(step));
        json.attribute("if_asked", step.asked != 0);
        json.attributeArray("buffers", [&] {
          for (uint16_t buffer : plan.argsOf(step))
            json.value(int64_t(buffer));
        });
        json.attribute("flops_per_row", step.flops_per_row);
        json.attribute("bytes_per_group", step.bytes_per_group);
        json.attributeObject("kernels", [&] {
          for (unsigned isa = 0; isa < MOEC_NUM_ISAS; ++isa) {
            const moec_isa_variants &variants = step.isa[isa];
            if (!variants.num_variants)
              continue;
            json.attributeArray(isaFacts(Isa(isa)).name, [&] {
              for (uint64_t i = variants.first_fn; i < uint64_t(variants.first_fn) + variants.num_variants; ++i)
                if (i < package.functionNames.size())
                  json.value(package.functionNames[i]);
            });
          }
        });
      });
  });
}

// Of moec_forward_args.saved.
void ManifestWriter::saved() {
  json.attributeObject("saved", [&] {
    json.attribute("alignment_bytes", MOEC_WORKSPACE_ALIGN);
    json.attribute("formula", "sum over values of up(per_token*T + per_sequence*B + fixed); up(n) = n rounded up to "
                              "256; B sequences");
    json.attributeArray("values", [&] {
      for (size_t i = 0; i < package.saved.values.size(); ++i)
        for (const moec_buffer &buffer : plan.buffers)
          if (buffer.role == MOEC_ROLE_SAVED + i)
            json.object([&] {
              json.attribute("what", package.saved.values[i].what);
              json.attribute("dtype", dtypeText(buffer.dtype));
              extent("bytes", buffer.bytes);
            });
    });
    json.attributeArray("computed_again", [&] {
      for (const std::string &op : package.saved.again)
        json.value(op);
    });
  });
}

// The backward pass, and what connects it with forward.
void ManifestWriter::training(const CompiledPackage &backward) {
  json.attributeObject("backward", [&] {
    saved();
    json.attributeArray("gradients", [&] {
      for (const std::string &name : gradientTexts(backward.plan))
        json.value(name);
    });
    workspace(backward.plan);
    buffers(backward.plan);
    steps(backward);
    if (!backward.cuda.targets.empty())
      json.attributeObject("cuda", [&] { writeCudaPass(backward, "backward", json); });
  });
}

void ManifestWriter::write(StringRef library, ArrayRef<StringLiteral> calls, const FileDigests &files) {
  json.object([&] {
    identity();
    if (!calls.empty())
      json.attributeObject("calls", [&] {
        json.attribute("abi", "tvm-ffi 0.1");
        json.attributeArray("functions", [&] {
          for (StringRef call : calls)
            json.value(call);
        });
      });
    madeFrom(library);
    argumentList();
    workspace(plan);
    weights();
    buffers(plan);
    steps(package);
    if (package.backward)
      training(*package.backward);
    if (!package.cuda.targets.empty())
      json.attributeObject("cuda", [&] { writeCudaManifest(package, json); });
    json.attributeObject("files", [&] {
      for (const auto &[path, digest] : files)
        json.attribute(path, "sha256:" + hexText(digest));
    });
  });
}

std::string manifestText(const CompiledPackage &package, StringRef library, ArrayRef<StringLiteral> calls,
                         const FileDigests &files) {
  std::string text;
  raw_string_ostream os(text);
  ManifestWriter(package, os).write(library, calls, files);
  os << '\n';
  return text;
}

} // namespace moec
