// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows of tokens, or of (token, choice) pairs -> one or two moe ops each, at the builder's place.
//
// [T,N] below is a tensor of T rows and N columns, [T] one number per row. T is not known when compiling. An id of -1
// means "not chosen".

#ifndef MOEC_CODEGEN_BUILD_ROWOPS_H
#define MOEC_CODEGEN_BUILD_ROWOPS_H

#include "codegen/build/ScalarOps.h"
#include "codegen/moe/MoeDialect.h"

#include "dsl/DataType.h"

namespace moec {

// An operand of a map, and which of its elements an element of the result reads.
struct Bound {
  mlir::Value value;
  moe::OperandKind kind;
};

// C = clamp(round(value · tokens · times / over), least, most) of mode share, over the tokens of a scope; fixed: value.
struct Places {
  moe::PlacesMode mode = moe::PlacesMode::fixed;
  double value = 0;
  int64_t times = 1;
  int64_t over = 1;
  moe::Rounding round = moe::Rounding::floor;
  int64_t least = 0;
  int64_t most = std::numeric_limits<int32_t>::max();
  moe::Scope scope = moe::Scope::batch;
  int64_t groupTokens = 0; // scope group
};

class RowOps : public ScalarOps {
public:
  using ScalarOps::ScalarOps;
  using ScalarFn = llvm::function_ref<mlir::Value(mlir::ValueRange)>;

  // Types.
  mlir::Type elementOf(DataType type);
  mlir::RankedTensorType rows(mlir::Type element, int64_t columns); // [T,columns]
  mlir::RankedTensorType rowVector(mlir::Type element);             // [T]
  static mlir::RankedTensorType typeOf(mlir::Value value) {
    return llvm::cast<mlir::RankedTensorType>(value.getType());
  }
  static int64_t columnsOf(mlir::Value value) { return typeOf(value).getDimSize(1); }

  // Elements. `body` gets one scalar per operand and returns the element of the result.
  mlir::Value map(llvm::ArrayRef<Bound> operands, mlir::RankedTensorType type, ScalarFn body);
  mlir::Value maskedBy(mlir::Value values, mlir::Value ids, double other); // [T,N]; `other` if the id is -1
  mlir::Value scaledRows(mlir::Value values, double factor);               // `values` itself for factor 1
  mlir::Value rounded(mlir::Value values, mlir::Type element);             // `values` itself if they have the type
  mlir::Value asColumn(mlir::Value row);                                   // [T] -> [T,1] f32
  mlir::Value ones(int64_t columns);                                       // [T,columns] f32
  mlir::Value columns(int64_t count);                                      // [T,count] i32: 0, 1, ...
  mlir::Value numbers(llvm::ArrayRef<int32_t> numbers);                    // [T,N] i32, the same for every token

  // Rows. `runs` cut the columns of a row into parts of equal length.
  mlir::Value reduced(mlir::Value values, moe::ReduceKind kind);                   // [T,N] -> [T] f32
  mlir::Value reducedRuns(mlir::Value values, moe::ReduceKind kind, int64_t runs); // [T,N] -> [T,runs] f32
  mlir::Value sumRows(mlir::Value values);                                         // [T,N] -> [T] f32
  mlir::Value squareSums(mlir::Value values);                                      // [T,N] -> [T] f32, of v²
  mlir::Value columnOf(mlir::Value values, int64_t column);                        // [T,N] -> [T] f32
  mlir::Value countChosen(mlir::Value ids);                                        // [T,N] -> [T] f32
  mlir::Value softmax(mlir::Value values, int64_t runs = 1);
  mlir::Value take(mlir::Value values, mlir::Value ids);               // [T,N], [T,K] -> [T,K]
  mlir::Value put(mlir::Value values, mlir::Value ids, int64_t count); // [T,K], [T,K] -> [T,count] f32
  mlir::Value topK(mlir::Value values, int64_t k, int64_t runs = 1);   // [T,runs·k] i32
  mlir::Value part(mlir::Value values, int64_t first, int64_t count);  // columns [first, first + count)
  mlir::Value joined(llvm::ArrayRef<mlir::Value> parts);               // [T,N] of one type each -> side by side
  mlir::Value matmul(mlir::Value a, mlir::Value b, mlir::Value route); // f32; `route` null: one group

  // Several rows.
  mlir::Value tokenReduce(mlir::Value values, moe::ReduceKind kind, moe::Scope scope);
  // [T,N] i32: 1 for the C largest of each column; `present` may be null.
  mlir::Value topTokens(mlir::Value values, mlir::Value present, const Places &places);
  mlir::Value gather(mlir::Value tokens, mlir::Value route);        // [T,N] -> [R,N], rows of the route
  mlir::Value gatherChoices(mlir::Value values, mlir::Value route); // [T,K] -> [R], of each row's choice
  // [T,K·M] -> [R,columns], the first of the M columns of each row's choice.
  mlir::Value gatherColumns(mlir::Value values, mlir::Value route, int64_t columns);
  // Rows of the route -> [T,N] f32, the sum of a token's rows times `weights`; null: 1.
  mlir::Value combine(mlir::Value values, mlir::Value route, mlir::Value weights);
};

} // namespace moec

#endif
