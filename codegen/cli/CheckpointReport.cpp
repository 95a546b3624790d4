// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The runtime's report of every tensor -> a line per role.

#include "CheckpointReport.h"

#include "CheckpointHints.h"

#include "runtime/weights/weight_survey.h"

#include <algorithm>
#include <map>
#include <set>

using namespace llvm;

namespace moec {

bool CheckpointReport::fits() const {
  return problem.empty() && all_of(roles, [](const ReportedRole &role) { return role.problem.empty(); });
}

int64_t CheckpointReport::tensors() const {
  int64_t sum = 0;
  for (const ReportedRole &role : roles)
    sum += role.found;
  return sum;
}

namespace {

// The open checkpoints, and what is known of them.
struct Survey {
  const WeightPlan &plan;
  const std::vector<WeightSource> &sources;
  CheckpointReport report;
  moec_checkpoint_set set = {};
  std::vector<std::vector<std::string>> names; // of each source, sorted
  std::set<std::pair<size_t, std::string>> taken;

  Survey(const WeightPlan &plan, const std::vector<WeightSource> &sources) : plan(plan), sources(sources) {}
  ~Survey() { moec_checkpoints_close(&set); }
  ReportedRole &roleOf(const moec_surveyed_tensor &tensor);
  std::string loadOf(const moec_surveyed_tensor &tensor, const moec_role &role) const;
  std::string hintFor(const moec_surveyed_tensor &tensor) const;
  void take(const moec_surveyed_tensor &tensor);
  void findUnused();
};

} // namespace

static std::vector<int64_t> dimsOf(const int64_t *dims, int32_t rank) {
  return std::vector<int64_t>(dims, dims + std::min<int32_t>(rank, MOEC_FILE_MAX_RANK));
}

static std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// "rounded to bf16", with the storage that loading undoes.
std::string Survey::loadOf(const moec_surveyed_tensor &tensor, const moec_role &role) const {
  auto stored = DataType(tensor.found->tensor->dtype);
  std::string text;
  for (DataType packed : plan.packedTypes(tensor.role)) {
    std::string to(dataTypeName(packed));
    std::string one = packed == stored ? "as it is" : packed == DataType::F32 ? "converted to f32" : "rounded to " + to;
    text += (text.empty() ? "" : " and ") + one;
  }
  static const char *const stacks[] = {"", "", "", "flat rows", "interleaved columns"};
  static const char *const parts[] = {"", "first half", "second half", "even rows", "odd rows"};
  for (const char *word : {stacks[role.stack], role.axes == MOEC_AXES_IN_OUT ? "axes swapped" : "", parts[role.part]})
    if (*word)
      text += (text.empty() ? "" : ", ") + std::string(word);
  return text;
}

std::string Survey::hintFor(const moec_surveyed_tensor &tensor) const {
  const moec_role &role = plan.plan().roles[tensor.role];
  if (tensor.status == MOEC_MISSING_WEIGHT) {
    std::string all;
    for (size_t i = 0; i < sources.size(); ++i) {
      std::string hint = hintForMissing(names[i], sources[i].prefix, tensor.name);
      if (!hint.empty() && sources.size() > 1)
        hint = "in " + quoteText(report.files[i], 256) + ": " + hint;
      all += (all.empty() || hint.empty() ? "" : "\n") + hint;
    }
    return all;
  }
  if (tensor.status == MOEC_SHAPE && tensor.found->tensor)
    return hintForShape(dimsOf(tensor.stored->dims, tensor.stored->rank),
                        dimsOf(tensor.found->tensor->dims, tensor.found->tensor->rank), role.matrix);
  return "";
}

// The entry of the tensor's role, which its first tensor makes. Experts of different width have a role each.
ReportedRole &Survey::roleOf(const moec_surveyed_tensor &tensor) {
  const moec_role &role = plan.plan().roles[tensor.role];
  std::string name = plan.text(role.name);
  if (!report.roles.empty() && report.roles.back().role == name)
    return report.roles.back();
  ReportedRole entry;
  entry.role = name;
  entry.tensor = plan.text(plan.text(role.tensor).empty() ? role.name : role.tensor);
  entry.tensors = tensor.stored->tensors;
  entry.shape = dimsOf(tensor.stored->dims, tensor.stored->rank);
  report.roles.push_back(std::move(entry));
  return report.roles.back();
}

void Survey::take(const moec_surveyed_tensor &tensor) {
  ReportedRole &entry = roleOf(tensor);
  taken.insert({tensor.found->source, tensor.found->name}); // also one whose shard cannot be opened
  if (tensor.found->tensor && entry.type.empty()) {
    entry.source = tensor.found->source;
    entry.type = tensor.found->tensor->type;
  }
  if (tensor.status == MOEC_OK && entry.load.empty())
    entry.load = loadOf(tensor, plan.plan().roles[tensor.role]);
  entry.found += tensor.status == MOEC_OK;
  if (tensor.status == MOEC_OK || !entry.problem.empty())
    return;
  entry.problem = tensor.text;
  entry.hint = hintFor(tensor);
}

void Survey::findUnused() {
  struct Visit {
    Survey *survey;
    size_t source;
  };
  for (size_t i = 0; i < sources.size(); ++i) {
    Visit visit = {this, i};
    if (sources[i].prefix.empty())
      continue; // of a whole model nobody wants to see the rest
    moec_checkpoint_names(
        set.checkpoint[i],
        [](void *context, const char *name, const moec_file_tensor *tensor) {
          auto [survey, source] = *static_cast<Visit *>(context);
          if (StringRef(name).starts_with(survey->sources[source].prefix) && !survey->taken.count({source, name}))
            survey->report.unused.push_back({name, source,
                                             tensor ? dimsOf(tensor->dims, tensor->rank) : std::vector<int64_t>(),
                                             tensor ? tensor->type : ""});
        },
        &visit);
  }
}

Diagnostic checkpointError(moec_status status, const std::string &before) {
  const char *code = status == MOEC_FILE ? "E-FILE" : status == MOEC_OUT_OF_MEMORY ? "E-MEMORY" : "E-CHECKPOINT";
  return Diagnostic::error(code, before + lastRuntimeError(status));
}

Result<CheckpointReport> surveyCheckpoints(const WeightPlan &plan, const std::vector<WeightSource> &sources) {
  Survey survey(plan, sources);
  std::vector<moec_weights_source> list;
  for (const WeightSource &source : sources)
    list.push_back({source.path.c_str(), source.prefix.c_str()});
  moec_status status = moec_checkpoints_open(list.data(), list.size(), &survey.set);
  if (status != MOEC_OK)
    return checkpointError(status);
  for (size_t i = 0; i < sources.size(); ++i) {
    survey.report.files.push_back(moec_checkpoint_path(survey.set.checkpoint[i]));
    survey.names.emplace_back();
    moec_checkpoint_names(
        survey.set.checkpoint[i],
        [](void *context, const char *name, const moec_file_tensor *) {
          static_cast<std::vector<std::string> *>(context)->push_back(name);
        },
        &survey.names.back());
  }
  status = moec_survey_checkpoints(
      &plan.plan(), &survey.set,
      [](void *context, const moec_surveyed_tensor *tensor) { static_cast<Survey *>(context)->take(*tensor); },
      &survey);
  if (status == MOEC_OUT_OF_MEMORY)
    return checkpointError(status);
  survey.findUnused();
  if (status != MOEC_OK && survey.report.fits())
    survey.report.problem = lastRuntimeError(status);
  return std::move(survey.report);
}

std::vector<Diagnostic> problemsOf(const CheckpointReport &report) {
  std::vector<Diagnostic> problems;
  if (!report.problem.empty())
    problems.push_back(Diagnostic::error("E-CHECKPOINT", report.problem));
  for (const ReportedRole &role : report.roles) {
    if (role.problem.empty())
      continue;
    int64_t more = role.tensors - role.found - 1;
    problems.push_back(Diagnostic::error(
        "E-CHECKPOINT", role.problem + (more > 0 ? ", and " + std::to_string(more) + " more of this role" : ""),
        role.hint));
  }
  return problems;
}

// "mlp.experts.{0..7}.w1.weight" of 8 tensors.
static std::string tensorText(const ReportedRole &role) {
  std::string text = role.tensor, range = "{0.." + std::to_string(role.tensors - 1) + "}";
  for (size_t at; role.tensors > 1 && (at = text.find("{e}")) != std::string::npos;)
    text.replace(at, 3, range);
  return escaped(text);
}

void writeText(raw_ostream &os, const CheckpointReport &report) {
  std::vector<std::vector<std::string>> rows = {{"role", "tensor", "shape", "type", "load"}};
  for (const ReportedRole &role : report.roles)
    rows.push_back({escaped(role.role), tensorText(role), shapeText(role.shape), escaped(role.type),
                    role.problem.empty()
                        ? role.load
                        : "ERROR, " + std::to_string(role.found) + " of " + std::to_string(role.tensors) + " found"});
  bool several = report.files.size() > 1;
  for (size_t i = 0; several && i < report.roles.size() + 1; ++i)
    rows[i].push_back(i ? std::to_string(report.roles[i - 1].source + 1) : "file");
  for (size_t i = 0; i < report.files.size(); ++i)
    os << (several ? std::to_string(i + 1) + " " : "") << escaped(report.files[i]) << "\n";
  std::vector<size_t> widths(rows.front().size());
  for (const auto &row : rows)
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  for (const auto &row : rows) {
    std::string line = " ";
    for (size_t i = 0; i < row.size(); ++i)
      line += " " + row[i] + std::string(widths[i] - row[i].size() + 1, ' ');
    os << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
  }
  constexpr size_t most = 20;
  for (size_t i = 0; i < report.unused.size() && i < most; ++i) {
    const UnusedTensor &tensor = report.unused[i];
    os << "  unused: " << escaped(tensor.name);
    if (!tensor.type.empty())
      os << " " << shapeText(tensor.shape) << " " << escaped(tensor.type);
    os << "\n";
  }
  if (report.unused.size() > most)
    os << "  unused: " << report.unused.size() - most << " more\n";
}

static void writeShape(json::OStream &os, const std::vector<int64_t> &shape) {
  os.attributeArray("shape", [&] {
    for (int64_t extent : shape)
      os.value(extent);
  });
}

void writeJson(json::OStream &os, const CheckpointReport &report, const std::vector<WeightSource> &sources,
               int64_t layer) {
  os.object([&] {
    if (layer >= 0)
      os.attribute("layer", layer);
    os.attribute("fits", report.fits());
    os.attributeArray("sources", [&] {
      for (size_t i = 0; i < sources.size(); ++i)
        os.object([&] {
          os.attribute("file", escaped(report.files[i]));
          os.attribute("prefix", escaped(sources[i].prefix));
        });
    });
    os.attributeArray("roles", [&] {
      for (const ReportedRole &role : report.roles)
        os.object([&] {
          os.attribute("role", escaped(role.role));
          os.attribute("tensor", escaped(role.tensor));
          os.attribute("tensors", role.tensors);
          os.attribute("found", role.found);
          if (!role.type.empty())
            os.attribute("source", int64_t(role.source));
          writeShape(os, role.shape);
          os.attribute("type", escaped(role.type));
          if (role.problem.empty())
            os.attribute("load", role.load);
          else
            os.attribute("problem", escaped(role.problem));
          if (!role.hint.empty())
            os.attribute("hint", escaped(role.hint));
        });
    });
    os.attributeArray("unused", [&] {
      for (const UnusedTensor &tensor : report.unused)
        os.object([&] {
          os.attribute("tensor", escaped(tensor.name));
          os.attribute("source", int64_t(tensor.source));
          if (!tensor.type.empty()) {
            writeShape(os, tensor.shape);
            os.attribute("type", escaped(tensor.type));
          }
        });
    });
  });
}

} // namespace moec
