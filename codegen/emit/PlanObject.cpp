// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one object of a package that holds data: blobs, the function table and the struct that points at them.

#include "codegen/emit/ObjectEmitter.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"

namespace moec {
namespace {

class PlanObject {
public:
  PlanObject(llvm::StringRef name, const llvm::TargetMachine &machine)
      : module("moec", context), builder(context), name(name.str()) {
    module.setTargetTriple(machine.getTargetTriple());
    module.setDataLayout(machine.createDataLayout());
    module.setPICLevel(llvm::PICLevel::BigPIC);
  }

  llvm::Constant *null() { return llvm::ConstantPointerNull::get(builder.getPtrTy()); }

  llvm::Constant *constant(llvm::Constant *value, const llvm::Twine &suffix, unsigned align) {
    auto *global = new llvm::GlobalVariable(module, value->getType(), true, llvm::GlobalValue::PrivateLinkage, value,
                                            "moec_" + name + pass + suffix);
    global->setAlignment(llvm::Align(align));
    return global;
  }

  // The constants of one pass have names of their own.
  void namePass(llvm::StringRef suffix) { pass = suffix.str(); }

  llvm::Constant *bytes(llvm::StringRef data, const llvm::Twine &suffix, unsigned align) {
    return constant(llvm::ConstantDataArray::getRaw(data, data.size(), builder.getInt8Ty()), suffix, align);
  }

  llvm::Constant *array(llvm::ArrayRef<llvm::Constant *> values, llvm::Type *element, const llvm::Twine &suffix) {
    return constant(llvm::ConstantArray::get(llvm::ArrayType::get(element, values.size()), values), suffix, 8);
  }

  llvm::Constant *functionTable(const std::vector<std::string> &functions) {
    std::vector<llvm::Constant *> entries;
    auto *kernelType = llvm::FunctionType::get(builder.getVoidTy(), false);
    for (const std::string &symbol : functions) {
      if (symbol.empty()) {
        entries.push_back(null());
        continue;
      }
      auto *function = llvm::cast<llvm::Function>(module.getOrInsertFunction(symbol, kernelType).getCallee());
      function->setVisibility(llvm::GlobalValue::HiddenVisibility);
      entries.push_back(function);
    }
    return array(entries, builder.getPtrTy(), "__functions");
  }

  // moec_cuda_image each
  llvm::Constant *imageTable(const std::vector<std::string> &images) {
    auto *type = llvm::StructType::get(builder.getPtrTy(), builder.getInt64Ty());
    std::vector<llvm::Constant *> entries;
    for (auto [i, image] : llvm::enumerate(images))
      entries.push_back(llvm::ConstantStruct::get(
          type, {bytes(image, "__image" + llvm::Twine(i), 64), builder.getInt64(image.size())}));
    return array(entries, type, "__images");
  }

  void definePackage(const PlanObjectInput &input) {
    llvm::Constant *backward = null();
    if (input.backward) {
      namePass("__backward");
      backward = packageOf(*input.backward, null());
      namePass("");
    }
    llvm::Constant *package = packageOf(input, backward);
    auto *function = llvm::Function::Create(llvm::FunctionType::get(builder.getPtrTy(), false),
                                            llvm::GlobalValue::ExternalLinkage, name + "_package", module);
    function->addFnAttr(llvm::Attribute::NoUnwind);
    builder.SetInsertPoint(llvm::BasicBlock::Create(context, "", function));
    builder.CreateRet(package);
  }

  llvm::LLVMContext context;
  llvm::Module module;

private:
  llvm::Constant *packageOf(const PlanObjectInput &input, llvm::Constant *backward) {
    bool cuda = !input.cudaPlan.empty();
    auto text = [](const std::vector<char> &data) { return llvm::StringRef(data.data(), data.size()); };
    llvm::Constant *package = llvm::ConstantStruct::getAnon(
        {builder.getInt32(MOEC_ABI_MAGIC), builder.getInt16(MOEC_ABI_MAJOR), builder.getInt16(MOEC_ABI_MINOR),
         bytes(text(input.plan), "__plan", MOEC_PLAN_ALIGN), builder.getInt64(input.plan.size()),
         functionTable(input.functions), builder.getInt64(input.functions.size()),
         cuda ? bytes(text(input.cudaPlan), "__cuda_plan", MOEC_PLAN_ALIGN) : null(),
         builder.getInt64(input.cudaPlan.size()), cuda ? imageTable(input.images) : null(),
         builder.getInt64(cuda ? input.images.size() : 0), backward});
    return constant(package, "__package", 8);
  }

  llvm::IRBuilder<> builder;
  std::string name, pass;
};

} // namespace

Result<Bytes> emitPlanObject(const PlanObjectInput &input) {
  auto machine = makeCpuMachine(isaFacts(Isa::Baseline));
  if (!machine)
    return machine.takeError();
  PlanObject object(input.name, **machine);
  object.definePackage(input);
  return writeModule(object.module, **machine, EmitForm::Object);
}

} // namespace moec
