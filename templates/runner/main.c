/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * main.c - the program `run` of a bundle: measures its candidates on this machine and keeps records of them.
 *
 *     run [DIR] [-o FILE] [--budget 30s|10m|1h|full] [--stage NAME]
 *     run [DIR] --reference
 *
 * DIR is the program's own folder if it is left out, FILE is DIR/NAME.tune.jsonl. It needs libc alone. Exit codes are
 * those of moec: 0 done, 1 a default kernel computes something else than it should, 2 usage, 3 not a bundle, 6 this
 * machine runs none of it, 8 cannot read or write, 9 memory, 130 interrupted; records that are written stay.
 */
#include "machine.h"
#include "search.h"

#ifdef RUNNER_CUDA
#include "cuda/search_calls.h"
#endif

#include "runtime/moec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;
static void on_signal(int number) { stopped = number; }

typedef struct run_flags {
  const char *dir, *output, *stage;
  double budget;
  int reference;
} run_flags;

static const char usage[] = "usage: run [DIR] [-o FILE] [--budget 30s|10m|1h|full] [--stage NAME] [--reference]\n"
                            "  measures the candidates of a bundle on this machine and adds records to FILE; the same\n"
                            "  command goes on where it ended. moec tunedb merge FILE -o ... brings them home.\n";

/* Seconds; -1: it is none of these. */
static double seconds_of(const char *text) {
  char *unit;
  double number = strtod(text, &unit);
  if (strcmp(text, "full") == 0)
    return INFINITY;
  double factor = strcmp(unit, "s") == 0 ? 1 : strcmp(unit, "m") == 0 ? 60 : strcmp(unit, "h") == 0 ? 3600 : -1;
  return factor > 0 && number > 0 && number < 1e6 ? number * factor : -1;
}

/* 0 or the exit code. */
static int read_flags(int argc, char **argv, run_flags *flags) {
  for (int i = 1; i < argc; ++i) {
    const char *flag = argv[i];
    const char **value = strcmp(flag, "-o") == 0 || strcmp(flag, "--output") == 0 ? &flags->output
                         : strcmp(flag, "--stage") == 0                           ? &flags->stage
                                                                                  : NULL;
    if (strcmp(flag, "--reference") == 0) {
      flags->reference = 1;
    } else if (strcmp(flag, "--budget") == 0 || value) {
      if (++i == argc)
        return complain("E-USAGE", "%s has no value", flag), 2;
      if (value)
        *value = argv[i];
      else if ((flags->budget = seconds_of(argv[i])) < 0)
        return complain("E-USAGE", "--budget is \"%s\", expected 30s, 10m, 1h or full", argv[i]), 2;
    } else if (flag[0] == '-' || flags->dir) {
      complain("E-USAGE", "unknown argument \"%s\"", flag);
      fputs(usage, stderr);
      return 2;
    } else {
      flags->dir = flag;
    }
  }
  return 0;
}

/* The folder that holds the program. */
static const char *own_folder(char *path, size_t size) {
  ssize_t length = readlink("/proc/self/exe", path, size - 1);
  if (length <= 0)
    return ".";
  path[length] = '\0';
  char *slash = strrchr(path, '/');
  if (!slash)
    return ".";
  *slash = '\0';
  return path;
}

/* Work on ranges of a stage, whose memory is filled when the first of them needs it. */
typedef struct stage_visit {
  search_state *state;
  const bundle_stage *stage;
  stage_memory memory;
  int open;
} stage_visit;

static int open_memory(stage_visit *visit) {
  if (visit->open)
    return 0;
  visit->open = 1;
  if (memory_open(&visit->memory, visit->stage, visit->state->from->tokens))
    return 0;
  return complain("E-MEMORY", "not enough memory for the cold weights of %s", visit->stage->name), 9;
}

typedef int (*range_work)(stage_visit *visit, const bundle_range *range);

static int search_one(stage_visit *visit, const bundle_range *range) {
  search_state *state = visit->state;
  if (range_is_known(state, range))
    return 0;
  if (search_over(state)) {
    ++state->not_reached;
    ++state->ranges;
    return 0;
  }
  int code = open_memory(visit);
  return code ? code : search_range(state, &visit->memory, range);
}

static int print_reference(stage_visit *visit, const bundle_range *range) {
  uint64_t reference;
  char text[17];
  int code = open_memory(visit);
  code = code ? code : reference_of(visit->state->from, &visit->memory, range, &reference);
  if (code)
    return code;
  hash_text(reference, text);
  printf("%s %s\n", range->library, text);
  return 0;
}

/* Ranges first .. last-1 of every stage; a range that fails by itself (1) does not keep others from their turn. */
static int each_range(search_state *state, const run_flags *flags, range_work work, size_t first, size_t last) {
  int code = 0;
  for (size_t i = 0; i < state->from->num_stages; ++i) {
    stage_visit visit = {state, &state->from->stages[i], {0}, 0};
    if ((flags->stage && strcmp(flags->stage, visit.stage->name) != 0) || visit.stage->isa > moec_cpu_isa())
      continue;
    for (size_t r = first; r < last && r < visit.stage->num_ranges && code < 2; ++r) {
      int own = work(&visit, &visit.stage->ranges[r]);
      code = own ? own : code;
    }
    memory_close(&visit.memory);
  }
  return code;
}

/* What matters most of every stage, then the rest. */
static int each_stage(search_state *state, const run_flags *flags, range_work work) {
  size_t named = 0, skipped = 0;
  for (size_t i = 0; i < state->from->num_stages; ++i) {
    const bundle_stage *stage = &state->from->stages[i];
    if (flags->stage && strcmp(flags->stage, stage->name) != 0)
      continue;
    ++named;
    if (stage->isa <= moec_cpu_isa())
      continue;
    ++skipped;
    if (!flags->reference)
      fprintf(stderr, "run: %s is left out: this machine does not have %s\n", stage->name, stage->isa_name);
  }
  if (!named)
    return complain("E-USAGE", "the bundle has no stage \"%s\"", flags->stage), 2;
  if (skipped == named)
    return flags->reference ? 6
                            : (complain("E-MACHINE", "this machine has none of the bundle's instruction sets: up to %s",
                                        moec_isa_name(moec_cpu_isa())),
                               6);
  int code = each_range(state, flags, work, 0, 1);
  if (code < 2) {
    int rest = each_range(state, flags, work, 1, (size_t)-1);
    code = rest ? rest : code;
  }
  return code;
}

static int search_gpu(search_state *state, const run_flags *flags) {
#ifdef RUNNER_CUDA
  return search_calls(state, flags->stage);
#else
  (void)state;
  (void)flags;
  return complain("E-MACHINE", "this program was built without its CUDA half: README.txt says how to build it"), 6;
#endif
}

static void print_end(const search_state *state) {
  printf("%s: %zu measurements; %zu of %zu range%s changed, %zu known before; candidates wrong: %zu, failed: %zu; not "
         "reached: %zu\n",
         state->records->path, state->measured, state->changed, state->ranges, state->ranges == 1 ? "" : "s",
         state->known, state->wrong, state->failed, state->not_reached);
  if (state->wrong)
    fprintf(stderr,
            "run: warning[W-WRONG]: %zu %s something else than the default and will never be chosen\n"
            "  hint: moec tunedb show %s names each; please report those of moec's own templates\n",
            state->wrong, state->wrong == 1 ? "candidate computes" : "candidates compute", state->records->path);
}

static int search(search_state *state, const run_flags *flags) {
  char path[4700], name[64];
  snprintf(path, sizeof(path), "%s/%s.tune.jsonl", state->from->dir, state->from->name);
  record_file records;
  size_t gpu = state->from->num_calls, many = gpu ? gpu : state->from->num_stages;
  int code = records_open(&records, flags->output ? flags->output : path, state->from->stamp);
  if (!code) {
    state->records = &records;
    machine_name(name, sizeof(name));
    printf("machine      %s, %s, 1 thread\nsearching    %zu %s%s of %s, prepared by moec %s; records of earlier runs: "
           "%zu\n",
           name[0] ? name : "unknown CPU", moec_isa_name(moec_cpu_isa()), many, gpu ? "token range" : "stage",
           many == 1 ? "" : "s", state->from->name, state->from->moec, records.num_known);
    fflush(stdout);
    code = state->from->num_calls ? search_gpu(state, flags) : each_stage(state, flags, search_one);
    if (code == 0 || code == 1)
      print_end(state);
    if (stopped) {
      complain("E-INTERRUPTED", "interrupted; %s keeps what was measured", records.path);
      code = 130;
    }
  }
  records_close(&records);
  return code;
}

int main(int argc, char **argv) {
  run_flags flags = {.budget = 600};
  for (int i = 1; i < argc; ++i)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      return fputs(usage, stdout) == EOF;
  int code = read_flags(argc, argv, &flags);
  if (code)
    return code;
  char folder[4096];
  bundle from;
  code = bundle_read(&from, flags.dir ? flags.dir : own_folder(folder, sizeof(folder)));
  if (!code) {
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    search_state state = {.from = &from,
                          .stopped = &stopped,
                          .end = wall_seconds() + flags.budget,
                          .live = isatty(2) && !flags.reference};
    code = flags.reference && from.num_calls ? 0
           : flags.reference                 ? each_stage(&state, &flags, print_reference)
                                             : search(&state, &flags);
  }
  bundle_free(&from);
  if (fflush(stdout) != 0 || ferror(stdout))
    return complain("E-WRITE", "cannot write to stdout"), 8;
  return code;
}
