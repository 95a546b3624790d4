// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// JSON in -> members, each checked for its form, out. The first member that is not of its form ends the reading.

#include "codegen/package/PackageManifest.h"

#include "dsl/text/SourceText.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>

namespace moec {

using nlohmann::json;

namespace {

bool all(std::string_view text, std::string_view others) {
  return !text.empty() && text.size() <= 256 && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || others.find(c) != std::string_view::npos;
  });
}

bool isName(std::string_view text) { return text.size() <= 63 && all(text, "_"); }
bool isHash(std::string_view text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool isVersion(std::string_view text) { return text.size() <= 40 && all(text, ".-+"); }
bool isTarget(std::string_view text) {
  return (text.rfind("cpu:", 0) == 0 && isName(text.substr(4))) ||
         (text.rfind("cuda:", 0) == 0 && isName(text.substr(5)));
}
bool isRows(std::string_view text) { return all(text, "."); }
// "experts_down cpu:avx512"
bool isStageOnTarget(std::string_view text) {
  size_t blank = text.find(' ');
  return blank != std::string_view::npos && isName(text.substr(0, blank)) && isTarget(text.substr(blank + 1));
}
// A relative path that stays below its folder.
bool isPath(std::string_view text) {
  if (text.empty() || text.size() > 512 || text.front() == '/' || text.back() == '/')
    return false;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find('/', begin), text.size());
    std::string_view part = text.substr(begin, end - begin);
    bool plain = !part.empty() && part.front() != '.' && std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
             c == '-';
    });
    if (!plain)
      return false;
    begin = end + 1;
  }
  return true;
}
bool isTemplatePath(std::string_view text) {
  return isPath(text) && (isFunctionPath(text) || text.rfind("kernels/", 0) == 0);
}

using Check = bool (*)(std::string_view);

class ManifestReader {
public:
  Result<PackageManifest> run(std::string_view text) {
    json root = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
    PackageManifest out;
    if (root.is_discarded())
      refuse("is not JSON");
    else if (!root.is_object())
      refuse("is not a JSON object");
    else if (readIdentity(root, out) && readCalls(root, out) && readFiles(root, out) && readMadeFrom(root, out))
      return out;
    return error;
  }

private:
  bool refuse(const std::string &why) {
    error = Diagnostic::error("E-PACKAGE", "manifest.json " + why);
    return false;
  }
  bool refuse(const std::string &path, const std::string &expected, const json *found = nullptr) {
    std::string text = !found                  ? "nothing"
                       : found->is_string()    ? quoteText(found->get_ref<const std::string &>())
                       : found->is_primitive() ? found->dump()
                                               : std::string(found->type_name());
    return refuse("has " + escaped(text) + " at " + escaped(path) + ", expected " + expected);
  }
  static const json *member(const json &object, const char *key) {
    auto found = object.find(key);
    return found == object.end() ? nullptr : &*found;
  }
  const json *object(const json &in, const char *key, const std::string &path) {
    const json *found = member(in, key);
    if (found && found->is_object())
      return found;
    refuse(path, "an object", found);
    return nullptr;
  }
  bool text(const json &in, const char *key, const std::string &path, std::string &out, Check check,
            const char *expected) {
    const json *found = member(in, key);
    if (!found || !found->is_string() || !check(found->get_ref<const std::string &>()))
      return refuse(path, expected, found);
    out = found->get<std::string>();
    return true;
  }
  bool number(const json &in, const char *key, const std::string &path, int64_t &out, int64_t low) {
    const json *found = member(in, key);
    if (!found || !found->is_number_integer() ||
        (found->is_number_unsigned() && found->get<uint64_t>() > uint64_t(1) << 60) || found->get<int64_t>() < low)
      return refuse(path, "an integer of at least " + std::to_string(low), found);
    out = found->get<int64_t>();
    return true;
  }
  bool texts(const json &in, const char *key, const std::string &path, std::vector<std::string> &out, Check check,
             const char *expected) {
    const json *found = member(in, key);
    if (!found || !found->is_array())
      return refuse(path, "a list", found);
    for (const json &item : *found) {
      if (!item.is_string() || !check(item.get_ref<const std::string &>()))
        return refuse(path, expected, &item);
      out.push_back(item.get<std::string>());
    }
    return true;
  }

  bool readIdentity(const json &root, PackageManifest &out);
  bool readCalls(const json &root, PackageManifest &out);
  bool readFiles(const json &root, PackageManifest &out);
  bool readMadeFrom(const json &root, PackageManifest &out);
  bool readOptions(const json &from, PackageManifest &out);
  bool readTemplates(const json &from, PackageManifest &out);
  bool readSchedule(const json &from, PackageManifest &out);

  Diagnostic error;
};

bool ManifestReader::readIdentity(const json &root, PackageManifest &out) {
  std::string schema;
  auto isSchema = [](std::string_view text) { return text == "moec.manifest/1"; };
  if (!text(root, "schema", "schema", schema, isSchema, "moec.manifest/1"))
    return false;
  const json *versions = object(root, "versions", "versions");
  if (!versions || !text(*versions, "moec", "versions.moec", out.moecVersion, isVersion, "a version such as 0.1.0") ||
      !text(*versions, "abi", "versions.abi", out.abi, isVersion, "a version such as 1.0") ||
      !text(*versions, "llvm", "versions.llvm", out.llvmVersion, isVersion, "a version such as 22.1.0") ||
      !text(root, "name", "name", out.name, isName, "[a-z0-9_]{1,63}") ||
      !text(root, "spec_sha256", "spec_sha256", out.identity, isHash, "64 hex digits"))
    return false;
  const json *cuda = member(root, "cuda");
  if (!cuda)
    return true;
  const json *targets = cuda->is_object() ? member(*cuda, "targets") : nullptr;
  if (!targets || !targets->is_array())
    return refuse("cuda.targets", "a list", targets);
  for (const json &target : *targets) {
    std::string name;
    if (!target.is_object() || !text(target, "name", "cuda.targets[].name", name, isName, "a name such as sm_80"))
      return target.is_object() ? false : refuse("cuda.targets[]", "an object", &target);
    out.cudaTargets.push_back(name);
  }
  return true;
}

bool ManifestReader::readCalls(const json &root, PackageManifest &out) {
  if (!member(root, "calls"))
    return true;
  const json *calls = object(root, "calls", "calls");
  return calls &&
         text(
             *calls, "abi", "calls.abi", out.callsAbi, [](std::string_view t) { return !t.empty(); },
             "an ABI such as tvm-ffi 0.1") &&
         texts(*calls, "functions", "calls.functions", out.calls, isName, "a name such as forward");
}

bool ManifestReader::readFiles(const json &root, PackageManifest &out) {
  const json *files = object(root, "files", "files");
  if (!files)
    return false;
  for (const auto &[path, hash] : files->items()) {
    if (!isPath(path))
      return refuse("lists the file " + quoteText(path) + ", expected a path inside of the package");
    std::string value = hash.is_string() ? hash.get<std::string>() : "";
    if (value.rfind("sha256:", 0) != 0 || !isHash(std::string_view(value).substr(7)))
      return refuse("files." + path, "sha256: and 64 hex digits", &hash);
    out.files[path] = value.substr(7);
  }
  return true;
}

bool ManifestReader::readOptions(const json &from, PackageManifest &out) {
  const json *options = object(from, "options", "made_from.options");
  const std::string at = "made_from.options.";
  PackageOptions &o = out.options;
  return options &&
         texts(*options, "targets", at + "targets", o.targets, isTarget, "a target such as cpu:avx2 or cuda:sm_80") &&
         number(*options, "max_tokens", at + "max_tokens", o.maxTokens, 1) &&
         (!member(*options, "workspace_limit") ||
          number(*options, "workspace_limit", at + "workspace_limit", o.workspaceLimit, 1)) &&
         text(
             *options, "math", at + "math", o.math, [](std::string_view t) { return t == "exact" || t == "tf32"; },
             "exact or tf32") &&
         text(
             *options, "determinism", at + "determinism", o.determinism,
             [](std::string_view t) { return t == "off" || t == "run" || t == "batch"; }, "off, run or batch") &&
         text(
             *options, "library", at + "library", out.library,
             [](std::string_view t) { return t == "static" || t == "shared" || t == "both"; },
             "static, shared or both") &&
         (!member(*options, "sanitizer") ||
          text(
              *options, "sanitizer", at + "sanitizer", o.sanitizer,
              [](std::string_view t) { return t == "address" || t == "thread"; }, "address or thread"));
}

bool ManifestReader::readTemplates(const json &from, PackageManifest &out) {
  const json *templates = object(from, "templates", "made_from.templates");
  if (!templates)
    return false;
  for (const auto &[path, facts] : templates->items()) {
    std::string at = "made_from.templates." + path;
    if (!isTemplatePath(path))
      return refuse("lists the template " + quoteText(path) + ", expected functions/NAME.mlir or kernels/NAME.mlir");
    if (!facts.is_object())
      return refuse(at, "an object", &facts);
    PackageManifest::Template use;
    const json *builtIn = member(facts, "built_in");
    if (!text(facts, "sha256", at + ".sha256", use.hash, isHash, "64 hex digits"))
      return false;
    if (!builtIn || !builtIn->is_boolean())
      return refuse(at + ".built_in", "true or false", builtIn);
    use.builtIn = builtIn->get<bool>();
    out.templates[path] = std::move(use);
  }
  return true;
}

bool ManifestReader::readSchedule(const json &from, PackageManifest &out) {
  const json *schedule = object(from, "schedule", "made_from.schedule");
  const std::string at = "made_from.schedule.";
  if (!schedule || !texts(*schedule, "given", at + "given", out.schedule.given, isStageOnTarget,
                          "a stage and a target such as router cpu:avx2"))
    return false;
  const json *tuned = member(*schedule, "tuned");
  if (!tuned || !tuned->is_array())
    return refuse(at + "tuned", "a list", tuned);
  for (const json &range : *tuned) {
    ScheduleOrigin::Tuned one;
    const json *exact = range.is_object() ? member(range, "exact") : nullptr;
    if (!exact || !exact->is_boolean())
      return refuse(at + "tuned[].exact", "true or false", exact);
    one.exact = exact->get<bool>();
    if (!text(range, "stage", at + "tuned[].stage", one.stage, isName, "a stage's name") ||
        !text(range, "target", at + "tuned[].target", one.target, isTarget, "a target such as cpu:avx2") ||
        !text(range, "rows", at + "tuned[].rows", one.rows, isRows, "rows such as 9..12") ||
        !text(range, "record_sha256", at + "tuned[].record_sha256", one.record, isHash, "64 hex digits"))
      return false;
    out.schedule.tuned.push_back(std::move(one));
  }
  return true;
}

bool ManifestReader::readMadeFrom(const json &root, PackageManifest &out) {
  if (!member(root, "made_from"))
    return true;
  const json *from = object(root, "made_from", "made_from");
  return from &&
         text(
             *from, "source", "made_from.source", out.source,
             [](std::string_view t) { return t == "spec.json" || t == "layer.mlir"; }, "spec.json or layer.mlir") &&
         readOptions(*from, out) && readTemplates(*from, out) && readSchedule(*from, out);
}

} // namespace

Result<PackageManifest> parseManifest(std::string_view text) { return ManifestReader().run(text); }

} // namespace moec
