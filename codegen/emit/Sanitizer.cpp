// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LLVM's own passes do the work, except what the thread sanitizer leaves out: it ignores accesses of more than 16
// bytes and masked ones, which are nearly all that a wide kernel makes.

#include "Sanitizer.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Transforms/Instrumentation/AddressSanitizer.h"
#include "llvm/Transforms/Instrumentation/ThreadSanitizer.h"

using namespace llvm;

namespace moec {
namespace {

constexpr uint64_t largestOfThreadPass = 16; // bytes

// One access the pass leaves out: `mask` lanes of `type` at `pointer`, all of them where it is null.
struct WideAccess {
  Instruction *place;
  Value *pointer, *mask;
  Type *type;
  bool write;
};

std::vector<WideAccess> wideAccesses(Function &function) {
  const DataLayout &layout = function.getDataLayout();
  auto wide = [&](Type *type) { return layout.getTypeStoreSize(type).getFixedValue() > largestOfThreadPass; };
  std::vector<WideAccess> found;
  for (Instruction &instruction : instructions(function)) {
    if (auto *load = dyn_cast<LoadInst>(&instruction)) {
      if (wide(load->getType()))
        found.push_back({load, load->getPointerOperand(), nullptr, load->getType(), false});
    } else if (auto *store = dyn_cast<StoreInst>(&instruction)) {
      Type *type = store->getValueOperand()->getType();
      if (wide(type))
        found.push_back({store, store->getPointerOperand(), nullptr, type, true});
    } else if (auto *call = dyn_cast<IntrinsicInst>(&instruction)) {
      if (call->getIntrinsicID() == Intrinsic::masked_load)
        found.push_back({call, call->getArgOperand(0), call->getArgOperand(1), call->getType(), false});
      else if (call->getIntrinsicID() == Intrinsic::masked_store)
        found.push_back(
            {call, call->getArgOperand(1), call->getArgOperand(2), call->getArgOperand(0)->getType(), true});
    }
  }
  return found;
}

// Bytes of an access. The masks of kernels choose the first lanes, so that their count is a length.
Value *accessBytes(IRBuilder<> &builder, const WideAccess &access, const DataLayout &layout) {
  auto *word = builder.getInt64Ty();
  if (!access.mask)
    return ConstantInt::get(word, layout.getTypeStoreSize(access.type));
  auto *vector = cast<FixedVectorType>(access.type);
  unsigned lanes = vector->getNumElements();
  Value *bits = builder.CreateBitCast(access.mask, builder.getIntNTy(lanes));
  Value *count = builder.CreateUnaryIntrinsic(Intrinsic::ctpop, builder.CreateZExtOrTrunc(bits, word));
  return builder.CreateMul(count, ConstantInt::get(word, layout.getTypeStoreSize(vector->getElementType())));
}

void reportWideAccesses(Function &function) {
  for (const WideAccess &access : wideAccesses(function)) {
    IRBuilder<> builder(access.place);
    const char *name = access.write ? "__tsan_write_range" : "__tsan_read_range";
    auto callee =
        function.getParent()->getOrInsertFunction(name, builder.getVoidTy(), builder.getPtrTy(), builder.getInt64Ty());
    builder.CreateCall(callee, {access.pointer, accessBytes(builder, access, function.getDataLayout())});
  }
}

// Checks cut blocks in two. A bf16 value that lives across the cut is held as f32, and its way back is a call that
// libgcc 12 does not have; as a 16-bit integer it stays what it is.
void copyBf16AsBits(Function &function) {
  for (Instruction &instruction : make_early_inc_range(instructions(function))) {
    IRBuilder<> builder(&instruction);
    Type *bits = builder.getInt16Ty();
    if (auto *load = dyn_cast<LoadInst>(&instruction); load && load->getType()->isBFloatTy()) {
      auto *loaded = builder.CreateAlignedLoad(bits, load->getPointerOperand(), load->getAlign());
      load->replaceAllUsesWith(builder.CreateBitCast(loaded, load->getType()));
      load->eraseFromParent();
    } else if (auto *store = dyn_cast<StoreInst>(&instruction);
               store && store->getValueOperand()->getType()->isBFloatTy()) {
      auto *cast = dyn_cast<BitCastInst>(store->getValueOperand());
      bool wasBits = cast && cast->getOperand(0)->getType() == bits;
      Value *value = wasBits ? cast->getOperand(0) : builder.CreateBitCast(store->getValueOperand(), bits);
      builder.CreateAlignedStore(value, store->getPointerOperand(), store->getAlign());
      store->eraseFromParent();
    }
  }
}

void runPasses(Module &module, Sanitizer sanitizer) {
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager sccs;
  ModuleAnalysisManager modules;
  PassBuilder builder;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  ModulePassManager passes;
  if (sanitizer == Sanitizer::Address) {
    passes.addPass(AddressSanitizerPass(AddressSanitizerOptions()));
  } else {
    passes.addPass(ModuleThreadSanitizerPass());
    passes.addPass(createModuleToFunctionPassAdaptor(ThreadSanitizerPass()));
  }
  passes.run(module, modules);
}

// libtsan of gcc has these under their plain names only, where it watches every program's calls of them.
void usePlainNames(Module &module) {
  for (const char *name : {"memcpy", "memmove", "memset"})
    if (Function *function = module.getFunction(std::string("__tsan_") + name)) {
      function->replaceAllUsesWith(module.getOrInsertFunction(name, function->getFunctionType()).getCallee());
      function->eraseFromParent();
    }
}

} // namespace

void instrument(Module &module, Sanitizer sanitizer) {
  if (sanitizer == Sanitizer::None)
    return;
  // Red zones around constants would need a registry of globals that differs between compilers.
  for (GlobalVariable &global : module.globals()) {
    GlobalValue::SanitizerMetadata metadata;
    metadata.NoAddress = true;
    global.setSanitizerMetadata(metadata);
  }
  for (Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr(sanitizer == Sanitizer::Address ? Attribute::SanitizeAddress : Attribute::SanitizeThread);
    copyBf16AsBits(function);
    if (sanitizer == Sanitizer::Thread)
      reportWideAccesses(function);
  }
  runPasses(module, sanitizer);
  usePlainNames(module);
}

} // namespace moec
