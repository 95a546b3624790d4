// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An error in -> its text on stderr and an exit code out.

#include "Session.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace moec {

static void say(Session &session, Severity severity, std::string code, std::string message, std::string hint) {
  Diagnostic diagnostic;
  diagnostic.severity = severity;
  diagnostic.code = std::move(code);
  diagnostic.file = "moec";
  diagnostic.message = std::move(message);
  diagnostic.hint = std::move(hint);
  session.err << render(diagnostic, SourceText(), session.color);
  session.err.flush();
}

int fail(Session &session, ExitCode exit, std::string code, std::string message, std::string hint) {
  say(session, Severity::Error, std::move(code), std::move(message), std::move(hint));
  return exit;
}

void warn(Session &session, std::string code, std::string message, std::string hint) {
  say(session, Severity::Warning, std::move(code), std::move(message), std::move(hint));
}

namespace {
struct CliCode {
  const char *code, *text;
};
} // namespace

static constexpr CliCode cliCodes[] = {
    {"E-USAGE",
     "A flag, an argument or a combination of them that moec does not know. Exit 2. `moec VERB --help` lists\n"
     "the flags of a verb."},
    {"E-FILE", "A file or folder cannot be read. Exit 8. The message holds the system's reason."},
    {"E-WRITE",
     "A file or folder cannot be written: no permission, no space, or a name in use. Exit 8. Nothing is left\n"
     "half-written: the package folder is as before."},
    {"E-EXISTS", "The package folder exists. Exit 8. moec never mixes files of two compilations; --force replaces a\n"
                 "folder that holds a package, and no other one."},
    {"E-SYMLINK", "The package folder is a symbolic link. Exit 8. moec does not write through links."},
    {"E-TOOL", "A program that moec runs is missing or failed. Exit 5. `moec doctor` lists what is needed."},
    {"E-MACHINE",
     "This machine cannot do what was asked: too little memory, or an instruction set is missing. Exit 6."},
    {"E-INTERNAL",
     "A mistake in moec, not in the input. Exit 7. The folder moec-repro-HASH holds the flags, the stage, the\n"
     "versions and the spec without its tensor names: attach it to a report."},
    {"E-TIMEOUT", "--timeout was reached. Exit 9. Nothing is left of the output."},
    {"E-MEMORY", "--memory-limit or the machine's memory was reached. Exit 9. Nothing is left of the output."},
    {"E-INTERRUPTED", "Interrupted by a signal. Exit 130. Nothing is left of the output."},
    {"E-MOE",
     "Text of the moe dialect, or of a function, is not valid. Exit 3. The place is the op at fault; a label such as\n"
     "C2 or L5 names the constraint, which codegen/moe/MoeOps.td and LayerChecks.h spell out."},
    {"E-MISMATCH", "A result differs from the reference by more than its tolerance, or between two runs. Exit 1."},
    {"W-WORKSPACE",
     "The package's largest call, of --max-tokens tokens, needs a workspace of more than 16 GiB. Smaller calls\n"
     "need less; moec explain --tokens LIST shows how much."},
    {"E-ROUTINGS",
     "A folder of recorded routings is not what moec explain --routings reads: *.safetensors with ids [T,K] of\n"
     "the layer's K, and weights [T,K], logits [T,n], labels [T] where there are."},
    {"W-COLLAPSE",
     "Few experts take most of the tokens: the balance (H - ln K) / (ln E - ln K) of the load entropy H is below\n"
     "0.5, or one expert is chosen by more than half of the tokens and 4 times the even share."},
    {"W-IDLE",
     "Experts are chosen by less than 1 % of the tokens, or than half of the even share where that is below 2 %."},
    {"W-LOGITS", "Router logits are larger than 10 in magnitude, or not finite."},
    {"W-SHARED",
     "bench lets experts share storage, because all of a layer's do not fit into this machine's memory. What has\n"
     "storage of its own is many times larger than the caches, so weights are read from memory all the same."},
    {"W-SPREAD",
     "bench accepted no round: the machine was slower than its own best during all of them. The figures are of\n"
     "all rounds; run again when the machine is quiet."},
};

std::optional<std::string> explainCliCode(llvm::StringRef code) {
  for (const CliCode &known : cliCodes)
    if (code == known.code)
      return std::string(known.text);
  return std::nullopt;
}

int readTextFile(Session &session, const std::string &path, const char *what, size_t limit, std::string &text) {
  auto cannot = [&](const std::string &why) {
    return fail(session, ExitFile, "E-FILE",
                "cannot read the " + std::string(what) + " " + quoteText(path, 256) + ": " + why);
  };
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cannot(std::strerror(errno));
  text.clear();
  char block[16384];
  ssize_t n;
  while (text.size() <= limit && ((n = read(fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR)))
    if (n > 0)
      text.append(block, size_t(n));
  int number = n < 0 ? errno : 0;
  close(fd);
  if (number)
    return cannot(std::strerror(number));
  if (text.size() > limit)
    return fail(session, ExitInvalid, "E-LIMIT",
                std::string(what) + " " + quoteText(path, 256) + " is larger than " + std::to_string(limit) + " bytes");
  return ExitDone;
}

} // namespace moec
