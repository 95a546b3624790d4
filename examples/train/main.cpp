// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// main.cpp - the command line: train, resume, generate, distil, finetune.
#include "generate.h"
#include "trainer.h"

#include <CLI/CLI.hpp>

#include <cmath>
#include <cstdio>
#include <exception>
#include <stdexcept>

namespace train {
namespace {

struct Arguments {
  std::string model, out = "model.safetensors", text, prompt = "Day 1.";
  Settings settings;
  TrainOptions options;
  GenerateOptions generate;
  int64_t grow_to = 10;
  int threads = 0;
};

void describe(Session &session) {
  int64_t count = 0;
  for (Parameter *parameter : session.model.parameters())
    count += parameter->size();
  std::printf("%lld parameters, %lld characters, ln(%lld) = %.3f, %d threads", static_cast<long long>(count),
              static_cast<long long>(session.vocabulary.size()), static_cast<long long>(session.vocabulary.size()),
              std::log(double(session.vocabulary.size())), session.threads.count());
  if (session.package)
    std::printf("; %zu layers of %lld experts (%s)", session.mixtures.size(),
                static_cast<long long>(session.settings.experts), session.package->info.isa_name);
  std::printf("\n");
}

void run(Session &session, const Arguments &arguments, const Objective &objective) {
  Text text(session.vocabulary.encode(read_text(arguments.text)), session.settings.shape.context);
  TrainOptions options = arguments.options;
  options.out = arguments.out;
  describe(session);
  std::printf("held out: %.3f before step %lld\n", held_out_loss(session, text, 0),
              static_cast<long long>(session.step + 1));
  train(session, text, options, objective);
  std::printf("held out: %.3f\n%s\n", held_out_loss(session, text, 0), arguments.out.c_str());
}

void command_train(const Arguments &arguments) {
  Session session(arguments.settings, Vocabulary::of(read_text(arguments.text)), arguments.threads);
  run(session, arguments, next_character(session));
}

void command_resume(const Arguments &arguments) {
  auto session = Session::open(arguments.model, arguments.threads);
  if (session->step >= session->settings.schedule.steps)
    throw std::runtime_error(arguments.model + ": has done all of its " + std::to_string(session->step) + " steps");
  run(*session, arguments, next_character(*session));
}

void command_distil(const Arguments &arguments) {
  auto teacher = Session::open(arguments.model, arguments.threads);
  Settings settings = arguments.settings;
  settings.shape = teacher->settings.shape;
  settings.shape.moe_every = 0;
  Session student(settings, teacher->vocabulary, arguments.threads);
  run(student, arguments, from_teacher(student, *teacher));
}

// New experts learn a new text; the old ones keep what they know. There is no noise, and no warm-up with all experts.
void command_finetune(const Arguments &arguments) {
  auto session = Session::grow(arguments.model, arguments.grow_to, arguments.threads);
  Schedule &schedule = session->settings.schedule, wanted = arguments.settings.schedule;
  schedule.steps = wanted.steps;
  schedule.rate = wanted.rate;
  schedule.router_rate = wanted.router_rate;
  schedule.warm_up = 0;
  schedule.fine_tuning = 1;
  run(*session, arguments, next_character(*session));
}

void command_generate(const Arguments &arguments) {
  auto session = Session::open(arguments.model, arguments.threads);
  std::fputs(arguments.prompt.c_str(), stdout);
  generate(*session, arguments.prompt, arguments.generate, [](char c) {
    std::fputc(c, stdout);
    std::fflush(stdout);
  });
  std::fputc('\n', stdout);
}

void add_training(CLI::App *command, Arguments &a) {
  command->add_option("--text", a.text, "text to learn; the last tenth is held out")->required();
  command->add_option("-o,--out", a.out, "checkpoint to write; a picture of the run is beside it")
      ->capture_default_str();
  command->add_option("--stop-after", a.options.stop_after, "stop after this step, to resume later");
  command->add_option("--report-every", a.options.report_every, "steps between lines")->check(CLI::PositiveNumber);
  command->add_option("--check-every", a.options.check_every, "steps between losses on held-out text")
      ->check(CLI::PositiveNumber);
  command->add_option("--save-every", a.options.save_every, "steps between checkpoints")->check(CLI::PositiveNumber);
}

void add_schedule(CLI::App *command, Arguments &a) {
  Schedule &s = a.settings.schedule;
  command->add_option("--steps", s.steps, "steps of the whole schedule")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--rate", s.rate, "largest learning rate")->capture_default_str();
  command->add_option("--router-rate", s.router_rate, "the same of routers")->capture_default_str();
  command->add_option("--sequences", a.settings.sequences, "sequences in a batch")->check(CLI::Range(1, 32));
  command->add_option("--seed", s.seed, "of everything that is drawn");
}

void add_model(CLI::App *command, Arguments &a) {
  ModelShape &m = a.settings.shape;
  Schedule &s = a.settings.schedule;
  command->add_option("--layers", m.layers, "blocks")->check(CLI::Range(1, 64))->capture_default_str();
  command->add_option("--heads", m.heads, "query heads")->check(CLI::Range(1, 64))->capture_default_str();
  command->add_option("--kv-heads", m.kv_heads, "heads of keys and values")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_option("--context", m.context, "characters that are read together")
      ->check(CLI::Range(2, 128))
      ->capture_default_str();
  command->add_option("--inner", m.inner, "width inside dense halves")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--moe-every", m.moe_every, "every so-manieth block has experts; 0: none")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command->add_flag("--dynamics", m.dynamics, "a dynamics block behind each block");
  command->add_option("--top-k", s.top_k, "experts per token")->check(CLI::Range(1, 8))->capture_default_str();
  command->add_option("--noise", s.noise, "deviation of the noise on the router's logits")->capture_default_str();
  command->add_option("--balance", s.balance_coefficient, "coefficient of the load-balance loss")
      ->capture_default_str();
  command->add_option("--z", s.z_coefficient, "coefficient of the z loss")->capture_default_str();
  command->add_option("--bias-rate", s.bias_rate, "step of the choice bias; 0: none")->capture_default_str();
}

int command_line(int argc, char **argv) {
  Arguments a;
  CLI::App app{"A small transformer with layers of experts that moec compiled."};
  app.require_subcommand(1);
  app.add_option("--threads", a.threads, "0: as many as there are cores");
  app.fallthrough();

  CLI::App *train = app.add_subcommand("train", "learn a text");
  CLI::App *resume = app.add_subcommand("resume", "go on where a checkpoint ends");
  CLI::App *generate = app.add_subcommand("generate", "write on");
  CLI::App *distil = app.add_subcommand("distil", "teach a model without experts what a model with experts knows");
  CLI::App *finetune = app.add_subcommand("finetune", "freeze the experts, add new ones, learn another text");
  for (CLI::App *command : {resume, generate, distil, finetune})
    command->add_option("model", a.model, "checkpoint")->required();
  for (CLI::App *command : {train, resume, distil, finetune})
    add_training(command, a);
  for (CLI::App *command : {train, distil, finetune})
    add_schedule(command, a);
  add_model(train, a);
  finetune->add_option("--experts", a.grow_to, "experts of a layer afterwards")->capture_default_str();
  resume->get_option("--out")->default_str("the checkpoint itself");
  generate->add_option("--prompt", a.prompt, "how it begins")->capture_default_str();
  generate->add_option("--length", a.generate.length, "characters")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  generate->add_option("--temperature", a.generate.temperature, "0: always the likeliest")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  generate->add_option("--seed", a.generate.seed, "another seed, another text")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (*train)
    command_train(a);
  else if (*resume) {
    if (!resume->count("--out"))
      a.out = a.model;
    command_resume(a);
  } else if (*distil)
    command_distil(a);
  else if (*finetune)
    command_finetune(a);
  else
    command_generate(a);
  return 0;
}

} // namespace
} // namespace train

int main(int argc, char **argv) {
  try {
    return train::command_line(argc, argv);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "train: %s\n", error.what());
    return 1;
  }
}
