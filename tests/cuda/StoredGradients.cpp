// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every number of the file is 8 bytes but values, which are f32; a list begins with its length.

#include "StoredGradients.h"

#include "codegen/check/GradientCompare.h"

#include <cstdint>
#include <fstream>
#include <type_traits>

namespace moec {
namespace {

constexpr int64_t magic = 0x31444152474d434d; // "MCMGRAD1"
constexpr int64_t mostItems = int64_t(1) << 28;

// Writes what it is given, or reads into it.
class Archive {
public:
  explicit Archive(std::ofstream &file) : out(&file) {}
  explicit Archive(std::ifstream &file) : in(&file) {}
  bool reads() const { return in; }
  bool good() const { return !failed && (in ? bool(*in) : bool(*out)); }
  void refuse() { failed = true; }

  void bytes(void *data, size_t size) {
    if (in)
      in->read(static_cast<char *>(data), std::streamsize(size));
    else
      out->write(static_cast<const char *>(data), std::streamsize(size));
  }
  void number(int64_t &value) { bytes(&value, sizeof value); }
  void real(double &value) { bytes(&value, sizeof value); }

  // `list` gets its length; false: there is nothing behind it.
  template <typename List> bool length(List &list) {
    auto count = int64_t(list.size());
    number(count);
    if (!good() || count < 0 || count > mostItems)
      failed = true;
    else if (in)
      list.resize(size_t(count));
    return good();
  }
  void text(std::string &value) {
    if (length(value))
      bytes(value.data(), value.size());
  }
  template <typename T> void plain(std::vector<T> &list) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (length(list))
      bytes(list.data(), list.size() * sizeof(T));
  }
  void shortened(std::vector<double> &list) {
    std::vector<float> values(list.begin(), list.end());
    plain(values);
    list.assign(values.begin(), values.end());
  }
  void memory(PageBuffer &buffer, size_t size) {
    if (in) {
      buffer = PageBuffer(size + 64);
      failed |= !buffer.data();
    }
    if (good())
      bytes(buffer.data(), size);
  }
  // Keys and values, by `item`.
  template <typename Map, typename Item> void map(Map &values, Item item) {
    auto count = int64_t(values.size());
    number(count);
    auto at = values.begin();
    for (int64_t i = 0; good() && i < count; ++i) {
      std::string name = in ? std::string() : at->first;
      text(name);
      if (good())
        item(in ? values[name] : at->second);
      if (!in)
        ++at;
    }
  }

private:
  std::ofstream *out = nullptr;
  std::ifstream *in = nullptr;
  bool failed = false;
};

void travel(Archive &archive, StoredCall &stored, size_t xBytes, size_t dyBytes) {
  GradientCall &call = stored.call;
  archive.number(call.tokens);
  if (call.tokens < 0 || call.tokens > mostItems)
    archive.refuse();
  if (!archive.good())
    return;
  archive.memory(call.x, size_t(call.tokens) * xBytes);
  archive.memory(call.dy, size_t(call.tokens) * dyBytes);
  archive.number(call.inputs.tokensPerSequence);
  archive.map(call.inputs.bytes, [&](std::vector<char> &bytes) { archive.plain(bytes); });
  archive.plain(call.coefficients);
  archive.map(stored.wanted, [&](StoredGradient &gradient) {
    archive.shortened(gradient.exact);
    archive.plain(gradient.rows);
    archive.shortened(gradient.slack.most);
    archive.shortened(gradient.slack.rms);
    archive.real(gradient.slack.gain);
  });
}

void travel(Archive &archive, StoredGradients &all) {
  int64_t begins = magic, matrices = int64_t(all.matrices), xBytes = int64_t(all.xBytes),
          dyBytes = int64_t(all.dyBytes);
  archive.number(begins);
  if (begins != magic)
    return archive.refuse();
  archive.number(matrices);
  archive.number(xBytes);
  archive.number(dyBytes);
  if (archive.reads()) {
    all.matrices = DataType(matrices);
    all.xBytes = size_t(xBytes), all.dyBytes = size_t(dyBytes);
  }
  if (archive.length(all.inputNames))
    for (std::string &name : all.inputNames)
      archive.text(name);
  if (archive.length(all.calls))
    for (StoredCall &stored : all.calls)
      if (archive.good())
        travel(archive, stored, all.xBytes, all.dyBytes);
}

} // namespace

bool StoredGradients::write(const std::string &path) const {
  std::ofstream file(path, std::ios::binary);
  Archive archive(file);
  travel(archive, const_cast<StoredGradients &>(*this)); // which writing leaves as it is
  return archive.good() && file.flush();
}

bool StoredGradients::read(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  Archive archive(file);
  travel(archive, *this);
  return archive.good();
}

Result<> StoredGradients::draw(const RoleTensors &, uint64_t, int64_t tokens) {
  for (const StoredCall &stored : calls)
    if (stored.call.tokens == tokens) {
      now = &stored;
      return {};
    }
  return Diagnostic::error("E-INTERNAL", "no call of " + std::to_string(tokens) + " tokens is stored");
}

bool StoredGradients::compare(const CallGradients &got, const CallGradients *before, CheckResult &result,
                              std::string &reason) {
  std::map<std::string, WantedGradient> wanted;
  for (const auto &[name, gradient] : now->wanted)
    wanted[name] = {&gradient.exact, gradient.rows, gradient.slack};
  reason = wrongGradient(got, before, wanted, now->call.tokens, result);
  return reason.empty();
}

} // namespace moec
