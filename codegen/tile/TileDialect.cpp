// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text forms and verifiers of the tile dialect.

#include "codegen/tile/TileDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "codegen/tile/TileOpsDialect.cpp.inc"
#include "codegen/tile/TileOpsEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "codegen/tile/TileOpsAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "codegen/tile/TileOpsTypes.cpp.inc"
#define GET_OP_CLASSES
#include "codegen/tile/TileOps.cpp.inc"

using namespace mlir;

namespace moec::tile {

void TileDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "codegen/tile/TileOpsAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "codegen/tile/TileOpsTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "codegen/tile/TileOps.cpp.inc"
      >();
}

// A body's `tile.end` is implied in text.
static void ensureEnd(Region &region, OpAsmParser &parser, Location loc) {
  if (region.empty())
    region.emplaceBlock();
  Block &block = region.back();
  if (!block.empty() && block.back().hasTrait<OpTrait::IsTerminator>())
    return;
  OpBuilder builder(parser.getContext());
  builder.setInsertionPointToEnd(&block);
  EndOp::create(builder, loc);
}

// ---- kernel: tile.kernel @name for(target) (%a: !A, ...) { ... } -------------------------------------------------

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  std::string target;
  SmallVector<OpAsmParser::Argument> args;
  StringRef word;
  Region *body = result.addRegion();
  SMLoc where;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes) || parser.parseKeyword("for") ||
      parser.parseLParen() || parser.getCurrentLocation(&where) || parser.parseKeyword(&word))
    return failure();
  target = word.str();
  if (parser.parseRParen() || parser.parseArgumentList(args, OpAsmParser::Delimiter::Paren, /*allowType=*/true) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes) || parser.parseRegion(*body, args))
    return failure();
  result.addAttribute("target", parser.getBuilder().getStringAttr(target));
  ensureEnd(*body, parser, result.location);
  return success();
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << " for(" << getTarget() << ") (";
  llvm::interleaveComma(getBody().getArguments(), printer,
                        [&](BlockArgument argument) { printer.printRegionArgument(argument); });
  printer << ")";
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {"sym_name", "target"});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/false);
}

MatmulArgs<Value> KernelOp::args() {
  Block::BlockArgListType arguments = getBody().getArguments();
  MatmulArgs<Value> args;
  args.a = arguments[0], args.b = arguments[1], args.out = arguments[2];
  if (cast<RowsType>(args.a.getType()).getAccess().getValue() == Access::gathered)
    args.rowToken = Value();
  size_t ofPrologue = 0; // instantiating gives every op that reads A all of them
  getBody().walk([&](Operation *op) {
    TypeSwitch<Operation *>(op).Case<PackOp, CopyOp, FillOp>(
        [&](auto reader) { ofPrologue = reader.getExtra().size(); });
  });
  auto operands = arguments.drop_front(4);
  ofPrologue = std::min(ofPrologue, operands.size());
  args.prologue.assign(operands.begin(), operands.begin() + ofPrologue);
  args.epilogue.assign(operands.begin() + ofPrologue, operands.end());
  return args;
}

MatmulMode KernelOp::mode() {
  MatmulMode mode = {getRouted(), getTf32(), getUnordered(), getWeighted(), getJoined(), getTransposed()};
  mode.splitRows = getSplitRows() ? getSplitRows()->getSExtValue() : 0;
  return mode;
}

void KernelOp::setMode(const MatmulMode &mode) {
  setRouted(mode.routed);
  setTf32(mode.tf32);
  setUnordered(mode.unordered);
  setWeighted(mode.weighted);
  setJoined(mode.joined);
  setTransposed(mode.transposed);
  if (mode.splitRows)
    setSplitRowsAttr(Builder(getContext()).getIndexAttr(mode.splitRows));
}

// C5 and C6.
static LogicalResult verifyStage(KernelOp kernel, bool cpu) {
  unsigned present = 0;
  for (StringRef name : {"n", "k", "parts", "panels", "panel_bytes", "a_stride", "out_stride"})
    present += kernel->hasAttr(name);
  bool positive = present == 7;
  for (StringRef name : {"n", "k", "parts"})
    positive = positive && kernel.shape(name) > 0;
  if (present && !positive)
    return kernel.emitOpError("C5: n, k, parts, panels, panel_bytes, a_stride and out_stride must come together, n, k "
                              "and parts positive");
  MatmulMode mode = kernel.mode();
  bool cuda = mode.tf32 || mode.unordered || mode.weighted || mode.joined || mode.transposed;
  if ((cpu && cuda) || (mode.weighted && !mode.unordered) || ((mode.unordered || mode.joined) && !mode.routed) ||
      (mode.splitRows && mode.routed))
    return kernel.emitOpError(
        "C6: tf32, unordered, weighted, joined and transposed must be of CUDA kernels, weighted of "
        "unordered ones, unordered and joined of routed ones, split_rows of kernels without a "
        "route");
  return success();
}

LogicalResult KernelOp::verify() {
  StringRef target = getTarget();
  bool cpu = target == "cpu";
  if (!cpu && target != "sm_80" && target != "sm_90a")
    return emitOpError("C3: target must be cpu, sm_80 or sm_90a, found ") << target;
  TypeRange types = getBody().getArgumentTypes();
  bool rightB = types.size() >= 4 && (cpu ? isa<PanelsType>(types[1]) : isa<MatricesType>(types[1]));
  if (!rightB || !isa<RowsType>(types[0]) || !isa<RowsType>(types[2]) || !isa<ItemsType>(types[3]))
    return emitOpError("C1: arguments must begin with !tile.rows, ")
           << (cpu ? "!tile.panels" : "!tile.matrices") << ", !tile.rows, !tile.items";
  unsigned first = 0, last = 0;
  getBody().walk([&](Operation *op) {
    first += cpu ? isa<PackOp>(op) : isa<RingOp>(op);
    last += cpu ? isa<EpilogueOp>(op) : isa<StoreOp>(op);
  });
  if (first != 1 || last != 1)
    return emitOpError("C2: a kernel has one ")
           << (cpu ? "tile.pack and one tile.epilogue" : "tile.ring and one tile.store") << ", found " << first
           << " and " << last;
  int64_t early = getEarly() ? getEarly()->getSExtValue() : 1;
  bool roles = !getBody().getOps<RolesOp>().empty();
  if (early < 1 || early > 3 || (early == 2 && !roles) || (cpu && getEarly()))
    return emitOpError("C4: early must be 1..3 of a CUDA kernel, and 2 only with tile.roles, found ") << early;
  return verifyStage(*this, cpu);
}

// ---- loops: tile.for_x %index in %range { ... } -----------------------------------------------------------------

static ParseResult parseLoop(OpAsmParser &parser, OperationState &result, Type inductionType, StringRef clause = "") {
  OpAsmParser::Argument induction;
  OpAsmParser::UnresolvedOperand range;
  Type rangeType;
  Region *body = result.addRegion();
  if (parser.parseArgument(induction) || parser.parseKeyword("in") || parser.parseOperand(range))
    return failure();
  IntegerAttr number;
  if (!clause.empty() && succeeded(parser.parseOptionalKeyword(clause)) &&
      parser.parseAttribute(number, parser.getBuilder().getIndexType(), clause, result.attributes))
    return failure();
  if (parser.parseColonType(rangeType) || parser.resolveOperand(range, rangeType, result.operands))
    return failure();
  induction.type = inductionType;
  if (parser.parseRegion(*body, {induction}) || parser.parseOptionalAttrDict(result.attributes))
    return failure();
  ensureEnd(*body, parser, result.location);
  return success();
}

static void printLoop(OpAsmPrinter &printer, Operation *op, StringRef clause = "") {
  printer << ' ' << op->getRegion(0).getArgument(0) << " in " << op->getOperand(0);
  SmallVector<StringRef> printed;
  if (!clause.empty())
    if (auto number = op->getAttrOfType<IntegerAttr>(clause)) {
      printer << ' ' << clause << ' ' << number.getInt();
      printed.push_back(clause);
    }
  printer << " : " << op->getOperand(0).getType() << ' ';
  printer.printRegion(op->getRegion(0), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/false);
  printer.printOptionalAttrDict(op->getAttrs(), printed);
}

ParseResult ForItemsOp::parse(OpAsmParser &parser, OperationState &result) {
  return parseLoop(parser, result, ItemType::get(parser.getContext()));
}
void ForItemsOp::print(OpAsmPrinter &printer) { printLoop(printer, *this); }
ParseResult ForColumnsOp::parse(OpAsmParser &parser, OperationState &result) {
  return parseLoop(parser, result, parser.getBuilder().getIndexType());
}
void ForColumnsOp::print(OpAsmPrinter &printer) { printLoop(printer, *this); }
ParseResult ForRowsOp::parse(OpAsmParser &parser, OperationState &result) {
  return parseLoop(parser, result, parser.getBuilder().getIndexType(), "heights");
}
void ForRowsOp::print(OpAsmPrinter &printer) { printLoop(printer, *this, "heights"); }
LogicalResult ForRowsOp::verify() {
  int64_t heights = getHeights() ? getHeights()->getSExtValue() : 1;
  int64_t block = cast<PackedType>(getRange().getType()).getBlockM().getInt();
  if (heights != 1 && (heights != 2 || block < 2))
    return emitOpError("C1: heights is ")
           << heights << " for blocks of " << block << " rows, expected 1" << (block < 2 ? "" : " or 2");
  return success();
}

// tile.for_tiles %item, %column in %items : !tile.items { ... }
ParseResult ForTilesOp::parse(OpAsmParser &parser, OperationState &result) {
  OpAsmParser::Argument item, column;
  OpAsmParser::UnresolvedOperand range;
  Type rangeType;
  Region *body = result.addRegion();
  if (parser.parseArgument(item) || parser.parseComma() || parser.parseArgument(column) || parser.parseKeyword("in") ||
      parser.parseOperand(range))
    return failure();
  IntegerAttr splits;
  if (succeeded(parser.parseOptionalKeyword("splits")) && parser.parseAttribute(splits, "splits", result.attributes))
    return failure();
  if (parser.parseColonType(rangeType) || parser.resolveOperand(range, rangeType, result.operands))
    return failure();
  item.type = ItemType::get(parser.getContext());
  column.type = parser.getBuilder().getIndexType();
  if (parser.parseRegion(*body, {item, column}) || parser.parseOptionalAttrDict(result.attributes))
    return failure();
  ensureEnd(*body, parser, result.location);
  return success();
}
void ForTilesOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getBody().getArgument(0) << ", " << getBody().getArgument(1) << " in " << getRange();
  if (getSplitsAttr())
    printer << " splits " << getSplitsAttr();
  printer << " : " << getRange().getType() << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/false);
  printer.printOptionalAttrDict((*this)->getAttrs(), {"splits"});
}

// ---- verifiers ---------------------------------------------------------------------------------------------------

LogicalResult ScratchOp::verify() {
  if (!isa<PackedType, SpillType>(getType()))
    return emitOpError("C1: result must be !tile.packed or !tile.spill, found ") << getType();
  return success();
}

LogicalResult PackOp::verify() {
  auto type = cast<PackedType>(getDest().getType());
  int64_t panel = type.getPanelM().getInt(), block = type.getBlockM().getInt();
  if (block < 1 || panel < 1 || panel % block)
    return emitOpError("C1: panel_m (") << panel << ") must be a positive multiple of block_m (" << block << ")";
  return success();
}

LogicalResult PrefetchOp::verify() {
  auto type = cast<PanelsType>(getPanels().getType());
  int64_t block = getBlock().getSExtValue(), steps = type.getKSteps().getInt(), streams = getStreams().getSExtValue();
  if (block < 1 || (steps % block && block % steps))
    return emitOpError("C1: block (") << block << ") must divide k_steps (" << steps << ") or be a multiple of it";
  if (streams != 1 && streams != 2 && streams != 4 && streams != 8 && streams != 16)
    return emitOpError("C2: streams must be 1, 2, 4, 8 or 16, found ") << streams;
  return success();
}

LogicalResult MmaOp::verify() {
  auto acc = cast<AccType>(getAcc().getType());
  auto a = cast<PackedType>(getA().getType());
  auto b = cast<PanelsType>(getB().getType());
  if (acc.getRows() != a.getBlockM())
    return emitOpError("C1: accumulator has ")
           << acc.getRows().getInt() << " rows, the packed operand's blocks " << a.getBlockM().getInt();
  if (a.getKSteps() != b.getKSteps() || a.getBlockK() != b.getBlockK())
    return emitOpError("C2: packed operand has ")
           << a.getKSteps().getInt() << " steps of " << a.getBlockK().getInt() << ", panels " << b.getKSteps().getInt()
           << " of " << b.getBlockK().getInt();
  if (int64_t tiles = getTiles().getSExtValue(); tiles != 1 && tiles != 2)
    return emitOpError("C3: tiles is ") << tiles << ", expected 1 or 2";
  return success();
}

static int64_t elementBytes(Type type) { return type.getIntOrFloatBitWidth() / 8; }

LogicalResult RingOp::verify() {
  RingType type = getType();
  int64_t k = type.getBlockK().getInt(), stages = type.getStages().getInt();
  int64_t m = type.getBlockM().getInt(), n = type.getBlockN().getInt();
  for (Type element : {type.getIn(), type.getWeight()}) {
    int64_t bytes = k * elementBytes(element);
    if (bytes != 32 && bytes != 64 && bytes != 128)
      return emitOpError("C1: a row of ")
             << k << " " << element << " has " << bytes << " bytes, must have 32, 64 or 128";
  }
  if (stages < 2 || stages > 8)
    return emitOpError("C2: stages must be 2..8, found ") << stages;
  if (m < 8 || m % 8 || n < 16 || n % 16)
    return emitOpError("C3: block_m (") << m << ") must be a multiple of 8 and block_n (" << n << ") of 16";
  return success();
}

LogicalResult ForTilesOp::verify() {
  if (!getSplits())
    return success();
  int64_t splits = getSplits()->getSExtValue();
  if (splits < 1 || splits > 64 || (splits > 1 && (*this)->getParentOfType<RolesOp>()))
    return emitOpError("C1: splits must be 1..64, and 1 inside tile.roles, found ") << splits;
  return success();
}

// The fragment that `op`, or an op inside it, makes.
static FragmentType fragmentIn(Operation *op) {
  FragmentType type;
  op->walk([&](ClearOp clear) { type = clear.getType(); });
  return type;
}

LogicalResult RolesOp::verify() {
  RingType ring = getRing().getType();
  int64_t consumers = getConsumers().getSExtValue(), lag = getLag().getSExtValue();
  int64_t m = ring.getBlockM().getInt(), stages = ring.getStages().getInt();
  FragmentType fragment = fragmentIn(*this);
  if (fragment && fragment.columnsFirst()) {
    if (consumers < 1 || consumers > 2 || ring.getBlockN().getInt() % (64 * consumers))
      return emitOpError("C1: consumers must be 1 or 2 with 64 columns of B each, found ")
             << consumers << " and " << ring.getBlockN().getInt() << " columns";
  } else if (consumers < 1 || consumers > 2 || m != 64 * consumers)
    return emitOpError("C1: consumers must be 1 or 2 with 64 rows of A each, found ")
           << consumers << " and " << m << " rows";
  if (lag < 1 || lag > stages - 2)
    return emitOpError("C2: lag must be 1..stages-2 (") << stages - 2 << "), found " << lag;
  if (ring.getIn() != ring.getWeight() || elementBytes(ring.getIn()) != 2 || ring.getBlockK().getInt() != 64)
    return emitOpError("C3: A and B must have one 2-byte type and rows of 64 elements, found ")
           << ring.getIn() << ", " << ring.getWeight() << " and " << ring.getBlockK().getInt();
  int64_t vacant = getVacant() ? getVacant()->getSExtValue() : 1;
  if (vacant < 1 || vacant > 2 || (vacant == 2 && fragment && fragment.columnsFirst()))
    return emitOpError("C4: vacant must be 1 or 2, and 1 where consumers share the columns, found ") << vacant;
  return success();
}

LogicalResult MultiplyOp::verify() {
  FragmentType acc = getAcc().getType();
  RingType ring = getRing().getType();
  if (acc.getBlockM() != ring.getBlockM() || acc.getBlockN() != ring.getBlockN())
    return emitOpError("C1: the fragment is ")
           << acc.getBlockM().getInt() << " x " << acc.getBlockN().getInt() << ", the ring's tiles are "
           << ring.getBlockM().getInt() << " x " << ring.getBlockN().getInt();
  int64_t rowBytes = ring.getBlockK().getInt() * elementBytes(ring.getIn());
  if (acc.columnsFirst() && rowBytes < 64)
    return emitOpError("C2: with columns first a row of a slot must have 64 or 128 bytes, found ") << rowBytes;
  return success();
}

} // namespace moec::tile
