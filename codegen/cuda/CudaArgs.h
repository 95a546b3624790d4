// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The arguments of CUDA kernels by name, as StepArgs.h has those of steps: a kernel binds its parameters and its launch
// passes them through the same fields(). In front of them is T; the tokens of one sequence, if any, come last.
//
// A kernel that does the whole of a step has the step's arguments; here are those of the others.

#ifndef MOEC_CODEGEN_CUDA_CUDAARGS_H
#define MOEC_CODEGEN_CUDA_CUDAARGS_H

#include "codegen/plan/StepArgs.h"

namespace moec {

// The tables of a route, as moec_route_part.
template <typename T> struct RouteTableArgs {
  T offsets = {}, rowToken = {}, rowSlot = {}, slotRow = {};
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.offsets, self.rowToken, self.rowSlot, self.slotRow);
  }
};

// Where a kernel adds rows to the sums of their tokens.
template <typename T> struct TokenSumArgs {
  T rowToken = {}, rowSlot = {};
  std::optional<T> weights; // of slots
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.rowToken, self.rowSlot, self.weights);
  }
};

template <typename T> struct CudaMatmulArgs {
  // a     contiguous: the TMA descriptor of rows in the order of the output, without rowToken
  // b     MOEC_LAYOUT_ROWS; with roles its TMA descriptor
  // out   unordered: [T, n] f32, sums of tokens
  MatmulArgs<T> stage;
  std::optional<T> list;     // routed: of row blocks; without a route the items are T rows, cut every block_m rows
  std::optional<T> partials; // splits > 1: partial sums
  std::optional<TokenSumArgs<T>> sums; // unordered
  std::optional<MatmulArgs<T>> joined; // the second stage, without a route

  template <typename Self> static auto fields(Self &self) {
    using Stage = MatmulArgs<T>;
    return std::tuple_cat(Stage::matrices(self.stage), std::tie(self.list), Stage::operands(self.stage),
                          std::tie(self.partials, self.sums, self.joined));
  }
};

template <typename T> struct CudaRowProgramArgs {
  RowProgramArgs<T> program;
  std::optional<T> offsets; // of the route that it runs over
  template <typename Self> static auto fields(Self &self) { return std::tie(self.program, self.offsets); }
};

template <typename T> struct CudaDispatchArgs {
  T ids = {};
  RouteTableArgs<T> route;
  T scratch = {};       // between the kernels of one dispatch
  std::vector<T> lists; // of row blocks, one per block size
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.ids, self.route, self.scratch, self.lists);
  }
};

template <typename T> struct CudaSlotsArgs {
  RouteTableArgs<T> route;
  std::vector<T> lists;
  template <typename Self> static auto fields(Self &self) { return std::tie(self.route, self.lists); }
};

template <typename T> struct CudaCountsArgs {
  T offsets = {}, counts = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.offsets, self.counts); }
};

template <typename T> struct CudaFrontArgs {
  std::optional<CudaMatmulArgs<T>> split; // whose shares it adds
  RowProgramArgs<T> program;
  CudaDispatchArgs<T> dispatch;
  template <typename Self> static auto fields(Self &self) { return std::tie(self.split, self.program, self.dispatch); }
};

// Rows [R, k] that follow each other are copies of those that row_token names.
template <typename T> struct CudaPermuteArgs {
  T from = {}, to = {}, rowToken = {}, offsets = {};
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.from, self.to, self.rowToken, self.offsets);
  }
};

// Values of a parameter's gradient go to the caller's buffer.
template <typename T> struct CudaGradientArgs {
  T values = {}, gradient = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.values, self.gradient); }
};

template <typename T> struct CudaClearArgs {
  T sums = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.sums); }
};

} // namespace moec

#endif
