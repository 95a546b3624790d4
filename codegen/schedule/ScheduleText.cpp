// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Schedule -> text, and text that nobody vouches for -> Schedule or one message with its place.
//
//     file  = 'schedule' name (stage | front)*      stage = 'stage' name (isa entry+ | arch cuda+)
//     front = 'front' arch ('none' | 'tokens' '1' '..' integer)
//     entry = 'rows' range kernel 'numeric' ('amx' | 'dot' | 'fma')         cuda  = 'tokens' range kernel
//     range = integer '..' [integer]                kernel = name '{' [value (',' value)*] '}'
//     value = name '=' (integer | hint)

#include "codegen/TemplateFiles.h"
#include "codegen/schedule/CudaSchedule.h"
#include "codegen/schedule/Schedule.h"

#include "llvm/ADT/StringExtras.h"

#include <algorithm>
#include <optional>

namespace moec {

// ---- printing ----------------------------------------------------------------------------------------------------

static constexpr llvm::StringLiteral cudaFolder = "cuda/"; // of templates/kernels; the text leaves it out

static std::string kernelText(const TemplateBinding &kernel) {
  llvm::StringRef name = kernel.templateName;
  name.consume_front(cudaFolder);
  std::string values;
  for (const auto &[key, value] : kernel.integers)
    values += (values.empty() ? " " : ", ") + key + " = " + std::to_string(value);
  for (const auto &[key, word] : kernel.words)
    values += (values.empty() ? " " : ", ") + key + " = " + word;
  return name.str() + " {" + values + " }";
}

// "  rows 1..4   panel { ... }", kernels below each other
template <typename Entry, typename RangeText>
static std::string entryTexts(const std::vector<Entry> &entries, llvm::StringRef unit, RangeText rangeText) {
  size_t width = 0;
  for (const Entry &entry : entries)
    width = std::max(width, rangeText(entry).size());
  std::string text;
  for (const Entry &entry : entries) {
    std::string range = rangeText(entry);
    text += "  " + unit.str() + " " + range + std::string(width - range.size() + 1, ' ') + kernelText(entry.kernel);
    if constexpr (std::is_same_v<Entry, ScheduleEntry>)
      text += " numeric " + entry.numeric;
    text += "\n";
  }
  return text;
}

std::string printSchedule(const Schedule &schedule) {
  std::string text = "schedule " + schedule.layer + "\n";
  for (const StageSchedule &stage : schedule.stages)
    text += "stage " + stage.stage + " " + isaFacts(stage.isa).name.str() + "\n" +
            entryTexts(stage.entries, "rows", rowRangeText);
  for (const CudaStage &stage : schedule.cudaStages)
    text += "stage " + stage.stage + " " + cudaArchFacts(stage.arch).name.str() + "\n" +
            entryTexts(stage.entries, "tokens", tokenRangeText);
  for (const CudaFrontEntry &front : schedule.fronts)
    text += "front " + cudaArchFacts(front.arch).name.str() +
            (front.lastToken ? " tokens 1.." + std::to_string(front.lastToken) : std::string(" none")) + "\n";
  return text;
}

// ---- reading -----------------------------------------------------------------------------------------------------

namespace {

struct Token {
  enum Kind { Name, Integer, Mark, End, Bad } kind = End;
  llvm::StringRef text; // as in the file
  size_t at = 0;        // its offset
};

// At most 32 bytes of a token, every byte that is not printable ASCII as \xNN.
std::string printable(llvm::StringRef text) {
  std::string out;
  for (char c : text.take_front(32)) {
    if (llvm::isPrint(c))
      out += c;
    else
      out += "\\x" + llvm::utohexstr(uint8_t(c), /*LowerCase=*/true, /*Width=*/2);
  }
  return out + (text.size() > 32 ? "..." : "");
}

class Reader {
public:
  Reader(llvm::StringRef text, llvm::StringRef fileName, llvm::StringRef templatesDir)
      : text(text), fileName(fileName), templatesDir(templatesDir), source(text.str()) {}

  Diagnostic error; // why readFile() was false
  bool readFile(Schedule &out);

private:
  bool failAt(size_t at, const std::string &message);
  size_t lengthOfTokenAt(size_t at) const;
  SourcePlace placeOf(size_t at) const { return source.place(at, lengthOfTokenAt(at)); }
  bool failHere(const std::string &expected) {
    std::string found = token.kind == Token::End ? "the end of the file" : "'" + printable(token.text) + "'";
    return failAt(token.at, "found " + found + ", expected " + expected);
  }
  void advance();
  bool is(llvm::StringRef word) { return token.kind != Token::End && token.text == word; }
  bool expect(llvm::StringRef word, llvm::StringRef where) {
    if (!is(word))
      return failHere("'" + word.str() + "' " + where.str());
    advance();
    return true;
  }
  bool name(std::string &out, const std::string &what);
  bool integer(int64_t &out, const std::string &what);

  bool readStage(Schedule &schedule);
  bool readFront(Schedule &schedule);
  bool arch(CudaArch &out);
  bool readCpuStage(size_t at, const std::string &stageName, Isa isa, Schedule &schedule);
  bool readCudaStage(size_t at, const std::string &stageName, CudaArch arch, Schedule &schedule);
  bool beginEntry(llvm::StringRef unit, size_t numEntries, int64_t last, SourcePlace &place);
  bool readEntry(StageSchedule &stage);
  bool readEntry(CudaStage &stage);
  bool readRange(llvm::StringRef unit, int64_t next, int64_t &first, int64_t &last);
  bool readKernel(llvm::StringRef folder, TemplateBinding &kernel);
  bool readTemplateName(llvm::StringRef folder, TemplateBinding &kernel);
  bool readValues(TemplateBinding &kernel);
  bool readValue(TemplateBinding &kernel);
  void fillDefaults(TemplateBinding &kernel);

  llvm::StringRef text, fileName, templatesDir;
  SourceText source;
  Token token;
  size_t position = 0;
  // of the last template named; schedules name the same few again and again
  std::string parametersOf;
  std::vector<TemplateParameter> parameters;
};

bool isWordChar(char c) { return llvm::isAlnum(c) || c == '_'; }

// Bytes of the word, "..", or single byte at that place.
size_t Reader::lengthOfTokenAt(size_t at) const {
  llvm::StringRef rest = text.drop_front(std::min(at, text.size()));
  if (size_t length = rest.take_while(isWordChar).size())
    return length;
  return rest.starts_with("..") ? 2 : std::min<size_t>(1, rest.size());
}

bool Reader::failAt(size_t at, const std::string &message) {
  error = Diagnostic::error("E-SCHEDULE", message);
  error.file = fileName.str();
  error.setPlace(placeOf(at));
  return false;
}

void Reader::advance() {
  auto space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (position < text.size() && (space(text[position]) || text[position] == '#')) {
    if (text[position] == '#')
      position = std::min(text.find('\n', position), text.size());
    else
      ++position;
  }
  llvm::StringRef rest = text.drop_front(position);
  if (rest.empty()) {
    token = {Token::End, rest, position};
    return;
  }
  size_t length = lengthOfTokenAt(position);
  if (isWordChar(rest[0])) {
    llvm::StringRef run = rest.take_front(length);
    bool digits = run.find_if_not([](char c) { return llvm::isDigit(c); }) == llvm::StringRef::npos;
    token = {digits ? Token::Integer : Token::Name, run, position};
  } else {
    bool mark = length == 2 || rest[0] == '{' || rest[0] == '}' || rest[0] == ',' || rest[0] == '=';
    token = {mark ? Token::Mark : Token::Bad, rest.take_front(length), position};
  }
  position += length;
}

bool Reader::name(std::string &out, const std::string &what) {
  llvm::StringRef t = token.text;
  bool good = token.kind == Token::Name && t.size() <= 63 && llvm::isLower(t[0]) &&
              t.find_if([](char c) { return llvm::isUpper(c); }) == llvm::StringRef::npos;
  if (!good)
    return failHere(what + ", [a-z][a-z0-9_]{0,62}");
  out = t.str();
  advance();
  return true;
}

bool Reader::integer(int64_t &out, const std::string &what) {
  if (token.kind != Token::Integer || token.text.getAsInteger(10, out) || out < 1 || out > maxScheduleInteger)
    return failHere(what + ", an integer in 1..1000000");
  advance();
  return true;
}

bool Reader::readFile(Schedule &out) {
  if (text.size() > maxScheduleBytes)
    return failAt(0, "found a file of " + std::to_string(text.size()) + " bytes, expected at most " +
                         std::to_string(maxScheduleBytes));
  advance();
  if (!expect("schedule", "at the start of a schedule") || !name(out.layer, "the name of the layer"))
    return false;
  while (token.kind != Token::End) {
    if (out.stages.size() == maxScheduleStages)
      return failAt(token.at, "found more than " + std::to_string(maxScheduleStages) + " stages");
    if (is("front") ? !readFront(out) : !readStage(out))
      return false;
  }
  return true;
}

bool Reader::readStage(Schedule &schedule) {
  std::string stageName;
  size_t at = token.at;
  if (!is("stage"))
    return failHere("'stage', 'front' or the end of the file");
  advance();
  if (!name(stageName, "the name of a stage"))
    return false;
  for (unsigned isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    if (is(isaFacts(Isa(isa)).name))
      return readCpuStage(at, stageName, Isa(isa), schedule);
  for (unsigned arch = 0; arch < numCudaArchs; ++arch)
    if (is(cudaArchFacts(CudaArch(arch)).name))
      return readCudaStage(at, stageName, CudaArch(arch), schedule);
  return failHere(
      "an instruction set, baseline, avx2, avx512, avx512_bf16 or amx, or a CUDA architecture, sm_80 or sm_90a");
}

bool Reader::arch(CudaArch &out) {
  for (unsigned arch = 0; arch < numCudaArchs; ++arch)
    if (is(cudaArchFacts(CudaArch(arch)).name)) {
      out = CudaArch(arch);
      advance();
      return true;
    }
  return failHere("a CUDA architecture, sm_80 or sm_90a");
}

bool Reader::readFront(Schedule &schedule) {
  CudaFrontEntry front;
  size_t at = token.at;
  front.place = placeOf(at);
  advance();
  if (!arch(front.arch))
    return false;
  if (schedule.findFront(front.arch))
    return failAt(at, "found a second front for " + cudaArchFacts(front.arch).name.str() + ", expected one");
  int64_t first = 0;
  if (is("none")) {
    advance();
  } else if (!expect("tokens", "or 'none' after the architecture of a front") ||
             !readRange("token", 1, first, front.lastToken)) {
    return false;
  } else if (front.lastToken < 1 || front.lastToken > maxFrontTokens) {
    return failAt(at, "found a front " +
                          (front.lastToken < 1 ? std::string("without a last token")
                                               : "of " + std::to_string(front.lastToken) + " tokens") +
                          ", expected at most " + std::to_string(maxFrontTokens) + ": one block does its work");
  }
  schedule.fronts.push_back(front);
  return true;
}

bool Reader::readCpuStage(size_t at, const std::string &stageName, Isa isa, Schedule &schedule) {
  StageSchedule stage;
  stage.stage = stageName;
  stage.isa = isa;
  stage.place = placeOf(at);
  advance();
  if (schedule.find(stageName, isa))
    return failAt(at, "found a second schedule of stage '" + stageName + "' for " + isaFacts(isa).name.str() +
                          ", expected one");
  do {
    if (!readEntry(stage))
      return false;
  } while (stage.entries.back().lastRow > 0);
  schedule.stages.push_back(std::move(stage));
  return true;
}

bool Reader::readCudaStage(size_t at, const std::string &stageName, CudaArch arch, Schedule &schedule) {
  CudaStage stage;
  stage.stage = stageName;
  stage.arch = arch;
  stage.place = placeOf(at);
  advance();
  if (schedule.find(stageName, arch))
    return failAt(at, "found a second schedule of stage '" + stageName + "' for " + cudaArchFacts(arch).name.str() +
                          ", expected one");
  do {
    if (!readEntry(stage))
      return false;
  } while (stage.entries.back().lastToken > 0);
  schedule.cudaStages.push_back(std::move(stage));
  return true;
}

// The word before a range; `last` is the end of the range before, 0 at the first.
bool Reader::beginEntry(llvm::StringRef unit, size_t numEntries, int64_t last, SourcePlace &place) {
  std::string word = unit.str();
  if (!is(unit))
    return failHere(!numEntries ? "'" + word + "'"
                                : "'" + word + "': the last range of a stage has an open end, as in '" + word + " " +
                                      std::to_string(last + 1) + "..'");
  if (numEntries == maxScheduleEntries)
    return failAt(token.at, "found more than " + std::to_string(maxScheduleEntries) + " " +
                                word.substr(0, word.size() - 1) + " ranges in a stage");
  place = placeOf(token.at);
  advance();
  return true;
}

bool Reader::readEntry(StageSchedule &stage) {
  ScheduleEntry entry;
  int64_t last = stage.entries.empty() ? 0 : stage.entries.back().lastRow;
  if (!beginEntry("rows", stage.entries.size(), last, entry.place) ||
      !readRange("row", last + 1, entry.firstRow, entry.lastRow) || !readKernel("", entry.kernel) ||
      !expect("numeric", "after the parameters"))
    return false;
  if (llvm::none_of(numericNames, [&](llvm::StringRef name) { return is(name); }))
    return failHere("'amx', 'dot' or 'fma'");
  entry.numeric = token.text.str();
  advance();
  stage.entries.push_back(std::move(entry));
  return true;
}

bool Reader::readEntry(CudaStage &stage) {
  CudaEntry entry;
  int64_t last = stage.entries.empty() ? 0 : stage.entries.back().lastToken;
  if (!beginEntry("tokens", stage.entries.size(), last, entry.place) ||
      !readRange("token", last + 1, entry.firstToken, entry.lastToken) || !readKernel(cudaFolder, entry.kernel))
    return false;
  stage.entries.push_back(std::move(entry));
  return true;
}

bool Reader::readRange(llvm::StringRef unit, int64_t next, int64_t &first, int64_t &last) {
  std::string word = unit.str();
  size_t at = token.at;
  if (!integer(first, "the first " + word))
    return false;
  if (first != next)
    return failAt(at,
                  "found first " + word + " " + std::to_string(first) + ", expected " + std::to_string(next) +
                      (next == 1 ? ": ranges start at " + word + " 1" : ": ranges follow each other without a gap"));
  if (!expect("..", "after the first " + word))
    return false;
  if (token.kind != Token::Integer)
    return true;
  at = token.at;
  if (!integer(last, "the last " + word))
    return false;
  if (last < first)
    return failAt(at, "found last " + word + " " + std::to_string(last) + ", expected at least the first " + word +
                          ", " + std::to_string(first));
  return true;
}

bool Reader::readKernel(llvm::StringRef folder, TemplateBinding &kernel) {
  return readTemplateName(folder, kernel) && expect("{", "before the parameters") && readValues(kernel);
}

bool Reader::readTemplateName(llvm::StringRef folder, TemplateBinding &kernel) {
  size_t at = token.at;
  std::string word;
  if (!name(word, "the name of a kernel template"))
    return false;
  kernel.templateName = folder.str() + word;
  if (kernel.templateName == parametersOf)
    return true;
  auto source = readTemplate(templatesDir, "kernels/" + kernel.templateName + ".mlir");
  if (!source || !*source)
    return failAt(
        at, !source ? source.error().placedMessage()
                    : "found template '" + word + "', expected one of: " +
                          llvm::join(templateNames(templatesDir, llvm::StringRef("kernels/" + folder.str()).rtrim('/')),
                                     ", "));
  parameters = templateParameters((*source)->text);
  parametersOf = kernel.templateName;
  return true;
}

bool Reader::readValues(TemplateBinding &kernel) {
  if (!is("}")) {
    if (!readValue(kernel))
      return false;
    while (is(",")) {
      advance();
      if (!readValue(kernel))
        return false;
    }
  }
  if (!expect("}", "or ',' after a parameter"))
    return false;
  fillDefaults(kernel);
  return true;
}

// An entry holds every parameter, so that users of a schedule need not know the template and its print says it all.
// What is wrong with a default is checkEntry's to say.
void Reader::fillDefaults(TemplateBinding &kernel) {
  for (const TemplateParameter &parameter : parameters) {
    std::string key = parameter.name.substr(1);
    int64_t value = 0;
    if (parameterKind(parameter) == ParameterKind::Word)
      kernel.words.emplace(key, defaultWord(parameter));
    else if (parameterKind(parameter) == ParameterKind::Integer && defaultInteger(parameter, value))
      kernel.integers.emplace(key, value);
  }
}

bool Reader::readValue(TemplateBinding &kernel) {
  size_t at = token.at;
  std::string key, settable;
  if (!name(key, "a parameter"))
    return false;
  std::optional<ParameterKind> kind;
  for (const TemplateParameter &parameter : parameters) {
    ParameterKind k = parameterKind(parameter);
    if (parameter.name.substr(1) == key)
      kind = k;
    if (k == ParameterKind::Integer || k == ParameterKind::Word)
      settable += (settable.empty() ? "" : ", ") + parameter.name.substr(1);
  }
  if (kind != ParameterKind::Integer && kind != ParameterKind::Word)
    return failAt(
        at, "found " + std::string(kind ? "'" + key + "', which follows from the stage" : "parameter '" + key + "'") +
                ", expected one of " + settable);
  if (kernel.integers.count(key) || kernel.words.count(key))
    return failAt(at, "found '" + key + "' a second time, expected it once");
  if (!expect("=", "after a parameter"))
    return false;
  if (kind == ParameterKind::Integer)
    return integer(kernel.integers[key], "the value of " + key);
  if (token.kind != Token::Name || !isHintWord(token.text))
    return failHere("the value of " + key + ": none, t0, t1 or nta");
  kernel.words[key] = token.text.str();
  advance();
  return true;
}

} // namespace

Result<Schedule> parseSchedule(llvm::StringRef text, llvm::StringRef fileName, llvm::StringRef templatesDir) {
  Reader reader(text, fileName, templatesDir);
  Schedule schedule;
  if (!reader.readFile(schedule))
    return std::move(reader.error);
  return schedule;
}

} // namespace moec
