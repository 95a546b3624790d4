// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The single definition of the vocabulary: describeSpec() walks every key of a spec in canonical order and shows it to
// a FieldVisitor. The reader, the printer and the schema test are visitors, so none of them can forget a key.
//
// Adding a key: a field in LayerSpec.h, one line in a describe function, a line in layer.schema.json and README.md.

#ifndef MOEC_DSL_SPEC_SPECFIELDS_H
#define MOEC_DSL_SPEC_SPECFIELDS_H

#include "dsl/LayerSpec.h"

#include <limits>
#include <string_view>
#include <vector>

namespace moec {

struct IntRange {
  int64_t min = 1, max = 1;
};
struct NumberRange {
  double min = 0, max = 0;
  bool aboveMin = false; // min itself is not allowed
};

enum class Need { Optional, Required };
enum class Presence {
  Always, // a block with defaults: an empty object means the same as no object
  Absent, // an optional block the spec does not have
  Present // an optional block the spec has
};

// Position in the list = value of the enum.
using WordList = std::vector<std::string_view>;

// The kinds of keys that a visitor sees. `fallback` is the value of a missing key. Only reading visitors change
// `value`. A visitor may see keys whose value has no effect; SpecChecks refuses those.
class FieldVisitor {
public:
  virtual ~FieldVisitor() = default;

  virtual void flag(std::string_view key, bool &value, bool fallback) = 0;
  virtual void integer(std::string_view key, int64_t &value, int64_t fallback, IntRange range,
                       Need need = Need::Optional) = 0;
  virtual void optionalInteger(std::string_view key, std::optional<int64_t> &value, IntRange range) = 0;
  virtual void number(std::string_view key, double &value, double fallback, NumberRange range,
                      Need need = Need::Optional) = 0;
  virtual void optionalNumber(std::string_view key, std::optional<double> &value, NumberRange range) = 0;
  virtual void word(std::string_view key, int &value, int fallback, const WordList &words,
                    Need need = Need::Optional) = 0;
  virtual void text(std::string_view key, std::string &value, Need need = Need::Optional) = 0;

  virtual void numberOrWord(std::string_view key, double &value, bool &isWord, double fallback, NumberRange range,
                            std::string_view word) = 0;
  virtual void integers(std::string_view key, std::vector<int64_t> &value, IntRange range, bool alone) = 0;
  virtual void texts(std::string_view key, std::vector<std::string> &value) = 0;
  virtual void wordSet(std::string_view key, unsigned &bits, unsigned fallback, const WordList &words) = 0;
  virtual void wordsOrAll(std::string_view key, unsigned &bits, const WordList &words) = 0; // a list or "all"
  virtual void dataType(std::string_view key, DataType &value, DataType fallback) = 0;
  virtual void dataTypes(std::string_view key, DataTypes &value) = 0; // one name or a block
  virtual void activation(std::string_view key, Activation &act, std::string &name) = 0;
  virtual void topK(std::string_view shorthand, RouterSelect &select) = 0; // "top_k": 2

  // Blocks and lists. After enter() returned true, keys belong to the block until leave().
  virtual bool enter(std::string_view key, Presence presence) = 0;
  // As enter(), of a block whose `mainKey` alone may stand for it: "norm_out": "rms" is {"kind": "rms"}.
  virtual bool enterShort(std::string_view key, Presence presence, std::string_view mainKey, const WordList &words) = 0;
  virtual size_t enterList(std::string_view key, size_t count) = 0; // number of items; 0: no leave()
  virtual void enterItem(size_t index) = 0;                         // an object in the list, until leave()
  virtual std::vector<std::string> enterMap(std::string_view key, const std::vector<std::string> &present) = 0;
  virtual void leave() = 0;

  template <class E> void choice(std::string_view key, E &value, E fallback, const WordList &words) {
    int index = int(value);
    word(key, index, int(fallback), words);
    value = E(index);
  }
  template <class E> void requiredChoice(std::string_view key, E &value, const WordList &words) {
    int index = int(value);
    word(key, index, -1, words, Need::Required);
    value = E(index);
  }
  // bool as a word: words[0] = false, words[1] = true.
  void wordFlag(std::string_view key, bool &value, bool fallback, const WordList &words) {
    int index = value;
    word(key, index, fallback, words);
    value = index != 0;
  }
  template <class S> void block(std::string_view key, S &value, void (*describe)(FieldVisitor &, S &)) {
    if (!enter(key, Presence::Always))
      return;
    describe(*this, value);
    leave();
  }
  template <class S>
  void optionalBlock(std::string_view key, std::optional<S> &value, void (*describe)(FieldVisitor &, S &)) {
    if (enter(key, value ? Presence::Present : Presence::Absent))
      entered(value, describe);
  }
  template <class S>
  void shortBlock(std::string_view key, std::optional<S> &value, void (*describe)(FieldVisitor &, S &),
                  std::string_view mainKey, const WordList &words) {
    if (enterShort(key, value ? Presence::Present : Presence::Absent, mainKey, words))
      entered(value, describe);
  }

private:
  template <class S> void entered(std::optional<S> &value, void (*describe)(FieldVisitor &, S &)) {
    S block = value.value_or(S());
    describe(*this, block);
    value = block;
    leave();
  }
};

void describeSpec(FieldVisitor &visitor, LayerSpec &spec);
void describeRouter(FieldVisitor &visitor, RouterSpec &router, bool level); // level: an item of router.levels
void describeExperts(FieldVisitor &visitor, ExpertsSpec &experts);
void describeShared(FieldVisitor &visitor, SharedSpec &shared);
void describeNorm(FieldVisitor &visitor, std::string_view key, std::optional<NormSpec> &norm);
void describeCapacity(FieldVisitor &visitor, CapacitySpec &capacity);
void describeLoss(FieldVisitor &visitor, LossSpec &loss);
void describeWrap(FieldVisitor &visitor, WrapSpec &layer);

// Whether each token of this kind of router takes select.k experts.
bool takesTopK(RouterKind kind);

// Limits of sizes: larger than any real layer, small enough that the product of three fits int64.
constexpr int64_t maxHidden = 1 << 20;
constexpr int64_t maxExperts = 1 << 16;
constexpr int64_t maxChoices = 256;
constexpr int64_t maxTokenGroups = 16;
constexpr int64_t maxTokensTaken = 1 << 30;
constexpr int64_t maxVocab = 1 << 20;
constexpr size_t maxLevels = 2;

// Words of enums that more than one block or a message uses.
extern const WordList formWords, activationWords, routerKindWords, selectKindWords, quantKindWords, normKindWords;

} // namespace moec

#endif
