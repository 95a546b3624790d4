// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions are cloned into a fresh module with every pointer type mapped to address space 0.

#include "codegen/emulate/CudaHostModule.h"

#include "codegen/emulate/CudaShared.h"

#include "llvm/IR/DebugInfo.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/ReplaceConstant.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include "llvm/Transforms/Utils/ValueMapper.h"

using namespace llvm;

namespace moec {

namespace {
class DropAddressSpaces : public ValueMapTypeRemapper {
public:
  Type *remapType(Type *type) override {
    LLVMContext &context = type->getContext();
    if (type->isPointerTy())
      return PointerType::get(context, 0);
    if (auto *array = dyn_cast<ArrayType>(type))
      return ArrayType::get(remapType(array->getElementType()), array->getNumElements());
    if (auto *vector = dyn_cast<VectorType>(type))
      return VectorType::get(remapType(vector->getElementType()), vector->getElementCount());
    if (auto *function = dyn_cast<FunctionType>(type)) {
      SmallVector<Type *> params;
      for (Type *param : function->params())
        params.push_back(remapType(param));
      return FunctionType::get(remapType(function->getReturnType()), params, function->isVarArg());
    }
    if (auto *structure = dyn_cast<StructType>(type); structure && structure->isLiteral()) {
      SmallVector<Type *> elements;
      for (Type *element : structure->elements())
        elements.push_back(remapType(element));
      return StructType::get(context, elements, structure->isPacked());
    }
    return type;
  }
};
} // namespace

static Error failure(const Twine &text) { return createStringError(inconvertibleErrorCode(), text); }

static bool isKernel(const Function &function) {
  return function.getCallingConv() == CallingConv::PTX_Kernel || function.hasFnAttribute("nvvm.kernel");
}

// Global variables first become operands of instructions alone, so that no constant expression hides an address space.
static Error mapGlobals(Module &device, Module &host, DropAddressSpaces &types, ValueToValueMapTy &map) {
  SmallVector<Constant *> globals;
  for (GlobalVariable &global : device.globals())
    globals.push_back(&global);
  convertUsersOfConstantsToInstructions(globals);
  for (GlobalVariable &global : device.globals()) {
    if (global.getName() == "moec_shared" && global.getAddressSpace() == 3) {
      Type *wide = Type::getInt64Ty(host.getContext());
      map[&global] = ConstantExpr::getIntToPtr(ConstantInt::get(wide, reinterpret_cast<uint64_t>(cudaSharedArena())),
                                               PointerType::get(host.getContext(), 0));
      continue;
    }
    if (global.getName().starts_with("llvm."))
      continue;
    if (global.getAddressSpace() == 3 || !global.hasInitializer() || global.getValueType()->isPtrOrPtrVectorTy())
      return failure("global \"" + global.getName() + "\": shared memory is @moec_shared, and others hold plain data");
    auto *copy = new GlobalVariable(host, types.remapType(global.getValueType()), global.isConstant(),
                                    GlobalValue::InternalLinkage, global.getInitializer(), global.getName());
    copy->setAlignment(global.getAlign());
    map[&global] = copy;
  }
  return Error::success();
}

static void mapFunctions(Module &device, Module &host, DropAddressSpaces &types, ValueToValueMapTy &map) {
  for (Function &function : device) {
    auto *type = cast<FunctionType>(types.remapType(function.getFunctionType()));
    auto *copy =
        Function::Create(type, function.isDeclaration() ? GlobalValue::ExternalLinkage : GlobalValue::InternalLinkage,
                         function.getName(), host);
    if (function.isIntrinsic()) {
      copy->setAttributes(function.getAttributes());
      if (auto remangled = Intrinsic::remangleIntrinsicFunction(copy))
        copy = *remangled;
    } else {
      copy->addFnAttr(Attribute::NoUnwind);
      auto argument = copy->arg_begin();
      for (Argument &from : function.args())
        map[&from] = &*argument++;
    }
    map[&function] = copy;
  }
}

// Device attributes (targets, memory effects that the calls contradict, byval) have no meaning on the host.
static void simplify(Function &copy) {
  copy.setAttributes(AttributeList());
  copy.addFnAttr(Attribute::NoUnwind);
  copy.addFnAttr(Attribute::NullPointerIsValid); // a store to null stays, faults and gets a name
  copy.setCallingConv(CallingConv::C);
  copy.setLinkage(GlobalValue::InternalLinkage);
  copy.setComdat(nullptr);
  copy.setSection("");
  copy.clearMetadata();
  SmallVector<Instruction *> dead;
  for (Instruction &instruction : instructions(copy)) {
    instruction.dropUnknownNonDebugMetadata();
    if (auto *call = dyn_cast<CallInst>(&instruction)) {
      bool convergent = call->isConvergent();
      call->setAttributes(AttributeList());
      call->setCallingConv(CallingConv::C);
      if (convergent)
        call->setConvergent();
    }
    if (auto *cast = dyn_cast<AddrSpaceCastInst>(&instruction)) {
      cast->replaceAllUsesWith(cast->getOperand(0));
      dead.push_back(cast);
    }
  }
  for (Instruction *instruction : dead)
    instruction->eraseFromParent();
}

static void addThunk(Module &host, Function &kernel, const Function &device, CudaKernel &out) {
  LLVMContext &context = host.getContext();
  Type *pointer = PointerType::get(context, 0);
  auto *type = FunctionType::get(Type::getVoidTy(context), {pointer}, false);
  auto *thunk = Function::Create(type, GlobalValue::ExternalLinkage, out.thunk, host);
  IRBuilder<> builder(BasicBlock::Create(context, "", thunk));
  SmallVector<Value *> arguments;
  for (const Argument &argument : device.args()) {
    Value *slot = builder.CreateConstGEP1_32(pointer, thunk->getArg(0), argument.getArgNo());
    Value *value = builder.CreateLoad(pointer, slot);
    Type *parameter = kernel.getArg(argument.getArgNo())->getType();
    Type *held = argument.hasByValAttr() ? argument.getParamByValType() : parameter;
    out.paramBytes.push_back(uint32_t(device.getParent()->getDataLayout().getTypeAllocSize(held)));
    arguments.push_back(argument.hasByValAttr() ? value : builder.CreateAlignedLoad(parameter, value, Align(1)));
  }
  builder.CreateCall(&kernel, arguments);
  builder.CreateRetVoid();
}

static std::string verifierText(const Module &module) {
  std::string text;
  raw_string_ostream stream(text);
  return verifyModule(module, &stream) ? StringRef(text).rtrim().str() : "";
}

Expected<CudaHostModule> makeCudaHostModule(Module &device) {
  if (!cudaSharedArena())
    return failure("no address space left for the emulator's shared memory");
  if (std::string text = verifierText(device); !text.empty())
    return failure("the device module is broken: " + text);
  StripDebugInfo(device);
  CudaHostModule result;
  result.module = std::make_unique<Module>(device.getName(), device.getContext());
  Module &host = *result.module;
  DropAddressSpaces types;
  ValueToValueMapTy map;
  if (Error error = mapGlobals(device, host, types, map))
    return std::move(error);
  if (Error error = insertCudaHostCalls(device, result.instructions))
    return std::move(error);
  mapFunctions(device, host, types, map);
  for (Function &function : device) {
    if (function.isDeclaration())
      continue;
    auto *copy = cast<Function>(&*map[&function]);
    SmallVector<ReturnInst *> returns;
    CloneFunctionInto(copy, &function, map, CloneFunctionChangeType::DifferentModule, returns, "", nullptr, &types);
    simplify(*copy);
    if (!isKernel(function))
      continue;
    CudaKernel kernel;
    kernel.name = function.getName().str();
    kernel.thunk = "moec_thunk_" + std::to_string(result.kernels.size());
    StringRef threads = function.getFnAttribute("nvvm.reqntid").getValueAsString().split(',').first;
    if (threads.getAsInteger(10, kernel.threads))
      kernel.threads = 0;
    addThunk(host, *copy, function, kernel);
    result.kernels.push_back(std::move(kernel));
  }
  if (std::string text = verifierText(host); !text.empty())
    return failure("no host module can be made of the device module: " + text);
  return result;
}

} // namespace moec
