// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Binding of a template's parameters, without instantiating it.

#include "codegen/schedule/TemplateValues.h"

#include "codegen/TemplateFiles.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"

#include <optional>

namespace moec {

ParameterKind parameterKind(const TemplateParameter &parameter) {
  if (!parameter.formula.empty())
    return ParameterKind::Derived;
  llvm::StringRef value = parameter.value;
  if (parameter.name[0] == '#' && value.starts_with("#tile.hint<"))
    return ParameterKind::Word;
  if (parameter.name[0] == '#' && value.ends_with("index"))
    return ParameterKind::Integer;
  return ParameterKind::Stage;
}

bool defaultInteger(const TemplateParameter &parameter, int64_t &out) {
  return !llvm::StringRef(parameter.value).split(':').first.trim().getAsInteger(10, out);
}

std::string defaultWord(const TemplateParameter &parameter) {
  llvm::StringRef value = parameter.value;
  value.consume_front("#tile.hint<");
  return value.take_until([](char c) { return c == '>'; }).str();
}

bool isHintWord(llvm::StringRef word) { return word == "none" || word == "t0" || word == "t1" || word == "nta"; }

namespace {

class ValueBinder {
public:
  ValueBinder(const TemplateBinding &kernel, const MatmulStage &stage, llvm::ArrayRef<llvm::StringRef> required)
      : kernel(kernel), stage(stage), required(required) {}

  std::map<std::string, int64_t> values;
  Diagnostic error; // why run() was false

  bool run(llvm::StringRef templatesDir) {
    return readParameters(templatesDir) && checkNames() && bindValues() && checkAllowed();
  }

private:
  bool fail(std::string message) {
    error = Diagnostic::error("E-TEMPLATE", std::move(message));
    return false;
  }
  std::string quoted() const { return "template '" + kernel.templateName + "'"; }
  static std::string text(int64_t value) { return std::to_string(value); }

  bool readParameters(llvm::StringRef templatesDir);
  bool checkNames();
  bool bindValues();
  bool checkAllowed();
  bool checkAllowedInteger(const TemplateParameter &parameter, llvm::StringRef allowed);

  const TemplateBinding &kernel;
  const MatmulStage &stage;
  llvm::ArrayRef<llvm::StringRef> required;

  std::vector<TemplateParameter> parameters;
  std::vector<std::string> allowed; // per parameter: its comment up to the ':'
  std::map<std::string, std::string> words;
};

// "{1, 2, 4}" -> its items; nullopt where the comment is not a list.
std::optional<llvm::SmallVector<llvm::StringRef>> listItems(llvm::StringRef allowed) {
  if (!allowed.consume_front("{") || !allowed.consume_back("}") || allowed.contains(".."))
    return std::nullopt;
  llvm::SmallVector<llvm::StringRef> items;
  allowed.split(items, ',');
  for (llvm::StringRef &item : items)
    item = item.trim();
  return items;
}

bool ValueBinder::readParameters(llvm::StringRef templatesDir) {
  auto read = readTemplate(templatesDir, "kernels/" + kernel.templateName + ".mlir");
  if (!read) {
    error = read.takeError();
    return false;
  }
  if (!*read)
    return fail("there is no kernel " + quoted());
  const TemplateText *source = &**read;
  parameters = templateParameters(source->text);
  for (const TemplateParameter &parameter : parameters) {
    llvm::StringRef rest = llvm::StringRef(source->text).drop_front(parameter.end);
    llvm::StringRef comment = rest.take_until([](char c) { return c == '\n'; }).split("//").second;
    allowed.push_back(comment.take_until([](char c) { return c == ':'; }).trim().str());
  }
  return true;
}

// What is set must be settable, and the parameters this check reasons with must exist.
bool ValueBinder::checkNames() {
  auto kindOf = [&](const std::string &name) -> std::optional<ParameterKind> {
    for (const TemplateParameter &parameter : parameters)
      if (parameter.name.substr(1) == name)
        return parameterKind(parameter);
    return std::nullopt;
  };
  auto check = [&](const std::string &name, ParameterKind wanted) {
    auto kind = kindOf(name);
    if (!kind)
      return fail(quoted() + " has no parameter '" + name + "'");
    if (*kind == ParameterKind::Derived || *kind == ParameterKind::Stage)
      return fail("parameter '" + name + "' of " + quoted() + " follows from the stage and cannot be set");
    if (*kind != wanted)
      return fail("parameter '" + name + "' of " + quoted() + " takes " +
                  (*kind == ParameterKind::Integer ? "an integer" : "one of none, t0, t1, nta"));
    return true;
  };
  for (const auto &[name, value] : kernel.integers)
    if (!check(name, ParameterKind::Integer))
      return false;
  for (const auto &[name, word] : kernel.words)
    if (!check(name, ParameterKind::Word))
      return false;
  for (llvm::StringRef name : required)
    if (kindOf(name.str()) != ParameterKind::Integer)
      return fail(quoted() + " has no integer parameter '" + name.str() + "', which a schedule needs");
  return true;
}

// The value every parameter will have: the entry's, its formula's, else the template's default.
bool ValueBinder::bindValues() {
  if (stage.n < 1 || stage.k < 1 || stage.n > INT32_MAX || stage.k > INT32_MAX)
    return fail("a stage of " + text(stage.n) + " columns and depth " + text(stage.k) +
                " cannot be scheduled, expected both in 1..2147483647");
  values = {{"n", stage.n}, {"k", stage.k}, {"parts", stage.parts}};
  for (const TemplateParameter &parameter : parameters) {
    std::string name = parameter.name.substr(1);
    int64_t value = 0;
    switch (parameterKind(parameter)) {
    case ParameterKind::Stage:
      continue;
    case ParameterKind::Word: {
      auto it = kernel.words.find(name);
      words[name] = it != kernel.words.end() ? it->second : defaultWord(parameter);
      continue;
    }
    case ParameterKind::Derived: {
      Result<int64_t> evaluated = evaluateFormula(parameter.formula, values);
      if (!evaluated)
        return fail("formula '" + parameter.formula + "' of parameter '" + name + "' of " + quoted() + ": " +
                    evaluated.error().message);
      value = *evaluated;
      break;
    }
    case ParameterKind::Integer:
      if (auto it = kernel.integers.find(name); it != kernel.integers.end())
        value = it->second;
      else if (!defaultInteger(parameter, value))
        return fail("default '" + parameter.value + "' of parameter '" + name + "' of " + quoted() +
                    " is not an integer");
      if (value < 1 || value > maxScheduleInteger)
        return fail(name + " is " + text(value) + ", expected 1..1000000");
    }
    values[name] = value;
  }
  return true;
}

bool ValueBinder::checkAllowedInteger(const TemplateParameter &parameter, llvm::StringRef set) {
  std::string name = parameter.name.substr(1);
  int64_t value = values[name];
  std::string found = name + " is " + text(value) + ", expected ";
  if (auto items = listItems(set)) {
    if (!llvm::is_contained(*items, text(value)))
      return fail(found + "one of " + set.str());
    return true;
  }
  llvm::StringRef body = set;
  if (body.consume_front("{") && body.consume_back("}")) {
    auto [low, high] = body.split("..");
    int64_t first, last;
    if (low.trim().getAsInteger(10, first) || high.trim().getAsInteger(10, last))
      return fail("the allowed set '" + set.str() + "' of parameter '" + name + "' of " + quoted() +
                  " is neither {a, b, ...} nor {a .. b}");
    if (value < first || value > last)
      return fail(found + text(first) + ".." + text(last));
    return true;
  }
  if (body = set; body.consume_front("multiple of ")) {
    auto base = values.find(body.trim().str());
    if (base == values.end() || base->second < 1)
      return fail("the comment of parameter '" + name + "' of " + quoted() + " names '" + body.trim().str() +
                  "', which is not a parameter above it");
    if (value % base->second)
      return fail(found + "a multiple of " + base->first + " (" + text(base->second) + ")");
  }
  return true;
}

// A comment of any other form is prose and restricts nothing.
bool ValueBinder::checkAllowed() {
  for (size_t i = 0; i < parameters.size(); ++i) {
    std::string name = parameters[i].name.substr(1);
    ParameterKind kind = parameterKind(parameters[i]);
    if (kind == ParameterKind::Integer && !checkAllowedInteger(parameters[i], allowed[i]))
      return false;
    if (kind != ParameterKind::Word)
      continue;
    auto items = listItems(allowed[i]);
    if (!isHintWord(words[name]) || (items && !llvm::is_contained(*items, words[name])))
      return fail(name + " is " + words[name] + ", expected one of " +
                  (items ? allowed[i] : std::string("{none, t0, t1, nta}")));
  }
  return true;
}

} // namespace

Result<std::map<std::string, int64_t>> bindTemplateValues(const TemplateBinding &kernel, const MatmulStage &stage,
                                                          llvm::ArrayRef<llvm::StringRef> required,
                                                          llvm::StringRef templatesDir) {
  ValueBinder binder(kernel, stage, required);
  if (!binder.run(templatesDir))
    return std::move(binder.error);
  return std::move(binder.values);
}

} // namespace moec
