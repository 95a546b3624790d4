// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A launch plan -> bytes of workspace that a call takes: the formula at moec_abi.h's workspace map. The runtime has its
// own implementation; a test compares the two.

#ifndef MOEC_CODEGEN_PACKAGE_CALLMEMORY_H
#define MOEC_CODEGEN_PACKAGE_CALLMEMORY_H

#include "codegen/package/PlanTables.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace moec {

using BufferFilter = std::function<bool(size_t buffer)>; // empty: every buffer

// Of a call without reports on the CPU, with so many threads.
int64_t workspaceBytes(const PlanTables &plan, int64_t numTokens, int64_t workers);

// What a forward call saves for a backward call, in one sequence. 0: the layer does not train.
int64_t savedBytes(const PlanTables &plan, int64_t numTokens);

// The part of it that every device has: slots of the buffers that are used, and route tables.
int64_t sharedWorkspaceBytes(const PlanTables &plan, int64_t numTokens, const BufferFilter &isUsed = {});

// The sizes of the buffers that share each slot; a slot is as large as its largest one.
std::vector<std::vector<moec_extent>> slotMembers(const PlanTables &plan, const BufferFilter &isUsed = {});

} // namespace moec

#endif
