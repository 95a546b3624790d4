// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// manifest.json as moec writes it, with every member that may be there changed to something that moec never writes.

#include "codegen/package/PackageManifest.h"

#include <gtest/gtest.h>

#include <random>

using namespace moec;

namespace {

const std::string hash(64, 'a'), other(64, 'b');

std::string whole() {
  return R"({"schema": "moec.manifest/1", "name": "tiny", "spec_sha256": ")" + hash + R"(",
    "versions": {"moec": "0.1.0", "abi": "1.0", "llvm": "22.1.0"},
    "made_from": {"source": "spec.json",
      "options": {"targets": ["cpu:avx2", "cuda:sm_80"], "max_tokens": 512, "workspace_limit": 4096, "math": "exact",
                  "determinism": "run", "library": "both", "sanitizer": "address"},
      "templates": {"functions/silu.mlir": {"sha256": ")" +
         other + R"(", "built_in": true}},
      "schedule": {"given": ["router cpu:avx2"],
                   "tuned": [{"stage": "experts_down", "target": "cpu:avx2", "rows": "9..", "record_sha256": ")" +
         hash + R"(", "exact": true}]}},
    "cuda": {"targets": [{"name": "sm_80", "launches": []}]},
    "files": {"lib/libtiny.a": "sha256:)" +
         hash + R"("}})";
}

std::string with(std::string text, const std::string &from, const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string refusal(const std::string &text) {
  Result<PackageManifest> manifest = parseManifest(text);
  if (manifest)
    return "accepted";
  EXPECT_EQ(manifest.error().code, "E-PACKAGE");
  return manifest.error().message;
}

TEST(PackageManifest, every_member_is_read) {
  Result<PackageManifest> read = parseManifest(whole());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->name, "tiny");
  EXPECT_EQ(read->identity, hash);
  EXPECT_EQ(read->moecVersion + read->abi + read->llvmVersion, "0.1.01.022.1.0");
  EXPECT_EQ(read->cudaTargets, std::vector<std::string>{"sm_80"});
  EXPECT_EQ(read->files.at("lib/libtiny.a"), hash);
  EXPECT_EQ(read->source, "spec.json");
  EXPECT_EQ(read->library, "both");
  EXPECT_EQ(read->options.targets, (std::vector<std::string>{"cpu:avx2", "cuda:sm_80"}));
  EXPECT_EQ(read->options.maxTokens, 512);
  EXPECT_EQ(read->options.workspaceLimit, 4096);
  EXPECT_EQ(read->options.sanitizer, "address");
  EXPECT_EQ(read->templates.at("functions/silu.mlir").hash, other);
  EXPECT_TRUE(read->templates.at("functions/silu.mlir").builtIn);
  EXPECT_EQ(read->schedule.given, std::vector<std::string>{"router cpu:avx2"});
  ASSERT_EQ(read->schedule.tuned.size(), 1u);
  EXPECT_EQ(read->schedule.tuned[0].stage + read->schedule.tuned[0].rows, "experts_down9..");
  EXPECT_TRUE(read->schedule.tuned[0].exact);
}

TEST(PackageManifest, members_that_moec_never_writes_are_refused) {
  struct {
    const char *from, *to, *message;
  } cases[] = {
      {"moec.manifest/1", "moec.manifest/2",
       "manifest.json has \"moec.manifest/2\" at schema, expected moec.manifest/1"},
      {"\"tiny\"", "\"../tiny\"", "manifest.json has \"../tiny\" at name, expected [a-z0-9_]{1,63}"},
      {"\"tiny\"", "7", "manifest.json has 7 at name, expected [a-z0-9_]{1,63}"},
      {"\"name\": \"tiny\", ", "", "manifest.json has nothing at name, expected [a-z0-9_]{1,63}"},
      {"aaaa\",\n", "aaaA\",\n", "expected 64 hex digits"},
      {"\"0.1.0\"", "\"0.1.0\\n\"", "manifest.json has \"0.1.0\\x0a\" at versions.moec"},
      {"{\"moec\"", "[{\"moec\"", "manifest.json is not JSON"},
      {"\"spec.json\"", "\"other.json\"", "at made_from.source, expected spec.json or layer.mlir"},
      {"\"cpu:avx2\", ", "\"cpu:avx2;\", ", "at made_from.options.targets"},
      {"[\"cpu:avx2\", \"cuda:sm_80\"]", "{}",
       "manifest.json has object at made_from.options.targets, expected a list"},
      {"512", "0", "manifest.json has 0 at made_from.options.max_tokens, expected an integer of at least 1"},
      {"512", "5e2", "manifest.json has 500.0 at made_from.options.max_tokens"},
      {"512", "99999999999999999999999", "at made_from.options.max_tokens"},
      {"4096", "-1", "manifest.json has -1 at made_from.options.workspace_limit"},
      {"\"exact\",", "\"fast\",", "at made_from.options.math, expected exact or tf32"},
      {"\"run\"", "\"sometimes\"", "at made_from.options.determinism"},
      {"\"both\"", "\"none\"", "at made_from.options.library, expected static, shared or both"},
      {"\"address\"", "\"memory\"", "at made_from.options.sanitizer"},
      {"functions/silu", "functions/../silu", "lists the template \"functions/../silu.mlir\""},
      {"functions/silu", "package/silu", "lists the template \"package/silu.mlir\""},
      {"\"built_in\": true", "\"built_in\": 1", "at made_from.templates.functions/silu.mlir.built_in"},
      {"\"router cpu:avx2\"", "\"router\"", "at made_from.schedule.given"},
      {"\"experts_down\"", "\"experts down\"", "at made_from.schedule.tuned[].stage"},
      {"\"9..\"", "\"9..x y\"", "at made_from.schedule.tuned[].rows"},
      {"\"exact\": true", "\"exact\": \"yes\"", "at made_from.schedule.tuned[].exact"},
      {"lib/libtiny.a", "/lib/libtiny.a", "lists the file \"/lib/libtiny.a\""},
      {"lib/libtiny.a", "lib/../../libtiny.a", "expected a path inside of the package"},
      {"lib/libtiny.a", "lib//libtiny.a", "expected a path inside of the package"},
      {"lib/libtiny.a", "lib/.libtiny.a", "expected a path inside of the package"},
      {"sha256:a", "sha1:a", "at files.lib/libtiny.a, expected sha256: and 64 hex digits"},
      {"[{\"name\": \"sm_80\"", "[7, {\"name\": \"sm_80\"",
       "manifest.json has 7 at cuda.targets[], expected an object"},
      {"\"made_from\"", R"("calls": 7, "made_from")", "manifest.json has 7 at calls, expected an object"},
      {"\"made_from\"", R"("calls": {"abi": ""}, "made_from")", "at calls.abi, expected an ABI such as tvm-ffi 0.1"},
      {"\"made_from\"", R"("calls": {"abi": "a", "functions": ["a b"]}, "made_from")", "at calls.functions"},
      {"\"made_from\"", "\"made_from\": 7, \"other\"", "manifest.json has 7 at made_from, expected an object"},
  };
  for (const auto &c : cases)
    EXPECT_NE(refusal(with(whole(), c.from, c.to)).find(c.message), std::string::npos)
        << c.to << ": " << refusal(with(whole(), c.from, c.to));
  EXPECT_EQ(refusal(""), "manifest.json is not JSON");
  EXPECT_EQ(refusal("[]"), "manifest.json is not a JSON object");
  EXPECT_EQ(refusal(std::string(1000000, '[')), "manifest.json is not JSON");
}

// Whatever is read has the forms above, so that names can be made paths and texts of it.
TEST(PackageManifest, mutated_text_never_reads_as_another_form) {
  std::mt19937 random(1);
  const std::string text = whole(), pieces = "\"{}[]:,/.\\\0\x80 -19atnul";
  size_t accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string changed = text;
    for (unsigned n = 1 + random() % 3; n; --n)
      changed[random() % changed.size()] = pieces[random() % pieces.size()];
    Result<PackageManifest> read = parseManifest(changed);
    if (!read)
      continue;
    ++accepted;
    EXPECT_EQ(read->name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string::npos);
    for (const auto &[path, digest] : read->files) {
      EXPECT_EQ(("/" + path).find("/."), std::string::npos) << path;
      EXPECT_EQ(("/" + path + "/").find("//"), std::string::npos) << path;
      EXPECT_EQ(digest.size(), 64u);
    }
  }
  EXPECT_GT(accepted, 100u);
}

} // namespace
