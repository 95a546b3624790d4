// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Prefixes with "{l}" and a list of layers -> prefixes of each layer.

#include "WeightFlags.h"

#include "llvm/ADT/StringExtras.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

namespace moec {

static constexpr int64_t mostLayers = 10000;

void addWeightFlags(CLI::App &verb, WeightFlags &flags) {
  verb.add_option("--prefix", flags.prefix,
                  "what the names of the layer's tensors begin with; moec import hf prints it")
      ->type_name("TEXT");
  verb.add_option("--adapter", flags.adapter, "a second checkpoint; a tensor that both have is taken from it")
      ->type_name("PATH");
  verb.add_option("--adapter-prefix", flags.adapterPrefix, "as --prefix, in the adapter; default: the same")
      ->type_name("TEXT");
  verb.add_option("--layers", flags.layers, "several layers, as 3-60 or 0,4,8-11; {l} in a prefix is the number")
      ->type_name("LIST");
}

std::string withLayer(std::string text, int64_t layer) {
  std::string number = std::to_string(layer);
  for (size_t at = 0; (at = text.find("{l}", at)) != std::string::npos; at += number.size())
    text.replace(at, 3, number);
  return text;
}

static bool holdsLayer(const std::string &text) { return text.find("{l}") != std::string::npos; }

// "0,4,8-11" -> 0, 4, 8, 9, 10, 11.
static bool parseLayers(llvm::StringRef text, std::vector<int64_t> &out) {
  for (llvm::StringRef part : llvm::split(text, ',')) {
    auto [first, last] = part.split('-');
    int64_t from = 0, to = 0;
    bool range = part.contains('-');
    if (first.getAsInteger(10, from) || (range && last.getAsInteger(10, to)))
      return false;
    if (!range)
      to = from;
    if (from < 0 || to < from || to - from >= mostLayers)
      return false;
    for (int64_t layer = from; layer <= to; ++layer)
      out.push_back(layer);
  }
  return !out.empty();
}

int layerSources(Session &session, const WeightFlags &flags, std::vector<LayerSources> &out) {
  if (flags.adapter.empty() && !flags.adapterPrefix.empty())
    return fail(session, "E-USAGE", "--adapter-prefix is given without --adapter");
  const std::string &adapterPrefix = flags.adapterPrefix.empty() ? flags.prefix : flags.adapterPrefix;
  std::vector<int64_t> layers = {-1};
  if (!flags.layers.empty()) {
    layers.clear();
    if (!parseLayers(flags.layers, layers))
      return fail(session, "E-USAGE",
                  "--layers is " + quoteText(flags.layers) + ", expected a list as 3-60 or 0,4,8-11");
    if (!holdsLayer(flags.prefix))
      return fail(session, "E-USAGE", "--layers needs a --prefix that holds {l}",
                  "for example --prefix 'model.layers.{l}.mlp.'");
  } else if (holdsLayer(flags.prefix) || holdsLayer(adapterPrefix)) {
    return fail(session, "E-USAGE", "a prefix holds {l}, but --layers is not given", "--layers 0-47");
  }
  for (int64_t layer : layers) {
    LayerSources one;
    one.layer = layer;
    one.sources.push_back({flags.weights, layer < 0 ? flags.prefix : withLayer(flags.prefix, layer)});
    if (!flags.adapter.empty())
      one.sources.push_back({flags.adapter, layer < 0 ? adapterPrefix : withLayer(adapterPrefix, layer)});
    out.push_back(std::move(one));
  }
  return ExitDone;
}

} // namespace moec
