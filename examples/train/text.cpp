// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "text.h"

#include "random.h"

#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>

namespace train {

Vocabulary Vocabulary::of(const std::string &text) {
  std::set<unsigned char> used(text.begin(), text.end());
  return Vocabulary(std::string(used.begin(), used.end()));
}

std::vector<int32_t> Vocabulary::encode(const std::string &text) const {
  std::vector<int32_t> ids;
  for (char c : text) {
    size_t id = characters.find(c);
    if (id == std::string::npos)
      throw std::runtime_error(std::string("the model does not know the character '") + c + "' (" +
                               std::to_string(static_cast<unsigned char>(c)) + "), which its text did not have");
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::string read_text(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file || text.empty())
    throw std::runtime_error(path + ": cannot be read, or is empty");
  return text;
}

Text::Text(std::vector<int32_t> all, int64_t sequence) : ids(std::move(all)), length(sequence) {
  border = static_cast<int64_t>(ids.size()) * 9 / 10;
  if (held_out() < 1)
    throw std::runtime_error("the text has " + std::to_string(ids.size()) + " characters; a tenth of it must hold " +
                             std::to_string(length + 1));
}

Batch Text::at(const std::vector<int64_t> &places) const {
  Batch batch;
  batch.sequences = static_cast<int64_t>(places.size());
  batch.length = length;
  for (int64_t place : places) {
    batch.ids.insert(batch.ids.end(), ids.begin() + place, ids.begin() + place + length);
    batch.targets.insert(batch.targets.end(), ids.begin() + place + 1, ids.begin() + place + length + 1);
  }
  return batch;
}

Batch Text::draw(int64_t sequences, uint64_t seed, uint64_t step) const {
  Random random(seed, 1, step);
  std::vector<int64_t> places;
  for (int64_t i = 0; i < sequences; ++i)
    places.push_back(random.below(border - length));
  return at(places);
}

int64_t Text::held_out() const { return (static_cast<int64_t>(ids.size()) - 1 - border) / length; }

Batch Text::held_out(int64_t first, int64_t sequences) const {
  std::vector<int64_t> places;
  for (int64_t i = first; i < first + sequences; ++i)
    places.push_back(border + i * length);
  return at(places);
}

} // namespace train
