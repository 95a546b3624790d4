// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lowers one stage twice and feeds both kernels. Rows past those in use keep the pattern they had, which is checked
// too: outputs start as 0x5a bytes on both sides.

#include "BothKernels.h"

#include "codegen/cpu/LowerRows.h"
#include "codegen/cuda/CudaCombine.h"
#include "codegen/cuda/CudaRows.h"
#include "codegen/emit/ObjectEmitter.h"
#include "runtime/layer/dispatch.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/TargetSelect.h"

#include <cmath>
#include <cstring>

using namespace mlir;

namespace moec {

static int64_t sizeOf(Type element) { return element.isBF16() || element.isF16() ? 2 : 4; }

float TestBuffer::at(int64_t i) const {
  const char *p = bytes.data() + i * sizeOf(element);
  if (element.isF32()) {
    float value;
    std::memcpy(&value, p, 4);
    return value;
  }
  if (element.isBF16()) {
    uint16_t half;
    std::memcpy(&half, p, 2);
    uint32_t bits = uint32_t(half) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
  int32_t value;
  std::memcpy(&value, p, 4);
  return float(value);
}

void TestBuffer::set(int64_t i, double value) {
  char *p = bytes.data() + i * sizeOf(element);
  float single = float(value);
  uint32_t bits;
  std::memcpy(&bits, &single, 4);
  if (element.isBF16()) {
    uint16_t half = uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    std::memcpy(p, &half, 2);
  } else if (element.isF32()) {
    std::memcpy(p, &single, 4);
  } else {
    int32_t integer = int32_t(value);
    std::memcpy(p, &integer, 4);
  }
}

void TestBuffer::resize(int64_t rows) { bytes.assign(size_t((dynamic ? rows : 1) * columns * sizeOf(element)), 0x5a); }

static TestBuffer bufferOf(Value v, bool output) {
  auto type = cast<RankedTensorType>(v.getType());
  TestBuffer buffer;
  buffer.element = type.getElementType();
  buffer.dynamic = type.isDynamicDim(0);
  buffer.output = output;
  for (int64_t d = buffer.dynamic ? 1 : 0; d < type.getRank(); ++d)
    buffer.columns *= type.getDimSize(d);
  return buffer;
}

BothKernels::BothKernels(const std::string &text, uint64_t seed) : random(seed), context(makeKernelContext()) {
  lower(text, seed);
}

BothKernels::~BothKernels() = default;

void BothKernels::lower(const std::string &text, uint64_t seed) {
  auto module = parseSourceString<ModuleOp>(text, ParserConfig(context.get()));
  Operation *stage = nullptr;
  if (module)
    module->walk([&](Operation *op) {
      if (isa<moe::RowProgramOp, moe::CombineOp>(op))
        stage = op;
    });
  if (!stage) {
    error = "no stage in the text";
    return;
  }
  isCombine = isa<moe::CombineOp>(stage);
  RowStrides strides;
  auto stride = [&](const TestBuffer &b) { strides.push_back(b.dynamic ? b.columns * sizeOf(b.element) : 0); };
  for (Value operand : stage->getOperands()) {
    if (auto type = dyn_cast<moe::RouteType>(operand.getType())) {
      route.groups = type.getGroups(), route.choices = type.getChoices();
      order.push_back(-1);
      strides.insert(strides.end(), isCombine ? 1 : 2, 4);
      continue;
    }
    order.push_back(int(inputs.size()));
    inputs.push_back(bufferOf(operand, false));
    stride(inputs.back());
  }
  for (Value result : stage->getResults()) {
    results.push_back(bufferOf(result, true));
    stride(results.back());
  }
  OwningOpRef<ModuleOp> device(ModuleOp::create(UnknownLoc::get(context.get())));
  OwningOpRef<ModuleOp> host(ModuleOp::create(UnknownLoc::get(context.get())));
  const IsaFacts &isa = isaFacts(Isa::Baseline);
  if (auto program = dyn_cast<moe::RowProgramOp>(stage)) {
    facts = lowerCudaRowProgram(program, strides, 90, *device, "kernel");
    scratchBytes = lowerRowProgram(program, strides, isa, *host, "kernel");
  } else {
    facts = lowerCudaCombine(cast<moe::CombineOp>(stage), strides, 90, *device, "kernel");
    scratchBytes = lowerCombine(cast<moe::CombineOp>(stage), strides, isa, *host, "kernel");
  }
  // a tensor of tokens gathered by a route, or combined from its rows: which inputs have T rows and which R
  for (unsigned i = 0; i < stage->getNumOperands(); ++i) {
    Value inner = isCombine ? Value() : Value(stage->getRegion(0).getArgument(i));
    bool gathered = inner && !inner.use_empty() && isa_and_nonnull<moe::GatherOp>(*inner.user_begin());
    routeInputs.push_back(isCombine ? i == 0 : !gathered);
  }
  deviceKernels = std::make_unique<EmulatedKernels>(*device, seed);
  error = deviceKernels->error();
  if (!error.empty())
    return;
  if (Result<> lowered = lowerToLlvmDialect(*host); !lowered) {
    error = lowered.error().message;
    return;
  }
  Result<Bytes> object = emitModule(*host, isa, EmitForm::Object, Sanitizer::None);
  if (!object) {
    error = object.error().message;
    return;
  }
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  hostCode = llvm::cantFail(llvm::orc::LLJITBuilder().create());
  llvm::cantFail(hostCode->addObjectFile(
      llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(object->data(), object->size()), "host")));
}

void BothKernels::prepare(int64_t numTokens) {
  tokens = numTokens, rows = numTokens;
  if (route.groups) {
    int64_t slots = numTokens * route.choices;
    std::vector<int32_t> ids(static_cast<size_t>(slots));
    for (int32_t &id : ids)
      id = int32_t(random() % uint64_t(route.groups + 2)) - 1;
    route.offsets.assign(size_t(route.groups + 1), 0);
    route.rowToken.assign(size_t(slots), 0);
    route.rowSlot.assign(size_t(slots), 0);
    route.slotRow.assign(size_t(slots), 0);
    moec_route tables = {route.offsets.data(), route.rowToken.data(), route.rowSlot.data(), route.slotRow.data()};
    moec_dispatch(ids.data(), numTokens, route.choices, route.groups, &tables);
    rows = route.offsets.back();
  }
  std::normal_distribution<double> normal;
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] < 0)
      continue;
    TestBuffer &buffer = inputs[size_t(order[i])];
    buffer.resize(route.groups && routeInputs[i] ? std::max<int64_t>(rows, 1) : tokens);
    int64_t count = int64_t(buffer.bytes.size()) / sizeOf(buffer.element);
    for (int64_t k = 0; k < count; ++k)
      buffer.set(k, buffer.element.isInteger() ? double(random() % 10) : normal(random));
  }
  outputs = results;
  for (TestBuffer &buffer : outputs)
    buffer.resize(route.groups && !isCombine ? tokens * route.choices : tokens);
  expected = outputs;
}

static std::vector<char> bytesOf(const std::vector<int32_t> &v) {
  const char *begin = reinterpret_cast<const char *>(v.data());
  return std::vector<char>(begin, begin + v.size() * 4);
}

std::string BothKernels::run() {
  if (!error.empty())
    return error;
  std::vector<std::vector<char>> arguments;
  for (int index : order) {
    if (index >= 0)
      arguments.push_back(inputs[size_t(index)].bytes);
    else if (isCombine)
      arguments.push_back(bytesOf(route.slotRow));
    else
      arguments.insert(arguments.end(), {bytesOf(route.rowToken), bytesOf(route.rowSlot)});
  }
  std::vector<char *> host;
  std::vector<void *> device;
  for (std::vector<char> &bytes : arguments) {
    device.push_back(deviceKernels->upload(bytes));
    bytes.resize(bytes.size() + 256); // the CPU may read a parameter up to a whole vector
    host.push_back(bytes.data());
  }
  for (TestBuffer &buffer : expected) {
    device.push_back(deviceKernels->upload(buffer.bytes));
    host.push_back(buffer.bytes.data());
  }
  size_t first = device.size() - outputs.size();
  if (route.groups && !isCombine)
    device.push_back(deviceKernels->upload(bytesOf(route.offsets)));
  runOnHost(host, isCombine ? tokens : rows);
  std::string findings = deviceKernels->launch("kernel", facts, tokens, device);
  for (size_t i = 0; i < outputs.size(); ++i)
    std::memcpy(outputs[i].bytes.data(), device[first + i], outputs[i].bytes.size());
  return findings;
}

void BothKernels::runOnHost(std::vector<char *> &buffers, int64_t numRows) {
  auto kernel = llvm::cantFail(hostCode->lookup("kernel")).toPtr<moec_kernel_fn>();
  std::vector<char> scratch(size_t(scratchBytes) + 256);
  char *aligned = scratch.data() + (256 - reinterpret_cast<uintptr_t>(scratch.data()) % 256) % 256;
  moec_call call = {tokens, numRows, nullptr, 0, 0};
  kernel(&call, reinterpret_cast<void *const *>(buffers.data()), aligned, 0, numRows);
}

std::string compareBuffers(const std::vector<TestBuffer> &got, const std::vector<TestBuffer> &want, double tolerance) {
  for (size_t b = 0; b < got.size(); ++b) {
    int64_t count = int64_t(got[b].bytes.size()) / sizeOf(got[b].element);
    for (int64_t i = 0; i < count; ++i) {
      double g = got[b].at(i), w = want[b].at(i);
      bool same = std::isnan(w) ? std::isnan(g) : g == w;
      if (!got[b].element.isInteger() && std::isfinite(w))
        same = std::fabs(g - w) <= tolerance * std::max(1.0, std::fabs(w));
      if (!same)
        return "result " + std::to_string(b) + ", row " + std::to_string(i / got[b].columns) + ", column " +
               std::to_string(i % got[b].columns) + ": " + std::to_string(g) + ", the CPU has " + std::to_string(w);
    }
  }
  return "";
}

} // namespace moec
