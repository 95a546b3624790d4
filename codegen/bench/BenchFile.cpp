// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// JSON trees in -> results out; every wrong member is reported at its place.

#include "BenchFile.h"

#include <algorithm>

namespace moec {

namespace {

// Reads members of objects of one tree, and reports what is wrong with them.
class Members {
public:
  // `line`: 0 for a whole document, whose offsets are those of the list's source; otherwise the line that it is.
  Members(const JsonTree &tree, std::string_view text, size_t line, DiagnosticList &diagnostics)
      : tree(tree), text(std::string(text)), line(line), diagnostics(diagnostics) {}

  const JsonTree &tree;
  bool failed = false;

  void wrong(const JsonNode &at, const std::string &message, const std::string &hint = {}) {
    failed = true;
    SourcePlace place = line ? text.place(at.offset, at.length) : diagnostics.source().place(at.offset, at.length);
    if (line)
      place.line = line;
    diagnostics.error("E-RESULT", place, message, hint.empty() ? "measure again: moec bench SPEC --json" : hint);
  }

  // Null if it is absent, which is an error if it is `needed`, or if it is of another kind, which always is.
  const JsonNode *get(const JsonNode &object, const char *key, JsonKind kind, bool needed = false) {
    const JsonNode *node = tree.member(object, key);
    if (!node && needed)
      wrong(object, "\"" + std::string(key) + "\" is missing; expected " + std::string(kindName(kind)));
    if (node && node->kind != kind) {
      wrong(*node, "\"" + std::string(key) + "\" is " + std::string(kindName(node->kind)) + "; expected " +
                       std::string(kindName(kind)));
      return nullptr;
    }
    return node;
  }

  std::string word(const JsonNode &object, const char *key, bool needed = false) {
    const JsonNode *node = get(object, key, JsonKind::String, needed);
    return node ? node->text : "";
  }

  int64_t integer(const JsonNode &object, const char *key, bool needed, int64_t least) {
    const JsonNode *node = get(object, key, JsonKind::Number, needed);
    if (!node)
      return least;
    std::optional<int64_t> value = integerOf(node->text);
    if (value && *value >= least && *value <= INT32_MAX)
      return *value;
    wrong(*node, "\"" + std::string(key) + "\" is " + escaped(node->text) + "; expected a whole number from " +
                     std::to_string(least));
    return least;
  }

  double positive(const JsonNode &node, const std::string &what, bool orZero = false) {
    std::optional<double> value = node.kind == JsonKind::Number ? doubleOf(node.text) : std::nullopt;
    if (value && (*value > 0 || (orZero && *value == 0)))
      return *value;
    wrong(node, what + " is " +
                    (node.kind == JsonKind::Number ? escaped(node.text) : std::string(kindName(node.kind))) +
                    "; expected a positive number");
    return NAN;
  }

  // NaN where it is null or absent.
  double figure(const JsonNode &object, const char *key) {
    const JsonNode *node = tree.member(object, key);
    if (!node || node->kind == JsonKind::Null)
      return NAN;
    return positive(*node, "\"" + std::string(key) + "\"", /*orZero=*/true);
  }

private:
  SourceText text;
  size_t line;
  DiagnosticList &diagnostics;
};

} // namespace

static MachineFacts readMachine(Members &members, const JsonNode &object) {
  MachineFacts machine;
  const JsonNode *node = members.get(object, "machine", JsonKind::Object);
  if (!node)
    return machine;
  machine.vendor = members.word(*node, "vendor");
  machine.brand = members.word(*node, "brand");
  machine.family = int(members.integer(*node, "family", false, 0));
  machine.model = int(members.integer(*node, "model", false, 0));
  machine.stepping = int(members.integer(*node, "stepping", false, 0));
  machine.logicalCpus = int(members.integer(*node, "logical_cpus", false, 0));
  if (const JsonNode *flags = members.get(*node, "flags", JsonKind::Array))
    for (size_t child : flags->children)
      machine.flags.push_back(members.tree.nodes[child].text);
  return machine;
}

static BenchContext readContext(Members &members, const JsonNode &object) {
  BenchContext context;
  context.name = members.word(object, "name", true);
  context.isa = members.word(object, "isa", true);
  context.skew = members.word(object, "skew", true);
  context.threads = int(members.integer(object, "threads", true, 1));
  context.cold = members.word(object, "weights") != "warm";
  context.distinctExperts = members.integer(object, "distinct_experts", false, 0);
  context.moecVersion = members.word(object, "moec_version");
  context.specHash = members.word(object, "spec_sha256");
  context.packageHash = members.word(object, "package_sha256");
  context.date = members.word(object, "date");
  if (const JsonNode *types = members.get(object, "types", JsonKind::Object)) {
    context.inputType = members.word(*types, "input");
    context.weightType = members.word(*types, "weight");
    context.outputType = members.word(*types, "output");
    context.gradientType = members.word(*types, "gradients");
  }
  context.machine = readMachine(members, object);
  return context;
}

// The two ceilings of the bound; a list of objects beside them names further units, each with its "gflops".
static void readCeilings(Members &members, const JsonNode &object, BenchResult &result) {
  const JsonNode *node = members.get(object, "ceilings", JsonKind::Object);
  if (!node)
    return;
  result.peakGflops = members.figure(*node, "compute_gflops");
  result.readGbps = members.figure(*node, "read_gbps");
  result.peak = members.word(*node, "compute_kind");
  for (size_t child : node->children) {
    const JsonNode &list = members.tree.nodes[child];
    for (size_t item : list.kind == JsonKind::Array ? list.children : std::vector<size_t>()) {
      const JsonNode &unit = members.tree.nodes[item];
      const JsonNode *rate = unit.kind == JsonKind::Object ? members.tree.member(unit, "gflops") : nullptr;
      const JsonNode *name = rate ? members.tree.member(unit, "name") : nullptr;
      if (rate && !name)
        name = members.tree.member(unit, "kind");
      std::optional<double> value = rate && rate->kind == JsonKind::Number ? doubleOf(rate->text) : std::nullopt;
      if (name && name->kind == JsonKind::String && value && *value > 0)
        result.units.emplace_back(name->text, *value);
    }
  }
}

static void readSteps(Members &members, const JsonNode &object, BenchResult &result) {
  const JsonNode *steps = members.get(object, "steps", JsonKind::Array);
  for (size_t child : steps ? steps->children : std::vector<size_t>()) {
    const JsonNode &step = members.tree.nodes[child];
    if (step.kind != JsonKind::Object) {
      members.wrong(step, "a step is " + std::string(kindName(step.kind)) + "; expected an object");
      continue;
    }
    StepResult read;
    read.name = members.word(step, "name", true);
    read.us = members.figure(step, "us_median");
    read.share = members.figure(step, "share");
    result.steps.push_back(read);
  }
}

// `result` has what is common to the run.
static BenchResult readResult(Members &members, const JsonNode &object, BenchResult result) {
  result.tokens = members.integer(object, "tokens", true, 0);
  if (const JsonNode *node = members.get(object, "pass", JsonKind::String)) {
    if (std::optional<BenchPass> pass = passOfName(node->text))
      result.pass = *pass;
    else
      members.wrong(*node, "\"pass\" is " + quoteText(node->text) +
                               "; expected \"forward\", \"forward_saving\" or \"backward\"");
  }
  result.usMedian = members.figure(object, "us_median");
  result.usLow = members.figure(object, "us_low");
  result.usHigh = members.figure(object, "us_high");
  result.gflops = members.figure(object, "gflops");
  result.gbps = members.figure(object, "gbps");
  result.boundUs = members.figure(object, "bound_us");
  result.share = members.figure(object, "share_of_bound");
  result.reason = members.word(object, "reason");
  result.rounds = members.integer(object, "rounds", true, 0);
  result.accepted = members.integer(object, "rounds_accepted", true, 0);
  if (const JsonNode *times = members.get(object, "round_us", JsonKind::Array, true))
    for (size_t child : times->children)
      result.roundUs.push_back(members.positive(members.tree.nodes[child], "a time of \"round_us\""));
  readSteps(members, object, result);
  return result;
}

// A whole run, or a line that is one result of a run.
static void readRun(Members &members, BenchFile &file) {
  const JsonNode &root = members.tree.root();
  const char *other = "moec bench SPEC --json writes such a file";
  if (root.kind != JsonKind::Object)
    return members.wrong(root, "this is " + std::string(kindName(root.kind)) + "; expected a result of moec bench",
                         other);
  if (!members.tree.member(root, "moec_bench"))
    return members.wrong(root, "\"moec_bench\" is missing; expected a result of moec bench", other);
  int64_t format = members.integer(root, "moec_bench", true, 1);
  if (format > benchFormat)
    return members.wrong(*members.tree.member(root, "moec_bench"),
                         "\"moec_bench\" is " + std::to_string(format) + "; this moec reads " +
                             std::to_string(benchFormat),
                         "a newer moec wrote it; read it with that one");
  BenchResult run;
  run.context = readContext(members, root);
  readCeilings(members, root, run);
  if (!members.tree.member(root, "results")) {
    file.results.push_back(readResult(members, root, run));
    return;
  }
  const JsonNode *results = members.get(root, "results", JsonKind::Array);
  for (size_t child : results ? results->children : std::vector<size_t>()) {
    const JsonNode &result = members.tree.nodes[child];
    if (result.kind == JsonKind::Object)
      file.results.push_back(readResult(members, result, run));
    else
      members.wrong(result, "a result is " + std::string(kindName(result.kind)) + "; expected an object");
  }
}

static JsonLimits benchLimits() {
  JsonLimits limits;
  limits.bytes = benchFileBytes;
  limits.nodes = 400000;
  return limits;
}

bool isJsonLines(const std::string &text) {
  size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos)
    return false;
  std::string first = text.substr(begin, text.find('\n', begin) - begin);
  first.erase(first.find_last_not_of(" \t\r") + 1);
  return first.size() >= 2 && first.front() == '{' && first.back() == '}';
}

std::optional<JsonTree> readJsonLine(std::string_view line, size_t number, DiagnosticList &diagnostics) {
  DiagnosticList own;
  own.setSource(diagnostics.fileName(), line);
  std::optional<JsonTree> tree = readJson(line, benchLimits(), own);
  for (const Diagnostic &problem : own.all())
    diagnostics.add(problem.severity, problem.code, {number, problem.column, problem.length}, problem.message,
                    problem.hint);
  return tree;
}

static void readLines(const std::string &text, DiagnosticList &diagnostics, BenchFile &file) {
  size_t number = 0;
  for (size_t begin = 0; begin < text.size() && !diagnostics.isFull();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
      continue;
    if (std::optional<JsonTree> tree = readJsonLine(line, number, diagnostics)) {
      Members members(*tree, line, number, diagnostics);
      readRun(members, file);
    }
  }
}

std::optional<BenchFile> readBenchFile(const std::string &text, DiagnosticList &diagnostics) {
  BenchFile file;
  file.name = diagnostics.fileName();
  if (isJsonLines(text)) {
    readLines(text, diagnostics, file);
  } else if (std::optional<JsonTree> tree = readJson(text, benchLimits(), diagnostics)) {
    Members members(*tree, "", 0, diagnostics);
    readRun(members, file);
  }
  if (diagnostics.hasErrors())
    return std::nullopt;
  if (file.results.empty()) {
    diagnostics.error("E-RESULT", {}, "the file holds no result", "moec bench SPEC --json writes such a file");
    return std::nullopt;
  }
  return file;
}

} // namespace moec
