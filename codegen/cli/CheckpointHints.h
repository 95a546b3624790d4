// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tensor that does not fit and all names of a checkpoint -> what its user most likely meant.

#ifndef MOEC_CODEGEN_CLI_CHECKPOINTHINTS_H
#define MOEC_CODEGEN_CLI_CHECKPOINTHINTS_H

#include <cstdint>
#include <string>
#include <vector>

namespace moec {

// For a tensor prefix + name that is not among `names` (sorted): the prefix under which its name is there, the nearest
// spelling under the prefix, or what names begin with. Empty: nothing is near.
std::string hintForMissing(const std::vector<std::string> &names, const std::string &prefix, const std::string &name);

// For a shape other than the expected one: the key of `weights` that describes it. `shape` of a matrix or a vector of
// one expert or stacked experts. Empty: none does.
std::string hintForShape(const std::vector<int64_t> &expected, const std::vector<int64_t> &found, bool matrix);

} // namespace moec

#endif
