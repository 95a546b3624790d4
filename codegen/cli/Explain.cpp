// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec explain: a spec -> its plan in numbers: steps, kernels per instruction set, FLOPs, bytes, workspace, schedule.

#include "CompileFlags.h"
#include "RoutingFolder.h"
#include "RoutingReport.h"
#include "StoredInput.h"
#include "Supervisor.h"
#include "TextLayer.h"
#include "Verbs.h"

#include "codegen/build/ExpertClasses.h"
#include "codegen/emit/Manifest.h"
#include "codegen/emit/ManifestCuda.h"
#include "codegen/package/PackageReport.h"

#include "runtime/moec_outputs.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <cmath>
#include <memory>
#include <sstream>

using namespace llvm;

namespace moec {

namespace {
struct ExplainFlags {
  CompileFlags compile;
  std::string spec, tokens = "1,32,512", routings;
  int threads = 1;
  bool why = false, json = false;
};

// What one call of T tokens computes and must read, every expert equally likely.
struct CallCost {
  int64_t tokens;
  double flops, weightBytes, touched;
  int64_t workspace;
  int64_t saved = 0, backwardWorkspace = 0; // of a layer that trains
};
} // namespace

// Experts that R random choices reach: E * (1 - (1 - K/E)^T).
static CallCost costOf(const CompiledPackage &package, int64_t tokens, int threads) {
  const LaunchPlan &plan = package.plan;
  double experts = plan.header.num_experts, choices = plan.header.top_k;
  double touched = experts * (1 - std::pow(1 - std::min(1.0, choices / std::max(1.0, experts)), double(tokens)));
  CallCost cost{tokens, 0, 0, touched, largestWorkspaceBytes(package, tokens, threads)};
  if (package.backward) {
    cost.saved = savedBytes(plan, tokens);
    cost.backwardWorkspace = largestWorkspaceBytes(*package.backward, tokens, threads);
  }
  for (const moec_step &step : plan.steps) {
    if (step.kind != MOEC_STEP_MATMUL || step.asked)
      continue;
    bool routed = step.route != MOEC_NO_ROUTE;
    const moec_weight &weight = *plan.weightOf(step);
    // of the experts, in one class of them
    double share = weight.role_per_group ? double(step.num_groups) / experts : 1;
    cost.flops += double(step.flops_per_row) * double(tokens) * (routed ? choices * share : 1);
    cost.weightBytes += double(step.bytes_per_group) * (routed   ? touched * share
                                                        : tokens ? double(step.num_groups)
                                                                 : 0);
  }
  return cost;
}

// `name` says which pass, behind the architecture.
static void printKernels(raw_ostream &os, const CompiledPackage &pass, const char *name, const CudaTargetPlan &target) {
  os << "\n"
     << "sm_" << target.sm << (target.exact ? "a" : "") << name << (pass.cuda.cudaVersion ? "" : ", without ptxas")
     << "\n"
     << format("%4s  %-44s %14s %8s %10s %8s %7s %7s\n", "step", "kernel", "tokens", "threads", "registers", "shared",
               "spills", "local");
  for (const CudaPlannedLaunch &planned : target.launches) {
    const moec_cuda_launch &launch = planned.launch;
    bool open = launch.max_tokens >= pass.plan.header.max_tokens;
    std::string tokens = std::to_string(launch.min_tokens) + ".." + (open ? "" : std::to_string(launch.max_tokens));
    StringRef symbol = planned.symbol;
    symbol.consume_front("moec_" + pass.name + "__");
    os << format("%4u  %-44s %14s %8u %10u %8u %7u %7u\n", unsigned(launch.step), symbol.str().c_str(), tokens.c_str(),
                 launch.block_threads, launch.registers, launch.shared_bytes, launch.spill_bytes, launch.local_bytes);
  }
}

// Experts of different width: which are computed together, and what that costs.
static void printClasses(raw_ostream &os, const LayerSpec &spec) {
  if (!spec.experts.heterogeneous())
    return;
  os << "\nexperts of different width: " << format("%.1f", 100 * paddedShare(spec.experts))
     << " % more columns than theirs\n";
  for (auto [i, members] : enumerate(expertClasses(spec.experts))) {
    int64_t least = members.width;
    for (int64_t e : members.experts)
      least = std::min(least, spec.experts.width(e));
    os << "  class" << i << ": " << members.experts.size() << " experts, widths " << least << ".." << members.width
       << "\n";
  }
}

// Type of the experts' outputs that a call keeps for their weighted sum.
static DataType rowsTypeOf(const LayerSpec &spec) {
  return spec.combine.rowsF32 ? DataType::F32 : spec.dtype.activation;
}

static void printRowsType(raw_ostream &os, const LayerSpec &spec) {
  os << "outputs of experts " << StringRef(dataTypeName(rowsTypeOf(spec)));
  if (spec.combine.rowsF32 && spec.dtype.activation != DataType::F32)
    os << "; combine.rows activation keeps them as " << StringRef(dataTypeName(spec.dtype.activation));
  os << "\n";
}

// The outputs for which a step runs, as calls ask for them; none: it always runs.
static std::vector<std::string> outputsOf(const moec_step &step) {
  std::vector<std::string> names;
  for (const moec_output &output : moec_outputs)
    if (step.asked >> output.role & 1)
      names.emplace_back(output.name);
  return names;
}

static void printSteps(raw_ostream &os, const LaunchPlan &plan) {
  os << "\n"
     << format("%4s  %-24s %-9s %8s %14s %14s  %s\n", "step", "name", "kind", "groups", "FLOP/row", "bytes/group",
               "kernels");
  for (auto [i, step] : enumerate(plan.steps)) {
    std::string kernels;
    for (int isa = 0; isa < MOEC_NUM_ISAS; ++isa)
      if (step.isa[isa].num_variants)
        kernels += (kernels.empty() ? "" : ", ") + isaFacts(Isa(isa)).name.str() + " " +
                   std::to_string(step.isa[isa].num_variants);
    if (step.asked)
      kernels += (kernels.empty() ? "for " : "; for ") + join(outputsOf(step), ", ");
    os << format("%4zu  %-24s %-9s %8u %14lld %14lld  %s\n", i, plan.string(step.name).str().c_str(),
                 stepKindName(step).str().c_str(), step.num_groups, (long long)step.flops_per_row,
                 (long long)step.bytes_per_group, kernels.c_str());
  }
}

// What training adds: gradients, saved values, steps of the backward pass.
static void printBackward(raw_ostream &os, const CompiledPackage &package) {
  os << "\nbackward pass: gradients of " << join(gradientTexts(package.backward->plan), " ") << "\n";
  int64_t sum = 0;
  for (const SavedFacts::Value &value : package.saved.values)
    sum += value.bytesPerToken;
  if (!package.saved.values.empty())
    os << "saved " << sum << " bytes per token, beside x:";
  for (auto [i, value] : enumerate(package.saved.values))
    os << (i ? ", " : " ") << value.what << " " << value.bytesPerToken;
  if (!package.saved.again.empty())
    os << "\ncomputed again: " << join(package.saved.again, " ");
  os << (package.saved.values.empty() && package.saved.again.empty() ? "" : "\n");
  printSteps(os, package.backward->plan);
}

static void printText(Session &session, const SpecInput &input, const CompiledPackage &package,
                      const std::vector<int64_t> &tokens, int threads) {
  const LaunchPlan &plan = package.plan;
  raw_ostream &os = session.out;
  os << package.name << ": tokens 0.." << plan.header.max_tokens << ", " << join(machineNames(package), " ")
     << ", packed weights " << sizeText(int64_t(plan.packedBytes())) << "\n";
  if (!package.cuda.targets.empty())
    os << "CUDA kernels: math " << (package.math == MathMode::Tf32 ? "tf32" : "exact") << ", determinism "
       << determinismWord(plan.header.determinism) << "\n";
  std::vector<StringRef> reports = reportsOf(plan);
  os << "reports "
     << (!reports.empty()  ? join(reports, " ")
         : input.isMoeText ? "none; further results of the function would be reports"
                           : "none; --reports NAME,... adds some")
     << "\n";
  if (!input.isMoeText)
    printRowsType(os, input.spec);
  printSteps(os, plan);
  if (package.backward)
    printBackward(os, package);
  os << "\n" << format("%8s %12s %14s %16s %12s", "tokens", "GFLOP", "experts read", "weights read", "workspace");
  if (package.backward)
    os << format(" %12s %20s", "saved", "backward workspace");
  os << "\n";
  for (int64_t t : tokens) {
    CallCost cost = costOf(package, t, threads);
    os << format("%8lld %12.3f %14.1f %16s %12s", (long long)t, cost.flops * 1e-9, cost.touched,
                 sizeText(int64_t(cost.weightBytes)).c_str(), sizeText(cost.workspace).c_str());
    if (package.backward)
      os << format(" %12s %20s", sizeText(cost.saved).c_str(), sizeText(cost.backwardWorkspace).c_str());
    os << "\n";
  }
  if (plan.header.isa_mask)
    os << "workspace of " << threads << (threads == 1 ? " thread" : " threads") << "\n";
  printClasses(os, input.spec);
  for (const CudaTargetPlan &target : package.cuda.targets)
    printKernels(os, package, "", target);
  if (package.backward)
    for (const CudaTargetPlan &target : package.backward->cuda.targets)
      printKernels(os, *package.backward, ", backward pass", target);
  os << "\n" << package.scheduleText;
}

static void writeSteps(json::OStream &os, const LaunchPlan &plan) {
  os.attributeArray("steps", [&] {
    for (const moec_step &step : plan.steps)
      os.object([&] {
        os.attribute("name", plan.string(step.name));
        os.attribute("kind", stepKindName(step));
        os.attribute("if_asked", step.asked != 0);
        os.attributeArray("asked_for", [&] {
          for (const std::string &output : outputsOf(step))
            os.value(output);
        });
        os.attribute("groups", step.num_groups);
        os.attribute("flops_per_row", step.flops_per_row);
        os.attribute("bytes_per_group", step.bytes_per_group);
        os.attributeObject("variants", [&] {
          for (int isa = 0; isa < MOEC_NUM_ISAS; ++isa)
            if (step.isa[isa].num_variants)
              os.attribute(isaFacts(Isa(isa)).name, step.isa[isa].num_variants);
        });
      });
  });
}

// `stored`: members that say what a package on disk is, as a JSON object; empty: it was compiled just now.
static void printJson(Session &session, const SpecInput &input, const CompiledPackage &package,
                      const std::vector<int64_t> &tokens, int threads, const std::string &stored = "") {
  json::OStream os(session.out, 2);
  os.object([&] {
    os.attribute("name", package.name);
    if (!stored.empty()) {
      os.attributeBegin("package");
      os.rawValue(stored);
      os.attributeEnd();
    }
    os.attribute("determinism", determinismWord(package.plan.header.determinism));
    if (!input.isMoeText)
      os.attribute("rows_type", StringRef(dataTypeName(rowsTypeOf(input.spec))));
    os.attributeArray("reports", [&] {
      for (StringRef report : reportsOf(package.plan))
        os.value(report);
    });
    writeSteps(os, package.plan);
    if (package.backward)
      os.attributeObject("backward", [&] {
        os.attributeArray("gradients", [&] {
          for (const std::string &name : gradientTexts(package.backward->plan))
            os.value(name);
        });
        os.attributeArray("saved", [&] {
          for (const SavedFacts::Value &value : package.saved.values)
            os.object([&] {
              os.attribute("what", value.what);
              os.attribute("bytes_per_token", value.bytesPerToken);
            });
        });
        os.attributeArray("computed_again", [&] {
          for (const std::string &op : package.saved.again)
            os.value(op);
        });
        writeSteps(os, package.backward->plan);
        if (!package.backward->cuda.targets.empty())
          os.attributeObject("cuda", [&] { writeCudaPass(*package.backward, "backward", os); });
      });
    os.attribute("threads", threads);
    os.attributeArray("calls", [&] {
      for (int64_t t : tokens) {
        CallCost cost = costOf(package, t, threads);
        os.object([&] {
          os.attribute("tokens", t);
          os.attribute("flops", cost.flops);
          os.attribute("experts_touched", cost.touched);
          os.attribute("weight_bytes", cost.weightBytes);
          os.attribute("workspace_bytes", cost.workspace);
          if (package.backward) {
            os.attribute("saved_bytes", cost.saved);
            os.attribute("backward_workspace_bytes", cost.backwardWorkspace);
          }
        });
      }
    });
    if (!package.cuda.targets.empty())
      os.attributeObject("cuda", [&] { writeCudaManifest(package, os); });
    os.attribute("schedule", package.scheduleText);
  });
  session.out << "\n";
}

// The fusion stage prints its decisions as comment lines.
static int printReasons(Session &session, const SpecInput &input, const CompileOptions &options,
                        const CompiledPackage &package) {
  std::string text;
  raw_string_ostream os(text);
  std::vector<Diagnostic> errors;
  if (!printStage(input.compileInput(), options, Stage::Fuse, os, errors))
    return reportCompileErrors(session, input, errors);
  session.out << "\nschedule\n";
  for (const std::string &note : package.tuningNotes)
    session.out << "  " << note << "\n";
  if (package.tuningNotes.empty())
    session.out << "  heuristics: no record of `moec tune` is about these stages\n";
  session.out << "\nfusion\n";
  for (StringRef line : split(StringRef(text), '\n'))
    if (line.ltrim().starts_with("//"))
      session.out << "  " << line.ltrim().drop_front(2).ltrim() << "\n";
  return ExitDone;
}

// Recorded routings of the layer instead of its plan: nothing is compiled.
static int explainRoutings(Session &session, const ExplainFlags &flags) {
  SpecInput input;
  if (int code = loadSpec(session, flags.spec, flags.compile, input))
    return code;
  std::unique_ptr<TextLayer> text;
  if (input.isMoeText && !(text = TextLayer::parse(session, input)))
    return ExitInvalid;
  int64_t choices = text ? text->choices : input.spec.choices();
  if (choices < 1)
    return fail(session, "E-UNSUPPORTED", "tokens of this layer do not choose experts, so no routing can be explained",
                "a router that chooses experts for tokens has one");
  RoutingStats stats(text ? text->experts : input.spec.routerRows());
  std::vector<std::string> labels;
  if (int code = readRoutings(session, flags.routings, choices, stats, labels))
    return code;
  warnOfRouting(session, stats);
  if (!flags.json) {
    printRouting(session.out, stats, labels);
    return ExitDone;
  }
  std::ostringstream document;
  JsonWriter os(document, 2);
  os.object([&] {
    os.attribute("name", text ? text->layer().getSymName().str() : input.spec.name);
    os.attributeObject("routing", [&] { writeRouting(os, stats, labels); });
  });
  session.out << document.str() << "\n";
  return ExitDone;
}

// A package as it is: what moec-run inspect says, and its plan.
static int explainPackage(Session &session, const ExplainFlags &flags) {
  if (flags.why)
    return fail(session, "E-USAGE", "--why follows a compilation, and " + quoteText(flags.spec, 256) + " is a package",
                "name the spec in its share folder");
  std::unique_ptr<PackageOnDisk> package;
  if (int code = openStored(session, flags.spec, flags.compile, package))
    return code;
  const StoredPackage &stored = package->stored;
  std::vector<int64_t> tokens;
  if (int code = tokenCounts(session, flags.tokens, package->compiled.plan.header.max_tokens, tokens))
    return code;
  SpecInput input;
  if (int code = loadStored(session, *package, input))
    return code;
  Result<std::string> schedule = stored.read(stored.shareFile("schedule.txt"), maxSourceBytes);
  if (!schedule)
    return fail(session, schedule.error());
  package->compiled.scheduleText = std::move(*schedule);
  Result<std::unique_ptr<LoadedPackage>> loaded = package->load();
  if (!loaded)
    return fail(session, loaded.error());
  Result<PackageFacts> facts = factsOf(stored, (*loaded)->get());
  if (!facts)
    return fail(session, facts.error());
  int exit = ExitDone;
  for (const Diagnostic &error : fileErrors(stored, *facts))
    exit = fail(session, error);
  if (flags.json) {
    std::ostringstream text;
    JsonWriter json(text);
    json.object([&] { writePackageMembers(json, stored, *facts); });
    printJson(session, input, package->compiled, tokens, flags.threads, text.str());
    return exit;
  }
  session.out << packageText(stored, *facts) << "\n";
  printText(session, input, package->compiled, tokens, flags.threads);
  return exit;
}

static int runExplain(Session &session, const ExplainFlags &flags) {
  if (!flags.routings.empty())
    return explainRoutings(session, flags);
  if (isPackageFolder(flags.spec))
    return explainPackage(session, flags);
  SpecInput input;
  CompileOptions options;
  std::vector<int64_t> tokens;
  if (int code = compileOptions(session, flags.compile, options))
    return code;
  if (int code = tokenCounts(session, flags.tokens, options.maxTokens, tokens))
    return code;
  if (int code = loadSpec(session, flags.spec, flags.compile, input))
    return code;
  options.progress = [](StringRef stage, StringRef, double) { enterStage(stage); };
  int exit = ExitDone;
  std::unique_ptr<CompiledPackage> package = compile(session, input, options, exit);
  if (!package)
    return exit;
  if (flags.json) {
    printJson(session, input, *package, tokens, flags.threads);
    return ExitDone;
  }
  printText(session, input, *package, tokens, flags.threads);
  return flags.why ? printReasons(session, input, options, *package) : int(ExitDone);
}

Verb addExplain(CLI::App &app) {
  auto flags = std::make_shared<ExplainFlags>();
  CLI::App *verb = app.add_subcommand("explain", "the plan of a layer in numbers");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file, preset, or package")->required();
  verb->add_option("--tokens", flags->tokens, "token counts: 1,2,4-64*2,100-108")
      ->type_name("RANGE")
      ->capture_default_str();
  verb->add_option("--threads", flags->threads, "threads of a call, which its workspace grows with")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_option("--routings", flags->routings,
                   "recorded routings instead of the plan: *.safetensors with ids [T,K] i32 and, if there are, weights "
                   "[T,K], logits [T,n] "
                   "f32, labels [T] i32; names of labels in labels.json or the files' metadata")
      ->type_name("DIR");
  verb->add_flag("--why", flags->why, "say where the kernels come from, and which fusion rules applied where");
  verb->add_flag("--json", flags->json, "one JSON document on stdout");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runExplain(session, *flags); }};
}

} // namespace moec
