// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// balance.hpp - counts of rows per expert in -> what they say about the load, and rules between training steps.
#ifndef MOEC_BALANCE_HPP
#define MOEC_BALANCE_HPP

#include "memory.hpp"

namespace moec {
inline namespace v0 {

inline Result<moec_load> load_of_counts(Span<const int32_t> counts) {
  moec_load load = {};
  moec_status status = moec_load_of_counts(counts.data(), static_cast<int64_t>(counts.size()), &load);
  if (status != MOEC_OK)
    return last_error(status);
  return load;
}
inline Result<void> update_choice_bias(Span<float> bias, Span<const int32_t> counts, float rate, bool centre = false) {
  if (bias.size() != counts.size())
    return Error{MOEC_SHAPE,
                 "bias has " + std::to_string(bias.size()) + " elements, counts " + std::to_string(counts.size())};
  moec_status status =
      moec_update_choice_bias(bias.data(), counts.data(), static_cast<int64_t>(counts.size()), rate, centre ? 1 : 0);
  return status == MOEC_OK ? Result<void>() : last_error(status);
}
inline Result<double> next_capacity_factor(Span<const int32_t> counts, double factor) {
  moec_status status = moec_next_capacity_factor(counts.data(), static_cast<int64_t>(counts.size()), &factor);
  if (status != MOEC_OK)
    return last_error(status);
  return factor;
}

} // namespace v0
} // namespace moec
#endif
