// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Emulator calls: one walk over each function collects what has to be replaced, then each kind is rewritten.

#include "codegen/emulate/CudaHostCalls.h"

#include "codegen/emulate/CudaBlock.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/Analysis/CFG.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Transforms/Utils/BasicBlockUtils.h"

using namespace llvm;

namespace moec {

static constexpr unsigned globalSpace = 1, sharedSpace = 3;

namespace {
class HostCalls {
public:
  HostCalls(Function &function, CudaInstructions &instructions)
      : function(function), module(*function.getParent()), parsedInstructions(instructions),
        context(function.getContext()), i32Type(Type::getInt32Ty(context)), i64Type(Type::getInt64Ty(context)),
        pointerType(PointerType::get(context, 0)) {}

  Error run();

private:
  Error refuse(const Twine &what, Instruction &where);
  Error collect();
  Error replaceAssembly(CallInst &call);
  Value *simpleValue(const CudaInstruction &parsed, CallInst &call);
  Expected<Value *> callEmulator(const CudaInstruction &parsed, CallInst &call, ArrayRef<Type *> types);
  Value *toSlot(IRBuilder<> &builder, Value *value);
  Value *fromSlot(IRBuilder<> &builder, Value *slot, Type *type);
  Value *slots(AllocaInst *&alloca, unsigned count);
  Error collectGlobalAccesses();
  void reportAccess(Instruction &access, Value *pointer, Type *type, Align align, StringRef hook);
  void countRounds();
  void expandBfloat(CastInst &cast);
  Value *address(const void *pointer);

  Function &function;
  Module &module;
  CudaInstructions &parsedInstructions;
  LLVMContext &context;
  Type *i32Type, *i64Type, *pointerType;
  AllocaInst *operandSlots = nullptr, *resultSlots = nullptr;
  SmallVector<CallInst *> assemblyCalls;
  SmallVector<Instruction *> sharedAccesses, earlyLoads, globalStores;
  SmallVector<CastInst *> bfloatCasts;
};
} // namespace

Error HostCalls::refuse(const Twine &what, Instruction &where) {
  std::string text;
  raw_string_ostream stream(text);
  where.print(stream);
  return createStringError(inconvertibleErrorCode(),
                           "function \"" + function.getName() + "\": " + what + ":" + StringRef(text).rtrim());
}

Value *HostCalls::address(const void *pointer) {
  return ConstantExpr::getIntToPtr(ConstantInt::get(i64Type, reinterpret_cast<uint64_t>(pointer)), pointerType);
}

Value *HostCalls::slots(AllocaInst *&alloca, unsigned count) {
  if (!alloca) {
    IRBuilder<> builder(&function.getEntryBlock(), function.getEntryBlock().begin());
    alloca = new AllocaInst(ArrayType::get(i64Type, count), 0, "slots", function.getEntryBlock().begin());
  } else if (cast<ArrayType>(alloca->getAllocatedType())->getNumElements() < count) {
    alloca->setAllocatedType(ArrayType::get(i64Type, count));
  }
  return alloca;
}

Value *HostCalls::toSlot(IRBuilder<> &builder, Value *value) {
  Type *type = value->getType();
  if (type->isPointerTy())
    return builder.CreatePtrToInt(value, i64Type);
  uint64_t bits = module.getDataLayout().getTypeSizeInBits(type);
  if (bits == 0 || bits > 64 || !(type->isIntegerTy() || type->isFloatingPointTy() || type->isVectorTy()))
    return nullptr;
  if (!type->isIntegerTy())
    value = builder.CreateBitCast(value, IntegerType::get(context, unsigned(bits)));
  return builder.CreateZExt(value, i64Type);
}

Value *HostCalls::fromSlot(IRBuilder<> &builder, Value *slot, Type *type) {
  uint64_t bits = type->isSized() ? uint64_t(module.getDataLayout().getTypeSizeInBits(type)) : 0;
  if (bits == 0 || bits > 64 || !(type->isIntegerTy() || type->isFloatingPointTy() || type->isVectorTy()))
    return nullptr;
  Value *value = builder.CreateTrunc(slot, IntegerType::get(context, unsigned(bits)));
  return type->isIntegerTy() ? value : builder.CreateBitCast(value, type);
}

// To nearest, ties away from zero: half of the last kept bit is added to the magnitude and 13 bits are cut, which
// carries into the exponent as it should. A NaN becomes the canonical one.
static Value *roundedToTf32(IRBuilder<> &builder, Value *bits) {
  Value *rounded = builder.CreateAnd(builder.CreateAdd(bits, builder.getInt32(0x1000)), builder.getInt32(0xFFFFE000));
  Value *magnitude = builder.CreateAnd(bits, builder.getInt32(0x7FFFFFFF));
  Value *isNan = builder.CreateICmpUGT(magnitude, builder.getInt32(0x7F800000));
  return builder.CreateSelect(isNan, builder.getInt32(0x7FFFFFFF), rounded);
}

// Instructions that are plain arithmetic on the host.
Value *HostCalls::simpleValue(const CudaInstruction &parsed, CallInst &call) {
  IRBuilder<> builder(&call);
  if (parsed.opcode == CudaOpcode::CvtTf32 && call.getType()->isIntegerTy(32))
    return roundedToTf32(builder, call.getArgOperand(0));
  if (!call.getType()->isFloatTy())
    return nullptr;
  if (parsed.opcode == CudaOpcode::Div)
    return builder.CreateFDiv(call.getArgOperand(0), call.getArgOperand(1));
  if (parsed.opcode != CudaOpcode::Ex2)
    return nullptr;
  Value *power = builder.CreateUnaryIntrinsic(Intrinsic::exp2, call.getArgOperand(0));
  Value *smallest = ConstantFP::get(call.getType(), 0x1p-126);
  return builder.CreateSelect(builder.CreateFCmpOLT(power, smallest), ConstantFP::get(call.getType(), 0.0), power);
}

// moec_emulate(instruction, results, operands) in place of the call -> its result, null if it has none.
Expected<Value *> HostCalls::callEmulator(const CudaInstruction &parsed, CallInst &call, ArrayRef<Type *> types) {
  IRBuilder<> builder(&call);
  Value *operands = slots(operandSlots, std::max(1u, parsed.numOperands));
  Value *results = slots(resultSlots, std::max(1u, parsed.numResults));
  for (unsigned i = 0; i < call.arg_size(); ++i) {
    Value *slot = toSlot(builder, call.getArgOperand(i));
    if (!slot)
      return refuse("an operand of more than 8 bytes", call);
    builder.CreateStore(slot, builder.CreateConstGEP1_32(i64Type, operands, i));
  }
  parsedInstructions.push_back(std::make_unique<CudaInstruction>(parsed));
  FunctionCallee hook =
      module.getOrInsertFunction("moec_emulate", Type::getVoidTy(context), pointerType, pointerType, pointerType);
  builder.CreateCall(hook, {address(parsedInstructions.back().get()), results, operands})->setConvergent();
  Value *result = types.size() > 1 ? PoisonValue::get(call.getType()) : nullptr;
  for (unsigned i = 0; i < types.size(); ++i) {
    Value *slot = builder.CreateLoad(i64Type, builder.CreateConstGEP1_32(i64Type, results, i));
    Value *value = fromSlot(builder, slot, types[i]);
    if (!value)
      return refuse("a result of more than 8 bytes", call);
    result = isa<StructType>(call.getType()) ? builder.CreateInsertValue(result, value, i) : value;
  }
  return result;
}

Error HostCalls::replaceAssembly(CallInst &call) {
  auto *assembly = cast<InlineAsm>(call.getCalledOperand());
  auto parsed = parseCudaInstruction(assembly->getAsmString());
  if (!parsed)
    return createStringError(inconvertibleErrorCode(),
                             "function \"" + function.getName() + "\": " + toString(parsed.takeError()));
  SmallVector<Type *> types;
  if (auto *type = dyn_cast<StructType>(call.getType()))
    types.append(type->element_begin(), type->element_end());
  else if (!call.getType()->isVoidTy())
    types.push_back(call.getType());
  if (call.arg_size() != parsed->numOperands || types.size() != parsed->numResults)
    return refuse("\"" + parsed->text + "\" has " + Twine(parsed->numOperands) + " operands and " +
                      Twine(parsed->numResults) + " results",
                  call);
  Value *result = simpleValue(*parsed, call);
  if (!result) {
    Expected<Value *> emulated = callEmulator(*parsed, call, types);
    if (!emulated)
      return emulated.takeError();
    result = *emulated;
  }
  if (result)
    call.replaceAllUsesWith(result);
  call.eraseFromParent();
  return Error::success();
}

void HostCalls::reportAccess(Instruction &access, Value *pointer, Type *type, Align align, StringRef hook) {
  IRBuilder<> builder(&access);
  FunctionCallee callee =
      module.getOrInsertFunction(hook, Type::getVoidTy(context), pointer->getType(), i32Type, i32Type);
  uint64_t bytes = module.getDataLayout().getTypeStoreSize(type);
  builder.CreateCall(callee, {pointer, builder.getInt32(uint32_t(bytes)), builder.getInt32(uint32_t(align.value()))});
}

void HostCalls::countRounds() {
  SmallVector<std::pair<const BasicBlock *, const BasicBlock *>> edges;
  FindFunctionBackedges(function, edges);
  SmallSetVector<BasicBlock *, 8> latches;
  for (auto &[from, to] : edges)
    latches.insert(const_cast<BasicBlock *>(from));
  FunctionCallee pause = module.getOrInsertFunction("moec_emulate_pause", Type::getVoidTy(context));
  for (BasicBlock *latch : latches) {
    IRBuilder<> builder(latch->getTerminator());
    Value *counter = address(&moec_emulate_rounds);
    Value *left = builder.CreateSub(builder.CreateLoad(i64Type, counter), builder.getInt64(1));
    builder.CreateStore(left, counter);
    Value *over = builder.CreateICmpSLT(left, builder.getInt64(0));
    Instruction *then = SplitBlockAndInsertIfThen(over, latch->getTerminator()->getIterator(), false);
    IRBuilder<>(then).CreateCall(pause);
  }
}

// float -> bfloat: (u + 0x7FFF + (u >> 16 & 1)) >> 16, a NaN keeps its upper half and becomes quiet.
void HostCalls::expandBfloat(CastInst &cast) {
  IRBuilder<> builder(&cast);
  Value *value = cast.getOperand(0);
  auto integers = [&](Type *type, unsigned bits) -> Type * {
    Type *element = IntegerType::get(context, bits);
    if (auto *vector = dyn_cast<VectorType>(type))
      return VectorType::get(element, vector->getElementCount());
    return element;
  };
  Type *wide = integers(value->getType(), 32), *narrow = integers(value->getType(), 16);
  Value *result;
  if (isa<FPExtInst>(cast)) {
    Value *bits = builder.CreateZExt(builder.CreateBitCast(value, narrow), wide);
    result = builder.CreateBitCast(builder.CreateShl(bits, 16), cast.getType());
  } else {
    Value *bits = builder.CreateBitCast(value, wide);
    Value *odd = builder.CreateAnd(builder.CreateLShr(bits, 16), ConstantInt::get(wide, 1));
    Value *rounded = builder.CreateAdd(builder.CreateAdd(bits, ConstantInt::get(wide, 0x7FFF)), odd);
    Value *quiet = builder.CreateOr(bits, ConstantInt::get(wide, 0x400000));
    Value *half = builder.CreateLShr(builder.CreateSelect(builder.CreateFCmpUNO(value, value), quiet, rounded), 16);
    result = builder.CreateBitCast(builder.CreateTrunc(half, narrow), cast.getType());
  }
  cast.replaceAllUsesWith(result);
  cast.eraseFromParent();
}

static bool isGridWait(const CallInst &call) {
  auto *assembly = dyn_cast<InlineAsm>(call.getCalledOperand());
  return assembly && assembly->getAsmString().starts_with("/*moec grid_wait*/");
}

// Of a kernel that waits for the launch before: every store, and the loads that a thread may reach before its wait.
Error HostCalls::collectGlobalAccesses() {
  auto isWait = [](CallInst *call) { return isGridWait(*call); };
  if (none_of(assemblyCalls, isWait))
    return Error::success();
  auto isGlobal = [](const Value *pointer) {
    return pointer->getType()->isPointerTy() && pointer->getType()->getPointerAddressSpace() == globalSpace;
  };
  DominatorTree dominators(function);
  for (Instruction &instruction : instructions(function)) {
    if (isa<AtomicRMWInst, AtomicCmpXchgInst, MemIntrinsic>(instruction) && isGlobal(instruction.getOperand(0)))
      return refuse("an access to device memory that is not checked against grid_wait", instruction);
    const Value *pointer = getLoadStorePointerOperand(&instruction);
    if (!pointer || !isGlobal(pointer))
      continue;
    auto isBehind = [&](CallInst *call) { return isWait(call) && dominators.dominates(call, &instruction); };
    if (isa<StoreInst>(instruction))
      globalStores.push_back(&instruction);
    else if (none_of(assemblyCalls, isBehind))
      earlyLoads.push_back(&instruction);
  }
  return Error::success();
}

Error HostCalls::collect() {
  auto isShared = [](Type *type) {
    return type->isPtrOrPtrVectorTy() && type->getPointerAddressSpace() == sharedSpace;
  };
  for (Instruction &instruction : instructions(function)) {
    if (auto *call = dyn_cast<CallInst>(&instruction)) {
      if (call->isInlineAsm()) {
        assemblyCalls.push_back(call);
        continue;
      }
      Function *callee = call->getCalledFunction();
      if (!callee || (callee->isDeclaration() && !callee->isIntrinsic()) || callee->getName().starts_with("llvm.nvvm"))
        return refuse("the emulator cannot make this call", instruction);
      if (callee->isIntrinsic() && any_of(call->args(), [&](Use &use) { return isShared(use->getType()); }))
        return refuse("an intrinsic on shared memory", instruction);
    }
    if (auto *cast = dyn_cast<AddrSpaceCastInst>(&instruction))
      if (isShared(cast->getSrcTy()) || isShared(cast->getDestTy()))
        return refuse("a shared pointer becomes a generic one or the reverse", instruction);
    if (isShared(instruction.getType()) && isa<AllocaInst>(instruction))
      return refuse("a local variable in shared memory", instruction);
    if (const Value *pointer = getLoadStorePointerOperand(&instruction); pointer && isShared(pointer->getType()))
      sharedAccesses.push_back(&instruction);
    if (isa<AtomicRMWInst, AtomicCmpXchgInst>(instruction) && isShared(instruction.getOperand(0)->getType()))
      sharedAccesses.push_back(&instruction);
    if (auto *cast = dyn_cast<CastInst>(&instruction); cast && isa<FPExtInst, FPTruncInst>(cast)) {
      Type *from = cast->getSrcTy()->getScalarType(), *to = cast->getDestTy()->getScalarType();
      if ((from->isBFloatTy() && to->isFloatTy()) || (from->isFloatTy() && to->isBFloatTy()))
        bfloatCasts.push_back(cast);
    }
  }
  return collectGlobalAccesses();
}

Error HostCalls::run() {
  if (Error error = collect())
    return error;
  for (Instruction *access : sharedAccesses) {
    if (auto *load = dyn_cast<LoadInst>(access))
      reportAccess(*load, load->getPointerOperand(), load->getType(), load->getAlign(), "moec_emulate_shared_load");
    else if (auto *store = dyn_cast<StoreInst>(access))
      reportAccess(*store, store->getPointerOperand(), store->getValueOperand()->getType(), store->getAlign(),
                   "moec_emulate_shared_store");
    else if (auto *update = dyn_cast<AtomicRMWInst>(access))
      reportAccess(*update, update->getPointerOperand(), update->getType(), update->getAlign(),
                   "moec_emulate_shared_atomic");
    else if (auto *swap = dyn_cast<AtomicCmpXchgInst>(access))
      reportAccess(*swap, swap->getPointerOperand(), swap->getCompareOperand()->getType(), swap->getAlign(),
                   "moec_emulate_shared_atomic");
  }
  for (Instruction *load : earlyLoads)
    reportAccess(*load, getLoadStorePointerOperand(load), load->getType(), getLoadStoreAlignment(load),
                 "moec_emulate_global_load");
  for (Instruction *store : globalStores)
    reportAccess(*store, getLoadStorePointerOperand(store), getLoadStoreType(store), getLoadStoreAlignment(store),
                 "moec_emulate_global_store");
  for (CastInst *cast : bfloatCasts)
    expandBfloat(*cast);
  for (CallInst *call : assemblyCalls)
    if (Error error = replaceAssembly(*call))
      return error;
  countRounds();
  return Error::success();
}

Error insertCudaHostCalls(Module &module, CudaInstructions &out) {
  SmallVector<Function *> functions;
  for (Function &function : module)
    if (!function.isDeclaration())
      functions.push_back(&function);
  for (Function *function : functions)
    if (Error error = HostCalls(*function, out).run())
      return error;
  return Error::success();
}

} // namespace moec
