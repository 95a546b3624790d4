// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Instantiating = replacing the values of a template's parameter lines and parsing the result under the template's own
// file name, so that a message of the parser points at the line a person can open.

#include "codegen/tile/Instantiate.h"

#include "codegen/CapturedDiagnostics.h"
#include "codegen/TemplateFiles.h"
#include "codegen/TextNesting.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

namespace moec {

// A parameter line: sigil and name, `=`, a value without spaces of its own kind, `//`. Alias lines without a comment
// (`!acc = ...`) are the template's own business and end the block.
std::vector<TemplateParameter> templateParameters(StringRef text) {
  std::vector<TemplateParameter> parameters;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    StringRef line = text.slice(at, end);
    size_t equals = line.find('='), comment = line.find("//");
    bool named = line.starts_with("#") || line.starts_with("!");
    if (named && equals != StringRef::npos && comment != StringRef::npos && equals < comment) {
      TemplateParameter parameter;
      parameter.name = line.take_front(equals).trim().str();
      StringRef value = line.slice(equals + 1, comment);
      parameter.value = value.trim().str();
      parameter.begin = at + equals + 1 + (value.size() - value.ltrim().size());
      parameter.end = parameter.begin + parameter.value.size();
      StringRef note = line.drop_front(comment + 2).ltrim();
      if (note.consume_front("="))
        parameter.formula = note.take_until([](char c) { return c == ':'; }).trim().str();
      parameters.push_back(parameter);
    }
    at = end + 1;
  }
  return parameters;
}

namespace {

std::string typeText(moec_dtype type) { return type == MOEC_BF16 ? "bf16" : type == MOEC_F16 ? "f16" : "f32"; }

constexpr const char *code = "E-TEMPLATE";

// The new value of `parameter`, or nullopt to keep its default. `integers` collects what formulas may name.
Result<std::optional<std::string>> boundValue(const TemplateParameter &parameter, const MatmulStage &stage,
                                              const TemplateBinding &binding,
                                              std::map<std::string, int64_t> &integers) {
  std::string name = parameter.name.substr(1);
  if (parameter.name == "!in")
    return typeText(stage.in);
  if (parameter.name == "!weight")
    return typeText(stage.weight);
  if (parameter.name == "!result")
    return typeText(stage.result);
  if (name == "a_access")
    return std::string(stage.gathered ? "#tile.access<gathered>" : "#tile.access<direct>");
  if (auto word = binding.words.find(name); word != binding.words.end())
    return "#tile.hint<" + word->second + ">";
  int64_t value = 0;
  if (!parameter.formula.empty()) {
    Result<int64_t> evaluated = evaluateFormula(parameter.formula, integers);
    if (!evaluated)
      return evaluated.error().within("parameter " + parameter.name + ": formula '" + parameter.formula + "'");
    value = *evaluated;
  } else if (auto it = binding.integers.find(name); it != binding.integers.end()) {
    value = it->second;
  } else {
    if (!StringRef(parameter.value).split(':').first.trim().getAsInteger(10, value))
      integers[name] = value;
    return std::nullopt;
  }
  integers[name] = value;
  return std::to_string(value) + " : index";
}

// What is wrong with setting parameters to the values of `binding`; empty: nothing.
std::string bindingError(ArrayRef<TemplateParameter> parameters, const TemplateBinding &binding) {
  auto find = [&](const std::string &name) -> const TemplateParameter * {
    for (const TemplateParameter &parameter : parameters)
      if (parameter.name == "#" + name && parameter.formula.empty())
        return &parameter;
    return nullptr;
  };
  auto isHint = [](const TemplateParameter &parameter) {
    return StringRef(parameter.value).starts_with("#tile.hint<");
  };
  auto unknown = [&](const std::string &name) {
    return "template '" + binding.templateName + "' has no parameter '" + name + "'";
  };
  for (const auto &[name, value] : binding.integers) {
    const TemplateParameter *parameter = find(name);
    if (!parameter)
      return unknown(name);
    if (isHint(*parameter))
      return "parameter '" + name + "' takes a hint, found " + std::to_string(value);
  }
  for (const auto &[name, word] : binding.words) {
    const TemplateParameter *parameter = find(name);
    if (!parameter)
      return unknown(name);
    if (!isHint(*parameter))
      return "parameter '" + name + "' takes an integer, found '" + word + "'";
    if (!tile::symbolizeHint(word))
      return "parameter '" + name + "' takes none, t0, t1 or nta, found '" + word + "'";
  }
  return "";
}

Result<std::string> bindParameters(StringRef text, const MatmulStage &stage, const TemplateBinding &binding) {
  std::map<std::string, int64_t> integers = {{"n", stage.n}, {"k", stage.k}, {"parts", stage.parts}};
  std::vector<TemplateParameter> parameters = templateParameters(text);
  if (std::string wrong = bindingError(parameters, binding); !wrong.empty())
    return Diagnostic::error(code, wrong);
  std::string out;
  size_t copied = 0;
  for (const TemplateParameter &parameter : parameters) {
    auto value = boundValue(parameter, stage, binding, integers);
    if (!value)
      return value.takeError();
    if (!*value)
      continue;
    out += text.slice(copied, parameter.begin);
    out += **value;
    copied = parameter.end;
  }
  return out + text.drop_front(copied).str();
}

// Appends the operands' buffers to the kernel's arguments.
SmallVector<Value> addBuffers(tile::KernelOp kernel, ArrayRef<MatmulOperand> operands) {
  MLIRContext *context = kernel.getContext();
  SmallVector<Value> buffers;
  for (const MatmulOperand &operand : operands) {
    Type type = tile::OperandType::get(context, operand.element, StringAttr::get(context, operand.kind),
                                       IntegerAttr::get(IndexType::get(context), operand.stride));
    buffers.push_back(kernel.getBody().addArgument(type, kernel.getLoc()));
  }
  return buffers;
}

// Gives `op` the buffers and clones the stage's region into its own, `to`.
void splice(Operation *op, ArrayRef<Value> buffers, Region *from, Region &to) {
  if (!buffers.empty())
    op->insertOperands(op->getNumOperands(), buffers);
  if (!from || from->empty())
    return;
  IRMapping mapping;
  from->cloneInto(&to, mapping);
  Operation *end = to.front().getTerminator();
  OpBuilder builder(end);
  tile::YieldOp::create(builder, end->getLoc(), end->getOperands());
  end->erase();
}

void spliceStage(tile::KernelOp kernel, const MatmulStage &stage) {
  SmallVector<Value> prologue = addBuffers(kernel, stage.prologueOperands);
  SmallVector<Value> epilogue = addBuffers(kernel, stage.epilogueOperands);
  kernel.getBody().walk([&](Operation *op) {
    if (auto pack = dyn_cast<tile::PackOp>(op))
      splice(op, prologue, stage.prologue, pack.getPrologue());
    else if (auto copy = dyn_cast<tile::CopyOp>(op))
      splice(op, prologue, stage.prologue, copy.getPrologue());
    else if (auto fill = dyn_cast<tile::FillOp>(op))
      splice(op, prologue, stage.prologue, fill.getPrologue());
    else if (auto end = dyn_cast<tile::EpilogueOp>(op))
      splice(op, epilogue, stage.epilogue, end.getBody());
    else if (auto store = dyn_cast<tile::StoreOp>(op))
      splice(op, epilogue, stage.epilogue, store.getBody());
  });
}

// Sums of tokens are f32 rows of the stage's width, wherever the stage itself would store.
void describeStage(tile::KernelOp kernel, const MatmulStage &stage) {
  Builder builder(kernel.getContext());
  bool cpu = kernel.getTarget() == "cpu";
  kernel.setMode(cpu ? MatmulMode{stage.mode.routed} : stage.mode);
  kernel.setNAttr(builder.getIndexAttr(stage.n));
  kernel.setKAttr(builder.getIndexAttr(stage.k));
  kernel.setPartsAttr(builder.getIndexAttr(stage.parts));
  kernel.setPanelsAttr(builder.getIndexAttr(stage.panels));
  kernel.setPanelBytesAttr(builder.getIndexAttr(stage.panelBytes));
  kernel.setAStrideAttr(builder.getIndexAttr(stage.aStride));
  if (const TransposedPanels &from = stage.transposed; cpu && from.any())
    kernel.setTransposedPanels(
        ArrayRef<int64_t>{from.groupBytes, from.panelBytes, from.blocks, from.parts, from.part, from.depth});
  if (stage.matrices)
    kernel.setMatricesAttr(builder.getIndexAttr(stage.matrices));
  kernel.setOutStrideAttr(builder.getIndexAttr(kernel.mode().unordered ? 4 * stage.n : stage.outStride));
}

} // namespace

Result<OwningOpRef<ModuleOp>> instantiateKernel(MLIRContext &context, const MatmulStage &stage,
                                                const TemplateBinding &binding, StringRef overlayDir,
                                                StringRef symbol) {
  Result<std::optional<TemplateText>> read = readTemplate(overlayDir, "kernels/" + binding.templateName + ".mlir");
  if (!read)
    return read.takeError();
  if (!*read)
    return Diagnostic::error(code, "there is no kernel template '" + binding.templateName + "'");
  const TemplateText &source = **read;
  auto inFile = [&](Diagnostic error) {
    error.file = source.file;
    return error;
  };
  Result<std::string> text = bindParameters(source.text, stage, binding);
  if (!text)
    return inFile(text.takeError());
  if (Result<> flat = checkNesting(*text, source.file, code); !flat)
    return flat.takeError();
  CapturedDiagnostics said(context, code, source.file);
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(*text, source.file), SMLoc());
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, ParserConfig(&context, /*verifyAfterParse=*/true));
  if (!module)
    return said.takeJoined("the text does not parse");
  auto kernels = llvm::to_vector(module->getOps<tile::KernelOp>());
  if (kernels.size() != 1)
    return inFile(Diagnostic::error(code, "a template holds one tile.kernel, found " + std::to_string(kernels.size())));
  tile::KernelOp kernel = kernels.front();
  kernel.setSymName(symbol);
  describeStage(kernel, stage);
  spliceStage(kernel, stage);
  if (failed(verify(*module)))
    return said.takeJoined("the kernel does not verify");
  return module;
}

} // namespace moec
