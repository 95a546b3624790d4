// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernel by kernel into one module, which is then lowered and emitted as a whole.

#include "ObjectJob.h"

#include "KernelContext.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/cpu/CpuLowering.h"
#include "codegen/cpu/LowerGroups.h"
#include "codegen/cpu/LowerOuter.h"
#include "codegen/cpu/LowerRows.h"
#include "codegen/cpu/LowerTokens.h"
#include "codegen/emit/ObjectEmitter.h"
#include "codegen/plan/StageArgs.h"
#include "codegen/tile/DescribeMatmul.h"
#include "codegen/tile/Instantiate.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;

namespace moec {
namespace {

class ObjectBuilder {
public:
  ObjectBuilder(ObjectJob &job, const ObjectInput &input) : job(job), input(input) { prepareKernelContext(context); }

  void run() {
    fused = parseSourceString<ModuleOp>(input.fusedModule, ParserConfig(&context));
    if (!fused)
      return fail("the fused module does not parse back");
    for (Operation &op : func::FuncOp(*fused->getOps<func::FuncOp>().begin()).getBody().front())
      stages.push_back(&op);
    output = ModuleOp::create(UnknownLoc::get(&context));
    for (const KernelJob &kernel : *job.kernels) {
      lower(kernel);
      if (!job.error && kernel.entry && input.form != ObjectForm::Tile)
        share(kernel.symbol);
      if (job.error) {
        job.error = job.error->within("kernel " + kernel.symbol);
        return;
      }
    }
    finish();
  }

private:
  void fail(std::string message) { fail(Diagnostic::error("E-INTERNAL", std::move(message))); }
  void fail(Diagnostic error) { job.error = std::move(error); }

  void lower(const KernelJob &kernel) {
    const moec_step &step = input.plan.steps[kernel.step];
    Operation *op = stages[input.stageOrdinals[kernel.step]];
    int64_t scratch;
    if (kernel.entry) {
      auto stage = describeMatmul(cast<moe::GroupedMatmulOp>(op), input.plan, step);
      auto made = instantiateKernel(context, stage, kernel.entry->kernel, input.options.templatesDir, kernel.symbol);
      if (!made)
        return fail(made.takeError());
      OwningOpRef<ModuleOp> module = std::move(*made);
      if (input.form == ObjectForm::Tile)
        return append(*module);
      scratch = lowerKernel(*module->getOps<tile::KernelOp>().begin(), isaFacts(job.isa),
                            multiplyOf(kernel.entry->numeric, input.options.emulateTiles), *output);
    } else {
      if (input.form == ObjectForm::Tile)
        return;
      RowStrides strides;
      for (uint16_t buffer : input.plan.argsOf(step))
        strides.push_back(input.plan.buffers[buffer].row_stride);
      if (auto program = dyn_cast<moe::RowProgramOp>(op))
        scratch = lowerRowProgram(program, strides, isaFacts(job.isa), *output, kernel.symbol);
      else if (auto reduce = dyn_cast<moe::TokenReduceOp>(op))
        scratch = lowerTokenReduce(reduce, isaFacts(job.isa), *output, kernel.symbol);
      else if (auto total = dyn_cast<moe::TokenTotalOp>(op))
        scratch = lowerTokenTotal(total, isaFacts(job.isa), *output, kernel.symbol);
      else if (auto inputs = dyn_cast<moe::SlotInputsOp>(op))
        scratch = lowerSlotInputs(inputs, strides, isaFacts(job.isa), *output, kernel.symbol);
      else if (isOfBackward(op))
        scratch = lowerBackward(op, step, strides, kernel.symbol);
      else
        scratch = lowerCombine(cast<moe::CombineOp>(op), strides, isaFacts(job.isa), *output, kernel.symbol);
    }
    job.scratchBytes = std::max(job.scratchBytes, scratch);
  }

  static bool isOfBackward(Operation *op) {
    return isa<moe::GroupedOuterOp, moe::GroupSumOp, moe::SlotValuesOp, moe::SlotProductsOp, moe::ParameterSumOp,
               moe::ScaledRowsOp>(op);
  }

  int64_t lowerBackward(Operation *op, const moec_step &step, const RowStrides &strides, const std::string &symbol) {
    const IsaFacts &isa = isaFacts(job.isa);
    const LaunchPlan &plan = input.plan;
    if (auto outer = dyn_cast<moe::GroupedOuterOp>(op)) {
      bool toCaller = plan.buffers[buffersOf(outer, plan, step).out].kind == MOEC_BUFFER_GRADIENT;
      return lowerGroupedOuter(outer, strides, toCaller, isa, *output, symbol);
    }
    if (auto sum = dyn_cast<moe::GroupSumOp>(op))
      lowerGroupSum(sum, strides, isa, *output, symbol);
    if (auto values = dyn_cast<moe::SlotValuesOp>(op))
      lowerSlotValues(values, strides, isa, *output, symbol);
    if (auto products = dyn_cast<moe::SlotProductsOp>(op))
      lowerSlotProducts(products, strides, isa, *output, symbol);
    if (auto sum = dyn_cast<moe::ParameterSumOp>(op))
      lowerParameterSum(sum, isa, *output, symbol);
    if (auto scaled = dyn_cast<moe::ScaledRowsOp>(op)) {
      uint16_t matrix = buffersOf(scaled, plan, step).matrix;
      lowerScaledRows(scaled, plan.weights[plan.buffers[matrix].slot], isa, *output, symbol);
    }
    return 0;
  }

  // Matmuls of different stages may have equal shapes, and blocks of different heights equal code: one function serves
  // them all, and is compiled once.
  void share(const std::string &symbol) {
    auto made = output->lookupSymbol<LLVM::LLVMFuncOp>(symbol);
    size_t ops = 0;
    made.walk([&](Operation *) { ++ops; });
    std::vector<LLVM::LLVMFuncOp> &alike = matmuls[ops];
    for (LLVM::LLVMFuncOp known : alike)
      if (OperationEquivalence::isRegionEquivalentTo(&known.getBody(), &made.getBody(),
                                                     OperationEquivalence::IgnoreLocations)) {
        job.sameAs[symbol] = known.getName().str();
        made.erase();
        return;
      }
    alike.push_back(made);
  }

  void append(ModuleOp module) {
    llvm::raw_svector_ostream os(job.bytes);
    module.print(os);
    os << "\n";
  }

  void finish() {
    if (input.form == ObjectForm::Tile)
      return;
    CapturedDiagnostics said(context, "E-INTERNAL");
    if (failed(verify(*output)))
      return fail(said.takeJoined("the lowered module does not verify"));
    if (Result<> lowered = lowerToLlvmDialect(*output); !lowered)
      return fail(lowered.takeError());
    if (input.form == ObjectForm::LlvmDialect)
      return append(*output);
    EmitForm form = input.form == ObjectForm::Object ? EmitForm::Object : EmitForm::Assembly;
    Result<Bytes> bytes = emitModule(*output, isaFacts(job.isa), form, input.options.sanitizer);
    if (!bytes)
      return fail(bytes.takeError());
    job.bytes = std::move(*bytes);
  }

  ObjectJob &job;
  const ObjectInput &input;
  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> fused, output;
  std::vector<Operation *> stages;
  std::map<size_t, std::vector<LLVM::LLVMFuncOp>> matmuls; // by the number of their ops
};

} // namespace

void ObjectJob::run(const ObjectInput &input) { ObjectBuilder(*this, input).run(); }

} // namespace moec
