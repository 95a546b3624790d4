// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec pack: a layer and a checkpoint -> a file of packed weights that moec_weights_map adopts, without a program and
// without kernels.

#include "Supervisor.h"
#include "TextOutput.h"
#include "Verbs.h"
#include "WeightFlags.h"

#include "codegen/StagingPath.h"
#include "runtime/weights/pack_file.h"

#include "llvm/Support/Format.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;

namespace moec {

namespace {
struct PackFlags : WeightFlags {
  std::string spec, name, output, device;
  CompileFlags compile;
  int threads = 0; // 0: the machine's
  bool force = false;
};

// A new file beside `path`, mapped; it goes away unless commit() made it `path`.
class StagedMapping {
public:
  StagedMapping(std::string path, uint64_t bytes) : path(std::move(path)), bytes(bytes) {
    staging = stagingPathOf(this->path);
    fd = open(staging.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_EXCL | O_NOFOLLOW, 0666);
    if (fd < 0) {
      number = errno;
      return;
    }
    ownStaging(staging, this->path);
    // A write into a hole of a full disk would be a signal.
    number = posix_fallocate(fd, 0, off_t(bytes));
    if (number)
      return;
    mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) {
      mapping = nullptr;
      number = errno;
    }
  }
  ~StagedMapping() {
    if (mapping)
      munmap(mapping, bytes);
    if (fd < 0)
      return;
    close(fd);
    unlink(staging.c_str());
    releaseStaging();
  }
  StagedMapping(const StagedMapping &) = delete;
  StagedMapping &operator=(const StagedMapping &) = delete;

  int error() const { return number; } // errno, 0: ready
  void *data() const { return mapping; }
  int commit(bool force) {
    if (msync(mapping, bytes, MS_SYNC) != 0 || fsync(fd) != 0)
      return errno;
    return commitStagedFile(staging, path, force);
  }

private:
  std::string path, staging;
  uint64_t bytes;
  int fd = -1, number = 0;
  void *mapping = nullptr;
};

struct PoolUser {
  moec_pool *pool = nullptr;
  ~PoolUser() { moec_pool_destroy(pool); }
};
} // namespace

static std::string layerText(const LayerSources &layer) {
  return layer.layer < 0 ? "" : "layer " + std::to_string(layer.layer) + ": ";
}

// All layers, before the first is packed: what is wrong with the last one should not take an hour to say.
static int checkLayers(Session &session, const WeightPlan &plan, const std::vector<LayerSources> &layers) {
  int exit = ExitDone;
  for (const LayerSources &layer : layers) {
    Result<CheckpointReport> report = surveyCheckpoints(plan, layer.sources);
    if (!report)
      return fail(session, report.error());
    for (const Diagnostic &problem : problemsOf(*report))
      exit = fail(session, problem.code, layerText(layer) + problem.message, problem.hint);
  }
  return exit;
}

static int packLayer(Session &session, const WeightPlan &plan, const LayerSources &layer, const std::string &path,
                     moec_pool *pool, bool force) {
  auto begin = std::chrono::steady_clock::now();
  struct stat info;
  if (!force && lstat(path.c_str(), &info) == 0)
    return failedToWrite(session, path, EEXIST);
  std::error_code code;
  std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (!parent.empty() && !std::filesystem::create_directories(parent, code) && code)
    return failedToWrite(session, path, code.value());
  uint64_t bytes = plan.weights().packed_bytes;
  StagedMapping file(path, bytes);
  if (file.error())
    return failedToWrite(session, path, file.error());
  std::vector<moec_weights_source> sources;
  for (const WeightSource &source : layer.sources)
    sources.push_back({source.path.c_str(), source.prefix.c_str()});
  moec_checkpoint_set set;
  moec_status status = moec_checkpoints_open(sources.data(), sources.size(), &set);
  if (status == MOEC_OK)
    status = moec_pack_checkpoints(&plan.plan(), &plan.weights(), &set, pool, file.data());
  moec_checkpoints_close(&set);
  if (status != MOEC_OK)
    return fail(session, checkpointError(status, layerText(layer)));
  enterStage("write");
  if (int number = file.commit(force))
    return failedToWrite(session, path, number);
  session.out << path << "\n";
  if (!session.quiet)
    session.err << "  " << layerText(layer) << sizeText(int64_t(bytes)) << ", "
                << format("%.2f s", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count())
                << "\n";
  return ExitDone;
}

static int runPack(Session &session, const PackFlags &flags) {
  CompileOptions options;
  std::vector<LayerSources> layers;
  LaunchPlan launchPlan;
  if (int code = compileOptions(session, flags.compile, options))
    return code;
  options.progress = nullptr;
  if (int code = layerSources(session, flags, layers))
    return code;
  if (layers.size() > 1 && flags.output.find("{l}") == std::string::npos)
    return fail(session, "E-USAGE", "-o of several layers must hold {l}", "-o 'packed/layer-{l}.moec'");
  bool onCuda = flags.device.empty() ? !options.isas.mask : flags.device == "cuda";
  if (int code = planOfArgument(session, flags.spec, flags.name, flags.compile, options, launchPlan))
    return code;
  enterStage("pack");
  WeightPlan plan(std::move(launchPlan), onCuda ? WeightDevice::Cuda : WeightDevice::Cpu);
  if (int code = checkLayers(session, plan, layers))
    return code;
  moec_pool_options poolOptions = {};
  poolOptions.struct_size = sizeof poolOptions;
  poolOptions.threads = flags.threads;
  PoolUser user;
  if (moec_status status = moec_pool_create(&poolOptions, &user.pool); status != MOEC_OK)
    return fail(session, "E-MEMORY", lastRuntimeError(status));
  for (const LayerSources &layer : layers) {
    std::string path = layer.layer < 0 ? flags.output : withLayer(flags.output, layer.layer);
    if (int code = packLayer(session, plan, layer, path, user.pool, flags.force))
      return code;
  }
  return ExitDone;
}

Verb addPack(CLI::App &app) {
  auto flags = std::make_shared<PackFlags>();
  CLI::App *verb = app.add_subcommand("pack", "pack a checkpoint's weights into a file that programs map");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file, preset, or package folder")->required();
  verb->add_option("PATH", flags->weights, "safetensors file, model.safetensors.index.json, or their folder")
      ->required();
  verb->add_option("-o,--output", flags->output, "file to write; with --layers it holds {l}")
      ->required()
      ->type_name("FILE");
  addWeightFlags(*verb, *flags);
  verb->add_option("--target", flags->compile.targets, "those of the package, as of compile; default cpu")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("TARGET");
  verb->add_option("--device", flags->device, "whose layout: cpu or cuda; default: cpu if a target is one")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  verb->add_option("--name", flags->name, "as of compile, where the package was given one")->type_name("NAME");
  addSpecFlags(*verb, flags->compile);
  verb->add_option("--threads", flags->threads, "threads; default: as many as CPUs")->check(CLI::Range(1, 1024));
  verb->add_flag("--force", flags->force, "replace a file");
  return {verb, [flags](Session &session) { return runPack(session, *flags); }};
}

} // namespace moec
