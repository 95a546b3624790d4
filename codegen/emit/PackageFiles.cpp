// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CompiledPackage in -> package files out: the templates of templates/package/ filled, the rest printed.

#include "PackageFiles.h"

#include "codegen/moe/LayerInputs.h"

#include "EmbeddedRuntime.h"
#include "Manifest.h"
#include "PackageLibrary.h"
#include "PackageTemplate.h"

#include "dsl/DataType.h"
#include "dsl/text/SourceText.h"
#include "runtime/moec.h"
#include "runtime/moec_outputs.h"

#include "llvm/ADT/StringExtras.h"

#include <algorithm>

using namespace llvm;

namespace moec {

std::pair<std::string, std::string> compatibleVersions(int major, int minor) {
  if (major == 0)
    return {"0." + std::to_string(minor), "0." + std::to_string(minor + 1)};
  return {std::to_string(major), std::to_string(major + 1)};
}

StringRef libraryKindName(LibraryKind kind) {
  return kind == LibraryKind::Static ? "static" : kind == LibraryKind::Shared ? "shared" : "both";
}

std::string libraryFileName(StringRef name, LibraryKind kind) {
  return "lib" + name.str() + (kind == LibraryKind::Shared ? ".so" : ".a");
}

// x and y are of one of these.
static StringRef dtypeMacro(uint32_t code) {
  switch (code) {
  case MOEC_F32:
    return "MOEC_F32";
  case MOEC_BF16:
    return "MOEC_BF16";
  case MOEC_F16:
    return "MOEC_F16";
  default:
    return "";
  }
}

static StringRef dtypeText(uint32_t code) {
  std::string_view name = dataTypeName(DataType(code));
  return {name.data(), name.size()};
}

static int64_t numLogits(const LaunchPlan &plan) {
  for (uint16_t role : {MOEC_ROLE_LOGITS, MOEC_ROLE_PROBABILITIES, MOEC_ROLE_NOISE}) // of equal columns: rule P7
    for (const moec_buffer &buffer : plan.buffers)
      if (buffer.role == role)
        return buffer.bytes.per_token / 4;
  return plan.header.num_experts;
}

// "[B,8,64] f32: dropout: factors of every slot's inner values, for each of B sequences"
static std::string slotText(const moec_buffer &buffer) {
  moec_extent bytes = buffer.bytes;
  bool hidden = buffer.role == MOEC_ROLE_HIDDEN_MASK;
  return std::string(bytes.per_sequence ? "[B," : "[") +
         std::to_string((bytes.per_sequence + bytes.fixed) / buffer.row_stride) + "," +
         std::to_string(buffer.row_stride / 4) + "] f32: dropout: factors of every slot's " +
         (hidden ? "inner values" : "outputs") + (bytes.per_sequence ? ", for each of B sequences" : "");
}

// Values of an output that is one vector per call; 0: the layer has none.
static int64_t reportCount(const LaunchPlan &plan, uint16_t role) {
  for (const moec_buffer &buffer : plan.buffers)
    if (buffer.role == role)
      return buffer.bytes.fixed / 4;
  return 0;
}

// What the layer reports on request, a line each.
static std::string reportLines(const LaunchPlan &plan, bool fromSpec) {
  std::string lines;
  for (const moec_output &report : moec_outputs)
    for (const moec_buffer &buffer : plan.buffers) {
      if (!moec_is_report(&report) || buffer.role != report.role)
        continue;
      bool perToken = buffer.bytes.per_token != 0;
      std::string shape = "[" + std::string(perToken ? "T," : "") +
                          std::to_string((perToken ? buffer.bytes.per_token : buffer.bytes.fixed) / 4) + "] ";
      lines += " * " + std::string(report.name) + " " + shape + dtypeText(buffer.dtype).str() +
               ", on request: " + report.text + ".\n";
    }
  if (!lines.empty())
    return lines;
  return fromSpec ? " * reports    none; moec compile --reports NAME,... or \"reports\" of the spec adds some.\n"
                  : " * reports    none; further results of the function would be reports.\n";
}

// How frameworks call the shared library, for the header.
static std::string callLines(StringRef name, ArrayRef<StringLiteral> calls) {
  if (calls.empty())
    return "";
  return " * tvm-ffi    " + libraryFileName(name, LibraryKind::Shared) +
         " works alone, too: tvm_ffi.load_module gives torch, JAX and others its functions\n *            " +
         join(calls, ", ") + ".\n";
}

// How a layer that trains is called; names of gradients, of members of one role once.
static std::string trainingLines(const CompiledPackage &package) {
  if (!package.backward)
    return "";
  std::string lines = " * Training   a forward call with args.saved keeps what moec_layer_backward needs of it:\n"
                      " *            moec_layer_saved_bytes, moec_layer_backward_workspace_bytes. Weights are packed "
                      "again\n"
                      " *            after a step of the optimiser. Gradients:\n";
  std::string line, last;
  for (const std::string &name : gradientTexts(package.backward->plan)) {
    StringRef role = name; // experts.up.3 is of experts.up
    auto [head, number] = role.rsplit('.');
    if (!number.empty() && all_of(number, isDigit))
      role = head;
    if (role == last)
      continue;
    last = role.str();
    if (line.size() + last.size() > 90) {
      lines += " *              " + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + last;
  }
  return lines + (line.empty() ? "" : " *              " + line + "\n");
}

static Result<PackageValues> templateValues(const CompiledPackage &package, LibraryKind kind,
                                            ArrayRef<StringLiteral> calls) {
  const moec_plan_header &header = package.plan.header;
  PackageValues values;
  if (!values.identifier("name", package.name) || !values.upperIdentifier("NAME", package.name))
    return Diagnostic::error("E-INTERNAL", "the package's name is not an identifier");
  for (const moec_role &role : package.plan.roles) {
    std::vector<int64_t> dims(role.dims, role.dims + std::min<unsigned>(role.rank, 3));
    if (!values.roleLine("roles", package.plan.string(role.name), dims))
      return Diagnostic::error("E-INTERNAL",
                               "role " + std::to_string(&role - package.plan.roles.data()) + " has an invalid name \"" +
                                   escaped(package.plan.string(role.name).str()) + "\" (expected [a-z0-9_.]+)");
  }
  std::string inputs; // beside x: fields of moec_forward_args that must be there
  for (const LayerInput &input : layerInputs())
    for (const moec_buffer &buffer : package.plan.buffers)
      if (buffer.kind == MOEC_BUFFER_INPUT && buffer.role == input.role)
        inputs += " * " + input.name.str() + std::string(input.name.size() < 11 ? 11 - input.name.size() : 1, ' ') +
                  (isMaskOfSlots(buffer) ? slotText(buffer) : input.shapeText.str() + ": " + input.text.str()) + ".\n";
  values.word("inputs", inputs);
  values.word("calls", callLines(package.name, calls));
  values.word("training", trainingLines(package));
  values.integer("trains", package.backward != nullptr);
  values.word("reports", reportLines(package.plan, !package.canonicalSpec.empty()));
  values.integer("num_losses", reportCount(package.plan, MOEC_ROLE_LOSSES));
  values.integer("num_choice_counts", reportCount(package.plan, MOEC_ROLE_CHOICE_COUNTS));
  values.word("version", moecVersion());
  // Of 0.x only the same x, of later versions the same major: the rule of CHANGELOG.md.
  auto [compatible, next] = compatibleVersions(MOEC_VERSION_MAJOR, MOEC_VERSION_MINOR);
  values.word("compatible_version", compatible);
  values.word("next_version", next);
  values.word("library", libraryFileName(package.name, kind));
  values.word("KIND", kind == LibraryKind::Shared ? "SHARED" : "STATIC");
  values.integer("hidden", header.hidden);
  values.integer("num_experts", header.num_experts);
  values.integer("top_k", header.top_k);
  values.integer("num_logits", numLogits(package.plan));
  values.integer("max_tokens", header.max_tokens);
  values.word("x_dtype", dtypeText(header.x_dtype));
  values.word("y_dtype", dtypeText(header.y_dtype));
  values.word("x_dtype_macro", dtypeMacro(header.x_dtype));
  values.word("y_dtype_macro", dtypeMacro(header.y_dtype));
  bool cpu = header.isa_mask != 0, cuda = !package.cuda.targets.empty();
  values.word("pointers",
              !cuda
                  ? "host memory."
                  : std::string(cpu ? "host memory; " : "") +
                        "device memory of its device in a layer made with moec_layer_options.device MOEC_DEVICE_CUDA.");
  values.integer("determinism_level", header.determinism);
  values.word("determinism",
              header.determinism == 0
                  ? "on a GPU bits may differ from call to call, because a token's rows are added in any order."
              : header.determinism == 2
                  ? "a row's bits depend on that row and the instruction set or GPU only."
                  : "equal inputs give equal bits, for any number of threads, on one instruction set or GPU.");
  return values;
}

// share/NAME: the layer and what else its package was made from.
static void addSources(const CompiledPackage &package, const std::string &share, std::vector<PackageFile> &files) {
  const PackageSources &sources = package.sources;
  files.push_back({share + "schedule.txt", package.scheduleText});
  if (!sources.schedule.records.empty())
    files.push_back({share + "tuning.jsonl", sources.schedule.records});
  if (!package.canonicalSpec.empty())
    files.push_back({share + "spec.json", package.canonicalSpec});
  else if (!sources.layerText.empty())
    files.push_back({share + "layer.mlir", sources.layerText});
  for (const TemplateUse &used : sources.templates)
    if (!used.builtIn || isFunctionPath(used.path))
      files.push_back({share + "templates/" + used.path, used.text});
}

Result<std::vector<PackageFile>> packageFiles(const CompiledPackage &package, PackageLibraries libraries) {
  LibraryKind kind = libraries.shared.empty()    ? LibraryKind::Static
                     : libraries.archive.empty() ? LibraryKind::Shared
                                                 : LibraryKind::Both;
  const std::string &name = package.name, share = "share/" + name + "/";
  bool hasCalls = kind != LibraryKind::Static && packageContents(package) == LibraryContents::Calls;
  ArrayRef<StringLiteral> calls = hasCalls ? embeddedCalls() : ArrayRef<StringLiteral>();
  Result<PackageValues> values = templateValues(package, kind, calls);
  if (!values)
    return values.takeError();
  std::vector<PackageFile> files;
  if (!libraries.archive.empty())
    files.push_back({"lib/" + libraryFileName(name, LibraryKind::Static), std::move(libraries.archive)});
  if (!libraries.shared.empty())
    files.push_back({"lib/" + libraryFileName(name, LibraryKind::Shared), std::move(libraries.shared)});
  for (auto [path, source] :
       {std::pair("include/" + name + ".h", "header.h.in"),
        std::pair("lib/cmake/" + name + "/" + name + "Config.cmake", "config.cmake.in"),
        std::pair("lib/cmake/" + name + "/" + name + "ConfigVersion.cmake", "config_version.cmake.in"),
        std::pair("lib/pkgconfig/" + name + ".pc", "pkgconfig.pc.in")}) {
    Result<std::string> text = fillPackageTemplate(source, *values);
    if (!text)
      return text.takeError();
    files.push_back({path, std::move(*text)});
  }
  addSources(package, share, files);
  FileDigests digests;
  for (const PackageFile &file : files)
    digests.emplace_back(file.path, sha256(file.bytes));
  files.push_back({share + "manifest.json", manifestText(package, libraryKindName(kind), calls, digests)});
  return files;
}

} // namespace moec
