// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The arguments of a step by name: a struct per kind of step, whose fields() is the only place that knows their order.
//
// T says what an argument is where it is needed: a value of the stage (StageArgs.h), a buffer of the plan, a pointer in
// a kernel, a parameter of a launch. The plan lists the arguments (listArgs); kernels and launches get them back by
// name (bindArgs) from the same stage, whose struct says which optional ones it has. To add an argument, add a field to
// the struct and to its fields().
//
//     op -> MatmulArgs<StageArg> -> MatmulArgs<uint16_t> -> plan.args        the plan
//     op, plan.args              -> MatmulArgs<uint16_t>                     what reads the plan
//     op                         -> MatmulArgs<Value>                        a kernel

#ifndef MOEC_CODEGEN_PLAN_STEPARGS_H
#define MOEC_CODEGEN_PLAN_STEPARGS_H

#include "llvm/ADT/ArrayRef.h"

#include <cassert>
#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

namespace moec {

// ---- the kinds --------------------------------------------------------------------------------------------------
// A field is T, std::optional or std::vector of T, or another struct of this form.

// B of all parts is one buffer. A CUDA kernel has arguments of its own between the two groups (CudaArgs.h).
template <typename T> struct MatmulArgs {
  T a = {}, b = {}, out = {};
  std::optional<T> rowToken; // gathered: row of A for each row
  std::vector<T> prologue, epilogue;

  template <typename Self> static auto matrices(Self &self) {
    return std::tie(self.a, self.b, self.out, self.rowToken);
  }
  template <typename Self> static auto operands(Self &self) { return std::tie(self.prologue, self.epilogue); }
  template <typename Self> static auto fields(Self &self) { return std::tuple_cat(matrices(self), operands(self)); }
};

// An input of a row program; one that is a route becomes its row_token and row_slot.
template <typename T> struct RowInputArgs {
  T value = {};
  std::optional<T> rowSlot; // a route, whose row_token is `value`
  template <typename Self> static auto fields(Self &self) { return std::tie(self.value, self.rowSlot); }
};

template <typename T> struct RowProgramArgs {
  std::vector<RowInputArgs<T>> inputs;
  std::vector<T> results;
  template <typename Self> static auto fields(Self &self) { return std::tie(self.inputs, self.results); }
};

template <typename T> struct CombineArgs {
  T rows = {}, slotRow = {};
  std::optional<T> weights;
  std::vector<T> epilogue;
  T out = {};
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.rows, self.slotRow, self.weights, self.epilogue, self.out);
  }
};

template <typename T> struct DispatchArgs {
  T ids = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.ids); }
};

template <typename T> struct CountsArgs {
  T counts = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.counts); }
};

// As moec_capacity_arg of moec_abi.h.
template <typename T> struct CapacityArgs {
  T ids = {}, kept = {};
  std::optional<T> keys, queue; // both or none
  std::optional<T> rank, present, capacity;
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.ids, self.kept, self.keys, self.queue, self.rank, self.present, self.capacity);
  }
};

// As moec_top_tokens_arg of moec_abi.h.
template <typename T> struct TopTokensArgs {
  T values = {}, mask = {};
  std::optional<T> present;
  template <typename Self> static auto fields(Self &self) { return std::tie(self.values, self.mask, self.present); }
};

// A reduction or total of columns.
template <typename T> struct ColumnsArgs {
  T values = {}, out = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.values, self.out); }
};

template <typename T> struct SlotInputsArgs {
  T x = {}, weights = {}, out = {}, rowToken = {}, rowSlot = {};
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.x, self.weights, self.out, self.rowToken, self.rowSlot);
  }
};

// ---- of backward passes

// offsets: a route's, absent where all tokens are one group; tokenA, tokenB: row of A, B for each row, where gathered.
template <typename T> struct OuterArgs {
  T a = {}, b = {}, out = {};
  std::optional<T> offsets, tokenA, tokenB;
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.a, self.b, self.out, self.offsets, self.tokenA, self.tokenB);
  }
};

template <typename T> struct GroupSumArgs {
  T values = {}, out = {}, offsets = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.values, self.out, self.offsets); }
};

template <typename T> struct SlotValuesArgs {
  T values = {}, slotRow = {}, out = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.values, self.slotRow, self.out); }
};

template <typename T> struct SlotProductsArgs {
  T a = {}, rows = {}, slotRow = {}, out = {};
  template <typename Self> static auto fields(Self &self) {
    return std::tie(self.a, self.rows, self.slotRow, self.out);
  }
};

template <typename T> struct ParameterSumArgs {
  std::vector<T> values;
  T out = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.values, self.out); }
};

template <typename T> struct ScaledRowsArgs {
  T matrix = {}, values = {}, out = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.matrix, self.values, self.out); }
};

// As moec_gradient_arg and moec_copy_arg of moec_abi.h.
template <typename T> struct GradientArgs {
  T values = {}, gradient = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.values, self.gradient); }
};
template <typename T> struct CopyArgs {
  T from = {}, to = {};
  template <typename Self> static auto fields(Self &self) { return std::tie(self.from, self.to); }
};

// ---- what every kind can do -------------------------------------------------------------------------------------

namespace detail {

template <typename T, typename = void> struct IsArgStruct : std::false_type {};
template <typename T> struct IsArgStruct<T, std::void_t<decltype(T::fields(std::declval<T &>()))>> : std::true_type {};

template <typename From, typename To, typename F>
void mapField(const std::optional<From> &from, std::optional<To> &to, F &f);
template <typename From, typename To, typename F>
void mapField(const std::vector<From> &from, std::vector<To> &to, F &f);

// to = f(from) for every argument in order; `to` gets the optional arguments and the lengths of `from`.
template <typename From, typename To, typename F> void mapField(const From &from, To &to, F &f) {
  if constexpr (IsArgStruct<From>::value) {
    std::apply(
        [&](const auto &...source) {
          std::apply([&](auto &...target) { (mapField(source, target, f), ...); }, To::fields(to));
        },
        From::fields(from));
  } else {
    to = f(from);
  }
}
template <typename From, typename To, typename F>
void mapField(const std::optional<From> &from, std::optional<To> &to, F &f) {
  to.reset();
  if (from)
    mapField(*from, to.emplace(), f);
}
template <typename From, typename To, typename F>
void mapField(const std::vector<From> &from, std::vector<To> &to, F &f) {
  to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    mapField(from[i], to[i], f);
}

} // namespace detail

// The same arguments as f says, which is called in their order.
template <typename T, template <typename> class Args, typename U, typename F>
Args<T> mapArgs(const Args<U> &args, F &&f) {
  Args<T> mapped;
  detail::mapField(args, mapped, f);
  return mapped;
}

template <template <typename> class Args, typename T> std::vector<T> listArgs(const Args<T> &args) {
  std::vector<T> list;
  mapArgs<T>(args, [&](const T &arg) {
    list.push_back(arg);
    return arg;
  });
  return list;
}

template <template <typename> class Args, typename T> size_t countArgs(const Args<T> &args) {
  return listArgs(args).size();
}

// Their positions in listArgs(args).
template <template <typename> class Args, typename U> Args<unsigned> numberArgs(const Args<U> &args) {
  unsigned next = 0;
  return mapArgs<unsigned>(args, [&](const U &) { return next++; });
}

// The inverse of listArgs for a step that has the arguments of `like`.
template <typename T, template <typename> class Args, typename U>
Args<T> bindArgs(const Args<U> &like, llvm::ArrayRef<T> list) {
  Args<unsigned> positions = numberArgs(like);
  assert(countArgs(positions) == list.size());
  return mapArgs<T>(positions, [&](unsigned position) { return list[position]; });
}

// Calls f with every argument of two structs that have the same ones.
template <template <typename> class Args, typename T, typename U, typename F>
void zipArgs(const Args<T> &one, const Args<U> &two, F &&f) {
  std::vector<T> ones = listArgs(one);
  std::vector<U> twos = listArgs(two);
  assert(ones.size() == twos.size());
  for (size_t i = 0; i < ones.size(); ++i)
    f(ones[i], twos[i]);
}

} // namespace moec

#endif
