// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A function's printed text -> the hashes in its moe.layer attribute.

#include "codegen/moe/LayerIdentity.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace moec {

static constexpr StringLiteral layerName = "moe.layer", specHashName = "spec_hash", textHashName = "text_hash";

static NamedAttrList factsOf(func::FuncOp layer) {
  auto facts = layer->getAttrOfType<DictionaryAttr>(layerName);
  return facts ? NamedAttrList(facts) : NamedAttrList();
}

static void setFacts(func::FuncOp layer, const NamedAttrList &facts) {
  layer->setAttr(layerName, facts.getDictionary(layer.getContext()));
}

static StringAttr hexAttr(func::FuncOp layer, const Sha256Digest &digest) {
  return StringAttr::get(layer.getContext(), hexText(digest));
}

// Of a layer without text_hash.
static Sha256Digest textDigest(func::FuncOp layer) {
  std::string text;
  llvm::raw_string_ostream os(text);
  layer->print(os);
  return sha256(text);
}

static bool isHash(Attribute attribute) {
  auto text = dyn_cast_or_null<StringAttr>(attribute);
  return text && text.size() == 64 && llvm::all_of(text.getValue(), llvm::isHexDigit);
}

void stampIdentity(func::FuncOp layer, const Sha256Digest &identity) {
  NamedAttrList facts = factsOf(layer);
  facts.erase(textHashName);
  facts.set(specHashName, hexAttr(layer, identity));
  setFacts(layer, facts);
  facts.set(textHashName, hexAttr(layer, textDigest(layer)));
  setFacts(layer, facts);
}

void keepIdentity(func::FuncOp layer) {
  NamedAttrList facts = factsOf(layer);
  facts.erase(textHashName);
  setFacts(layer, facts);
  facts.set(textHashName, hexAttr(layer, textDigest(layer)));
  setFacts(layer, facts);
}

void settleIdentity(func::FuncOp layer) {
  NamedAttrList facts = factsOf(layer);
  Attribute claimed = facts.erase(textHashName), identity = facts.get(specHashName);
  if (identity && !isHash(identity))
    return;
  setFacts(layer, facts);
  StringAttr own = hexAttr(layer, textDigest(layer));
  if (identity && claimed == own)
    return;
  facts.set(specHashName, own);
  setFacts(layer, facts);
}

} // namespace moec
