// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The order of the checks, and how one reports.

#include "dsl/spec/SpecChecks.h"

#include "dsl/spec/SpecCheckList.h"

namespace moec {

void checkSpec(const LayerSpec &spec, const SpecSource &source, DiagnosticList &diagnostics) {
  SpecCheckList list(spec, source, diagnostics);
  list.checkRouting();
  list.checkExperts();
  list.checkCapacity();
  list.checkTraining();
  list.checkLayer();
  list.checkUnused();
  list.checkStorage();
}

void SpecCheckList::fail(std::string_view code, const std::string &path, std::string message, std::string hint) {
  if (!diagnostics.isFull())
    diagnostics.error(code, source.locate(path), std::move(message), std::move(hint), path);
}

bool SpecCheckList::readable(std::initializer_list<const char *> paths) const {
  for (const char *path : paths)
    if (source.unreadable(path))
      return false;
  return true;
}

std::string kindText(RouterKind kind) { return "router.kind is " + std::string(routerKindWords[int(kind)]); }

} // namespace moec
