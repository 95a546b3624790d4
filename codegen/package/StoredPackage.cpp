// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Paths in -> bytes whose hashes are checked out.

#include "codegen/package/StoredPackage.h"

#include "dsl/spec/SpecReader.h"
#include "dsl/text/Sha256.h"
#include "runtime/moec_abi.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace moec {

static constexpr const char *manifestName = "manifest.json";

static Result<std::string> readFile(const std::string &path, uint64_t limit) {
  auto refuse = [&](const std::string &why) {
    return Diagnostic::error("E-FILE", "cannot read " + quoteText(path, 256) + ": " + why);
  };
  // A pipe must not make it wait.
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return refuse(std::strerror(errno));
  struct stat info;
  std::string bytes, why;
  if (fstat(fd, &info) != 0)
    why = std::strerror(errno);
  else if (!S_ISREG(info.st_mode))
    why = "it is not a regular file";
  else if (uint64_t(info.st_size) > limit)
    why = "it is larger than " + std::to_string(limit) + " bytes";
  else
    bytes.resize(size_t(info.st_size));
  size_t done = 0;
  while (why.empty() && done < bytes.size()) {
    ssize_t n = ::read(fd, bytes.data() + done, bytes.size() - done);
    if (n > 0)
      done += size_t(n);
    else if (n == 0)
      bytes.resize(done); // it became shorter
    else if (errno != EINTR)
      why = std::strerror(errno);
  }
  close(fd);
  if (!why.empty())
    return refuse(why);
  return bytes;
}

static bool isFile(const fs::path &path) {
  std::error_code code;
  return fs::is_regular_file(path, code);
}

// The folder of the manifest that belongs to `path`; empty: there is none. A package folder has one share/NAME.
static fs::path shareOf(const fs::path &path) {
  std::error_code code;
  if (isFile(path / manifestName))
    return path;
  if (isFile(path)) { // lib/libNAME.so
    std::string stem = path.stem().string();
    if (stem.rfind("lib", 0) != 0)
      return {};
    fs::path share = fs::absolute(path, code).parent_path().parent_path() / "share" / stem.substr(3);
    return isFile(share / manifestName) ? share : fs::path();
  }
  for (fs::directory_iterator it(path / "share", code), end; !code && it != end; it.increment(code))
    if (isFile(it->path() / manifestName))
      return it->path();
  return {};
}

bool StoredPackage::isOne(const std::string &path) { return !shareOf(path).empty(); }

Diagnostic StoredPackage::damaged(const std::string &why) const {
  std::error_code code;
  const char *what = fs::is_directory(name, code) ? "package folder " : "package ";
  return Diagnostic::error("E-PACKAGE", what + quoteText(name, 256) + ": " + why);
}

// "pkg" of "pkg/share/tiny/"; empty if the path does not say it.
static std::string rootOf(const fs::path &share, const std::string &name) {
  fs::path path = share.lexically_normal();
  if (path.filename().empty()) // it ends with a slash
    path = path.parent_path();
  if (path.filename() != name || path.parent_path().filename() != "share")
    return "";
  fs::path root = path.parent_path().parent_path();
  return root.empty() ? "." : root.string();
}

Result<StoredPackage> StoredPackage::open(const std::string &path) {
  StoredPackage package;
  package.name = path;
  std::error_code code;
  if (!fs::exists(path, code))
    return Diagnostic::error("E-FILE", "cannot read " + quoteText(path, 256) + ": " +
                                           (code ? code.message() : std::strerror(ENOENT)));
  fs::path share = shareOf(path);
  if (share.empty())
    return package.damaged("found no share/NAME/manifest.json; moec compile writes such folders");
  package.share = share.string();
  Result<std::string> text = readFile((share / manifestName).string(), maxManifestBytes);
  if (!text)
    return text.takeError();
  Result<PackageManifest> manifest = parseManifest(*text);
  if (!manifest)
    return package.damaged(manifest.error().message);
  package.facts = std::move(*manifest);
  package.root = rootOf(share, package.facts.name);
  if (package.root.empty()) // "." of somebody who is there
    package.root = rootOf(fs::absolute(share, code), package.facts.name);
  return package;
}

std::string StoredPackage::pathOf(const std::string &listed) const {
  std::string own = "share/" + facts.name + "/";
  if (listed.rfind(own, 0) == 0)
    return (fs::path(share) / listed.substr(own.size())).string();
  return (fs::path(root) / listed).string();
}

Result<std::string> StoredPackage::read(const std::string &listed, uint64_t limit) const {
  auto hash = facts.files.find(listed);
  if (hash == facts.files.end())
    return damaged("manifest.json does not list " + listed);
  Result<std::string> bytes = readFile(pathOf(listed), limit);
  if (!bytes)
    return bytes;
  if (hexText(sha256(*bytes)) != hash->second)
    return damaged(listed + " is not the file that manifest.json lists");
  return bytes;
}

std::vector<StoredPackage::FileState> StoredPackage::states() const {
  std::vector<FileState> states;
  for (const auto &[path, hash] : facts.files) {
    FileState state = {path, ""};
    if (root.empty() && path.rfind("share/", 0) != 0)
      state.problem = "the folder is a package's share/NAME without the rest";
    else if (Result<std::string> bytes = readFile(pathOf(path), maxLibraryBytes); !bytes)
      state.problem = bytes.error().message;
    else if (std::string found = hexText(sha256(*bytes)); found != hash)
      state.problem = "SHA-256 is " + found + ", expected " + hash;
    states.push_back(std::move(state));
  }
  return states;
}

// Names of functions in templates/functions of the share folder, which the manifest lists as templates.
static std::vector<std::string> functionNames(const PackageManifest &manifest) {
  const std::string folder = "functions/", ending = ".mlir";
  std::vector<std::string> names;
  for (const auto &[path, use] : manifest.templates)
    if (path.rfind(folder, 0) == 0 && path.size() > folder.size() + ending.size())
      names.push_back(path.substr(folder.size(), path.size() - folder.size() - ending.size()));
  return names;
}

Result<std::optional<StoredPackage::Source>> StoredPackage::source() const {
  if (!facts.lists(shareFile("spec.json")))
    return std::optional<Source>();
  Source out;
  Result<std::string> text = read(shareFile("spec.json"), maxSourceBytes);
  if (!text)
    return text.takeError();
  out.text = std::move(*text);
  for (const std::string &function : functionNames(facts)) {
    Result<std::string> body = read(shareFile("templates/functions/" + function + ".mlir"), maxSourceBytes);
    if (!body)
      return body.takeError();
    out.functions[function] = std::move(*body);
  }
  if (std::string found = hexText(layerHash(out.text, out.functions)); found != facts.identity)
    return damaged("its spec and functions have the identity " + found + ", manifest.json says " + facts.identity);
  ReadOptions options;
  options.defaultName = facts.name;
  options.activations = functionNames(facts);
  SpecSource places;
  DiagnosticList list;
  std::optional<LayerSpec> spec = readSpec(out.text, shareFile("spec.json"), options, places, list);
  if (!spec)
    return damaged(list.all().empty() ? "its spec cannot be read" : list.all().front().placedMessage());
  out.spec = std::move(*spec);
  return std::optional<Source>(std::move(out));
}

Result<> StoredPackage::refuseUnlistedTemplates() const {
  fs::path folder = fs::path(share) / "templates";
  std::error_code code;
  if (!fs::exists(folder, code))
    return {};
  for (fs::recursive_directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    std::string path = "templates/" + it->path().lexically_relative(folder).string();
    bool folderOfItsOwn = it->is_directory(code) && !it->is_symlink(code); // its files come next
    if (!folderOfItsOwn && !facts.lists(shareFile(path)))
      return damaged("manifest.json does not list " + quoteText(path, 256));
  }
  if (code)
    return Diagnostic::error("E-FILE", "cannot read " + quoteText(folder.string(), 256) + ": " + code.message());
  return {};
}

Result<> checkAbi(const StoredPackage &package) {
  const std::string &abi = package.manifest().abi;
  if (abi.substr(0, abi.find('.')) == std::to_string(MOEC_ABI_MAJOR))
    return {};
  return package.damaged("it was made for ABI " + quoteText(abi) + ", this moec has " + std::to_string(MOEC_ABI_MAJOR) +
                         "." + std::to_string(MOEC_ABI_MINOR) + "; compile it again");
}

} // namespace moec
