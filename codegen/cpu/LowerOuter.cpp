// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// out[g,m,n] = sum over the rows r of group g of A[r,m] B[r,n]: a matmul whose depth, the rows, differs by group.
//
// A unit is a block of columns of A by columns of B (plan/OuterBlocks.h); the blocks of a matrix are as equal as whole
// tiles allow. Its rows are taken in chunks:
//
//   pack A    tiles of tileRows columns, each [step][lanes]        a step is a row, or a pair of rows for dot products
//   pack B    panels of two vectors of columns, each [step][2 * lanes]
//   per tile of A
//     per panel of B: accumulators in registers, over all steps of the chunk
//
// The tile is the outer loop for the memory's sake: tileRows rows of out are written along their columns, so that
// neighbouring lines leave the processor soon after each other.
//
// Between chunks the accumulators wait in scratch; after the last one they go to the output. Rows are read through the
// route where they are gathered, so that no copy of them is made.
//
// bf16 without dot products is multiplied as f32, the odd row of a pair first: the order of vdpbf16ps, so that the bits
// are those of dot products.

#include "codegen/cpu/LowerOuter.h"

#include "codegen/lower/KernelFunction.h"
#include "codegen/plan/OuterBlocks.h"
#include "codegen/plan/StageArgs.h"

#include <cstddef>

using namespace mlir;

namespace moec {

bool multipliesPairs(moe::GroupedOuterOp op) {
  return cast<RankedTensorType>(op.getA().getType()).getElementType().isBF16();
}

namespace {

constexpr int64_t chunkRows = 256, panelVectors = 2;

// Columns of a block of `most` or less, in whole `tile`s where that leaves as many blocks. No block is empty.
int64_t evenBlock(int64_t columns, int64_t most, int64_t tile) {
  int64_t blocks = llvm::divideCeil(columns, most);
  return std::min(most, int64_t(llvm::divideCeil(llvm::divideCeil(columns, tile), blocks)) * tile);
}

class OuterLowering {
public:
  OuterLowering(moe::GroupedOuterOp op, const RowStrides &rowStrides, bool toCaller, const IsaFacts &isa)
      : e(OpBuilder(op.getContext()), op.getLoc(), isa), op(op), strides(bindArgs<int64_t>(argsOf(op), rowStrides)),
        toCaller(toCaller) {
    auto a = cast<RankedTensorType>(op.getA().getType()), b = cast<RankedTensorType>(op.getB().getType());
    element = a.getElementType();
    m = a.getDimSize(1), n = b.getDimSize(1);
    pairs = multipliesPairs(op);
    dot = pairs && isa.bf16Dot;
    lanes = isa.lanes;
    tileRows = isa.registers >= 32 ? 14 : lanes >= 8 ? 6 : 4;
    panel = panelVectors * lanes;
    maxSteps = dot ? chunkRows / 2 : chunkRows;
    int64_t groups = op.getRoute() ? cast<moe::RouteType>(op.getRoute().getType()).getGroups() : 1;
    most = OuterBlocks::of(groups);
    blockA = evenBlock(m, most.a, tileRows);
    blockB = evenBlock(n, most.b, panel);
    tiles = llvm::divideCeil(std::min(m, blockA), tileRows);
    panels = llvm::divideCeil(std::min(n, blockB), panel);
  }

  int64_t run(ModuleOp module, StringRef symbol) {
    KernelFunction shell(e, module, symbol);
    buffers = shell.bind(e, strides);
    call = shell.call;
    packedA = shell.scratch;
    packedB = e.at(packedA, tiles * maxSteps * stepBytes());
    sums = e.at(packedB, panels * maxSteps * panel * 4);
    fillsLines = toCaller && lanes == 16 && n % panel == 0;
    if (fillsLines) {
      Value base = LLVM::PtrToIntOp::create(e.b, e.loc, e.i64(), buffers.out);
      linesOnly = arith::AndIOp::create(e.b, e.loc, e.less(e.remU(base, 64), e.c(1)),
                                        e.less(callWord(offsetof(moec_call, accumulate)), e.c(1)));
    }
    e.loop(shell.first, shell.last, 1, [&](Value unit) { lowerUnit(unit); });
    if (fillsLines) // such stores are not ordered with the one that ends the step
      LLVM::CallIntrinsicOp::create(e.b, e.loc, e.b.getStringAttr("llvm.x86.sse.sfence"), ValueRange{});
    shell.finish(e);
    return tiles * maxSteps * stepBytes() + panels * maxSteps * panel * 4 + tiles * panels * tileRows * panel * 4;
  }

private:
  using Values = Emitter::Values;
  int64_t size() const { return element.isBF16() ? 2 : 4; }
  int64_t stepBytes() const { return lanes * 4; } // of a tile of packed A

  // The unit at hand.
  struct Unit {
    Value group, firstRow, lastRow, m0, mEnd, n0, nEnd;
  };
  // Rows of it that are multiplied at once, and the steps they make.
  struct Chunk {
    Value row, count, steps;
  };

  void lowerUnit(Value index) {
    int64_t blocksB = llvm::divideCeil(n, most.b), blocks = llvm::divideCeil(m, most.a) * blocksB;
    Unit u;
    u.group = e.divU(index, blocks);
    Value block = e.remU(index, blocks);
    u.m0 = e.mul(e.divU(block, blocksB), blockA);
    u.n0 = e.mul(e.remU(block, blocksB), blockB);
    u.mEnd = e.minS(e.add(u.m0, e.c(blockA)), e.c(m));
    u.nEnd = e.minS(e.add(u.n0, e.c(blockB)), e.c(n));
    findRows(u);
    e.when(e.less(u.firstRow, u.lastRow), [&] { multiply(u); }, [&] { clear(u); });
  }

  void findRows(Unit &u) {
    u.firstRow = e.c(0);
    if (!buffers.offsets) {
      u.lastRow = e.load(e.i64(), e.at(call, int64_t(offsetof(moec_call, num_tokens))), 8);
    } else {
      auto offset = [&](int64_t next) {
        return e.toI64(e.load(e.b.getI32Type(), e.at(*buffers.offsets, e.mul(e.add(u.group, e.c(next)), 4)), 4));
      };
      u.firstRow = offset(0), u.lastRow = offset(1);
    }
    if (!op.getFrozen())
      return;
    auto groups = op.getRoute() ? cast<moe::RouteType>(op.getRoute().getType()).getGroups() : 1;
    SmallVector<int32_t> flags(size_t(groups), 0);
    for (auto frozenGroups = *op.getFrozen(); int64_t g : frozenGroups)
      flags[size_t(g)] = 1;
    Value flag = e.toI64(e.load(e.b.getI32Type(), e.at(e.numberTable(flags, 0, 0), e.mul(u.group, 4)), 4));
    u.lastRow = e.select(e.less(e.c(0), flag), u.firstRow, u.lastRow);
  }

  void multiply(const Unit &u) {
    e.loop(u.firstRow, u.lastRow, chunkRows, [&](Value row) {
      Chunk chunk;
      chunk.row = row;
      chunk.count = e.minS(e.c(chunkRows), e.sub(u.lastRow, row));
      chunk.steps = dot ? e.ceilDiv(chunk.count, 2) : pairs ? e.mul(e.ceilDiv(chunk.count, 2), 2) : chunk.count;
      Value isFirst = e.less(row, e.add(u.firstRow, e.c(1)));
      Value isLast = e.less(u.lastRow, e.add(e.add(row, chunk.count), e.c(1)));
      auto packed = [&](Value all, Value column, Value first, int64_t width, int64_t bytes) {
        return e.at(all, e.mul(e.divU(e.sub(column, first), width), e.mul(chunk.steps, bytes)));
      };
      auto tileAt = [&](Value column) { return packed(packedA, column, u.m0, tileRows, stepBytes()); };
      auto panelAt = [&](Value column) { return packed(packedB, column, u.n0, panel, panel * 4); };
      pack(chunk, {buffers.a, strides.a, buffers.tokenA, u.m0, u.mEnd, m}, tileRows, 1, packedA);
      pack(chunk, {buffers.b, strides.b, buffers.tokenB, u.n0, u.nEnd, n}, panel, panelVectors, packedB);
      e.loop(u.m0, u.mEnd, tileRows, [&](Value outRow) {
        Value a = tileAt(outRow), whole = e.less(e.add(outRow, e.c(tileRows - 1)), u.mEnd);
        Value rowSums = e.at(sums, e.mul(e.divU(e.sub(outRow, u.m0), tileRows), panels * tileRows * panel * 4));
        e.loop(u.n0, u.nEnd, panel, [&](Value column) {
          Value tileSums = e.at(rowSums, e.mul(e.divU(e.sub(column, u.n0), panel), tileRows * panel * 4));
          Values acc = multiplyTile(a, panelAt(column), chunk.steps, isFirst, tileSums);
          auto keep = [&] {
            for (auto [i, v] : llvm::enumerate(acc))
              e.store(v, e.at(tileSums, int64_t(i) * lanes * 4), 16);
            e.when(isLast, [&] { store(u, outRow, column, tileSums); });
          };
          if (!fillsLines)
            return keep();
          Value atOnce = arith::AndIOp::create(e.b, e.loc, arith::AndIOp::create(e.b, e.loc, isLast, whole), linesOnly);
          e.when(atOnce, [&] { storeLines(u, outRow, column, acc); }, keep);
        });
      });
    });
  }

  // -- packing

  Value rowAddress(Value base, int64_t stride, const std::optional<Value> &token, Value row) {
    Value source = token ? e.toI64(e.load(e.b.getI32Type(), e.at(*token, e.mul(row, 4)), 4)) : row;
    return e.at(base, e.mul(source, stride));
  }

  // `lanes` elements from `column` on, zeros behind the last one of the row.
  Value loadColumns(Value address, Value column, int64_t columns) {
    Type vector = e.vec(element, lanes);
    Value from = e.at(address, e.mul(column, size()));
    Value copy = e.stack(64), left = e.sub(e.c(columns), column);
    auto branch = scf::IfOp::create(e.b, e.loc, TypeRange{vector}, e.less(left, e.c(lanes)), /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToStart(branch.thenBlock());
    e.store(e.constantI32(0, 16), copy, 64);
    e.loop(e.c(0), e.maxS(left, e.c(0)), 1, [&](Value i) {
      Value offset = e.mul(i, size());
      e.store(e.load(element, e.at(from, offset), unsigned(size())), e.at(copy, offset), unsigned(size()));
    });
    scf::YieldOp::create(e.b, e.loc, e.load(vector, copy, 64));
    e.b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(e.b, e.loc, e.load(vector, from, unsigned(size())));
    return branch.getResult(0);
  }

  Value zeroColumns() {
    auto type = e.vec(element, lanes);
    return arith::ConstantOp::create(e.b, e.loc, type, e.b.getZeroAttr(type));
  }

  Value interleave(Value even, Value odd) {
    SmallVector<int64_t> order;
    for (int64_t i = 0; i < lanes; ++i) {
      order.push_back(i);
      order.push_back(i + lanes);
    }
    Value both = vector::ShuffleOp::create(e.b, e.loc, even, odd, order);
    return vector::BitCastOp::create(e.b, e.loc, e.vec(e.b.getI32Type(), lanes), both);
  }

  // Rows of A or B. A unit takes their columns [first, last).
  struct Source {
    Value base;
    int64_t stride;
    std::optional<Value> token;
    Value first, last;
    int64_t columns; // of a row
  };

  // All rows of the chunk: for every `width` columns [step][vectors * lanes] words. A row is read once, from its begin
  // to its end.
  void pack(const Chunk &chunk, const Source &from, int64_t width, int64_t vectors, Value to) {
    int64_t bytes = vectors * lanes * 4; // of a step
    Value parts = e.ceilDiv(e.sub(from.last, from.first), width), partBytes = e.mul(chunk.steps, bytes);
    auto load = [&](Value address, Value part, int64_t v) {
      return loadColumns(address, e.add(e.add(from.first, e.mul(part, width)), e.c(v * lanes)), from.columns);
    };
    auto eachPart = [&](Value at, llvm::function_ref<void(Value part, Value place)> body) {
      e.loop(e.c(0), parts, 1, [&](Value part) { body(part, e.at(at, e.mul(part, partBytes))); });
    };
    auto address = [&](Value row) { return rowAddress(from.base, from.stride, from.token, e.add(chunk.row, row)); };
    if (!pairs) {
      e.loop(e.c(0), chunk.count, 1, [&](Value step) {
        Value row = address(step);
        eachPart(e.at(to, e.mul(step, bytes)), [&](Value part, Value place) {
          for (int64_t v = 0; v < vectors; ++v)
            e.store(load(row, part, v), e.at(place, v * lanes * 4), 16);
        });
      });
      return;
    }
    e.loop(e.c(0), e.ceilDiv(chunk.count, 2), 1, [&](Value pair) {
      Value row = e.mul(pair, 2), last = e.sub(chunk.count, e.c(1)), next = e.add(row, e.c(1));
      Value isThere = e.less(row, last), even = address(row), odd = address(e.minS(next, last));
      eachPart(e.at(to, e.mul(pair, dot ? bytes : 2 * bytes)), [&](Value part, Value place) {
        for (int64_t v = 0; v < vectors; ++v) {
          Value x = load(even, part, v), y = e.select(isThere, load(odd, part, v), zeroColumns());
          Value at = e.at(place, v * lanes * 4);
          if (dot) {
            e.store(interleave(x, y), at, 16);
            continue;
          }
          e.store(e.fromBf16(y), at, 16);
          e.store(e.fromBf16(x), e.at(at, bytes), 16);
        }
      });
    });
  }

  // -- multiplying

  Value halves(Value words) {
    return vector::BitCastOp::create(e.b, e.loc, e.vec(e.b.getBF16Type(), 2 * lanes), words);
  }

  Value multiplyAdd(Value a, Value b, Value acc) {
    if (!dot)
      return e.fma(a, b, acc);
    auto made =
        LLVM::CallIntrinsicOp::create(e.b, e.loc, e.vecF32(), e.b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"),
                                      ValueRange{acc, halves(b), halves(a)});
    return made.getResult(0);
  }

  // (isFirst ? 0 : sums) + A tile times B panel, [tileRows][panel] f32.
  Values multiplyTile(Value a, Value b, Value steps, Value isFirst, Value to) {
    SmallVector<Type> types(size_t(tileRows * panelVectors), e.vecF32());
    auto start = scf::IfOp::create(e.b, e.loc, types, isFirst, /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPointToStart(start.thenBlock());
      scf::YieldOp::create(e.b, e.loc, SmallVector<Value>(types.size(), e.constant(0, lanes)));
      e.b.setInsertionPointToStart(start.elseBlock());
      SmallVector<Value> saved;
      for (size_t i = 0; i < types.size(); ++i)
        saved.push_back(e.load(e.vecF32(), e.at(to, int64_t(i) * lanes * 4), 16));
      scf::YieldOp::create(e.b, e.loc, saved);
    }
    auto loop = scf::ForOp::create(e.b, e.loc, e.c(0), steps, e.c(1), start.getResults());
    {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPointToEnd(loop.getBody());
      SmallVector<Value> acc(loop.getRegionIterArgs());
      Type word = dot ? Type(e.b.getI32Type()) : e.f32();
      Value rowA = e.at(a, e.mul(loop.getInductionVar(), lanes * 4));
      Value rowB = e.at(b, e.mul(loop.getInductionVar(), panel * 4));
      SmallVector<Value> vectors;
      for (int64_t j = 0; j < panelVectors; ++j)
        vectors.push_back(e.load(e.vec(word, lanes), e.at(rowB, j * lanes * 4), 16));
      for (int64_t i = 0; i < tileRows; ++i) {
        Value x = e.splat(e.load(word, e.at(rowA, i * 4), 4), lanes);
        for (int64_t j = 0; j < panelVectors; ++j)
          acc[size_t(i * panelVectors + j)] = multiplyAdd(x, vectors[size_t(j)], acc[size_t(i * panelVectors + j)]);
      }
      scf::YieldOp::create(e.b, e.loc, acc);
    }
    return Values(loop.getResults());
  }

  // -- storing

  Value callWord(size_t offset) { return e.toI64(e.load(e.b.getI32Type(), e.at(call, int64_t(offset)), 4)); }
  // Calls `store(type of out, adds)` for what the call asks for.
  void asCallAsks(llvm::function_ref<void(Type, bool)> store) {
    if (!toCaller)
      return store(e.f32(), false);
    auto ofType = [&](Type type) {
      e.when(
          e.less(e.c(0), callWord(offsetof(moec_call, accumulate))), [&] { store(type, true); },
          [&] { store(type, false); });
    };
    Value isShort = e.less(e.c(0), callWord(offsetof(moec_call, gradient_dtype)));
    e.when(isShort, [&] { ofType(e.b.getBF16Type()); }, [&] { ofType(e.f32()); });
  }

  Value outAddress(const Unit &u, Value row, Value column, Type type) {
    Value at = e.add(e.mul(e.add(e.mul(u.group, m), row), n), column);
    return e.at(buffers.out, e.mul(at, type.isBF16() ? 2 : 4));
  }

  // out = value, or out += value, at `width` elements.
  void storeAt(Value to, Value value, Type type, bool adds, int64_t width) {
    unsigned bytes = type.isBF16() ? 2 : 4;
    Type loaded = width > 1 ? Type(e.vec(type, width)) : type;
    if (adds) {
      Value old = e.load(loaded, to, bytes);
      value = e.addF(type.isBF16() ? e.fromBf16(old) : old, value);
    }
    e.store(type.isBF16() ? e.toBf16(value) : value, to, bytes);
  }

  // Two vectors of f32 as one of bf16, in words.
  Value wholeLine(Value first, Value second) {
    Type words = e.vec(e.b.getI32Type(), lanes);
    if (e.isa.bf16Dot) {
      auto made = LLVM::CallIntrinsicOp::create(e.b, e.loc, e.vec(e.b.getBF16Type(), 2 * lanes),
                                                e.b.getStringAttr("llvm.x86.avx512bf16.cvtne2ps2bf16.512"),
                                                ValueRange{second, first});
      return vector::BitCastOp::create(e.b, e.loc, words, made.getResult(0));
    }
    SmallVector<int64_t> order;
    for (int64_t c = 0; c < 2 * lanes; ++c)
      order.push_back(c);
    auto bits = [&](Value v) { return e.bitcast(e.toBf16(v), e.vec(e.b.getI16Type(), lanes)); };
    return vector::BitCastOp::create(e.b, e.loc, words,
                                     vector::ShuffleOp::create(e.b, e.loc, bits(first), bits(second), order));
  }

  // A whole tile, past the caches.
  void storeLines(const Unit &u, Value row, Value column, const Values &acc) {
    auto past = [&](Value line, Value to) {
      LLVM::StoreOp::create(e.b, e.loc, line, to, 64, /*isVolatile=*/false, /*isNonTemporal=*/true);
    };
    auto ofType = [&](Type type) {
      for (int64_t i = 0; i < tileRows; ++i) {
        Value to = outAddress(u, e.add(row, e.c(i)), column, type);
        const Value *values = acc.data() + i * panelVectors;
        if (type.isF32()) {
          past(values[0], to);
          past(values[1], e.at(to, 64));
          continue;
        }
        past(wholeLine(values[0], values[1]), to);
      }
    };
    Value isShort = e.less(e.c(0), callWord(offsetof(moec_call, gradient_dtype)));
    e.when(isShort, [&] { ofType(e.b.getBF16Type()); }, [&] { ofType(e.f32()); });
  }

  void store(const Unit &u, Value row, Value column, Value from) {
    Value rows = e.minS(e.c(tileRows), e.sub(u.mEnd, row));
    asCallAsks([&](Type type, bool adds) { storeRows(u, row, rows, column, from, type, adds); });
  }

  void storeRows(const Unit &u, Value row, Value rows, Value column, Value from, Type type, bool adds) {
    e.loop(e.c(0), rows, 1, [&](Value i) {
      for (int64_t j = 0; j < panelVectors; ++j) {
        Value first = e.add(column, e.c(j * lanes)), left = e.sub(e.c(n), first);
        Value source = e.at(from, e.add(e.mul(i, panel * 4), e.c(j * lanes * 4)));
        Value to = outAddress(u, e.add(row, i), first, type);
        auto whole = [&] { storeAt(to, e.load(e.vecF32(), source, 16), type, adds, lanes); };
        if (n % panel == 0) {
          whole();
          continue;
        }
        e.when(
            e.less(left, e.c(lanes)),
            [&] {
              e.loop(e.c(0), e.maxS(left, e.c(0)), 1, [&](Value c) {
                storeAt(e.at(to, e.mul(c, type.isBF16() ? 2 : 4)), e.load(e.f32(), e.at(source, e.mul(c, 4)), 4), type,
                        adds, 1);
              });
            },
            whole);
      }
    });
  }

  // A group without rows.
  void clear(const Unit &u) {
    asCallAsks([&](Type type, bool adds) {
      if (adds)
        return;
      Value zero = arith::ConstantIntOp::create(e.b, e.loc, e.b.getI8Type(), 0);
      Value bytes = e.mul(e.sub(u.nEnd, u.n0), type.isBF16() ? 2 : 4);
      e.loop(u.m0, u.mEnd, 1, [&](Value row) {
        LLVM::MemsetOp::create(e.b, e.loc, outAddress(u, row, u.n0, type), zero, bytes, /*isVolatile=*/false);
      });
    });
  }

  Emitter e;
  moe::GroupedOuterOp op;
  OuterArgs<int64_t> strides;
  OuterBlocks most;
  OuterArgs<Value> buffers;
  bool toCaller, pairs = false, dot = false;
  // Rows of a panel are whole lines, and what is overwritten need not be read. Where the caller's buffer begins at a
  // line and the call does not add, which linesOnly says, they go past the caches.
  bool fillsLines = false;
  Value linesOnly;
  Type element;
  int64_t m = 0, n = 0, blockA = 0, blockB = 0, lanes = 0, tileRows = 0, panel = 0, maxSteps = 0, tiles = 0, panels = 0;
  Value call, packedA, packedB, sums;
};

} // namespace

int64_t lowerGroupedOuter(moe::GroupedOuterOp op, const RowStrides &strides, bool toCaller, const IsaFacts &isa,
                          ModuleOp module, StringRef symbol) {
  return OuterLowering(op, strides, toCaller, isa).run(module, symbol);
}

} // namespace moec
