// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec: a command line -> one verb's work, supervised, and an exit code of ExitCode.h.

#include "Supervisor.h"
#include "Verbs.h"

#include "codegen/emit/Manifest.h"

#include "dsl/text/Spelling.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

using namespace moec;

namespace {
struct GlobalFlags {
  std::string color = "auto";
  bool quiet = false;
  Limits limits;
};
} // namespace

static void addGlobalFlags(CLI::App &app, GlobalFlags &flags) {
  app.add_option("--color", flags.color, "colour on stderr: auto, always, never (NO_COLOR turns auto off)")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.add_flag("-q,--quiet", flags.quiet, "no progress; errors are still printed");
  app.add_option("--timeout", flags.limits.timeoutSeconds, "stop after SECONDS with exit 9")
      ->check(CLI::Range(0.001, 1e9))
      ->type_name("SECONDS");
  app.add_option("--memory-limit", flags.limits.memoryMib, "stop with exit 9 when more address space is needed")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 24))
      ->type_name("MIB");
  // Exists for the tests of exit codes 7 and 9; an empty group keeps it out of --help.
  app.add_option("--fault", flags.limits.fault)->group("");
}

static bool wantsColor(const std::string &mode) {
  const char *noColor = std::getenv("NO_COLOR"), *term = std::getenv("TERM");
  if (mode != "auto")
    return mode == "always";
  return isatty(2) && !(noColor && *noColor) && !(term && std::string(term) == "dumb");
}

// "-o", "--output", ... of a verb and of moec itself.
static std::vector<std::string> flagsOf(const CLI::App &verb) {
  std::vector<std::string> names;
  for (const CLI::App *app = &verb; app; app = app->get_parent())
    for (const CLI::Option *option : app->get_options()) {
      for (const std::string &name : option->get_snames())
        names.push_back("-" + name);
      for (const std::string &name : option->get_lnames())
        names.push_back("--" + name);
    }
  return names;
}

// The first word of the command line that looks like a flag of the verb and is none; empty: there is no such word.
static std::string unknownFlag(const CLI::App &verb, const std::vector<std::string> &words) {
  std::vector<std::string> known = flagsOf(verb);
  for (const std::string &word : words) {
    std::string flag = word.substr(0, word.find('='));
    if (flag == "--")
      break;
    if (flag.size() > 2 && flag.compare(0, 2, "--") == 0 && std::find(known.begin(), known.end(), flag) == known.end())
      return flag;
  }
  return "";
}

// CLI11's own codes (100..127) never leave: asking for help is 0, everything else a usage error.
static int parseEnd(Session &session, const CLI::App &app, const CLI::ParseError &error,
                    const std::vector<std::string> &argv) {
  const CLI::App *verb = &app;
  std::string command = "moec", parent;
  while (!verb->get_subcommands().empty()) { // verbs of verbs: moec tunedb ls
    verb = verb->get_subcommands().front();
    parent = command;
    command += " " + verb->get_name();
  }
  if (error.get_name() == "CallForHelp" || error.get_name() == "CallForAllHelp") {
    session.out << (verb == &app ? app.help() : verb->help(parent));
    session.out.flush();
    return ExitDone;
  }
  if (error.get_name() == "CallForVersion") {
    session.out << error.what() << "\n";
    session.out.flush();
    return ExitDone;
  }
  std::string message = error.what();
  while (!message.empty() && (message.back() == '\n' || message.back() == '.'))
    message.pop_back();
  if (error.get_name() == "RequiredError" && verb->get_require_subcommand_min())
    message = verb == &app ? "no verb was named" : "no verb of " + command + " was named";
  std::string hint = command + " --help lists what it takes";
  if (std::string flag = error.get_exit_code() == int(CLI::ExitCodes::ExtrasError) ? unknownFlag(*verb, argv) : "";
      !flag.empty()) {
    message = command + " takes no " + quoteText(flag);
    if (std::optional<std::string> closest = closestSpelling(flag, flagsOf(*verb)))
      hint = "did you mean \"" + *closest + "\"?";
  }
  return fail(session, "E-USAGE", escaped(message), hint);
}

// An unknown verb gets its own message; CLI11 would only ask for a subcommand.
static int unknownVerb(Session &session, const std::string &word, const std::vector<Verb> &verbs) {
  std::vector<std::string> names;
  for (const Verb &verb : verbs)
    names.push_back(verb.command->get_name());
  std::optional<std::string> closest = closestSpelling(word, names);
  return fail(session, "E-USAGE", "unknown verb " + quoteText(word),
              closest ? "did you mean \"" + *closest + "\"?" : "moec --help lists the verbs");
}

static int runCommandLine(Session &session, int argc, char **argv) {
  CLI::App app("moec compiles Mixture-of-Experts layers.", "moec");
  GlobalFlags flags;
  addGlobalFlags(app, flags);
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "moec " + moecVersion());
  app.set_help_flag("-h,--help", "what moec, or one verb, takes");
  std::vector<Verb> verbs = {addInit(app),    addImport(app),  addCheck(app),  addPack(app),
                             addCompile(app), addExplain(app), addVerify(app), addBench(app),
                             addCompare(app), addReport(app),  addTune(app),   addTuneDb(app),
                             addTargets(app), addDoctor(app),  addSchema(app), addVersion(app)};
  bool word = argc > 1 && argv[1][0] != '-';
  if (word && std::none_of(verbs.begin(), verbs.end(), [&](const Verb &v) { return v.command->get_name() == argv[1]; }))
    return unknownVerb(session, argv[1], verbs);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    session.color = wantsColor("auto");
    return parseEnd(session, app, error, {argv + 1, argv + argc});
  }
  session.color = wantsColor(flags.color);
  session.quiet = flags.quiet;
  std::vector<std::string> command(argv, argv + argc);
  for (const Verb &verb : verbs)
    if (verb.command->parsed())
      return supervise(session, flags.limits, command, [&] { return verb.body(session); });
  return fail(session, "E-USAGE", "no verb was named", "moec --help lists them");
}

// A standard stream that is closed gets a descriptor that refuses reads or writes as the closed one would. Otherwise
// the first file that is opened takes its number, and a result is printed into a package.
static void occupyStandardStreams() {
  for (int stream : {0, 1, 2})
    if (fcntl(stream, F_GETFD) < 0)
      (void)!open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv) {
  occupyStandardStreams();
  // The destructor of llvm::outs() aborts on a write error; these two streams are never destroyed.
  auto *out = new llvm::raw_fd_ostream(1, /*shouldClose=*/false);
  auto *err = new llvm::raw_fd_ostream(2, /*shouldClose=*/false, /*unbuffered=*/true);
  Session session{*out, *err};
  try {
    int code = runCommandLine(session, argc, argv);
    out->flush();
    if (!out->has_error() || code != ExitDone)
      return code;
    return fail(session, "E-WRITE", "cannot write to standard output: " + out->error().message());
  } catch (const std::bad_alloc &) {
    endForMemory();
  } catch (const std::exception &error) {
    return fail(session, "E-INTERNAL", std::string("unexpected failure: ") + error.what());
  }
}
