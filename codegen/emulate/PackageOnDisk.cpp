// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// manifest.json, library and plan of a package folder, each checked before it is used.

#include "codegen/emulate/PackageOnDisk.h"

#include "codegen/check/LayerRun.h"

#include "dsl/text/Sha256.h"
#include "runtime/plan/plan_view.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/Archive.h"
#include "llvm/Object/ELF.h"
#include "llvm/Support/MemoryBuffer.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

namespace fs = std::filesystem;

namespace moec {

namespace {
constexpr uint64_t manifestBytes = 16 << 20, libraryBytes = uint64_t(1) << 30, specBytes = 1 << 20;
} // namespace

static Diagnostic damaged(const std::string &folder, const std::string &why) {
  return Diagnostic::error("E-PACKAGE", "package folder " + quoteText(folder, 256) + ": " + why);
}

static std::string manifestOf(const std::string &folder) {
  std::error_code code;
  for (fs::directory_iterator it(fs::path(folder) / "share", code), end; !code && it != end; it.increment(code))
    if (fs::path file = it->path() / "manifest.json"; fs::is_regular_file(file, code))
      return file.string();
  return "";
}

bool isPackageFolder(const std::string &folder) { return !manifestOf(folder).empty(); }

static Result<std::string> readFile(const std::string &path, uint64_t limit) {
  auto refuse = [&](const std::string &why) {
    return Diagnostic::error("E-FILE", "cannot read " + quoteText(path, 256) + ": " + why);
  };
  std::error_code code;
  uint64_t size = fs::file_size(path, code);
  if (code)
    return refuse(code.message());
  if (size > limit)
    return refuse("it is larger than " + std::to_string(limit) + " bytes");
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return refuse(buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

namespace {
// manifest.json, as far as it is needed here.
struct Manifest {
  std::string name, moec, abi;
  std::map<std::string, std::string> files; // path -> "sha256:..."
  bool hasFile(const std::string &path) const { return files.count(path) != 0; }
};
} // namespace

static Result<Manifest> readManifest(const std::string &folder) {
  std::string path = manifestOf(folder);
  if (path.empty())
    return damaged(folder, "found no share/NAME/manifest.json; moec compile writes such folders");
  Result<std::string> text = readFile(path, manifestBytes);
  if (!text)
    return text.takeError();
  nlohmann::json root = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded())
    return damaged(folder, "manifest.json is not JSON");
  auto stringAt = [&](const char *path) {
    nlohmann::json::json_pointer pointer(path);
    return root.contains(pointer) && root[pointer].is_string() ? root[pointer].get<std::string>() : std::string();
  };
  Manifest manifest = {stringAt("/name"), stringAt("/versions/moec"), stringAt("/versions/abi"), {}};
  bool good = stringAt("/schema") == "moec.manifest/1" && !manifest.moec.empty() && !manifest.abi.empty() &&
              root.contains("files") && root["files"].is_object();
  if (!good)
    return damaged(folder, "manifest.json is not of the form moec.manifest/1");
  for (const auto &[path, hash] : root["files"].items())
    if (hash.is_string())
      manifest.files[path] = hash.get<std::string>();
  const std::string &name = manifest.name;
  bool word = !name.empty() && name.size() <= 63 &&
              llvm::all_of(name, [](char c) { return llvm::isLower(c) || llvm::isDigit(c) || c == '_'; });
  if (!word)
    return damaged(folder, "the name in manifest.json is " + quoteText(name) + ", expected [a-z0-9_]{1,63}");
  return manifest;
}

// A file of the package, with the bytes that the manifest promises.
static Result<std::string> readListed(const std::string &folder, const Manifest &manifest, const std::string &path,
                                      uint64_t limit) {
  Result<std::string> bytes = readFile(folder + "/" + path, limit);
  if (bytes && "sha256:" + hexText(sha256(*bytes)) != manifest.files.at(path))
    return damaged(folder, path + " is not the file that manifest.json lists");
  return bytes;
}

static Result<> takeObjects(const std::string &folder, const std::string &archive, CompiledPackage &package) {
  auto refuse = [&](llvm::Error error) {
    return damaged(folder, "its archive cannot be read: " + llvm::toString(std::move(error)));
  };
  auto opened = llvm::object::Archive::create(llvm::MemoryBufferRef(archive, "package"));
  if (!opened)
    return refuse(opened.takeError());
  llvm::Error error = llvm::Error::success();
  for (const llvm::object::Archive::Child &child : (*opened)->children(error)) {
    auto name = child.getName();
    if (!name)
      return refuse(name.takeError());
    auto bytes = child.getBuffer();
    if (!bytes)
      return refuse(bytes.takeError());
    package.objects.push_back({name->str(), llvm::SmallVector<char, 0>(bytes->begin(), bytes->end())});
  }
  if (error)
    return refuse(std::move(error));
  return {};
}

// The dynamic linker maps what the program headers name, also beyond the end of a cut file, and crashes there.
static Result<> checkShared(const std::string &folder, const std::string &bytes) {
  auto file = llvm::object::ELF64LEFile::create(bytes);
  if (!file)
    return damaged(folder, "its shared library cannot be read: " + llvm::toString(file.takeError()));
  auto segments = file->program_headers();
  if (!segments)
    return damaged(folder, "its shared library cannot be read: " + llvm::toString(segments.takeError()));
  for (const auto &segment : *segments)
    if (segment.p_offset > bytes.size() || segment.p_filesz > bytes.size() - segment.p_offset)
      return damaged(folder, "its shared library cannot be read: a segment ends after the file");
  return {};
}

template <class T> static std::vector<T> copySpan(const void *blob, moec_span span) {
  const T *first = reinterpret_cast<const T *>(static_cast<const char *>(blob) + span.offset);
  return std::vector<T>(first, first + span.count);
}

static Result<> takePlan(const std::string &folder, const moec_package &linked, LaunchPlan &plan) {
  moec_plan view;
  if (moec_status status = moec_plan_open(&linked, &view); status != MOEC_OK)
    return damaged(folder, lastRuntimeError(status));
  const moec_plan_header &header = *view.header;
  plan.header = header;
  plan.buffers = copySpan<moec_buffer>(&header, header.buffers);
  plan.steps = copySpan<moec_step>(&header, header.steps);
  plan.args = copySpan<uint16_t>(&header, header.args);
  plan.covers = copySpan<uint8_t>(&header, header.covers);
  plan.roles = copySpan<moec_role>(&header, header.roles);
  plan.weights = copySpan<moec_weight>(&header, header.weights);
  std::vector<char> strings = copySpan<char>(&header, header.strings);
  plan.strings.assign(strings.begin(), strings.end());
  return {};
}

Result<std::unique_ptr<LoadedPackage>> PackageOnDisk::load() const {
  Result<std::unique_ptr<LoadedPackage>> loaded =
      sharedLibrary.empty() ? LoadedPackage::load(compiled) : LoadedPackage::open(sharedLibrary, compiled.name);
  if (!loaded)
    return damaged(folder, loaded.error().message);
  return loaded;
}

Result<std::unique_ptr<PackageOnDisk>> openPackage(const std::string &folder) {
  Result<Manifest> manifest = readManifest(folder);
  if (!manifest)
    return manifest.takeError();
  auto package = std::make_unique<PackageOnDisk>();
  package->folder = folder;
  package->moecVersion = manifest->moec;
  package->compiled.name = manifest->name;
  if (llvm::StringRef(manifest->abi).split('.').first != std::to_string(MOEC_ABI_MAJOR))
    return damaged(folder, "it was made for ABI " + quoteText(manifest->abi) + ", this moec has " +
                               std::to_string(MOEC_ABI_MAJOR) + "." + std::to_string(MOEC_ABI_MINOR) +
                               "; compile it again");
  std::string archive = "lib/lib" + manifest->name + ".a", shared = "lib/lib" + manifest->name + ".so";
  bool isShared = manifest->hasFile(shared);
  if (!isShared && !manifest->hasFile(archive))
    return damaged(folder, "manifest.json lists neither " + archive + " nor " + shared);
  Result<std::string> library = readListed(folder, *manifest, isShared ? shared : archive, libraryBytes);
  if (!library)
    return library.takeError();
  package->libraryHash = hexText(sha256(*library));
  if (isShared) {
    if (Result<> whole = checkShared(folder, *library); !whole)
      return whole.takeError();
    package->sharedLibrary = fs::absolute(folder + "/" + shared).string();
  } else if (Result<> taken = takeObjects(folder, *library, package->compiled); !taken) {
    return taken.takeError();
  }
  Result<std::unique_ptr<LoadedPackage>> loaded = package->load();
  if (!loaded)
    return loaded.takeError();
  if (Result<> taken = takePlan(folder, *(*loaded)->get(), package->compiled.plan); !taken)
    return taken.takeError();
  if (!package->compiled.plan.header.isa_mask)
    return damaged(folder, "it holds no kernels for CPUs");
  std::string spec = "share/" + manifest->name + "/spec.json";
  if (manifest->hasFile(spec)) {
    if (Result<std::string> text = readListed(folder, *manifest, spec, specBytes); !text)
      return text.takeError();
    package->specFile = folder + "/" + spec;
  }
  return package;
}

} // namespace moec
