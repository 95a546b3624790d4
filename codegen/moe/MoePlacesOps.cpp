// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verifiers of the ops that look at more than one token: places, columns over tokens, slots; and the text of a route.

#include "codegen/moe/MoeDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;

namespace moec::moe {

// ---- !moe.route --------------------------------------------------------------------------------------------------

LogicalResult RouteType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t groups, int64_t choices,
                                int64_t rowsPerToken, int64_t rowsPerSequence, int64_t rowsFixed) {
  constexpr int64_t most = 65536;
  if (groups < 1 || groups > most || choices < 1 || choices > most)
    return emitError() << "C1: groups (" << groups << ") and choices (" << choices << ") must be 1.." << most;
  if (rowsPerToken < 0 || rowsPerSequence < 0 || rowsFixed < 0)
    return emitError() << "C2: rows " << rowsPerToken << " " << rowsPerSequence << " " << rowsFixed
                       << " must not be negative";
  return success();
}

Type RouteType::parse(AsmParser &parser) {
  int64_t groups, choices, perToken, perSequence = 0, fixed = 0;
  SMLoc where = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseInteger(groups) || parser.parseKeyword("groups") || parser.parseComma() ||
      parser.parseInteger(choices) || parser.parseKeyword("choices"))
    return {};
  perToken = choices;
  if (succeeded(parser.parseOptionalComma()))
    if (parser.parseKeyword("rows") || parser.parseInteger(perToken) || parser.parseInteger(perSequence) ||
        parser.parseInteger(fixed))
      return {};
  if (parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(where); }, parser.getContext(), groups, choices, perToken,
                    perSequence, fixed);
}

void RouteType::print(AsmPrinter &printer) const {
  printer << "<" << getGroups() << " groups, " << getChoices() << " choices";
  if (getRowsPerToken() != getChoices() || getRowsPerSequence() || getRowsFixed())
    printer << ", rows " << getRowsPerToken() << " " << getRowsPerSequence() << " " << getRowsFixed();
  printer << ">";
}

// ---- ops ---------------------------------------------------------------------------------------------------------

namespace {

RankedTensorType tensorOf(Value value) { return cast<RankedTensorType>(value.getType()); }

// [?,columns] of i32 or f32; columns 0: any number.
bool isTokens(Type type, bool integer, int64_t columns = 0) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getRank() != 2 || !tensor.isDynamicDim(0) || tensor.isDynamicDim(1))
    return false;
  bool element = integer ? tensor.getElementType().isInteger(32) : tensor.getElementType().isF32();
  return element && (!columns || tensor.getDimSize(1) == columns);
}

template <typename Op> LogicalResult verifyPlaces(Op op) {
  int64_t times = op.getTimes(), over = op.getOver(), least = op.getLeast(), most = op.getMost();
  double value = op.getValue().convertToDouble();
  if (times < 1 || over < 1 || least < 0 || most < least || !(value >= 0))
    return op.emitOpError("C3: times (") << times << ") and over (" << over << ") must be positive, 0 <= least ("
                                         << least << ") <= most (" << most << ") and 0 <= value (" << value << ")";
  if (op.getScope() == Scope::group && int64_t(op.getGroupTokens()) < 1)
    return op.emitOpError("C3: scope group needs group_tokens");
  return success();
}

} // namespace

LogicalResult CapacityOp::verify() {
  auto ids = tensorOf(getIds());
  Value queue = getQueue();
  if (!isTokens(ids, true) || getKept().getType() != ids || bool(queue) != bool(getKeys()) ||
      (queue && queue.getType() != ids))
    return emitOpError("C1: ids and kept must be one [?,K] of i32, queue beside keys the same, found ")
           << ids << " and " << getKept().getType();
  int64_t choices = ids.getDimSize(1);
  if (Value keys = getKeys())
    if (!isTokens(keys.getType(), false, 1) && !isTokens(keys.getType(), false, choices))
      return emitOpError("C2: keys must be [?,1] or [?,") << choices << "] of f32, found " << keys.getType();
  if (Value ranked = getRanked())
    if (!isTokens(ranked.getType(), false) || tensorOf(ranked).getDimSize(1) < int64_t(getGroups()))
      return emitOpError("C2: ranked must be [?,N] of f32 with N >= ") << getGroups() << ", found " << ranked.getType();
  if (Value present = getPresent())
    if (!isTokens(present.getType(), true, 1))
      return emitOpError("C2: present must be [?,1] of i32, found ") << present.getType();
  if (bool(getPlaces()) != (getMode() == PlacesMode::given))
    return emitOpError("C4: places and mode given come together");
  if (Value places = getPlaces())
    if (places.getType() != RankedTensorType::get({1}, IntegerType::get(getContext(), 32)))
      return emitOpError("C2: places must be [1] of i32, found ") << places.getType();
  return verifyPlaces(*this);
}

LogicalResult TopTokensOp::verify() {
  auto input = tensorOf(getInput());
  if (!isTokens(input, false) || !isTokens(getType(), true, input.getDimSize(1)))
    return emitOpError("C1: the values must be [?,N] of f32 and the mask [?,N] of i32, found ")
           << input << " and " << getType();
  if (Value present = getPresent())
    if (!isTokens(present.getType(), true, 1))
      return emitOpError("C2: present must be [?,1] of i32, found ") << present.getType();
  if (getMode() == PlacesMode::given)
    return emitOpError("C3: the mode must be fixed or share");
  return verifyPlaces(*this);
}

LogicalResult TokenReduceOp::verify() {
  if (!isTokens(getType(), false))
    return emitOpError("C1: the values must be [?,N] of f32, found ") << getType();
  return getScope() != Scope::group ? success() : emitOpError("C2: the scope must be batch or sequence");
}

LogicalResult TokenTotalOp::verify() {
  auto input = tensorOf(getInput()), output = cast<RankedTensorType>(getType());
  bool integers = isTokens(input, true) && getKind() == TotalKind::sum;
  if (!isTokens(input, false) && !integers)
    return emitOpError("C1: the values must be [?,N] of f32, or of i32 for a sum, found ") << input;
  auto expected = RankedTensorType::get({input.getDimSize(1)}, input.getElementType());
  return output == expected ? success() : emitOpError("C1: the result must be ") << expected << ", found " << output;
}

LogicalResult SlotsOp::verify() {
  auto route = cast<RouteType>(getRoute().getType());
  if (route.getChoices() % route.getGroups())
    return emitOpError("C1: the groups (")
           << route.getGroups() << ") must divide the choices (" << route.getChoices() << ")";
  return getScope() != Scope::group ? success() : emitOpError("C2: the scope must be batch or sequence");
}

LogicalResult SlotInputsOp::verify() {
  auto input = tensorOf(getInput()), output = cast<RankedTensorType>(getType());
  Operation *slots = getRoute().getDefiningOp();
  if (!slots || !isa<SlotsOp>(slots))
    return emitOpError("C1: the route must come from moe.slots");
  Type element = input.getElementType();
  bool rows = input.getRank() == 2 && input.isDynamicDim(0) && !input.isDynamicDim(1) &&
              (element.isF32() || element.isBF16() || element.isF16());
  if (!rows || output != input)
    return emitOpError("C2: x and the result must be one [?,H] of f32, bf16 or f16, found ")
           << input << " and " << output;
  int64_t choices = cast<RouteType>(getRoute().getType()).getChoices();
  if (!isTokens(getWeights().getType(), false, choices))
    return emitOpError("C3: the weights must be tensor<?x") << choices << "xf32>, found " << getWeights().getType();
  return success();
}

LogicalResult SlotRowsOp::verify() {
  auto input = tensorOf(getInput()), output = cast<RankedTensorType>(getType());
  if (!isTokens(input, false) || !isTokens(output, false) || output.getDimSize(1) > input.getDimSize(1))
    return emitOpError("C1: x and the result must be [?,M] and [?,N] of f32 with N <= M, found ")
           << input << " and " << output;
  int64_t choices = cast<RouteType>(getRoute().getType()).getChoices(), slots = int64_t(getSlots());
  std::optional<ArrayRef<int32_t>> numbers = getNumbers();
  bool inside = !numbers || llvm::all_of(*numbers, [&](int32_t slot) { return slot >= 0 && slot < slots; });
  if (!inside || int64_t(numbers ? numbers->size() : size_t(slots)) != choices)
    return emitOpError("C2: expected ") << choices << " slots as the route has, or a slot of 0.." << slots - 1
                                        << " for each of them";
  return getScope() != Scope::group ? success() : emitOpError("C3: the scope must be batch or sequence");
}

LogicalResult SquareSumsOp::verify() {
  auto matrix = tensorOf(getMatrix()), output = cast<RankedTensorType>(getType());
  Type element = matrix.getElementType();
  bool parameter = isa<BlockArgument>(getMatrix()) && matrix.hasStaticShape() && matrix.getRank() == 2 &&
                   (element.isF32() || element.isBF16() || element.isF16());
  if (!parameter || output.getShape() != ArrayRef<int64_t>{matrix.getDimSize(0)} || !output.getElementType().isF32())
    return emitOpError("C1: expected a parameter [N,K] and [N] of f32, found ") << matrix << " and " << output;
  return success();
}

} // namespace moec::moe
