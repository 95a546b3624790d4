// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Step by step into one module, which is then lowered, translated and assembled as a whole.

#include "CudaJob.h"

#include "KernelContext.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/cuda/CudaAssemble.h"
#include "codegen/cuda/CudaGates.h"
#include "codegen/cuda/CudaStages.h"
#include "codegen/emit/ObjectEmitter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace mlir;

namespace moec {
namespace {

class CudaBuilder {
public:
  CudaBuilder(CudaJob &job, const ObjectInput &input, const Schedule &schedule, const Ptxas *ptxas)
      : job(job), input(input), schedule(schedule), ptxas(ptxas) {
    prepareKernelContext(context);
  }

  void run() {
    if (!makeKernels() || input.form == ObjectForm::Tile)
      return;
    CapturedDiagnostics said(context, "E-INTERNAL");
    if (failed(verify(*output)))
      return fail(said.takeJoined("the lowered module of " + name() + " does not verify"));
    if (Result<> lowered = lowerToLlvmDialect(*output); !lowered)
      return fail(lowered.takeError());
    if (input.form == ObjectForm::LlvmDialect) {
      llvm::raw_string_ostream(job.text) << *output << "\n";
      return;
    }
    translate();
  }

private:
  std::string name() const { return cudaArchFacts(job.arch).name.str(); }
  void fail(std::string message) { fail(Diagnostic::error("E-INTERNAL", std::move(message))); }
  void fail(Diagnostic error) { job.error = std::move(error); }

  bool makeKernels() {
    fused = parseSourceString<ModuleOp>(input.fusedModule, ParserConfig(&context));
    if (!fused) {
      fail("the fused module does not parse back");
      return false;
    }
    std::vector<Operation *> stages;
    for (Operation &op : func::FuncOp(*fused->getOps<func::FuncOp>().begin()).getBody().front())
      stages.push_back(&op);
    output = ModuleOp::create(UnknownLoc::get(&context));
    CudaStages builder(input.plan, schedule, job.arch, *output, input.options.templatesDir);
    llvm::raw_string_ostream os(job.text);
    if (input.form == ObjectForm::Tile)
      builder.printTiles(&os);
    for (size_t step = 0; step < input.plan.steps.size(); ++step) {
      unsigned ordinal = input.stageOrdinals[step];
      if (builder.add(step, ordinal == ~0u ? nullptr : stages[ordinal]))
        continue;
      fail(builder.error().within("target cuda:" + name()));
      return false;
    }
    job.plan = builder.takePlan();
    return true;
  }

  void translate() {
    auto llvmContext = std::make_unique<llvm::LLVMContext>();
    Result<std::unique_ptr<llvm::Module>> translated = translateCuda(*output, *llvmContext);
    if (!translated)
      return fail(translated.takeError());
    std::unique_ptr<llvm::Module> module = std::move(*translated);
    if (input.options.emulateCuda && input.form == ObjectForm::Object) {
      job.context = std::move(llvmContext);
      job.module = std::move(module);
      return;
    }
    assemble(*module);
  }

  void assemble(llvm::Module &module) {
    Result<std::string> ptx = emitPtx(module, job.arch);
    if (!ptx)
      return fail(ptx.takeError());
    job.ptx = std::move(*ptx);
    if (input.form == ObjectForm::Assembly) {
      job.text = std::move(job.ptx);
      return;
    }
    Assembled assembled;
    if (ptxas) {
      Result<Assembled> run = runPtxas(*ptxas, job.ptx, job.arch);
      if (!run)
        return fail(run.error().within("target cuda:" + name()));
      if (Result<> checked = checkCubin(run->cubin, job.ptx); !checked)
        return fail(checked.error().within("target cuda:" + name()));
      assembled = std::move(*run);
    }
    job.plan.setCosts(assembled.kernels);
    job.findings = cudaGateFindings(job.plan, job.arch, job.ptx, assembled.messages);
    job.cubin = std::move(assembled.cubin);
    // PTX of an exact target runs nowhere that its cubin does not
    if (cudaArchFacts(job.arch).exact && !job.cubin.empty())
      job.ptx.clear();
    else
      job.ptx.push_back('\0');
  }

  CudaJob &job;
  const ObjectInput &input;
  const Schedule &schedule;
  const Ptxas *ptxas;
  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> fused, output;
};

} // namespace

void CudaJob::run(const ObjectInput &input, const Schedule &schedule, const Ptxas *ptxas) {
  CudaBuilder(*this, input, schedule, ptxas).run();
}

} // namespace moec
