// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// text.h - a text file -> numbers of characters, and batches of them.
#ifndef TRAIN_TEXT_H
#define TRAIN_TEXT_H

#include <cstdint>
#include <string>
#include <vector>

namespace train {

class Vocabulary {
public:
  explicit Vocabulary(std::string characters = "") : characters(std::move(characters)) {}
  static Vocabulary of(const std::string &text); // each byte that occurs, in order
  int64_t size() const { return static_cast<int64_t>(characters.size()); }
  std::vector<int32_t> encode(const std::string &text) const; // throws if a character is not among them
  char decode(int32_t id) const { return characters[static_cast<size_t>(id)]; }

  std::string characters;
};

std::string read_text(const std::string &path);

// Sequences of ids, one behind the other, and for each position the id that comes next.
struct Batch {
  int64_t sequences = 0, length = 0;
  std::vector<int32_t> ids, targets; // [sequences * length]
};

// The last tenth of a text is held out.
class Text {
public:
  Text(std::vector<int32_t> ids, int64_t length);
  Batch draw(int64_t sequences, uint64_t seed, uint64_t step) const; // from random places of the first nine tenths
  int64_t held_out() const;                                          // sequences that do not overlap
  Batch held_out(int64_t first, int64_t sequences) const;

private:
  Batch at(const std::vector<int64_t> &places) const;
  std::vector<int32_t> ids;
  int64_t length, border;
};

} // namespace train
#endif
