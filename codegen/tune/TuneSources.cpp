// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files and embedded texts -> one set of records that know where they come from.

#include "codegen/tune/TuneSources.h"

#include "codegen/TemplateFiles.h"

#include <iterator>
#include <unistd.h>
#include <utility>

namespace moec {

const char *tuneSourceName(TuneSource source) {
  static const char *const names[] = {"user", "project", "shipped"};
  return names[unsigned(source)];
}

void TuneSet::add(TuneFile file, TuneSource source) {
  for (StoredRecord &stored : file.records)
    items.push_back({std::move(stored.record), source, files.size(), stored.line});
  files.push_back(std::move(file.path));
  complaints.insert(complaints.end(), std::make_move_iterator(file.complaints.begin()),
                    std::make_move_iterator(file.complaints.end()));
  skippedLines += file.skippedLines;
}

std::string TuneSet::placeOf(size_t item) const {
  return escaped(files[items[item].file]) + ":" + std::to_string(items[item].line);
}

std::string projectTuneFile(const std::string &specPath) {
  llvm::StringRef stem = specPath;
  if (!stem.consume_back(".json"))
    stem.consume_back(".mlir");
  return stem.str() + ".tune.jsonl";
}

void addShippedRecords(TuneSet &set) {
  for (unsigned i = 0; i < numEmbeddedTemplates; ++i)
    if (llvm::StringRef path = embeddedTemplates[i].path; path.starts_with("tuning/"))
      set.add(readTuneText(embeddedTemplates[i].text, "templates/" + path.str()), TuneSource::Shipped);
}

Result<TuneSet> loadTuneSet(const std::vector<std::string> &userFiles, const std::string &specPath, bool withShipped) {
  TuneSet set;
  auto add = [&](const std::string &path, TuneSource source) -> Result<> {
    Result<TuneFile> file = loadTuneFile(path);
    if (!file)
      return file.takeError();
    set.add(std::move(*file), source);
    return {};
  };
  for (const std::string &path : userFiles)
    if (Result<> added = add(path, TuneSource::User); !added)
      return added.takeError();
  if (!specPath.empty())
    if (std::string project = projectTuneFile(specPath); access(project.c_str(), F_OK) == 0)
      if (Result<> added = add(project, TuneSource::Project); !added)
        return added.takeError();
  if (withShipped)
    addShippedRecords(set);
  return set;
}

} // namespace moec
