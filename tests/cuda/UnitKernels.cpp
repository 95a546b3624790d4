// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec-cuda-units FOLDER -> one .unit file per instruction that kernels use: a kernel of little more than it, random
// input, and the output of the emulator, which a GPU must repeat. Needs ptxas.
//
// A thread's input and output are 16 bytes at 16 * tid where nothing else is said.

#include "UnitCheck.h"

#include "codegen/cuda/CudaAssemble.h"
#include "codegen/cuda/CudaKernel.h"
#include "codegen/cuda/Ptxas.h"
#include "codegen/emit/ObjectEmitter.h"
#include "codegen/emulate/CudaEmulator.h"
#include "codegen/pipeline/KernelContext.h"

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <cstdio>
#include <functional>
#include <random>

using namespace mlir;
using namespace moec;

namespace {

template <typename T> struct UnitArgs {
  T in = {}, out = {}, map = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.in, self.out, self.map); }
};

// What a kernel's body is written with.
struct Body {
  CudaEmitter &e;
  Value in, out, map, tid;
  using Values = llvm::SmallVector<Value>;

  Value own(Value base, int64_t bytes = 16) { return e.at(base, e.mul(e.unsignedI64(tid), bytes)); }
  Value word(int64_t i, Type type) { return e.load(type, e.at(own(in), 4 * i), 4); }
  void put(int64_t i, Value value) { e.store(value, e.at(own(out), 4 * i), 4); }
  void put(const Values &values) {
    for (auto [i, value] : llvm::enumerate(values))
      put(int64_t(i), value);
  }
  Value sharedAt(Value byte) { return e.at(e.shared(), e.unsignedI64(byte)); }
  Value times(Value x, int32_t y) { return e.mul(x, e.c32(y)); }
  void whenFirst(llvm::function_ref<void()> body) { e.when(e.equal(tid, e.c32(0)), body); }
  // Input bytes 0..bytes-1 to the same place of shared memory, 16 by each thread in turn.
  void fillShared(int64_t bytes, int64_t threads) {
    for (int64_t i = 0; i < bytes; i += 16 * threads) {
      Value offset = e.add(times(tid, 16), e.c32(int32_t(i)));
      e.store(e.load(e.vec(e.i32(), 4), e.at(in, e.unsignedI64(offset)), 16), sharedAt(offset), 16);
    }
    e.barrier(0, threads);
  }
};

struct UnitKernel {
  std::string name;
  unsigned threads = 32, shared = 0, ulp = 0;
  size_t inputBytes = 0, outputBytes = 0; // 0: 16 per thread
  bool halves = false;                    // input is bf16 and f16 of moderate size, else f32 in -4..4
  std::function<void(Body &)> build;
  bool products = false; // the output is sums of products of input: tolerance by their magnitudes
  std::function<void(std::vector<char> &)> fill = {}; // the input; empty: random numbers
};

void addArithmetic(std::vector<UnitKernel> &list) {
  auto add = [&](const char *name, unsigned ulp, std::function<Value(Body &, Value, Value)> make) {
    list.push_back({name, 32, 0, ulp, 0, 0, false, [make](Body &b) {
                      for (int64_t i = 0; i < 4; ++i)
                        b.put(i, make(b, b.word(i, b.e.f32()), b.word(3 - i, b.e.f32())));
                    }});
  };
  add("div", 4, [](Body &b, Value x, Value y) { return b.e.div(x, y); });
  add("ex2", 4, [](Body &b, Value x, Value) { return b.e.ex2(x); });
  add("cvt_tf32", 0, [](Body &b, Value x, Value) { return b.e.roundTf32(b.e.bitcast(x, b.e.i32())); });
  add("fma", 0, [](Body &b, Value x, Value y) { return b.e.fma(x, y, x); });
  add("mul_add", 0, [](Body &b, Value x, Value y) { return b.e.addF(b.e.mulF(x, y), x); });
  add("bf16", 0, [](Body &b, Value x, Value) { return b.e.widen(b.e.narrow(x, b.e.b.getBF16Type())); });
  add("f16", 0, [](Body &b, Value x, Value) { return b.e.widen(b.e.narrow(x, b.e.b.getF16Type())); });
  add("exp", 16, [](Body &b, Value x, Value) { return math::ExpOp::create(b.e.b, b.e.loc, x).getResult(); });
  add("tanh", 32, [](Body &b, Value x, Value) { return math::TanhOp::create(b.e.b, b.e.loc, x).getResult(); });
  add("sqrt", 0, [](Body &b, Value x, Value) {
    return math::SqrtOp::create(b.e.b, b.e.loc, math::AbsFOp::create(b.e.b, b.e.loc, x)).getResult();
  });
}

void addWarp(std::vector<UnitKernel> &list) {
  auto add = [&](const char *name, std::function<Value(Body &, Value)> make) {
    list.push_back({name, 64, 0, 0, 0, 0, false, [make](Body &b) {
                      for (int64_t i = 0; i < 4; ++i)
                        b.put(i, make(b, b.word(i, b.e.i32())));
                    }});
  };
  for (int64_t mask : {1, 16})
    add(mask == 1 ? "shfl_bfly_1" : "shfl_bfly_16", [mask](Body &b, Value v) { return b.e.shflBfly(v, mask); });
  add("shfl_up", [](Body &b, Value v) { return b.e.shflUp(v, 3); });
  add("shfl_idx",
      [](Body &b, Value v) { return b.e.shflIdx(v, arith::AndIOp::create(b.e.b, b.e.loc, v, b.e.c32(31))); });
  add("match_any",
      [](Body &b, Value v) { return b.e.matchAny(arith::AndIOp::create(b.e.b, b.e.loc, v, b.e.c32(0x300))); });
  add("ballot", [](Body &b, Value v) { return b.e.ballot(arith::AndIOp::create(b.e.b, b.e.loc, v, b.e.c32(0x200))); });
  // a + b is b + a: two additions to 0 have one result whoever is first
  list.push_back({"red_add_f32", 64, 0, 0, 0, 0, false, [](Body &b) {
                    for (int64_t i = 0; i < 4; ++i)
                      b.put(i, b.e.f(0));
                    b.e.barrier(0, 64);
                    Value other = b.times(arith::XOrIOp::create(b.e.b, b.e.loc, b.tid, b.e.c32(33)), 16);
                    for (int64_t i = 0; i < 4; ++i) {
                      b.e.reduceAdd(b.own(b.out), 4 * i, b.word(i, b.e.f32()));
                      b.e.reduceAdd(b.e.at(b.out, b.e.unsignedI64(other)), 4 * i, b.word(3 - i, b.e.f32()));
                    }
                  }});
  list.push_back({"atomic_add", 64, 64, 0, 0, 0, false, [](Body &b) {
                    b.e.when(b.e.compare(arith::CmpIPredicate::ult, b.tid, b.e.c32(16)),
                             [&] { b.e.store(b.e.c32(0), b.sharedAt(b.times(b.tid, 4)), 4); });
                    b.e.barrier(0, 64);
                    Value slot = arith::AndIOp::create(b.e.b, b.e.loc, b.word(0, b.e.i32()), b.e.c32(15));
                    b.e.atomicAdd(b.sharedAt(b.times(slot, 4)), b.e.bitCount(b.word(1, b.e.i32())));
                    b.e.barrier(0, 64);
                    Value mine = arith::AndIOp::create(b.e.b, b.e.loc, b.tid, b.e.c32(15));
                    for (int64_t i = 0; i < 4; ++i)
                      b.put(i, b.e.load(b.e.i32(), b.sharedAt(b.times(mine, 4)), 4));
                  }});
}

// Copies of 0..16 bytes, then what stands in shared memory.
void addCopies(std::vector<UnitKernel> &list) {
  auto read = [](Body &b) {
    Value v = b.e.load(b.e.vec(b.e.i32(), 4), b.sharedAt(b.times(b.tid, 16)), 16);
    for (int64_t i = 0; i < 4; ++i)
      b.put(i, vector::ExtractOp::create(b.e.b, b.e.loc, v, ArrayRef<int64_t>{i}).getResult());
  };
  list.push_back({"cp_async", 64, 1024, 0, 0, 0, false, [read](Body &b) {
                    Value bytes = arith::RemUIOp::create(b.e.b, b.e.loc, b.tid, b.e.c32(17));
                    b.e.cpAsync(b.sharedAt(b.times(b.tid, 16)), b.own(b.in), bytes);
                    b.e.cpAsyncCommit();
                    b.e.cpAsyncWait(0);
                    b.e.barrier(0, 64);
                    read(b);
                  }});
  list.push_back({"cp_async_arrive", 64, 1040, 0, 0, 0, false, [read](Body &b) {
                    Value full = b.sharedAt(b.e.c32(1024));
                    b.whenFirst([&] {
                      b.e.mbarInit(full, b.e.c32(64));
                      b.e.fenceMbarInit();
                    });
                    b.e.barrier(0, 64);
                    Value other = arith::XOrIOp::create(b.e.b, b.e.loc, b.tid, b.e.c32(33));
                    b.e.cpAsync(b.sharedAt(b.times(other, 16)), b.e.at(b.in, b.e.unsignedI64(b.times(other, 16))),
                                b.e.c32(16));
                    b.e.cpAsyncArrive(full);
                    b.e.mbarWait(full, b.e.c32(0));
                    read(b);
                  }});
  list.push_back({"store_v4", 32, 0, 0, 0, 0, false, [](Body &b) {
                    Body::Values v;
                    for (int64_t i = 0; i < 4; ++i)
                      v.push_back(b.word(3 - i, b.e.i32()));
                    b.e.storeV4(b.own(b.out), v);
                  }});
  // 64 rows of 64 bf16, swizzled; every thread reads 32 of their bytes
  list.push_back({"tma_load_3d", 256, 8208, 0, 8192, 8192, true, [](Body &b) {
                    Value full = b.sharedAt(b.e.c32(8192));
                    b.whenFirst([&] {
                      b.e.mbarInit(full, b.e.c32(1));
                      b.e.fenceMbarInit();
                      b.e.fenceAsyncGlobal();
                      b.e.tmaPrefetch(b.map);
                      b.e.mbarExpect(full, b.e.c32(8192));
                      b.e.tmaLoad3d(b.e.shared(), b.map, {b.e.c32(0), b.e.c32(0), b.e.c32(0)}, full);
                    });
                    b.e.barrier(0, 256);
                    b.e.mbarWait(full, b.e.c32(0));
                    for (int64_t i = 0; i < 8; ++i) {
                      Value at = b.e.add(b.times(b.tid, 32), b.e.c32(int32_t(4 * i)));
                      b.e.store(b.e.load(b.e.i32(), b.sharedAt(at), 4), b.e.at(b.out, b.e.unsignedI64(at)), 4);
                    }
                  }});
}

void addMatrices(std::vector<UnitKernel> &list) {
  for (bool trans : {false, true})
    list.push_back({trans ? "ldmatrix_trans" : "ldmatrix", 32, 512, 0, 0, 0, false, [trans](Body &b) {
                      b.fillShared(512, 32);
                      b.put(b.e.ldmatrix(b.sharedAt(b.times(b.tid, 16)), trans));
                    }});
  list.push_back({"stmatrix", 32, 512, 0, 0, 0, false, [](Body &b) {
                    Body::Values v;
                    for (int64_t i = 0; i < 4; ++i)
                      v.push_back(b.word(i, b.e.i32()));
                    b.e.stmatrix(b.sharedAt(b.times(b.tid, 16)), v);
                    b.e.barrier(0, 32);
                    for (int64_t i = 0; i < 4; ++i)
                      b.put(i,
                            b.e.load(b.e.i32(), b.sharedAt(b.e.add(b.times(b.tid, 16), b.e.c32(int32_t(4 * i)))), 4));
                  }});
  auto mma = [&](const char *name, std::function<Type(CudaEmitter &)> type, bool halves) {
    list.push_back({name, 32, 0, 0, 1024, 0, halves,
                    [type](Body &b) {
                      Value second = b.e.at(b.own(b.in), 512);
                      Body::Values a, bb, c;
                      for (int64_t i = 0; i < 4; ++i)
                        a.push_back(b.word(i, b.e.i32()));
                      for (int64_t i = 0; i < 2; ++i)
                        bb.push_back(b.e.load(b.e.i32(), b.e.at(second, 4 * i), 4));
                      c.assign(4, b.e.f(0.5));
                      b.put(b.e.mma(type(b.e), a, bb, c));
                    },
                    true});
  };
  mma("mma_bf16", [](CudaEmitter &e) { return Type(e.b.getBF16Type()); }, true);
  mma("mma_f16", [](CudaEmitter &e) { return Type(e.b.getF16Type()); }, true);
  mma("mma_tf32", [](CudaEmitter &e) { return e.f32(); }, false);
}

// Of lines of 128 bytes in 128-byte swizzle; the two distances in bytes.
Value descriptor(CudaEmitter &e, Value address, uint64_t leading, uint64_t stride) {
  Value bits = LLVM::PtrToIntOp::create(e.b, e.loc, e.i32(), address);
  bits = arith::AndIOp::create(e.b, e.loc, bits, e.c32(0x3ffff));
  Value start = e.unsignedI64(arith::ShRUIOp::create(e.b, e.loc, bits, e.c32(4)));
  uint64_t distances = (stride / 16) << 32 | (leading / 16) << 16;
  return arith::OrIOp::create(e.b, e.loc, start, e.c(int64_t(1ull << 62 | distances)));
}

// An operand of wgmma in shared memory.
struct WgmmaOperand {
  int64_t at = 0; // its first byte
  bool depthFirst = false;
  uint64_t leading = 16, stride = 1024;                            // of its descriptor
  int64_t stepBytes() const { return depthFirst ? 16 * 128 : 32; } // of 16 elements of depth
};

// The input to shared memory as it is, for wgmma.
void fillForWgmma(Body &b, int64_t bytes) {
  CudaEmitter &e = b.e;
  for (int64_t i = 0; i < bytes; i += 2048) {
    Value offset = e.add(b.times(b.tid, 16), e.c32(int32_t(i)));
    auto copy = [&] {
      e.store(e.load(e.vec(e.i32(), 4), e.at(b.in, e.unsignedI64(offset)), 16), b.sharedAt(offset), 16);
    };
    e.when(e.compare(arith::CmpIPredicate::ult, offset, e.c32(int32_t(bytes))), copy);
  }
  e.fenceAsync();
  e.barrier(0, 128);
}

// n columns, `steps` times 16 of depth; sums to the output from byte `to` on.
void emitWgmma(Body &b, int64_t to, bool half, int64_t n, int64_t steps, WgmmaOperand one, WgmmaOperand two) {
  CudaEmitter &e = b.e;
  Type type = half ? Type(e.b.getF16Type()) : Type(e.b.getBF16Type());
  Body::Values sums(size_t(n / 2), e.f(0));
  sums = e.wgmmaFence(sums);
  auto start = [&](WgmmaOperand x) { return descriptor(e, e.at(e.shared(), x.at), x.leading, x.stride); };
  Value first = start(one), second = start(two);
  for (int64_t k = 0; k < steps; ++k)
    sums = e.wgmma(n, type, sums, e.add(first, e.c(one.stepBytes() / 16 * k)),
                   e.add(second, e.c(two.stepBytes() / 16 * k)), e.c32(1), one.depthFirst, two.depthFirst);
  e.wgmmaCommit();
  sums = e.wgmmaWait(0, sums);
  Value own = b.own(b.out, n * 2);
  for (auto [i, sum] : llvm::enumerate(sums))
    e.store(sum, e.at(own, to + int64_t(4 * i)), 4);
}

// A: the first 8192 bytes of the input, 64 rows of 64; B: n rows behind it; both as they are, so swizzled rows. An
// operand that is depth first is atoms of 64 columns, as kernels have them: 64 lines of 128 bytes.
void addWgmma(std::vector<UnitKernel> &list) {
  for (int orders = 0; orders < 4; ++orders)
    for (int64_t n : {8, 16, 64, 128, 256})
      for (bool half : {false, true}) {
        WgmmaOperand a, b;
        b.at = 8192;
        a.depthFirst = orders & 1, b.depthFirst = orders & 2;
        if (b.depthFirst && n < 64)
          continue; // no slot is narrower than an atom
        for (WgmmaOperand *x : {&a, &b})
          x->leading = x->depthFirst ? 8192 : 16;
        int64_t bytes = 8192 + n * 128;
        std::string name = "wgmma" + std::string(a.depthFirst ? "_transa" : "") + (b.depthFirst ? "_transb" : "");
        list.push_back({name + "_n" + std::to_string(n) + (half ? "_f16" : "_bf16"), 128, unsigned(bytes), 0,
                        size_t(bytes), size_t(n) * 256, true,
                        [=](Body &body) {
                          fillForWgmma(body, bytes);
                          emitWgmma(body, 0, half, n, 4, a, b);
                        },
                        true});
      }
}

// Shows where wgmma reads each element of a depth-first operand. Every element holds its own place as two f16 numbers:
// place % 1024, and in a second copy behind the first place / 1024. The other operand is a unit matrix: row m of A
// picks depth m % 16 of B, and column n of B picks depth n of A, so every word of the output is one element. The two
// distances of the descriptor differ widely and no kernel uses them: if the hardware swaps them, every second column or
// line shows a wrong place.
constexpr int64_t placesBytes = 16384;

void storeHalf(std::vector<char> &bytes, int64_t element, uint16_t bits) {
  std::memcpy(&bytes[size_t(element) * 2], &bits, 2);
}

uint16_t halfOf(int64_t number) { // 0 .. 2047
  int exponent = 0;
  while (number >> (exponent + 1))
    ++exponent;
  return number ? uint16_t((exponent + 15) << 10 | ((number << 10 >> exponent) & 0x3ff)) : uint16_t(0);
}

void fillPlaces(std::vector<char> &bytes, int64_t unitRows) {
  for (int64_t i = 0; i < placesBytes / 2; ++i) {
    storeHalf(bytes, i, halfOf(i % 1024));
    storeHalf(bytes, placesBytes / 2 + i, halfOf(i / 1024));
  }
  for (int64_t row = 0; row < unitRows; ++row)
    for (int64_t k = 0; k < 64; ++k) {
      int64_t swizzled = row * 64 + ((k / 8) ^ (row % 8)) * 8 + k % 8;
      storeHalf(bytes, placesBytes + swizzled, halfOf(k == row % 16));
    }
}

void addPlaces(std::vector<UnitKernel> &list) {
  for (bool ofB : {false, true}) {
    int64_t n = ofB ? 256 : 16, unitRows = ofB ? 64 : n, bytes = 2 * placesBytes + unitRows * 128;
    auto build = [=](Body &body) {
      fillForWgmma(body, bytes);
      WgmmaOperand unit;
      unit.at = 2 * placesBytes;
      for (int64_t part : {0, 1}) {
        WgmmaOperand read = {part * placesBytes, true, 1024, 5120};
        emitWgmma(body, part * n * 256, true, n, 1, ofB ? unit : read, ofB ? read : unit);
      }
    };
    UnitKernel kernel = {ofB ? "wgmma_places_b" : "wgmma_places_a",
                         128,
                         unsigned(bytes),
                         0,
                         size_t(bytes),
                         size_t(n) * 512,
                         true,
                         build};
    kernel.fill = [=](std::vector<char> &input) { fillPlaces(input, unitRows); };
    list.push_back(std::move(kernel));
  }
}

std::vector<char> inputOf(const UnitKernel &kernel) {
  std::vector<char> bytes(kernel.inputBytes ? kernel.inputBytes : 16 * kernel.threads);
  if (kernel.fill) {
    kernel.fill(bytes);
    return bytes;
  }
  std::minstd_rand random(7);
  for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    // bf16 and f16 alike: exponents of small numbers, every fraction
    uint32_t halves = (0x3c003c00u + (uint32_t(random()) & 0x83ff83ffu));
    float value = float(int64_t(random() % 8000001) - 4000000) * 1e-6f;
    std::memcpy(&bytes[i], kernel.halves ? static_cast<void *>(&halves) : static_cast<void *>(&value), 4);
  }
  return bytes;
}

// The same input without signs: every product adds its magnitude.
std::vector<char> magnitudesOf(const UnitKernel &kernel, std::vector<char> input) {
  for (size_t i = kernel.halves ? 1 : 3; i < input.size(); i += kernel.halves ? 2 : 4)
    input[i] = char(input[i] & 0x7f);
  return input;
}

// The kernels as a cubin, and as a module of `context` for the emulator.
Result<Assembled> assemble(ModuleOp module, const Ptxas &ptxas, llvm::LLVMContext &context,
                           std::unique_ptr<llvm::Module> &emulated) {
  llvm::LLVMContext own;
  if (Result<> lowered = lowerToLlvmDialect(module); !lowered)
    return lowered.takeError();
  auto toEmulate = translateCuda(module, context), toAssemble = translateCuda(module, own);
  if (!toEmulate || !toAssemble)
    return toEmulate ? toAssemble.takeError() : toEmulate.takeError();
  emulated = std::move(*toEmulate);
  Result<std::string> ptx = emitPtx(**toAssemble, CudaArch::Sm90a);
  return ptx ? runPtxas(ptxas, *ptx, CudaArch::Sm90a) : ptx.takeError();
}

// Builds, emulates and assembles one unit. False: `error`.
bool makeUnit(const UnitKernel &kernel, const Ptxas &ptxas, Unit &unit, std::string &error) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  prepareKernelContext(context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  CudaEmitter e(OpBuilder(&context), UnknownLoc::get(&context));
  UnitArgs<unsigned> positions = numberArgs(UnitArgs<unsigned>());
  CudaKernelShell shell(e, *module, "unit", countArgs(positions), 90, {positions.map});
  UnitArgs<Value> args = shell.bind(positions);
  Body body{e, args.in, args.out, args.map, e.tid()};
  kernel.build(body);
  shell.finish(e, kernel.threads);
  unit = {kernel.threads, kernel.shared, kernel.ulp, inputOf(kernel), {}, {}, {}};
  unit.output.resize(kernel.outputBytes ? kernel.outputBytes : 16 * kernel.threads);
  auto llvmContext = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> emulated;
  Result<Assembled> assembled = assemble(*module, ptxas, *llvmContext, emulated);
  if (!assembled) {
    error = assembled.error().message;
    return false;
  }
  const Assembled &result = *assembled;
  CudaEmulator emulator({3, 90, 1});
  auto image = emulator.addModule(std::move(emulated), std::move(llvmContext));
  if (!image) {
    error = llvm::toString(image.takeError());
    return false;
  }
  unit.image = *image;
  Result<std::unique_ptr<DeviceContext>> device = DeviceContext::open(emulator.driver());
  if (!device) {
    error = device.error().message;
    return false;
  }
  std::vector<char> output;
  bool ran = runUnit(**device, unit, output, error);
  if (kernel.products) {
    Unit magnitudes = unit;
    magnitudes.input = magnitudesOf(kernel, unit.input);
    ran = ran && runUnit(**device, magnitudes, unit.sums, error);
  }
  if (emulator.numFindings())
    error = emulator.findings().front();
  unit.output = output;
  unit.image = result.cubin;
  return ran && error.empty();
}

} // namespace

int main(int argc, char **argv) {
  std::optional<Ptxas> ptxas = findPtxas();
  if (argc != 2 || !ptxas) {
    std::fprintf(stderr, argc != 2 ? "usage: moec-cuda-units FOLDER\n" : "moec-cuda-units: there is no ptxas\n");
    return argc != 2 ? 2 : 5;
  }
  std::vector<UnitKernel> list;
  addArithmetic(list);
  addWarp(list);
  addCopies(list);
  addMatrices(list);
  addWgmma(list);
  addPlaces(list);
  int failed = 0;
  for (const UnitKernel &kernel : list) {
    Unit unit;
    std::string error;
    bool good =
        makeUnit(kernel, *ptxas, unit, error) && writeUnit(std::string(argv[1]) + "/" + kernel.name + ".unit", unit);
    if (!good)
      std::fprintf(stderr, "unit %s: %s\n", kernel.name.c_str(), error.empty() ? "cannot be written" : error.c_str());
    failed += !good;
  }
  std::printf("%zu units, %d failed\n", list.size(), failed);
  return failed ? 1 : 0;
}
