// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "trainer.h"

#include "experts.h"
#include "loss.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <stdexcept>

namespace train {

Objective next_character(const Session &session) {
  int64_t vocabulary = session.vocabulary.size();
  return [vocabulary](const Batch &batch, const Values &logits, Values *grad) {
    return cross_entropy(logits, batch.targets.data(), vocabulary, grad);
  };
}

Objective from_teacher(const Session &session, Session &teacher) {
  int64_t vocabulary = session.vocabulary.size();
  return [vocabulary, &teacher](const Batch &batch, const Values &logits, Values *grad) {
    const Values &said = teacher.model.forward(batch.ids.data(), batch.sequences, batch.length, teacher.inference());
    return distillation(logits, batch.targets.data(), said, vocabulary, Distillation(), grad);
  };
}

double held_out_loss(Session &session, const Text &text, int64_t sequences) {
  int64_t all = sequences > 0 ? std::min(sequences, text.held_out()) : text.held_out();
  double sum = 0;
  for (int64_t first = 0; first < all; first += session.settings.sequences) {
    Batch batch = text.held_out(first, std::min(session.settings.sequences, all - first));
    const Values &logits = session.model.forward(batch.ids.data(), batch.sequences, batch.length, session.inference());
    sum += double(batch.sequences) * cross_entropy(logits, batch.targets.data(), session.vocabulary.size(), nullptr);
  }
  return sum / double(all);
}

namespace {

// Sums since the last line.
struct Totals {
  double loss = 0, utilisation = 0, balance = 0, largest = 0, dropped = 0;
  int64_t steps = 0, tokens = 0;
  double seconds = 0;
};

class Loop {
public:
  Loop(Session &of, const Text &from, const TrainOptions &how, const Objective &wanted)
      : session(of), text(from), options(how), objective(wanted) {}

  void run() {
    const Schedule &schedule = session.settings.schedule;
    int64_t last = options.stop_after > 0 ? std::min(options.stop_after, schedule.steps) : schedule.steps;
    while (session.step < last) {
      one_step(plan(schedule, session.step));
      int64_t done = ++session.step;
      bool end = done == schedule.steps; // a run that stops earlier leaves the rows of one that did not stop
      if (done % options.report_every == 0 || end)
        report(done % options.check_every == 0 || end);
      if (done % options.save_every == 0 || done == last)
        save();
    }
  }

private:
  void one_step(const Step &now) {
    auto begin = std::chrono::steady_clock::now();
    const Settings &settings = session.settings;
    current = now;
    Batch batch = text.draw(settings.sequences, settings.schedule.seed, static_cast<uint64_t>(session.step));
    const Values &logits = session.model.forward(batch.ids.data(), batch.sequences, batch.length, now.routing);
    totals.loss += objective(batch, logits, &grad);
    session.model.backward(grad);
    double length = session.adam.step(now.rate, now.router_rate);
    if (!std::isfinite(length))
      std::printf("step %lld: the gradient is not finite; nothing was changed\n",
                  static_cast<long long>(session.step + 1));
    session.model.changed();
    for (MoeLayer *layer : session.mixtures)
      after_step(*layer, now, batch.sequences * batch.length);
    totals.steps += 1;
    totals.tokens += batch.sequences * batch.length;
    totals.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  // Balance is kept from outside of the gradient as well.
  void after_step(MoeLayer &layer, const Step &now, int64_t tokens) {
    const RouterReport &router = layer.report();
    double share = 1 / double(session.mixtures.size());
    totals.utilisation += share * std::exp(router.load.entropy) / double(layer.experts());
    totals.balance += share * router.losses[0] / double(now.routing.top_k);
    totals.largest += share * router.load.max_share;
    totals.dropped += share * router.dropped_tokens / double(tokens);
    layer.follow_counts(now.bias_rate, now.adapt_capacity);
    if (now.revive) {
      Random random(session.settings.schedule.seed, 3, static_cast<uint64_t>(session.step));
      if (int64_t dead = revive_dead(layer, session.settings.schedule.dead_below, random, &session.adam))
        std::printf("step %lld: %lld dead experts begin again\n", static_cast<long long>(session.step + 1),
                    static_cast<long long>(dead));
    }
  }

  void report(bool check) {
    double n = double(totals.steps);
    Row row;
    row.step = static_cast<float>(session.step);
    row.loss = static_cast<float>(totals.loss / n);
    bool mixture = !session.mixtures.empty();
    row.utilisation = mixture ? static_cast<float>(totals.utilisation / n) : 1;
    row.largest = static_cast<float>(totals.largest / n);
    row.dropped = static_cast<float>(totals.dropped / n);
    row.phase = static_cast<float>(current.phase);
    if (check)
      row.held_out = static_cast<float>(held_out_loss(session, text, 64));
    session.history.push_back(row);
    std::printf("%5lld/%lld %-11s loss %.3f", static_cast<long long>(session.step),
                static_cast<long long>(session.settings.schedule.steps), name_of(current.phase), double(row.loss));
    if (check)
      std::printf(" (held out %.3f)", double(row.held_out));
    if (mixture)
      std::printf("  use %3.0f %%  balance %.3f  dropped %.1f %%  k %d", 100 * double(row.utilisation),
                  totals.balance / n, 100 * double(row.dropped), current.routing.top_k);
    std::printf("  rate %.1e  %.0f tokens/s\n", current.rate, double(totals.tokens) / totals.seconds);
    std::fflush(stdout);
    totals = Totals();
  }

  void save() {
    if (options.out.empty())
      return;
    session.save(options.out);
    std::string picture = options.out.substr(0, options.out.rfind('.')) + ".svg";
    draw_history(picture, session.history, std::log(double(session.vocabulary.size())));
  }

  Session &session;
  const Text &text;
  const TrainOptions &options;
  const Objective &objective;
  Step current = {};
  Values grad;
  Totals totals;
};

} // namespace

void train(Session &session, const Text &text, const TrainOptions &options, const Objective &objective) {
  Loop(session, text, options, objective).run();
}

} // namespace train
