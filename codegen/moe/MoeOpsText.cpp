// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text forms of the ops that have regions. Operands of a region are bound where they enter it:
//
//   moe.map (%a = %scores elem : tensor<?x4xf32>, %b = %bias col : tensor<4xf32>) -> tensor<?x4xf32> { ... }

#include "codegen/moe/MoeDialect.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace moec::moe {

namespace {

// The text between the parentheses of a region.
struct Bindings {
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  SmallVector<Type> types;
  SmallVector<OperandKind> kinds;
  SmallVector<OpAsmParser::Argument> arguments; // the bare ones first
};

ParseResult parseKind(OpAsmParser &parser, OperandKind &kind) {
  SMLoc where = parser.getCurrentLocation();
  StringRef word;
  if (parser.parseKeyword(&word))
    return failure();
  std::optional<OperandKind> found = symbolizeOperandKind(word);
  if (!found)
    return parser.emitError(where) << "operand kind must be elem, row, col, segment or scalar, found '" << word << "'";
  kind = *found;
  return success();
}

// (%bare, ..., %name = %operand kind : type, ...); the bare ones get `bareTypes`.
ParseResult parseBindings(OpAsmParser &parser, ArrayRef<Type> bareTypes, Bindings &bindings) {
  SMLoc where = parser.getCurrentLocation();
  unsigned numBare = 0;
  auto parseOne = [&]() -> ParseResult {
    OpAsmParser::Argument argument;
    if (parser.parseArgument(argument))
      return failure();
    if (failed(parser.parseOptionalEqual())) {
      if (!bindings.operands.empty() || numBare >= bareTypes.size())
        return parser.emitError(argument.ssaName.location) << "expected '= OPERAND KIND : TYPE'";
      argument.type = bareTypes[numBare++];
      bindings.arguments.push_back(argument);
      return success();
    }
    OpAsmParser::UnresolvedOperand operand;
    OperandKind kind;
    Type type;
    if (parser.parseOperand(operand) || parseKind(parser, kind) || parser.parseColonType(type))
      return failure();
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor)
      return parser.emitError(operand.location) << "operand must be a tensor, found " << type;
    argument.type = tensor.getElementType();
    bindings.operands.push_back(operand);
    bindings.types.push_back(type);
    bindings.kinds.push_back(kind);
    bindings.arguments.push_back(argument);
    return success();
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseOne))
    return failure();
  if (numBare != bareTypes.size())
    return parser.emitError(where) << "expected " << bareTypes.size() << " leading names without operand, found "
                                   << numBare;
  return success();
}

void printBindings(OpAsmPrinter &printer, Region &region, unsigned numBare, OperandRange operands, ArrayAttr kinds) {
  printer << '(';
  llvm::interleaveComma(llvm::seq<unsigned>(0, region.getNumArguments()), printer, [&](unsigned i) {
    printer << region.getArgument(i);
    if (i < numBare)
      return;
    Value operand = operands[i - numBare];
    printer << " = " << operand << ' ' << stringifyOperandKind(kindAt(kinds, i - numBare)) << " : "
            << operand.getType();
  });
  printer << ')';
}

void printBody(OpAsmPrinter &printer, Region &region) {
  printer << ' ';
  printer.printRegion(region, /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/true);
}

Type elementOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? tensor.getElementType() : Type();
}

} // namespace

// ---- map ---------------------------------------------------------------------------------------------------------

ParseResult MapOp::parse(OpAsmParser &parser, OperationState &result) {
  Bindings bindings;
  Type type;
  SMLoc where = parser.getCurrentLocation();
  if (parseBindings(parser, {}, bindings) || parser.parseArrow() || parser.parseType(type) ||
      parser.parseRegion(*result.addRegion(), bindings.arguments) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.resolveOperands(bindings.operands, bindings.types, where, result.operands))
    return failure();
  result.addAttribute(getKindsAttrName(result.name), kindArray(parser.getContext(), bindings.kinds));
  result.addTypes(type);
  return success();
}

void MapOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printBindings(printer, getBody(), 0, getInputs(), getKinds());
  printer << " -> " << getType();
  printBody(printer, getBody());
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {getKindsAttrName()});
}

// ---- row_program -------------------------------------------------------------------------------------------------

ParseResult RowProgramOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<Type> types, results;
  auto parseOne = [&]() -> ParseResult {
    if (parser.parseArgument(arguments.emplace_back()) || parser.parseEqual() ||
        parser.parseOperand(operands.emplace_back()) || parser.parseColonType(types.emplace_back()))
      return failure();
    arguments.back().type = types.back();
    return success();
  };
  SMLoc where = parser.getCurrentLocation();
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseOne) ||
      parser.parseOptionalArrowTypeList(results) || parser.parseRegion(*result.addRegion(), arguments) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.resolveOperands(operands, types, where, result.operands))
    return failure();
  result.addTypes(results);
  return success();
}

void RowProgramOp::print(OpAsmPrinter &printer) {
  printer << " (";
  llvm::interleaveComma(llvm::zip_equal(getBody().getArguments(), getInputs()), printer, [&](auto pair) {
    printer << std::get<0>(pair) << " = " << std::get<1>(pair) << " : " << std::get<1>(pair).getType();
  });
  printer << ')';
  printer.printOptionalArrowTypeList(getResultTypes());
  printBody(printer, getBody());
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs());
}

// ---- combine: %rows over %route [weighted %w] : types -> type [epilogue(...) { ... }] ----------------------------

ParseResult CombineOp::parse(OpAsmParser &parser, OperationState &result) {
  OpAsmParser::UnresolvedOperand rows, route, weights;
  Type rowsType, routeType, weightsType, type;
  bool weighted = false;
  Bindings bindings;
  SMLoc where = parser.getCurrentLocation();
  if (parser.parseOperand(rows) || parser.parseColonType(rowsType) || parser.parseKeyword("over") ||
      parser.parseOperand(route) || parser.parseColonType(routeType))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("weighted"))) {
    weighted = true;
    if (parser.parseOperand(weights) || parser.parseColonType(weightsType))
      return failure();
  }
  if (parser.parseArrow() || parser.parseType(type))
    return failure();
  Region *epilogue = result.addRegion();
  if (succeeded(parser.parseOptionalKeyword("epilogue")))
    if (parseBindings(parser, {parser.getBuilder().getF32Type()}, bindings) ||
        parser.parseRegion(*epilogue, bindings.arguments))
      return failure();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.resolveOperand(rows, rowsType, result.operands) ||
      parser.resolveOperand(route, routeType, result.operands) ||
      (weighted && parser.resolveOperand(weights, weightsType, result.operands)) ||
      parser.resolveOperands(bindings.operands, bindings.types, where, result.operands))
    return failure();
  result.getOrAddProperties<Properties>().operandSegmentSizes = {1, 1, int32_t(weighted),
                                                                 int32_t(bindings.operands.size())};
  result.addAttribute(getEpilogueKindsAttrName(result.name), kindArray(parser.getContext(), bindings.kinds));
  result.addTypes(type);
  return success();
}

void CombineOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getRows() << " : " << getRows().getType() << " over " << getRoute() << " : "
          << getRoute().getType();
  if (getWeights())
    printer << " weighted " << getWeights() << " : " << getWeights().getType();
  printer << " -> " << getType();
  if (!getEpilogue().empty()) {
    printer << " epilogue";
    printBindings(printer, getEpilogue(), 1, getEpilogueOperands(), getEpilogueKinds());
    printBody(printer, getEpilogue());
  }
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                           {getEpilogueKindsAttrName(), getOperandSegmentSizesAttrName()});
}

// ---- grouped_matmul: %a by %b, %c [transposed] [over %route [gathered]] -> type [prologue ...] [epilogue ...] ---

namespace {

struct MatmulText {
  OpAsmParser::UnresolvedOperand a, route;
  Type aType, routeType, type;
  SmallVector<OpAsmParser::UnresolvedOperand> parts;
  SmallVector<Type> partTypes;
  bool routed = false, gathered = false, transposed = false;
  Bindings prologue, epilogue;
};

ParseResult parseMatmulOperands(OpAsmParser &parser, MatmulText &text) {
  if (parser.parseOperand(text.a) || parser.parseColonType(text.aType) || parser.parseKeyword("by"))
    return failure();
  do {
    if (parser.parseOperand(text.parts.emplace_back()) || parser.parseColonType(text.partTypes.emplace_back()))
      return failure();
  } while (succeeded(parser.parseOptionalComma()));
  text.transposed = succeeded(parser.parseOptionalKeyword("transposed"));
  if (succeeded(parser.parseOptionalKeyword("over"))) {
    text.routed = true;
    if (parser.parseOperand(text.route) || parser.parseColonType(text.routeType))
      return failure();
    text.gathered = succeeded(parser.parseOptionalKeyword("gathered"));
  }
  return failure(parser.parseArrow() || parser.parseType(text.type));
}

ParseResult parseMatmulRegions(OpAsmParser &parser, MatmulText &text, Region &prologue, Region &epilogue) {
  if (succeeded(parser.parseOptionalKeyword("prologue"))) {
    Type element = elementOf(text.aType);
    if (!element)
      return parser.emitError(text.a.location) << "A must be a tensor, found " << text.aType;
    if (parseBindings(parser, {element}, text.prologue) || parser.parseRegion(prologue, text.prologue.arguments))
      return failure();
  }
  if (succeeded(parser.parseOptionalKeyword("epilogue"))) {
    SmallVector<Type> accumulators(text.parts.size(), parser.getBuilder().getF32Type());
    if (parseBindings(parser, accumulators, text.epilogue) || parser.parseRegion(epilogue, text.epilogue.arguments))
      return failure();
  }
  return success();
}

} // namespace

ParseResult GroupedMatmulOp::parse(OpAsmParser &parser, OperationState &result) {
  MatmulText text;
  SMLoc where = parser.getCurrentLocation();
  Region *prologue = result.addRegion(), *epilogue = result.addRegion();
  if (parseMatmulOperands(parser, text) || parseMatmulRegions(parser, text, *prologue, *epilogue) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.resolveOperand(text.a, text.aType, result.operands) ||
      parser.resolveOperands(text.parts, text.partTypes, where, result.operands) ||
      (text.routed && parser.resolveOperand(text.route, text.routeType, result.operands)) ||
      parser.resolveOperands(text.prologue.operands, text.prologue.types, where, result.operands) ||
      parser.resolveOperands(text.epilogue.operands, text.epilogue.types, where, result.operands))
    return failure();
  result.getOrAddProperties<Properties>().operandSegmentSizes = {1, int32_t(text.parts.size()), int32_t(text.routed),
                                                                 int32_t(text.prologue.operands.size()),
                                                                 int32_t(text.epilogue.operands.size())};
  MLIRContext *context = parser.getContext();
  result.addAttribute(getPrologueKindsAttrName(result.name), kindArray(context, text.prologue.kinds));
  result.addAttribute(getEpilogueKindsAttrName(result.name), kindArray(context, text.epilogue.kinds));
  if (text.gathered)
    result.addAttribute(getGatheredAttrName(result.name), UnitAttr::get(context));
  if (text.transposed)
    result.addAttribute(getTransposedAttrName(result.name), UnitAttr::get(context));
  result.addTypes(text.type);
  return success();
}

void GroupedMatmulOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getA() << " : " << getA().getType() << " by ";
  llvm::interleaveComma(getB(), printer, [&](Value part) { printer << part << " : " << part.getType(); });
  if (getTransposed())
    printer << " transposed";
  if (getRoute())
    printer << " over " << getRoute() << " : " << getRoute().getType();
  if (getGathered())
    printer << " gathered";
  printer << " -> " << getType();
  if (!getPrologue().empty()) {
    printer << " prologue";
    printBindings(printer, getPrologue(), 1, getPrologueOperands(), getPrologueKinds());
    printBody(printer, getPrologue());
  }
  if (!getEpilogue().empty()) {
    printer << " epilogue";
    printBindings(printer, getEpilogue(), parts(), getEpilogueOperands(), getEpilogueKinds());
    printBody(printer, getEpilogue());
  }
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {getPrologueKindsAttrName(), getEpilogueKindsAttrName(),
                                                                 getGatheredAttrName(), getTransposedAttrName(),
                                                                 getOperandSegmentSizesAttrName()});
}

} // namespace moec::moe
