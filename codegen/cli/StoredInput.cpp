// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "StoredInput.h"

#include "Supervisor.h"

namespace moec {

int openStored(Session &session, const std::string &folder, const CompileFlags &flags,
               std::unique_ptr<PackageOnDisk> &out) {
  enterStage("package");
  if (int code = refuseCompileFlags(session, folder, flags))
    return code;
  Result<std::unique_ptr<PackageOnDisk>> opened = openPackage(folder);
  if (!opened)
    return fail(session, opened.error());
  out = std::move(*opened);
  return ExitDone;
}

int loadStored(Session &session, const PackageOnDisk &package, SpecInput &out) {
  const StoredPackage &stored = package.stored;
  if (package.source) {
    out.fileName = stored.pathOf(stored.shareFile("spec.json"));
    out.text = package.source->text;
    out.spec = package.source->spec;
    return ExitDone;
  }
  const std::string file = stored.shareFile("layer.mlir");
  if (Result<std::string> text = stored.read(file, maxSourceBytes); !text)
    return fail(session, text.error());
  return loadSpec(session, stored.pathOf(file), SpecFlags(), out);
}

} // namespace moec
