// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights from an index of shards and from folders: the packed bytes of the same tensors, or an error that names the
// files.

#include "TinyLayer.h"
#include "WeightFile.h"
#include "runtime/weights/safetensors.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <unistd.h>

using namespace moec::test;
namespace fs = std::filesystem;

namespace {

constexpr size_t packedBytes = 16384;
const char indexName[] = "model.safetensors.index.json", fileName[] = "model.safetensors";
const char first[] = "model-00001-of-00003.safetensors", second[] = "model-00002-of-00003.safetensors",
           third[] = "model-00003-of-00003.safetensors";

// {"weight_map": {...}} of pairs of tensor and shard.
std::string indexOf(const std::vector<std::pair<std::string, std::string>> &map) {
  std::string text = R"({"metadata": {"total_size": 123.0, "more": [1, {"a": null}]}, "weight_map": {)";
  for (size_t i = 0; i < map.size(); ++i)
    text += (i ? ", \"" : "\"") + map[i].first + "\": \"" + map[i].second + "\"";
  return text + "}}\n";
}

class Checkpoint : public testing::Test {
protected:
  Checkpoint() : source(1) {
    std::string name = testing::TempDir() + "moec_checkpoint_XXXXXX";
    folder = mkdtemp(&name[0]);
    EXPECT_EQ(moec_layer_create(tiny_package(), nullptr, &layer), MOEC_OK);
    AlignedBytes buffer(packedBytes);
    std::vector<moec_tensor> tensors = source.tensors();
    moec_weights *weights = nullptr;
    EXPECT_EQ(moec_weights_pack(layer, tensors.data(), tensors.size(), buffer.data(), packedBytes, &weights), MOEC_OK);
    moec_weights_destroy(weights);
    want.assign(static_cast<char *>(buffer.data()), packedBytes);
  }
  ~Checkpoint() override {
    moec_layer_destroy(layer);
    fs::remove_all(folder);
  }

  std::string at(const std::string &name) const { return folder + "/" + name; }
  void write(const std::string &name, const std::string &bytes) const { std::ofstream(at(name)) << bytes; }
  std::string read(const std::string &name) const {
    std::ostringstream text;
    text << std::ifstream(at(name)).rdbuf();
    return text.str();
  }

  void addDown(FileWriter &file, int64_t e) const {
    file.add("experts." + std::to_string(e) + ".down", {hidden, inner},
             slice(source.down, e * hidden * inner, hidden * inner));
  }

  // Router, gate, up and two experts' down in the first shard, two in the second; the third is of another layer.
  void writeShards() {
    FileWriter one, two;
    one.add("router.weight", {experts, hidden}, source.router);
    one.add("experts.gate_up", {experts, hidden, 2 * inner}, gateUpEvenOdd(source));
    addDown(one, 0), addDown(one, 1);
    addDown(two, 3), addDown(two, 2);
    one.write(at(first));
    two.write(at(second));
    map = {{"experts.0.down", first},  {"experts.1.down", first},  {"router.weight", first}, {"experts.gate_up", first},
           {"experts.3.down", second}, {"experts.2.down", second}, {"norm.weight", third}};
    write(indexName, indexOf(map));
  }

  moec_status load(const std::string &path, std::string *packed = nullptr) {
    AlignedBytes buffer(packedBytes, 0x5a);
    moec_weights *weights = nullptr;
    moec_status status = moec_weights_load(layer, path.c_str(), nullptr, buffer.data(), packedBytes, &weights);
    EXPECT_EQ(status == MOEC_OK, weights != nullptr);
    moec_weights_destroy(weights);
    std::string bytes(static_cast<char *>(buffer.data()), packedBytes);
    EXPECT_TRUE(status == MOEC_OK || bytes == std::string(packedBytes, '\x5a')) << "written after an error";
    if (packed)
      *packed = bytes;
    return status;
  }

  void expectLoaded(const std::string &path) {
    std::string packed;
    EXPECT_EQ(load(path, &packed), MOEC_OK) << path << ": " << lastError();
    EXPECT_TRUE(packed == want) << path;
  }

  void expectError(const std::string &path, moec_status status, const std::string &text) {
    EXPECT_STREQ(moec_status_name(load(path)), moec_status_name(status));
    EXPECT_EQ(lastError(), text);
  }

  void expectIndexError(const std::string &index, moec_status status, const std::string &text) {
    write(indexName, index);
    expectError(at(indexName), status, text);
  }

  TinyWeights source;
  std::string folder, want;
  std::vector<std::pair<std::string, std::string>> map;
  moec_layer *layer = nullptr;
};

} // namespace

// ---- what is read -----------------------------------------------------------------------------------------------

TEST_F(Checkpoint, index_and_folder) {
  writeShards(); // the third shard does not exist, and the layer needs nothing from it
  expectLoaded(at(indexName));
  expectLoaded(folder);
  expectLoaded(folder + "/");
  fs::path before = fs::current_path();
  fs::current_path(folder);
  expectLoaded(indexName);
  expectLoaded(".");
  fs::current_path(before);
}

TEST_F(Checkpoint, unneeded_shards_are_not_opened) {
  writeShards();
  write(third, "damaged");
  fs::create_directory(at("other"));
  map.push_back({"lm_head", "other"});
  write(indexName, indexOf(map));
  expectLoaded(folder);
}

TEST_F(Checkpoint, shards_below_the_folder_and_by_links) {
  writeShards();
  fs::create_directory(at("parts"));
  fs::rename(at(first), at("parts/a..b"));
  fs::rename(at(second), at("blob"));
  fs::create_symlink(at("blob"), at(second)); // as download caches store files
  for (auto &entry : map)
    if (entry.second == first)
      entry.second = "parts/a..b";
  write("other_name.json", indexOf(map));
  expectLoaded(at("other_name.json"));
}

TEST_F(Checkpoint, folder_of_one_file) {
  fileWithDown(source, MOEC_STACK_PER_EXPERT, MOEC_AXES_OUT_IN, MOEC_PART_ALL, MOEC_F32).write(at("layer.safetensors"));
  write(".hidden.safetensors", "x");
  expectLoaded(folder);
  write("more.safetensors", "damaged");
  expectError(folder, MOEC_FILE,
              folder + ": 2 safetensors files, \"layer.safetensors\" is one, and no index; expected " + indexName +
                  ", or the path of one file");
  fs::rename(at("layer.safetensors"), at(fileName));
  expectLoaded(folder);
  write(indexName, "damaged"); // a whole file needs no index
  expectLoaded(folder);
}

TEST_F(Checkpoint, folder_with_an_index_of_another_name) {
  writeShards();
  fs::rename(at(indexName), at("experts.safetensors.index.json"));
  expectLoaded(folder);
  write("vision.safetensors.index.json", "{}");
  expectError(folder, MOEC_FILE,
              folder + ": 2 indexes, \"experts.safetensors.index.json\" is one; expected one, or the path of one");
}

// ---- what is refused --------------------------------------------------------------------------------------------

TEST_F(Checkpoint, folder_without_safetensors) {
  expectError(folder, MOEC_FILE,
              folder + ": the folder has neither model.safetensors nor model.safetensors.index.json");
  write("config.json", "{}");
  write("pytorch_model.bin", "PK\3\4");
  expectError(folder, MOEC_FILE,
              folder + ": no safetensors file, but \"pytorch_model.bin\"; convert it to safetensors");
  expectError(at("none"), MOEC_FILE, at("none") + ": cannot be opened: No such file or directory");
}

TEST_F(Checkpoint, other_kinds_of_file) {
  auto expectKind = [&](const std::string &bytes, const std::string &kind) {
    write(fileName, bytes + std::string(200, '\0'));
    expectError(folder, MOEC_FILE_FORMAT, at(fileName) + ": " + kind);
  };
  expectKind("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
             "a git-lfs pointer to a file that was not downloaded; run \"git lfs pull\"");
  expectKind(std::string("PK\3\4\0\0\x8\x8", 8), "a zip archive of a Python pickle, as torch.save writes .bin and .pt "
                                                 "files; convert it to safetensors");
  expectKind("\x80\2\x8a\nl\xfc\x9c\x46\xf9\x20\x6a\xa8P\x19.",
             "a Python pickle, as torch.save writes .bin and .pt files; convert it to safetensors");
  expectKind(std::string("GGUF\3\0\0\0", 8), "a GGUF file; convert it to safetensors");
  expectKind("<!DOCTYPE html>", "an HTML page, perhaps of a failed download");
  expectKind("moecpack\4\3\2\1", "packed weights; map the file and pass it to moec_weights_map");
  expectKind("something else",
             "the header claims 7956005065853857651 bytes, the file has 206 and the limit is 100000000");
}

// The length of a header may look like the beginning of another kind.
TEST_F(Checkpoint, header_lengths_that_look_like_other_kinds) {
  for (size_t length : {size_t('{'), size_t(0x0280), size_t(0x227b)}) {
    FileWriter file = fileWithDown(source, MOEC_STACK_PER_EXPERT, MOEC_AXES_OUT_IN, MOEC_PART_ALL, MOEC_F32);
    if (file.header.size() + 1 > length) // cannot be that short: an empty file will do
      file = FileWriter{"{", ""};
    file.header += std::string(length - file.header.size() - 1, ' ');
    file.write(at(fileName));
    moec_file *opened = nullptr;
    EXPECT_EQ(moec_file_open(at(fileName).c_str(), &opened), MOEC_OK) << length << ": " << lastError();
    moec_file_close(opened);
  }
}

TEST_F(Checkpoint, shards_that_do_not_fit_the_index) {
  writeShards();
  auto loadOf = [&](const std::string &tensor, const std::string &shard) {
    auto changed = map;
    for (auto &entry : changed)
      if (entry.first == tensor)
        entry.second = shard;
    return indexOf(changed);
  };
  expectIndexError(loadOf("experts.2.down", third), MOEC_FILE,
                   "tensor \"experts.2.down\" of " + at(indexName) + ": " + at(third) +
                       ": cannot be opened: No such file or directory");
  expectIndexError(loadOf("experts.2.down", first), MOEC_MISSING_WEIGHT,
                   "tensor \"experts.2.down\" is not in \"" + std::string(first) + "\", the shard that " +
                       at(indexName) + " names");
  expectIndexError(loadOf("experts.2.down", indexName), MOEC_FILE_FORMAT,
                   "tensor \"experts.2.down\" of " + at(indexName) + ": " + at(indexName) +
                       ": JSON, not a safetensors file");
  write(third, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n");
  expectIndexError(loadOf("experts.2.down", third), MOEC_FILE_FORMAT,
                   "tensor \"experts.2.down\" of " + at(indexName) + ": " + at(third) +
                       ": a git-lfs pointer to a file that was not downloaded; run \"git lfs pull\"");
  auto fewer = map;
  fewer.pop_back(), fewer.pop_back();
  expectIndexError(indexOf(fewer), MOEC_MISSING_WEIGHT,
                   "experts.down: tensor \"experts.2.down\" is not in " + at(indexName));
}

TEST_F(Checkpoint, tensor_in_two_shards) {
  writeShards();
  auto twice = map;
  twice.push_back({"experts.0.down", second});
  expectIndexError(indexOf(twice), MOEC_FILE_FORMAT,
                   at(indexName) + ": tensor \"experts.0.down\" is in two shards, \"" + first + "\" and \"" + second +
                       "\"");
  twice = map;
  twice.push_back({"experts.0.down", first});
  expectIndexError(indexOf(twice), MOEC_FILE_FORMAT, at(indexName) + ": tensor \"experts.0.down\" is named twice");
  FileWriter two; // the index is right, but the second shard holds an expert of the first, too
  addDown(two, 3), addDown(two, 2), addDown(two, 1);
  two.write(at(second));
  expectIndexError(indexOf(map), MOEC_FILE_FORMAT,
                   at(indexName) + ": tensor \"experts.1.down\" is in two shards, \"" + first + "\" and \"" + second +
                       "\"");
}

TEST_F(Checkpoint, shards_outside_the_folder) {
  writeShards();
  for (const char *shard :
       {"../model.safetensors", "/etc/passwd", "a/../../b", "..", ".", "", "a//b", "a/", "./a", "a/./b"})
    expectIndexError(std::string(R"({"weight_map":{"x":")") + shard + "\"}}", MOEC_FILE_FORMAT,
                     at(indexName) + ": index byte " + std::to_string(21 + std::string(shard).size()) +
                         ": tensor \"x\" is in \"" + shard + "\", expected a file in the index's folder");
}

TEST_F(Checkpoint, index_that_is_not_one) {
  auto refuse = [&](const std::string &index, const std::string &text) {
    expectIndexError(index, MOEC_FILE_FORMAT, at(indexName) + ": index byte " + text);
  };
  refuse("{}", "2: expected an index of safetensors files, with weight_map");
  refuse(R"({"hidden_size": 4096, "rope": {"a": [1.5]}})",
         "43: expected an index of safetensors files, with weight_map");
  refuse(R"({"weight_map":{}, "weight_map":{}})", "31: expected weight_map once");
  refuse(R"({"weight_map":[]})", "14: expected '{'");
  refuse(R"({"weight_map":{"a":1}})", "19: expected a string");
  refuse(R"({"weight_map":{"a":"b",}})", "23: expected a string");
  refuse(R"({"weight_map":{"a":"b"}} x)", "25: expected nothing after the object");
  refuse(R"({"weight_map":{"a":"b"})", "23: expected ',' or '}'");
  refuse("{\"weight_map\":{\"" + std::string(1024, 'n') + "\":\"a\"}}", "1040: expected a shorter string");
  refuse("{\"metadata\":" + std::string(100000, '['), "140: expected at most 128 objects and arrays inside each other");
  expectIndexError(R"({"weight_map":{}})", MOEC_MISSING_WEIGHT,
                   "router.weight: tensor \"router.weight\" is not in " + at(indexName));
}

// ---- several checkpoints ----------------------------------------------------------------------------------------

namespace {
moec_status loadSources(const moec_layer *layer, const std::vector<moec_weights_source> &sources,
                        std::string *packed = nullptr) {
  AlignedBytes buffer(packedBytes, 0x5a);
  moec_weights *weights = nullptr;
  moec_status status =
      moec_weights_load_sources(layer, sources.data(), sources.size(), buffer.data(), packedBytes, &weights);
  EXPECT_EQ(status == MOEC_OK, weights != nullptr);
  moec_weights_destroy(weights);
  if (packed)
    packed->assign(static_cast<char *>(buffer.data()), packedBytes);
  return status;
}
} // namespace

TEST_F(Checkpoint, base_and_adapter) {
  FileWriter base, adapter;
  base.add("model.router.weight", {experts, hidden}, source.router);
  base.add("model.experts.gate_up", {experts, hidden, 2 * inner}, gateUpEvenOdd(source));
  for (int64_t e = 0; e < experts; ++e)
    adapter.add("adapter.experts." + std::to_string(e) + ".down", {hidden, inner},
                slice(source.down, e * hidden * inner, hidden * inner));
  base.write(at("base"));
  adapter.write(at("adapter"));
  std::string basePath = at("base"), adapterPath = at("adapter"), packed;
  const moec_weights_source one = {basePath.c_str(), "model."}, two = {adapterPath.c_str(), "adapter."};
  EXPECT_EQ(loadSources(layer, {one, two}, &packed), MOEC_OK) << lastError();
  EXPECT_TRUE(packed == want);
  EXPECT_EQ(loadSources(layer, {two, one}, &packed), MOEC_OK) << lastError();
  EXPECT_TRUE(packed == want);
  EXPECT_EQ(loadSources(layer, {one}), MOEC_MISSING_WEIGHT);
  EXPECT_EQ(lastError(), "experts.down: tensor \"model.experts.0.down\" is not in " + basePath);
  const moec_weights_source wrong = {adapterPath.c_str(), "adapt."};
  EXPECT_EQ(loadSources(layer, {one, wrong}), MOEC_MISSING_WEIGHT);
  EXPECT_EQ(lastError(), "experts.down: tensor \"model.experts.0.down\" is not in " + basePath +
                             ", nor \"adapt.experts.0.down\" in " + adapterPath);
}

// The last source that has a tensor gives it: a whole tensor, or an expert of its own.
TEST_F(Checkpoint, adapter_replaces_tensors_of_its_base) {
  writeShards();
  TinyWeights changed = source;
  for (int64_t i = 0; i < hidden * inner; ++i)
    changed.down[size_t(2 * hidden * inner + i)] = float(i);
  FileWriter adapter;
  adapter.add("p.experts.2.down", {hidden, inner}, slice(changed.down, 2 * hidden * inner, hidden * inner));
  adapter.write(at("adapter"));
  std::string adapterPath = at("adapter"), packed;
  const moec_weights_source base = {folder.c_str(), nullptr}, other = {adapterPath.c_str(), "p."};
  EXPECT_EQ(loadSources(layer, {base, other}, &packed), MOEC_OK) << lastError();
  AlignedBytes buffer(packedBytes);
  std::vector<moec_tensor> tensors = changed.tensors();
  moec_weights *weights = nullptr;
  ASSERT_EQ(moec_weights_pack(layer, tensors.data(), tensors.size(), buffer.data(), packedBytes, &weights), MOEC_OK);
  moec_weights_destroy(weights);
  EXPECT_TRUE(packed == std::string(static_cast<char *>(buffer.data()), packedBytes));
  EXPECT_EQ(loadSources(layer, {other, base}, &packed), MOEC_OK) << lastError();
  EXPECT_TRUE(packed == want) << "the base is last";
}

TEST_F(Checkpoint, source_arguments) {
  EXPECT_EQ(loadSources(layer, {}), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "sources is NULL");
  const moec_weights_source none = {nullptr, nullptr}, missing = {"/nonexistent", nullptr};
  EXPECT_EQ(loadSources(layer, {none}), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "path is NULL");
  writeShards();
  const moec_weights_source good = {folder.c_str(), nullptr};
  EXPECT_EQ(loadSources(layer, {good, none}), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "sources[1]: path is NULL");
  EXPECT_EQ(loadSources(layer, {good, missing}), MOEC_FILE);
  EXPECT_EQ(loadSources(layer, std::vector<moec_weights_source>(17, good)), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "17 sources, expected 1 to 16");
}

TEST_F(Checkpoint, every_truncation_of_an_index_is_refused) {
  writeShards();
  std::string whole = read(indexName);
  for (size_t bytes = 0; bytes + 2 < whole.size(); ++bytes) {
    write(indexName, whole.substr(0, bytes));
    ASSERT_EQ(load(folder), MOEC_FILE_FORMAT) << bytes;
    ASSERT_EQ(lastError().rfind(at(indexName) + ": ", 0), 0u) << lastError();
  }
}

TEST_F(Checkpoint, random_damage_never_crashes) {
  writeShards();
  std::mt19937 generator(1);
  std::string whole = read(indexName);
  const std::string pieces = "\"{}[],:\\u0./n-1e";
  for (int repeat = 0; repeat < 1000; ++repeat) {
    std::string bytes = whole;
    for (unsigned flips = 1 + generator() % 3; flips > 0; --flips) {
      size_t place = generator() % bytes.size();
      if (generator() % 4 == 0)
        bytes.erase(place, 1 + generator() % 40);
      else
        bytes[place] = generator() % 2 ? pieces[generator() % pieces.size()] : static_cast<char>(generator());
    }
    write(indexName, bytes);
    load(folder);
  }
}
