// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The stages in order. Everything up to the schedule happens once; instantiate, lower and emit happen per object file,
// each in a context of its own so that they can run side by side.

#include "Compilation.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/TemplateFiles.h"
#include "codegen/Workers.h"
#include "codegen/emit/Manifest.h"
#include "codegen/emit/ObjectEmitter.h"
#include "codegen/fuse/JoinStages.h"
#include "codegen/fuse/NumericModes.h"
#include "codegen/moe/LayerChecks.h"
#include "codegen/plan/PlanStages.h"
#include "codegen/plan/RouteFront.h"
#include "codegen/tile/DescribeMatmul.h"

#include "runtime/moec_outputs.h"

#include "dsl/spec/SpecPrinter.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <atomic>
#include <set>
#include <thread>

using namespace mlir;

namespace moec {

static const llvm::StringLiteral stageNames[] = {"spec",     "build",       "grad",  "fuse", "plan",
                                                 "schedule", "instantiate", "lower", "emit"};

std::optional<Stage> parseStage(llvm::StringRef name) {
  for (unsigned i = 0; i < std::size(stageNames); ++i)
    if (stageNames[i] == name)
      return Stage(i);
  return std::nullopt;
}

llvm::StringRef stageName(Stage stage) { return stageNames[unsigned(stage)]; }

void Compilation::note(Stage stage, const llvm::Twine &detail) {
  auto now = std::chrono::steady_clock::now();
  if (options.progress)
    options.progress(stageName(stage), detail.str(), std::chrono::duration<double>(now - since).count());
  since = now;
}

bool Compilation::collecting(const char *code, llvm::function_ref<bool()> body) {
  CapturedDiagnostics said(context, code);
  if (body())
    return true;
  std::vector<Diagnostic> found = said.takeAll();
  if (found.empty())
    found.push_back(Diagnostic::error(code, "failed without a message"));
  errors.insert(errors.end(), found.begin(), found.end());
  return false;
}

bool Compilation::fuse() {
  return collecting(moeCode(), [&] {
    if (!options.archs.empty() && options.determinism == Determinism::Off)
      dropDiversity(layer);
    if (failed(fuseStages(layer, fusionNotes)))
      return false;
    if (!options.archs.empty() && options.math == MathMode::Tf32)
      markTf32(layer, fusionNotes);
    if (!options.archs.empty() && options.determinism == Determinism::Off)
      markUnordered(layer, fusionNotes);
    if (!options.archs.empty())
      joinStages(layer, fusionNotes);
    return succeeded(verify(*module));
  });
}

bool Compilation::planSteps() {
  PlanOptions planOptions;
  planOptions.maxTokens = options.maxTokens;
  planOptions.forward = forward ? &forward->launchPlan : nullptr;
  return collecting("E-PLAN", [&] { return succeeded(planStages(layer, planOptions, launchPlan)); }) && countRows();
}

// The runtime and the kernels of every target count a route's rows, at most T*K, in 31 bits.
bool Compilation::countRows() {
  for (const moec_step &step : launchPlan.steps) {
    bool routes = step.kind == MOEC_STEP_DISPATCH || step.kind == MOEC_STEP_SLOTS || step.kind == MOEC_STEP_CAPACITY;
    if (!routes || launchPlan.header.max_tokens <= INT32_MAX / int64_t(step.choices))
      continue;
    errors.push_back(Diagnostic::error("E-UNSUPPORTED",
                                       "rows are counted in 31 bits: " + std::to_string(launchPlan.header.max_tokens) +
                                           " tokens of " + std::to_string(step.choices) + " choices are too many",
                                       "--max-tokens " + std::to_string(INT32_MAX / step.choices) +
                                           "; callers may split their tokens over several calls"));
    return false;
  }
  return true;
}

bool Compilation::schedule() {
  matmuls.resize(launchPlan.steps.size());
  for (size_t i = 0; i < matmuls.size(); ++i)
    if (auto op = dyn_cast_or_null<moe::GroupedMatmulOp>(launchPlan.stageOf[i]))
      matmuls[i] = describeMatmul(op, launchPlan, launchPlan.steps[i]);
  if (forward)
    origin = forward->origin;
  if (!chooseSchedule(launchPlan, matmuls, options, trains(), chosen, origin, tuningNotes, errors))
    return false;
  if (options.determinism == Determinism::Batch)
    launchPlan.header.determinism = 2;
  jobs = planKernels(launchPlan, matmuls, chosen, options);
  for (moec_step &step : launchPlan.steps)
    if (step.kind == MOEC_STEP_ROWS && !step.rows_per_task)
      step.rows_per_task = 8;
  finishSchedule(launchPlan);
  return true;
}

void Compilation::shareModule(std::string &fused, std::vector<unsigned> &ordinals) {
  llvm::raw_string_ostream os(fused);
  (void)writeBytecodeToFile(*module, os); // a string takes all of it
  std::map<Operation *, unsigned> positions;
  unsigned next = 0;
  for (Operation &op : layer.getBody().front())
    positions[&op] = next++;
  for (Operation *op : launchPlan.stageOf)
    ordinals.push_back(op ? positions.at(op) : ~0u);
}

void Compilation::runJob(ObjectJob &job, ObjectForm form) {
  std::string fused;
  std::vector<unsigned> ordinals;
  shareModule(fused, ordinals);
  job.run({fused, launchPlan, ordinals, options, form});
}

void Compilation::runJob(CudaJob &job, const Schedule &schedule, const Ptxas *ptxas) {
  std::string fused;
  std::vector<unsigned> ordinals;
  shareModule(fused, ordinals);
  job.run({fused, launchPlan, ordinals, options, ObjectForm::Object}, schedule, ptxas);
}

// One job per CUDA architecture and ISA, the heaviest first; a job that failed names its kernel.
bool Compilation::runJobs(ObjectForm form) {
  std::string fused;
  std::vector<unsigned> stageOrdinals;
  shareModule(fused, stageOrdinals);
  for (auto it = jobs.modules.rbegin(); it != jobs.modules.rend(); ++it)
    objects.emplace_back(it->first, &it->second);
  const ObjectInput shared = {fused, launchPlan, stageOrdinals, options, form};
  for (CudaArch arch : options.archs)
    devices.emplace_back(arch);
  if (!devices.empty() && form == ObjectForm::Object && !options.emulateCuda)
    ptxas = findPtxas();
  std::atomic<size_t> claimed{0};
  size_t numJobs = devices.size() + objects.size();
  auto work = [&] {
    for (size_t i; (i = claimed++) < numJobs;)
      if (i < devices.size())
        devices[i].run(shared, chosen, ptxas ? &*ptxas : nullptr);
      else
        objects[i - devices.size()].run(shared);
  };
  runOnThreads(unsigned(std::min<size_t>(options.jobs, numJobs)), work);
  for (const ObjectJob &object : objects) {
    if (object.error)
      errors.push_back(*object.error);
    for (const auto &[symbol, same] : object.sameAs)
      llvm::replace(jobs.table, symbol, same);
    launchPlan.header.scratch_bytes =
        std::max<uint32_t>(launchPlan.header.scratch_bytes, uint32_t(object.scratchBytes));
  }
  for (const CudaJob &device : devices)
    if (device.error)
      errors.push_back(*device.error);
  return errors.empty();
}

Compilation::Compilation(const Compilation &forward, llvm::StringRef module)
    : input(forward.input), options(forward.options), errors(forward.errors), forward(&forward) {
  loadMoeDialects(context);
  this->module = parseSourceString<ModuleOp>(module, ParserConfig(&context));
  layer = *this->module->getOps<func::FuncOp>().begin();
}

bool Compilation::splitBackward() {
  OwningOpRef<ModuleOp> alone = ModuleOp::create(UnknownLoc::get(&context));
  training->backward->remove();
  alone->push_back(training->backward);
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  (void)writeBytecodeToFile(*alone, os); // a string takes all of it
  backward.reset(new Compilation(*this, bytes));
  return true;
}

bool Compilation::run(Stage last) { return runOwn(last) && (!backward || backward->runOwn(last)); }

bool Compilation::runOwn(Stage last) {
  if (last == Stage::Spec)
    return true;
  if (!isBackward()) {
    if (!parseOrBuild(last) || !checkTypes())
      return false;
    note(Stage::Build, "moe ops");
  }
  if (last == Stage::Build || last == Stage::Grad)
    return true;
  if (training && !splitBackward())
    return false;
  if (!fuse())
    return false;
  note(Stage::Fuse, llvm::Twine(fusionNotes.size()) + " rules applied");
  if (last == Stage::Fuse)
    return true;
  if (!planSteps())
    return false;
  note(Stage::Plan, llvm::Twine(launchPlan.steps.size()) + " steps");
  if (last == Stage::Plan)
    return true;
  if (!schedule())
    return false;
  note(Stage::Schedule,
       llvm::Twine(jobs.table.size()) + " CPU kernels" +
           (chosen.cudaStages.empty() ? llvm::Twine() : ", " + llvm::Twine(chosen.cudaStages.size()) + " CUDA stages"));
  if (last == Stage::Schedule)
    return true;
  ObjectForm form = last == Stage::Instantiate ? ObjectForm::Tile
                    : last == Stage::Lower     ? ObjectForm::LlvmDialect
                                               : ObjectForm::Object;
  if (!runJobs(form))
    return false;
  note(last, llvm::Twine(objects.size()) + " object files" +
                 (devices.empty() ? llvm::Twine() : ", " + llvm::Twine(devices.size()) + " CUDA targets"));
  return true;
}

bool Compilation::print(Stage stage, llvm::raw_ostream &os) {
  if (stage == Stage::Spec) {
    os << (input.spec ? printSpec(*input.spec) : input.moeText);
    return true;
  }
  if (stage == Stage::Emit) {
    if (!run(Stage::Schedule) || !runJobs(ObjectForm::Assembly) ||
        (backward && !backward->runJobs(ObjectForm::Assembly)))
      return false;
  } else if (!run(stage)) {
    return false;
  }
  if (backward && stage == Stage::Schedule) { // one text, which --schedule takes
    os << printSchedule(scheduleOfBoth());
    return true;
  }
  write(stage, os);
  if (backward)
    backward->write(stage, os);
  return true;
}

Schedule Compilation::scheduleOfBoth() const {
  Schedule both = chosen;
  if (backward) {
    llvm::append_range(both.stages, backward->chosen.stages);
    llvm::append_range(both.cudaStages, backward->chosen.cudaStages);
  }
  return both;
}

// The backward pass, whose kernels are chosen after those of forward, knows where both come from.
void Compilation::takeOrigins() {
  origin = backward->origin;
  markTunedCpu(launchPlan, origin);
  llvm::append_range(tuningNotes, backward->tuningNotes);
}

void Compilation::write(Stage stage, llvm::raw_ostream &os) {
  if (stage == Stage::Fuse)
    for (const FusionNote &n : fusionNotes)
      os << "// " << n.rule << "  " << n.text << "\n";
  if (stage == Stage::Grad)
    os << describe(*training);
  if (stage == Stage::Build || stage == Stage::Grad || stage == Stage::Fuse) {
    module->print(os);
    os << "\n";
  } else if (stage == Stage::Plan) {
    launchPlan.print(os);
  } else if (stage == Stage::Schedule) {
    os << printSchedule(chosen);
  } else {
    const char *comment = stage == Stage::Emit ? "# ---- " : "// ---- ";
    for (const CudaJob &device : devices)
      os << "// ---- " << cudaArchFacts(device.arch).name << "\n" << device.text;
    for (const ObjectJob &object : objects)
      os << comment << isaFacts(object.isa).name << "\n" << llvm::StringRef(object.bytes.data(), object.bytes.size());
  }
}

// Images in the order of the targets; a target's cubin comes before its PTX.
void Compilation::addDevices(CompiledPackage &result) {
  if (devices.empty())
    return;
  result.cuda.weights = cudaWeights(launchPlan, result.cuda.packedBytes);
  result.cuda.cudaVersion = ptxas ? ptxas->version : 0;
  result.ptxasMissing = !ptxas && !options.emulateCuda;
  for (CudaJob &device : devices) {
    device.plan.firstImage = uint32_t(result.images.size());
    if (options.emulateCuda) {
      result.images.emplace_back();
      result.deviceModules.push_back({device.arch, std::move(device.context), std::move(device.module)});
    }
    for (std::string *image : {&device.cubin, &device.ptx})
      if (!image->empty())
        result.images.push_back(std::move(*image));
    device.plan.numImages = uint32_t(result.images.size()) - device.plan.firstImage;
    result.cuda.targets.push_back(std::move(device.plan));
    result.cudaFindings.insert(result.cudaFindings.end(), device.findings.begin(), device.findings.end());
  }
}

// The largest chunk of tokens whose workspace keeps the limit, a multiple of 64 if it has more: the plan runs in chunks
// if the largest call's does not.
bool Compilation::cutIntoChunks() {
  moec_plan_header &header = launchPlan.header;
  int64_t limit = options.workspaceLimit;
  if (!limit)
    return true;
  auto refuse = [&](const std::string &why, const std::string &hint) {
    errors.push_back(Diagnostic::error("E-UNSUPPORTED", "--workspace-limit: " + why, hint));
    return false;
  };
  if (!options.archs.empty())
    return refuse("calls of CUDA kernels do not run in chunks", "leave the cuda targets or the limit out");
  if (workspaceBytes(launchPlan, header.max_tokens, 1) <= limit)
    return true;
  if (trains())
    return refuse("what forward saves is of all tokens of a call", "leave the backward pass or the limit out");
  for (const moec_step &step : launchPlan.steps)
    if (step.kind != MOEC_STEP_ROWS && step.kind != MOEC_STEP_MATMUL && step.kind != MOEC_STEP_DISPATCH &&
        step.kind != MOEC_STEP_COUNTS)
      return refuse("step " + launchPlan.string(step.name).str() + " looks at all tokens of a call",
                    "calls of this layer cannot run in chunks: use a smaller --max-tokens");
  for (const moec_buffer &buffer : launchPlan.buffers)
    if (moec_is_report_role(buffer.role))
      return refuse("report " + launchPlan.string(buffer.name).str() + " is about all tokens of a call",
                    "leave the report or the limit out");
  int64_t low = 0, high = header.max_tokens; // low fits, high does not
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    header.chunk_tokens = middle;
    (workspaceBytes(launchPlan, header.max_tokens, 1) <= limit ? low : high) = middle;
  }
  header.chunk_tokens = low > 64 ? low / 64 * 64 : low;
  if (low)
    return true;
  header.chunk_tokens = 1;
  return refuse("a call of one token takes " + std::to_string(workspaceBytes(launchPlan, header.max_tokens, 1)) +
                    " bytes, more than " + std::to_string(limit),
                "give at least that");
}

// What took effect: --math and the weaker --det change nothing without CUDA targets.
PackageOptions Compilation::optionsUsed() const {
  PackageOptions used;
  for (unsigned isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    if (options.isas.has(Isa(isa)))
      used.targets.push_back("cpu:" + isaFacts(Isa(isa)).name.str());
  for (unsigned arch = 0; arch < numCudaArchs; ++arch)
    if (llvm::is_contained(options.archs, CudaArch(arch)))
      used.targets.push_back("cuda:" + cudaArchFacts(CudaArch(arch)).name.str());
  used.maxTokens = options.maxTokens;
  used.workspaceLimit = options.workspaceLimit;
  if (!options.archs.empty() && options.math == MathMode::Tf32)
    used.math = "tf32";
  if (options.determinism == Determinism::Batch)
    used.determinism = "batch";
  else if (!options.archs.empty() && options.determinism == Determinism::Off)
    used.determinism = "off";
  if (options.sanitizer != Sanitizer::None)
    used.sanitizer = options.sanitizer == Sanitizer::Address ? "address" : "thread";
  return used;
}

// Every function that the layer applies and every kernel template that its schedule names.
bool Compilation::readTemplates(std::vector<TemplateUse> &out) {
  std::set<std::string> paths;
  for (const auto &[name, text] : functionTexts)
    paths.insert("functions/" + name + ".mlir");
  for (const std::string &name : derivatives)
    paths.insert("derivatives/" + name + ".mlir");
  auto addKernels = [&](const auto &stages) {
    for (const auto &stage : stages)
      for (const auto &entry : stage.entries)
        paths.insert("kernels/" + entry.kernel.templateName + ".mlir");
  };
  Schedule both = scheduleOfBoth();
  addKernels(both.stages);
  addKernels(both.cudaStages);
  for (const std::string &path : paths) {
    Result<std::optional<TemplateText>> read = readTemplate(options.templatesDir, path);
    if (read && *read) {
      out.push_back({path, std::move((*read)->text), (*read)->builtIn});
      continue;
    }
    errors.push_back(read ? Diagnostic::error("E-TEMPLATE", "template " + path + " has gone while it was used")
                          : read.takeError());
    return false;
  }
  return true;
}

std::unique_ptr<CompiledPackage> Compilation::package() {
  if (!run(Stage::Emit) || !cutIntoChunks())
    return nullptr;
  if (backward)
    takeOrigins();
  PlanObjectInput input, inputOfBackward;
  std::unique_ptr<CompiledPackage> second;
  if (backward && !(second = backward->packageOf(inputOfBackward)))
    return nullptr;
  std::unique_ptr<CompiledPackage> result = packageOf(input);
  if (!result)
    return nullptr;
  if (second) {
    input.backward = &inputOfBackward;
    result->scheduleText = printSchedule(scheduleOfBoth());
    for (ObjectFile &object : second->objects)
      result->objects.push_back(std::move(object));
    second->objects.clear();
    llvm::append_range(result->cudaFindings, second->cudaFindings);
    result->backward = std::move(second);
    result->plan.takeWeightsOf(result->backward->plan);
    result->cuda.packedBytes = result->backward->cuda.packedBytes;
    for (const SavedValue &value : training->saved)
      result->saved.values.push_back({value.what, value.bytesPerToken()});
    result->saved.again = training->again;
  }
  Result<Bytes> bytes = emitPlanObject(input);
  if (!bytes) {
    errors.push_back(bytes.takeError());
    return nullptr;
  }
  result->objects.push_back({result->name + "_plan.o", std::move(*bytes)});
  return result;
}

std::unique_ptr<CompiledPackage> Compilation::packageOf(PlanObjectInput &planInput) {
  auto result = std::make_unique<CompiledPackage>();
  if (!readTemplates(result->sources.templates))
    return nullptr;
  result->sources.options = optionsUsed();
  result->sources.layerText = input.moeText;
  result->sources.schedule = origin;
  result->name = launchPlan.string(launchPlan.header.name).str();
  if (input.spec)
    result->canonicalSpec = printSpec(*input.spec);
  result->scheduleText = printSchedule(chosen);
  if (!options.archs.empty())
    result->math = options.math;
  result->tuningNotes = tuningNotes;
  result->functionNames = jobs.table;
  for (const FusionNote &n : fusionNotes)
    result->fusionNotes.push_back(n.rule + "  " + n.text);
  for (ObjectJob &object : objects)
    result->objects.push_back(
        {result->name + (isBackward() ? "_backward_" : "_") + isaFacts(object.isa).name.str() + ".o",
         std::move(object.bytes)});
  launchPlan.stageOf.clear();
  result->plan = launchPlan;
  addDevices(*result);
  planInput = {result->name, result->plan.serialize(), jobs.table, {}, result->images, nullptr};
  if (!devices.empty())
    planInput.cudaPlan = result->cuda.serialize();
  return result;
}

std::unique_ptr<CompiledPackage> compileLayer(const CompileInput &input, const CompileOptions &options,
                                              std::vector<Diagnostic> &errors) {
  std::vector<Diagnostic> own;
  auto result = Compilation(input, options, own).package();
  errors.insert(errors.end(), own.begin(), own.end());
  return result;
}

std::optional<LaunchPlan> planLayer(const CompileInput &input, const CompileOptions &options,
                                    std::vector<Diagnostic> &errors) {
  std::vector<Diagnostic> own;
  Compilation compilation(input, options, own);
  bool planned = compilation.run(Stage::Plan);
  errors.insert(errors.end(), own.begin(), own.end());
  if (!planned)
    return std::nullopt;
  LaunchPlan plan = compilation.plan();
  if (const Compilation *backward = compilation.backwardPass())
    plan.takeWeightsOf(backward->plan());
  plan.stageOf.clear();
  return plan;
}

bool printStage(const CompileInput &input, const CompileOptions &options, Stage stage, llvm::raw_ostream &os,
                std::vector<Diagnostic> &errors) {
  std::vector<Diagnostic> own;
  bool ok = Compilation(input, options, own).print(stage, os);
  errors.insert(errors.end(), own.begin(), own.end());
  return ok;
}

} // namespace moec
