// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What every CPU kernel shares: items, columns, rows, prefetch and epilogue. One pass over the body builds the
// function.

#include "codegen/cpu/CpuLowering.h"

#include "codegen/cpu/TransposedPanels.h"
#include "codegen/lower/KernelFunction.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cstddef>

using namespace mlir;

namespace moec {

Multiply multiplyOf(StringRef numeric, bool emulateTiles) {
  if (numeric == "fma")
    return Multiply::Vector;
  if (numeric == "dot")
    return Multiply::Dot;
  return emulateTiles ? Multiply::EmulatedTiles : Multiply::Tiles;
}

int64_t lowerKernel(tile::KernelOp kernel, const IsaFacts &isa, Multiply multiply, ModuleOp module) {
  if (multiply == Multiply::Vector)
    return makeCpuVector(kernel, isa)->run(module);
  if (multiply == Multiply::Dot)
    return makeCpuDot(kernel, isa)->run(module);
  return makeCpuAmx(kernel, isa, multiply == Multiply::EmulatedTiles)->run(module);
}

static int64_t elementBytes(tile::PanelsType type) { return type.getElement().isF32() ? 4 : 2; }

int64_t CpuLowering::stepBytes(tile::PanelsType type) { return integer(type.getBlockK()) * 32 * elementBytes(type); }

int64_t CpuLowering::run(ModuleOp module) {
  KernelFunction shell(e, module, kernel.getSymName());
  scratch = shell.scratch, first = shell.first, last = shell.last;
  accStore = e.stack(48 * 128);
  itemArray = e.load(e.ptr(), e.at(shell.call, int64_t(offsetof(moec_call, items))), 8);
  numItems = e.load(e.i64(), e.at(shell.call, int64_t(offsetof(moec_call, num_items))), 8);
  MatmulArgs<Value> arguments = kernel.args(), pointers = shell.bind(e, arguments);
  zipArgs(arguments, pointers, [&](Value argument, Value pointer) {
    if (argument)
      values[argument] = {pointer};
  });
  panels = pointers.b;
  rowToken = pointers.rowToken.value_or(Value());
  if (std::optional<ArrayRef<int64_t>> from = kernel.getTransposedPanels()) {
    transposed = {(*from)[0], (*from)[1], (*from)[2], (*from)[3], (*from)[4], (*from)[5]};
    auto type = cast<tile::PanelsType>(arguments.b.getType());
    transposedScratch = allocate(TransposedPanelEmitter::scratchBytes(shape("k"), elementBytes(type)));
  }
  lowerBlock(kernel.getBody().front());
  if (needsFence) // such stores are not ordered with the one that ends the step
    LLVM::CallIntrinsicOp::create(e.b, e.loc, e.b.getStringAttr("llvm.x86.sse.sfence"), ValueRange{});
  shell.finish(e);
  return scratchBytes;
}

// Scratch is handed out front to back, 256-byte steps; every kernel starts at the worker's base again.
Value CpuLowering::allocate(int64_t bytes) {
  Value base = e.at(scratch, scratchBytes);
  scratchBytes += (bytes + 255) / 256 * 256;
  return base;
}

bool CpuLowering::lowerOp(Operation *op) {
  bool known = true;
  TypeSwitch<Operation *>(op)
      .Case<tile::ForItemsOp>([&](auto o) { lowerItems(o); })
      .Case<tile::ForColumnsOp>([&](auto o) {
        e.loop(e.c(0), items[o.getRange()].panels, 1, [&](Value n) {
          values[o.getBody().getArgument(0)] = {n};
          lowerBlock(o.getBody().front());
        });
      })
      .Case<tile::ForRowsOp>([&](auto o) { lowerRows(o); })
      .Case<tile::ScratchOp>([&](auto o) {
        auto packed = dyn_cast<tile::PackedType>(o.getType());
        int64_t bytes = packed ? packedBytes(packed) : integer(cast<tile::SpillType>(o.getType()).getPanelM()) * 128;
        values[o.getResult()] = {allocate(bytes)};
      })
      .Case<tile::PackOp>([&](auto o) { pack(o); })
      .Case<tile::PrefetchOp>([&](auto o) { lowerPrefetch(o); })
      .Case<tile::ZeroOp>([&](auto o) { values[o.getResult()] = zero(block.rows); })
      .Case<tile::MmaOp>([&](auto o) {
        Accumulator acc = values[o.getAcc()];
        values[o.getResult()] = mma(o, acc);
      })
      .Case<tile::RestoreOp>([&](auto o) { lowerRestore(o); })
      .Case<tile::SaveOp>([&](auto o) {
        Value to = e.at(value(o.getSpill()), e.mul(block.first, 128));
        saveAccumulator(values[o.getAcc()], block.rows, to);
      })
      .Case<tile::EpilogueOp>([&](auto o) { lowerEpilogue(o); })
      .Default([&](Operation *) { known = false; });
  return known;
}

CpuLowering::Item CpuLowering::loadItem(Value index) {
  Value p = e.at(itemArray, e.mul(index, sizeof(moec_item)));
  auto field = [&](size_t offset) { return e.toI64(e.load(e.b.getI32Type(), e.at(p, int64_t(offset)), 4)); };
  Item item;
  item.group = field(offsetof(moec_item, group));
  item.row0 = field(offsetof(moec_item, row0));
  item.rows = field(offsetof(moec_item, rows));
  item.panel0 = field(offsetof(moec_item, panel0));
  item.panels = field(offsetof(moec_item, panels));
  if (transposed) {
    item.base = e.at(panels, e.mul(item.group, transposed->groupBytes));
    return item;
  }
  Value panel = e.add(e.mul(item.group, shape("panels")), item.panel0);
  item.base = e.at(panels, e.mul(panel, shape("panel_bytes")));
  return item;
}

void CpuLowering::lowerRows(tile::ForRowsOp op) {
  if (transposed)
    transposeFor(op);
  int64_t height = integer(cast<tile::PackedType>(op.getRange().getType()).getBlockM());
  auto walk = [&](Value from, Value to, int64_t rows, Value skipped) {
    e.loop(from, to, 1, [&](Value m) {
      values[op.getBody().getArgument(0)] = {m};
      Value first = e.mul(m, rows);
      block = {rows, skipped ? e.add(first, skipped) : first};
      lowerBlock(op.getBody().front());
    });
  };
  Value blocks = e.ceilDiv(current.rows, height);
  if (!op.getHeights() || op.getHeights()->getSExtValue() == 1)
    return walk(e.c(0), blocks, height, Value());
  // `full` blocks of `height` rows and the rest one lower: full*height + (blocks-full)*(height-1) = rows
  Value full = e.maxS(e.sub(current.rows, e.mul(blocks, height - 1)), e.c(0));
  walk(e.c(0), full, height, Value());
  walk(full, blocks, height - 1, full);
}

void CpuLowering::transposeFor(tile::ForRowsOp op) {
  op.getBody().walk([&](tile::MmaOp mma) {
    auto steps = cast<scf::ForOp>(mma->getParentOp());
    const Item &item = items[mma.getItem()];
    auto type = cast<tile::PanelsType>(mma.getB().getType());
    TransposedPanelEmitter emitter(e, *transposed, elementBytes(type), integer(type.getBlockK()));
    emitter.fill(item.base, e.add(item.panel0, e.toI64(value(mma.getColumn()))), e.toI64(value(steps.getLowerBound())),
                 e.toI64(value(steps.getUpperBound())), transposedScratch);
    return WalkResult::interrupt();
  });
}

void CpuLowering::lowerItems(tile::ForItemsOp op) {
  e.loop(first, last, 1, [&](Value i) {
    Item item = loadItem(i);
    Value following = e.minS(e.add(i, e.c(1)), e.sub(numItems, e.c(1)));
    Item next = loadItem(following);
    item.nextBase = next.base, item.nextPanel0 = next.panel0;
    items[op.getBody().getArgument(0)] = item;
    current = item;
    lowerBlock(op.getBody().front());
  });
}

Value CpuLowering::rowPointer(tile::RowsType type, Value base, Value row) {
  if (type.getAccess().getValue() == tile::Access::gathered)
    row = e.toI64(e.load(e.b.getI32Type(), e.at(rowToken, e.mul(row, 4)), 4));
  return e.at(base, e.mul(row, shape("a_stride")));
}

Value CpuLowering::stepAddress(tile::PanelsType type, const Item &item, Value column, Value step) {
  if (transposed)
    return e.at(transposedScratch, e.mul(e.toI64(step), stepBytes(type)));
  Value panel = e.at(item.base, e.mul(e.toI64(column), shape("panel_bytes")));
  return e.at(panel, e.mul(e.toI64(step), stepBytes(type)));
}

// The flat walk over an item counts steps q = column * k_steps + step. While block q / block is consumed, block
// q / block + 1 is fetched: step r of the block fetches lines [r*L, (r+1)*L) of each of its `streams` equal parts,
// L = lines of a step / streams. A row block m < share fetches its share of those L lines only.
// While a step of a column panel is multiplied, what the same step of the next one is made of is fetched, by the row
// blocks m < share in parts.
CpuLowering::Fetch CpuLowering::planTransposedFetch(tile::PrefetchOp op) {
  auto type = cast<tile::PanelsType>(op.getPanels().getType());
  const Item &item = items[op.getItem()];
  constexpr int64_t streams = 2, lines = 16; // of a stream: a tile
  int64_t own = (lines + op.getShare().getSExtValue() - 1) / op.getShare().getSExtValue(), share = lines / own;
  Value m = e.minS(e.toI64(value(op.getRow())), e.c(share - 1)), next = e.add(e.toI64(value(op.getColumn())), e.c(1));
  Value inside = e.less(next, item.panels);
  Value base = e.select(inside, item.base, item.nextBase);
  Value panel = e.select(inside, e.add(item.panel0, next), item.nextPanel0);
  TransposedPanelEmitter emitter(e, *transposed, elementBytes(type), integer(type.getBlockK()));
  Value from = e.at(emitter.source(base, panel, e.toI64(value(op.getStep()))), e.mul(m, own * 64));
  return {from, own * streams, streams, emitter.distance(), 2};
}

CpuLowering::Fetch CpuLowering::planFetch(tile::PrefetchOp op) {
  if (transposed)
    return planTransposedFetch(op);
  auto type = cast<tile::PanelsType>(op.getPanels().getType());
  const Item &item = items[op.getItem()];
  int64_t bytes = stepBytes(type), steps = integer(type.getKSteps());
  int64_t block = op.getBlock().getSExtValue(), share = op.getShare().getSExtValue();
  int64_t streams = std::min<int64_t>(op.getStreams().getSExtValue(), bytes / 64);
  int64_t lines = bytes / 64 / streams, own = (lines + share - 1) / share;
  share = (lines + own - 1) / own; // row blocks after these have nothing left to fetch
  Value m = e.toI64(value(op.getRow())), step = e.toI64(value(op.getStep()));
  Value q = e.add(e.mul(e.toI64(value(op.getColumn())), steps), step);
  Value next = e.mul(e.add(e.divU(q, block), e.c(1)), block), r = e.remU(q, block);
  Value total = e.mul(item.panels, steps);
  Value inside = e.less(next, total);
  Value base = e.select(inside, item.base, item.nextBase);
  Value start = e.select(inside, next, e.c(0));
  Value offset = e.add(e.mul(start, bytes), e.mul(r, lines * 64));
  Value p = e.at(base, share > 1 ? e.add(offset, e.mul(m, own * 64)) : offset);
  if (share > 1) {
    Value here = e.at(item.base, e.mul(e.toI64(value(op.getColumn())), shape("panel_bytes")));
    p = e.select(e.less(m, e.c(share)), p, here);
  }
  int32_t locality = op.getHint() == tile::Hint::t0 ? 3 : op.getHint() == tile::Hint::t1 ? 2 : 0;
  return {p, own * streams, streams, block * bytes / streams, locality};
}

void CpuLowering::prefetchLine(const Fetch &fetch, Value line, int64_t ahead) {
  Value offset;
  if (fetch.streams == 1) {
    offset = e.mul(e.add(line, e.c(ahead)), 64);
  } else {
    Value flat = e.add(line, e.c(ahead));
    offset = e.add(e.mul(e.remU(flat, fetch.streams), fetch.streamBytes), e.mul(e.divU(flat, fetch.streams), 64));
  }
  LLVM::Prefetch::create(e.b, e.loc, e.at(fetch.base, offset), 0, fetch.locality, 1);
}

void CpuLowering::lowerPrefetch(tile::PrefetchOp op) {
  bool ofFloats = cast<tile::PanelsType>(op.getPanels().getType()).getElement().isF32();
  if (op.getHint() == tile::Hint::none || prefetchesAmong(op) || (transposed && ofFloats))
    return;
  OpBuilder::InsertionGuard guard(e.b);
  if (prefetchesFirst())
    e.b.setInsertionPointToStart(e.b.getInsertionBlock());
  Fetch fetch = planFetch(op);
  for (int64_t line = 0; line < fetch.lines; ++line) {
    int64_t offset = line % fetch.streams * fetch.streamBytes + line / fetch.streams * 64;
    LLVM::Prefetch::create(e.b, e.loc, e.at(fetch.base, offset), 0, fetch.locality, 1);
  }
}

void CpuLowering::lowerRestore(tile::RestoreOp op) {
  int64_t rows = block.rows;
  Value from = e.at(value(op.getSpill()), e.mul(block.first, 128));
  Value isFirst = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::eq, e.toI64(value(op.getChunk())), e.c(0));
  auto within = [&](llvm::function_ref<Accumulator()> make) {
    return [&, make](OpBuilder &builder, Location) {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPoint(builder.getInsertionBlock(), builder.getInsertionPoint());
      scf::YieldOp::create(e.b, e.loc, make());
    };
  };
  auto zeros = [&] { return zero(rows); };
  auto saved = [&] { return loadAccumulator(rows, from); };
  auto branch = scf::IfOp::create(e.b, e.loc, isFirst, within(zeros), within(saved));
  values[op.getResult()] = Accumulator(branch.getResults());
}

void CpuLowering::forPackedRows(tile::PackedType type, llvm::function_ref<void(Value, Value, Value)> present,
                                llvm::function_ref<void(Value, Value)> absent) {
  int64_t block = integer(type.getBlockM());
  e.loop(e.c(0), e.ceilDiv(current.rows, block), 1, [&](Value m) {
    e.loop(e.c(0), e.c(block), 1, [&](Value i) {
      Value row = e.add(e.mul(m, block), i);
      e.when(e.less(row, current.rows), [&] { present(m, i, row); }, [&] { absent(m, i); });
    });
  });
}

SmallVector<Value> CpuLowering::operandValues(ValueRange operands, const Item &item, Value row, Value column,
                                              int64_t lanes) {
  SmallVector<Value> out;
  for (Value operand : operands) {
    auto type = cast<tile::OperandType>(operand.getType());
    Value base = value(operand);
    StringRef kind = type.getKind().getValue();
    int64_t size = type.getElement().getIntOrFloatBitWidth() / 8, stride = integer(type.getStride());
    Type vector = lanes == 1 ? type.getElement() : Type(e.vec(type.getElement(), lanes));
    if (kind == "col" || kind == "elem") {
      Value outer = kind == "col" ? item.group : row;
      Value p = e.at(base, e.add(e.mul(outer, stride), e.mul(column, size)));
      // parameters are padded to whole vectors; a row of a buffer ends at column N
      bool tail = kind == "elem" && lanes > 1 && shape("n") % lanes;
      out.push_back(tail ? loadTail(type.getElement(), p, column, lanes) : e.load(vector, p, unsigned(size)));
      continue;
    }
    Value p = kind == "row" ? e.at(base, e.mul(row, size)) : base;
    Value scalar = e.load(type.getElement(), p, unsigned(size));
    out.push_back(lanes == 1 ? scalar : e.splat(scalar, lanes));
  }
  return out;
}

// A vector of `lanes` elements at `p`; reads only those below column N.
Value CpuLowering::loadTail(Type element, Value p, Value column, int64_t lanes) {
  int64_t size = element.getIntOrFloatBitWidth() / 8;
  Value copy = e.stack(64), left = e.sub(e.c(shape("n")), column);
  Type vector = e.vec(element, lanes);
  e.when(
      e.less(left, e.c(lanes)),
      [&] {
        e.store(e.constantI32(0, 16), copy, 64);
        e.loop(e.c(0), left, 1, [&](Value i) {
          Value offset = e.mul(i, size);
          e.store(e.load(element, e.at(p, offset), unsigned(size)), e.at(copy, offset), unsigned(size));
        });
      },
      [&] { e.store(e.load(vector, p, unsigned(size)), copy, 64); });
  return e.load(vector, copy, 64);
}

void CpuLowering::lowerEpilogue(tile::EpilogueOp op) {
  saveAccumulator(values[op.getAcc()], block.rows, accStore);
  const Item &item = items[op.getItem()];
  Value rows = e.minS(e.c(block.rows), e.sub(item.rows, block.first));
  Value row0 = e.add(item.row0, block.first);
  auto store = [&](bool pastCaches) {
    e.loop(e.c(0), rows, 1,
           [&](Value r) { epilogueColumns(op, e.add(row0, r), e.at(accStore, e.mul(r, 128)), pastCaches); });
  };
  if (op.getOutHint().value_or(tile::Hint::none) != tile::Hint::nta)
    return store(false);
  // Legality (S7) makes rows and panels whole lines; where the caller's buffer begins is known here only.
  Value base = LLVM::PtrToIntOp::create(e.b, e.loc, e.i64(), value(op.getOut()));
  needsFence = true;
  e.when(e.less(e.remU(base, 64), e.c(1)), [&] { store(true); }, [&] { store(false); });
}

// One row of a block: 16 columns at a time when two parts meet, 32 otherwise, in vectors.
void CpuLowering::epilogueColumns(tile::EpilogueOp op, Value row, Value accRow, bool pastCaches) {
  const Item &item = items[op.getItem()];
  int64_t width = columnsPerPanel(), lanes = e.isa.lanes;
  Value column0 = e.mul(e.add(item.panel0, e.toI64(value(op.getColumn()))), width);
  Value outRow = e.at(value(op.getOut()), e.mul(row, shape("out_stride")));
  for (int64_t c = 0; c < width; c += lanes) {
    Value column = e.add(column0, e.c(c));
    auto emit = [&] {
      SmallVector<Value> inputs;
      for (int64_t p = 0; p < parts(); ++p)
        inputs.push_back(e.load(e.vecF32(), e.at(accRow, (p * 16 + c) * 4), 16));
      llvm::append_range(inputs, operandValues(op.getExtra(), item, row, column, lanes));
      Value result = op.getBody().empty() ? inputs[0] : e.inlineVectorised(op.getBody(), inputs, lanes)[0];
      auto outType = cast<tile::RowsType>(op.getOut().getType()).getElement();
      if (outType.isBF16() && cast<VectorType>(result.getType()).getElementType().isF32())
        result = e.toBf16(result);
      storeColumns(result, outRow, column, pastCaches);
    };
    if (shape("n") % width)
      e.when(e.less(column, e.c(shape("n"))), emit);
    else
      emit();
  }
}

// A vector that reaches past column N goes through the stack, element by element.
void CpuLowering::storeColumns(Value result, Value outRow, Value column, bool pastCaches) {
  auto type = cast<VectorType>(result.getType());
  Type element = type.getElementType();
  int64_t size = element.isF32() ? 4 : 2, lanes = type.getNumElements();
  Value to = e.at(outRow, e.mul(column, size));
  if (pastCaches) {
    LLVM::StoreOp::create(e.b, e.loc, result, to, unsigned(lanes * size), /*isVolatile=*/false, /*isNonTemporal=*/true);
    return;
  }
  if (shape("n") % lanes == 0) {
    e.store(result, to, unsigned(size));
    return;
  }
  Value left = e.sub(e.c(shape("n")), column);
  e.when(
      e.less(left, e.c(lanes)),
      [&] {
        Value tail = e.stack(64);
        e.store(result, tail, 64);
        e.loop(e.c(0), left, 1, [&](Value i) {
          Value offset = e.mul(i, size);
          e.store(e.load(element, e.at(tail, offset), unsigned(size)), e.at(to, offset), unsigned(size));
        });
      },
      [&] { e.store(result, to, unsigned(size)); });
}

} // namespace moec
