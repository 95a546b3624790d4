// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The AMX family: accumulators are pairs of 16-column tiles, one pair per 16 rows of a block.
//
// One function uses one set of tile shapes: blocks under 16 rows configure tiles of that many rows, larger ones are
// multiples of 16. Tiles come from LLVM's register allocation through the *.internal intrinsics on x86_amx values.

#include "codegen/cpu/CpuLowering.h"

using namespace mlir;

namespace moec {
namespace {

class CpuAmx final : public CpuLowering {
public:
  CpuAmx(tile::KernelOp kernel, const IsaFacts &isa, bool emulated) : CpuLowering(kernel, isa), emulated(emulated) {}

private:
  Type tileType() {
    return emulated ? Type(e.vec(e.b.getI32Type(), 256)) : LLVM::LLVMX86AMXType::get(e.b.getContext());
  }
  Value i16(int64_t v) { return arith::ConstantIntOp::create(e.b, e.loc, e.b.getI16Type(), v); }
  Value intrinsic(StringRef name, ValueRange operands) {
    auto op = LLVM::CallIntrinsicOp::create(e.b, e.loc, tileType(), e.b.getStringAttr(name), operands);
    return op.getResult(0);
  }
  static int64_t rowTiles(int64_t rows) { return (rows + 15) / 16; }
  static int64_t tileRows(int64_t rows) { return std::min<int64_t>(rows, 16); }

  // -- the four tile instructions, or calls that do the same (codegen/emulate/AmxTiles.h)
  Value zeroTile(int64_t rows) {
    if (emulated)
      return e.constantI32(0, 256);
    return intrinsic("llvm.x86.tilezero.internal", {i16(rows), i16(64)});
  }
  Value loadTile(int64_t rows, Value address, int64_t stride, bool nonTemporal = false) {
    if (emulated) {
      Value tile = slot(0);
      call("moec_emulate_tile_load", {tile, address, e.c(stride), e.c(rows)});
      return e.load(tileType(), tile, 64);
    }
    StringRef name = nonTemporal ? "llvm.x86.tileloaddt164.internal" : "llvm.x86.tileloadd64.internal";
    return intrinsic(name, {i16(rows), i16(64), address, e.c(stride)});
  }
  void storeTile(int64_t rows, Value address, int64_t stride, Value tile) {
    if (emulated) {
      e.store(tile, slot(0), 64);
      call("moec_emulate_tile_store", {slot(0), address, e.c(stride), e.c(rows)});
      return;
    }
    SmallVector<Value> operands = {i16(rows), i16(64), address, e.c(stride), tile};
    LLVM::CallIntrinsicOp::create(e.b, e.loc, e.b.getStringAttr("llvm.x86.tilestored64.internal"), operands);
  }
  Value product(int64_t rows, Value acc, Value a, Value b) {
    if (!emulated)
      return intrinsic("llvm.x86.tdpbf16ps.internal", {i16(rows), i16(64), i16(64), acc, a, b});
    e.store(acc, slot(0), 64);
    e.store(a, slot(1), 64);
    e.store(b, slot(2), 64);
    call("moec_emulate_tile_product", {slot(0), slot(1), slot(2), e.c(rows)});
    return e.load(tileType(), slot(0), 64);
  }
  Value slot(unsigned i) {
    if (!slots)
      slots = e.stack(3 * 1024);
    return e.at(slots, int64_t(i) * 1024);
  }
  void call(StringRef name, ValueRange operands) {
    auto module = e.function->getParentOfType<ModuleOp>();
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
    if (!function) {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPointToStart(module.getBody());
      auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(e.b.getContext()),
                                              SmallVector<Type>(ValueRange(operands).getTypes()));
      function = LLVM::LLVMFuncOp::create(e.b, e.loc, name, type);
    }
    LLVM::CallOp::create(e.b, e.loc, function, operands);
  }

  // [block][k_step][row tile][row][32] bf16
  int64_t stepBytesOfA(tile::PackedType type) {
    int64_t rows = integer(type.getBlockM());
    return rowTiles(rows) * tileRows(rows) * 64;
  }
  int64_t blockBytes(tile::PackedType type) { return stepBytesOfA(type) * integer(type.getKSteps()); }
  int64_t packedBytes(tile::PackedType type) override {
    return blockBytes(type) * (integer(type.getPanelM()) / integer(type.getBlockM()));
  }

  Accumulator zero(int64_t rows) override {
    Accumulator acc;
    for (int64_t i = 0; i < 2 * rowTiles(rows); ++i)
      acc.push_back(zeroTile(tileRows(rows)));
    return acc;
  }
  void saveAccumulator(const Accumulator &acc, int64_t rows, Value to) override {
    for (auto [i, tile] : llvm::enumerate(acc))
      storeTile(tileRows(rows), e.at(to, int64_t(i / 2) * 16 * 128 + int64_t(i % 2) * 64), 128, tile);
  }
  Accumulator loadAccumulator(int64_t rows, Value from) override {
    Accumulator acc;
    for (int64_t i = 0; i < 2 * rowTiles(rows); ++i)
      acc.push_back(loadTile(tileRows(rows), e.at(from, i / 2 * 16 * 128 + i % 2 * 64), 128));
    return acc;
  }
  Accumulator mma(tile::MmaOp op, const Accumulator &acc) override;
  void pack(tile::PackOp op) override;
  void packRow(tile::PackOp op, Value from, Value to, Value row);

  bool emulated;
  Value slots; // three tiles on the stack, emulation only
};

// Loads come before products: measured 3-19 % faster than interleaved for two row tiles. Six accumulators leave two
// registers, so three row tiles load A twice, once per column tile.
CpuLowering::Accumulator CpuAmx::mma(tile::MmaOp op, const Accumulator &acc) {
  auto a = cast<tile::PackedType>(op.getA().getType());
  auto b = cast<tile::PanelsType>(op.getB().getType());
  int64_t rows = tileRows(integer(a.getBlockM())), count = rowTiles(integer(a.getBlockM()));
  Value pa = e.at(value(op.getA()), e.mul(e.toI64(value(op.getRow())), blockBytes(a)));
  pa = e.at(pa, e.mul(e.toI64(value(op.getStep())), stepBytesOfA(a)));
  Value pb = stepAddress(b, items[op.getItem()], value(op.getColumn()), value(op.getStep()));
  bool nonTemporal = op.getAHint() == tile::Hint::nta;
  auto loadA = [&](int64_t i) { return loadTile(rows, e.at(pa, i * 1024), 64, nonTemporal); };
  auto loadB = [&](int64_t j) { return loadTile(16, e.at(pb, j * 1024), 64); };
  Accumulator out(acc);
  if (count <= 2) {
    SmallVector<Value> at;
    for (int64_t i = 0; i < count; ++i)
      at.push_back(loadA(i));
    Value b0 = loadB(0), b1 = loadB(1);
    for (int64_t i = 0; i < count; ++i) {
      out[2 * i] = product(rows, acc[2 * i], at[i], b0);
      out[2 * i + 1] = product(rows, acc[2 * i + 1], at[i], b1);
    }
    return out;
  }
  for (int64_t j = 0; j < 2; ++j) {
    Value bt = loadB(j);
    for (int64_t i = 0; i < count; ++i)
      out[2 * i + j] = product(rows, acc[2 * i + j], loadA(i), bt);
  }
  return out;
}

void CpuAmx::pack(tile::PackOp op) {
  auto type = cast<tile::PackedType>(op.getDest().getType());
  auto source = cast<tile::RowsType>(op.getSource().getType());
  int64_t step = stepBytesOfA(type), steps = integer(type.getKSteps());
  Value base = value(op.getDest());
  auto rowOf = [&](Value m, Value i) {
    Value tile = e.add(e.mul(e.divU(i, 16), 1024), e.mul(e.remU(i, 16), 64));
    return e.at(base, e.add(e.mul(m, blockBytes(type)), tile));
  };
  forPackedRows(
      type,
      [&](Value m, Value i, Value row) {
        Value from = rowPointer(source, value(op.getSource()), e.add(current.row0, row));
        packRow(op, from, rowOf(m, i), e.add(current.row0, row));
      },
      [&](Value m, Value i) {
        Value zeros = e.constantI32(0, 16), to = rowOf(m, i);
        e.loop(e.c(0), e.c(steps), 1, [&](Value s) { e.store(zeros, e.at(to, e.mul(s, step)), 64); });
      });
}

// 32 elements of a row at a time; the depth past K is zero.
void CpuAmx::packRow(tile::PackOp op, Value from, Value to, Value row) {
  auto type = cast<tile::PackedType>(op.getDest().getType());
  int64_t step = stepBytesOfA(type), k = shape("k"), whole = k / 32, rest = k % 32;
  auto convert = [&](Value source, Value target, Value column) {
    if (op.getPrologue().empty()) {
      e.store(e.load(e.vec(e.b.getI32Type(), 16), source, 2), target, 64);
      return;
    }
    for (int64_t half = 0; half < 2; ++half) {
      Value x = e.load(e.vec(e.b.getBF16Type(), 16), e.at(source, half * 32), 2);
      SmallVector<Value> inputs = {x};
      llvm::append_range(inputs, operandValues(op.getExtra(), current, row, e.add(column, e.c(half * 16)), 16));
      e.store(e.inlineVectorised(op.getPrologue(), inputs, 16)[0], e.at(target, half * 32), 32);
    }
  };
  e.loop(e.c(0), e.c(whole), 1,
         [&](Value s) { convert(e.at(from, e.mul(s, 64)), e.at(to, e.mul(s, step)), e.mul(s, 32)); });
  if (!rest)
    return;
  Value tail = e.stack(64), target = e.at(to, whole * step);
  e.store(e.constantI32(0, 16), tail, 64);
  e.copy(tail, e.at(from, whole * 64), rest * 2);
  convert(tail, target, e.c(whole * 32));
  if (op.getPrologue().empty())
    return;
  // what the prologue made of the zeros past K (0 * Inf) must not reach the product
  e.copy(tail, target, rest * 2);
  e.store(e.load(e.vec(e.b.getI32Type(), 16), tail, 64), target, 64);
}

} // namespace

std::unique_ptr<CpuLowering> makeCpuAmx(tile::KernelOp kernel, const IsaFacts &isa, bool emulated) {
  return std::make_unique<CpuAmx>(kernel, isa, emulated);
}

} // namespace moec
