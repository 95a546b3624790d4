// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// manifest.json and share/NAME in -> flags and files out.

#include "PackageInput.h"

#include "codegen/TemplateFiles.h"
#include "codegen/emit/Manifest.h"
#include "codegen/package/StoredPackage.h"
#include "codegen/tune/TuneRecord.h"

#include "dsl/text/Sha256.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"

#include <filesystem>

using namespace llvm;

namespace moec {

// The records that the manifest names, as a file of share/NAME.
static Result<std::string> readRecords(const StoredPackage &package) {
  const std::string file = package.shareFile("tuning.jsonl");
  const auto &tuned = package.manifest().schedule.tuned;
  if (!package.manifest().lists(file))
    return tuned.empty() ? Result<std::string>(std::string())
                         : package.damaged("manifest.json names tuning records, but does not list " + file);
  Result<std::string> text = package.read(file, maxSourceBytes);
  if (!text)
    return text;
  std::vector<std::string> hashes;
  SmallVector<StringRef> lines;
  StringRef(*text).split(lines, '\n', -1, /*KeepEmpty=*/false);
  for (auto [i, line] : enumerate(lines)) {
    Result<TuneRecord> record = parseTuneRecord(line);
    if (!record)
      return package.damaged(file + ":" + std::to_string(i + 1) + ": " + record.error().message);
    hashes.push_back(hexText(sha256(line)));
  }
  for (const ScheduleOrigin::Tuned &range : tuned)
    if (!is_contained(hashes, range.record))
      return package.damaged("no line of " + file + " has the SHA-256 " + range.record);
  return text;
}

// Another moec, or one with other templates, makes other bytes of the same files.
static void warnOfDifferences(Session &session, const StoredPackage &package) {
  const PackageManifest &manifest = package.manifest();
  std::string differs;
  auto add = [&](const std::string &what) { differs += (differs.empty() ? "" : ", ") + what; };
  if (manifest.moecVersion != moecVersion())
    add("moec " + manifest.moecVersion + " made it, this is " + moecVersion());
  if (manifest.llvmVersion != LLVM_VERSION_STRING)
    add("it was made with LLVM " + manifest.llvmVersion + ", this is " LLVM_VERSION_STRING);
  for (const auto &[path, use] : manifest.templates) {
    if (!use.builtIn || isFunctionPath(path))
      continue; // the package has its text
    Result<std::optional<TemplateText>> own = readTemplate("", path);
    if (!own || !*own || hexText(sha256((*own)->text)) != use.hash)
      add("this moec has another template " + path);
  }
  if (!differs.empty())
    warn(session, "W-PACKAGE",
         quoteText(package.folder(), 256) + " cannot be made again with the same bytes: " + differs,
         "the new package computes the same layer");
}

int loadPackageInput(Session &session, const std::string &path, PackageInput &out) {
  Result<StoredPackage> opened = StoredPackage::open(path);
  if (!opened)
    return fail(session, opened.error());
  const StoredPackage &package = *opened;
  const PackageManifest &manifest = package.manifest();
  if (manifest.source.empty())
    return fail(session, package.damaged("manifest.json does not say what it was made from"));
  const std::string source = package.shareFile(manifest.source), schedule = package.shareFile("schedule.txt");
  for (const std::string &file : {source, schedule})
    if (Result<std::string> bytes = package.read(file, maxSourceBytes); !bytes)
      return fail(session, bytes.error());
  for (const auto &[path, use] : manifest.templates) {
    std::string file = package.shareFile("templates/" + path);
    if (!manifest.lists(file)) {
      if (use.builtIn)
        continue;
      return fail(session, package.damaged("manifest.json names the template " + path + ", but does not list " + file));
    }
    if (Result<std::string> bytes = package.read(file, maxSourceBytes); !bytes)
      return fail(session, bytes.error());
  }
  if (Result<> listed = package.refuseUnlistedTemplates(); !listed)
    return fail(session, listed.error());
  Result<std::string> records = readRecords(package);
  if (!records)
    return fail(session, records.error());
  warnOfDifferences(session, package);
  auto origin = std::make_shared<ScheduleOrigin>(manifest.schedule);
  origin->records = std::move(*records);
  out.origin = std::move(origin);
  out.source = package.pathOf(source);
  out.library = manifest.library;
  out.sanitizer = manifest.options.sanitizer;
  out.flags.targets = manifest.options.targets;
  out.flags.maxTokens = manifest.options.maxTokens;
  if (out.flags.maxTokens > int64_t(1) << 24)
    return fail(session, package.damaged("manifest.json has " + std::to_string(out.flags.maxTokens) +
                                         " at made_from.options.max_tokens, expected at most 16777216"));
  if (manifest.options.workspaceLimit)
    out.flags.workspaceLimit = std::to_string(manifest.options.workspaceLimit);
  out.flags.math = manifest.options.math;
  out.flags.determinism = manifest.options.determinism;
  out.flags.scheduleFile = package.pathOf(schedule);
  out.flags.tuning = {"none"};
  std::error_code code;
  std::string templates = std::filesystem::path(package.pathOf(schedule)).parent_path() / "templates";
  if (std::filesystem::is_directory(templates, code))
    out.flags.templatesDir = templates;
  return ExitDone;
}

} // namespace moec
