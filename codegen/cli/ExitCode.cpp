// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of codes that have no place in a spec: exit code and explanation of each.

#include "ExitCode.h"

#include <algorithm>

namespace moec {

namespace {
struct CliCode {
  const char *code;
  ExitCode exit;
  const char *text;
};
} // namespace

static constexpr CliCode table[] = {
    {"E-USAGE", ExitUsage,
     "A flag, an argument or a combination of them that moec does not know. Exit 2. `moec VERB --help` lists\n"
     "the flags of a verb."},
    {"E-FILE", ExitFile, "A file or folder cannot be read. Exit 8. The message holds the system's reason."},
    {"E-WRITE", ExitFile,
     "A file, a folder or standard output cannot be written: no permission, no space, a limit of the size of files,\n"
     "or a stream that is closed. Exit 8. Nothing is left half-written: a file or package folder is as before, unless\n"
     "the message says that it is complete and only the result could not be printed."},
    {"E-EXISTS", ExitFile,
     "The package folder exists. Exit 8. moec never mixes files of two compilations; --force replaces a\n"
     "folder that holds a package, and no other one."},
    {"E-SYMLINK", ExitFile, "The package folder is a symbolic link. Exit 8. moec does not write through links."},
    {"E-PACKAGE", ExitInvalid,
     "A package folder cannot be used: a file is not the one that its manifest lists, the package is for another\n"
     "version of the ABI, or it has no kernels for CPUs. Exit 3. Compile it again."},
    {"E-CHECKPOINT", ExitInvalid,
     "A checkpoint does not hold the layer's tensors as the spec describes them: one is missing, or has another shape "
     "or\n"
     "type, or the file is damaged. Exit 3. moec check SPEC --weights PATH --prefix P lists every role with its "
     "tensor."},
    {"E-CRASH", ExitCheckFailed,
     "moec-run ended with a signal while it ran a package. Exit 1. A package of your own templates has their "
     "mistakes;\n"
     "one whose code crashes without them is a mistake in moec: please report it."},
    {"W-PACKAGE", ExitDone,
     "A package that is compiled again from its share folder was made by another moec, which may have made other\n"
     "bytes. What the new package computes is the same layer."},
    {"E-TOOL", ExitTool, "A program that moec runs is missing or failed. Exit 5. `moec doctor` lists what is needed."},
    {"E-MACHINE", ExitDevice,
     "This machine lacks what was asked for: an instruction set, a GPU, or its driver. Exit 6."},
    {"E-INTERNAL", ExitInternal,
     "A mistake in moec, not in the input; with --templates also one in a template of yours, whose code runs in the\n"
     "same process. Exit 7. The folder moec-repro-HASH holds the flags, the stage, the versions and the spec without\n"
     "its tensor names: attach it to a report."},
    {"E-TIMEOUT", ExitLimit,
     "--timeout was reached. Exit 9. Nothing is left of the output, unless the message says that it is complete."},
    {"E-MEMORY", ExitLimit,
     "--memory-limit or the machine's memory was reached. Exit 9. Nothing is left of the output."},
    {"E-RESOURCE", ExitLimit,
     "The machine or the caller does not allow more threads, processes, open files or CPU time (ulimit, a cgroup).\n"
     "Exit 9. Nothing is left of the output. Raise the limit, or use fewer --threads and --jobs."},
    {"E-INTERRUPTED", ExitInterrupted,
     "Interrupted by a signal. Exit 130. Nothing is left of the output, except the records of moec tune, which stay,\n"
     "and what the message says is complete."},
    {"E-MOE", ExitInvalid,
     "Text of the moe dialect, or of a function, is not valid. Exit 3. The place is the op at fault; a label such as\n"
     "C2 or L5 names the constraint, which codegen/moe/MoeOps.td and LayerChecks.h spell out."},
    {"E-PLAN", ExitInvalid,
     "A layer has no launch plan: it is larger than a plan can describe, or text of the moe dialect asks for what no\n"
     "step does. Exit 3. A label such as P3 names the rule, which codegen/plan/PlanStages.h spells out."},
    {"E-MISMATCH", ExitCheckFailed,
     "A result differs from the reference by more than its tolerance, or between two runs. Exit 1."},
    {"E-TUNE", ExitCheckFailed,
     "A line of a tuning file is not a record, or the record contradicts itself, another one, or the rules of\n"
     "schedules. Exit 1. moec tunedb verify names the lines; codegen/tune/TuneRecord.h says what a line holds."},
    {"E-RECORD", ExitInvalid,
     "The tuning files hold no record that could be used for what was asked. Exit 3. moec tunedb ls says what they\n"
     "hold, moec tunedb show --stage NAME every record of a stage."},
    {"W-TUNE", ExitDone,
     "A line of a tuning file is not a record, for example because the process that wrote it was killed, or a stage\n"
     "has too few records. It is left out; everything else is used."},
    {"W-WRONG", ExitDone,
     "moec tune found kernels that compute something else than the default one. They are recorded as wrong and never\n"
     "chosen. moec tunedb show names the kernel, the rows and the place; a kernel of --templates is its author's to\n"
     "mend, one of moec's own is a mistake in moec: please report it."},
    {"W-CRASH", ExitDone,
     "moec tune found kernels that end with a signal or never return. Kernels run in a process of their own, so the\n"
     "search goes on; these are recorded with the reason and never chosen. moec tunedb show names them; a kernel of\n"
     "--templates is its author's to mend, one of moec's own is a mistake in moec: please report it."},
    {"W-WORKSPACE", ExitDone,
     "The package's largest call, of --max-tokens tokens, needs a workspace of more than 16 GiB. Smaller calls\n"
     "need less; moec explain --tokens LIST shows how much."},
    {"E-GOLDEN", ExitInvalid,
     "A golden case is not what moec verify --golden reads. Exit 3. codegen/cli/README.md says what its two files "
     "hold."},
    {"W-PTXAS", ExitDone,
     "ptxas was not found, so the package holds PTX, which the driver assembles when a layer is created. For moec "
     "tune:\n"
     "registers and spills of candidates are unknown, and those of their sums are assumed."},
    {"W-KERNEL", ExitDone,
     "A CUDA kernel is right but slower than it should be: it breaks one of the rules G1 to G4\n"
     "(codegen/cuda/CudaGates.h), for example it spills registers."},
    {"E-ROUTINGS", ExitInvalid,
     "A folder of recorded routings is not what moec explain --routings reads. Exit 3. It holds *.safetensors with\n"
     "ids [T,K] of the layer's K, and weights [T,K], logits [T,n], labels [T] where there are."},
    {"W-COLLAPSE", ExitDone,
     "Few experts take most of the tokens: the balance (H - ln K) / (ln E - ln K) of the load entropy H is below\n"
     "0.5, or one expert is chosen by more than half of the tokens and 4 times the even share."},
    {"W-IDLE", ExitDone,
     "Experts are chosen by less than 1 % of the tokens, or than half of the even share where that is below 2 %."},
    {"W-LOGITS", ExitDone, "Router logits are larger than 10 in magnitude, or not finite."},
    {"E-RESULT", ExitInvalid,
     "A file is not a result of moec bench. Exit 3. moec bench SPEC --json, or --format jsonl, writes one;\n"
     "codegen/bench/README.md lists its members."},
    {"E-SLOWER", ExitCheckFailed,
     "moec compare --fail-on found calls that take longer than before: the interval of the ratio lies above 1, and "
     "the\n"
     "ratio above the limit. Exit 1."},
    {"E-UNJUDGED", ExitCheckFailed,
     "moec compare --fail-on had nothing to judge: no call has enough accepted rounds in both files. Exit 1."},
    {"W-UNJUDGED", ExitDone, "moec compare --fail-on left a call out: it has too few accepted rounds."},
    {"W-SHARED", ExitDone,
     "bench lets experts share storage, because all of a layer's do not fit into this machine's memory. What has\n"
     "storage of its own is many times larger than the caches, so weights are read from memory all the same."},
    {"W-SPREAD", ExitDone,
     "bench accepted no round: the machine was slower than its own best during all of them. Its times are not\n"
     "reported; run again when the machine is quiet."},
    {"W-CEILING", ExitDone,
     "bench measured calls that are faster than the ceilings allow, so a probe found less than the machine can do.\n"
     "Their times are reported, but no share of the bound; run again, so that the ceilings are probed again."},
};

static const CliCode *find(std::string_view code) {
  for (const CliCode &known : table)
    if (code == known.code)
      return &known;
  return nullptr;
}

ExitCode exitCodeOf(std::string_view code) {
  if (const CliCode *known = find(code))
    return known->exit;
  if (!explainCode(code))
    return ExitInternal;
  if (code.substr(0, 2) == "W-")
    return ExitDone;
  return code == "E-UNSUPPORTED" ? ExitUnsupported : ExitInvalid;
}

ExitCode exitCodeOf(const std::vector<Diagnostic> &errors) {
  ExitCode exit = ExitDone;
  for (const Diagnostic &error : errors) {
    ExitCode own = error.severity == Severity::Error ? exitCodeOf(error.code) : ExitDone;
    if (own == ExitInternal)
      return own;
    exit = std::max(exit, own);
  }
  return exit == ExitDone ? ExitInternal : exit;
}

std::optional<std::string> explainCliCode(std::string_view code) {
  const CliCode *known = find(code);
  return known ? std::optional<std::string>(known->text) : std::nullopt;
}

std::vector<std::string> cliCodes() {
  std::vector<std::string> codes;
  for (const CliCode &known : table)
    codes.emplace_back(known.code);
  return codes;
}

} // namespace moec
