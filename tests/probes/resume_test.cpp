// Interrupted trainings go on where they were and end with the same bits.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/trainer.h"
#include "probes/training_state.h"
#include "runtime/error.h"
#include "runtime/random.h"
#include "runtime/safetensors.h"
#include "tests/files.h"
#include "tests/probes/toy.h"
#include "tests/support/small_nets.h"

using namespace hp;
using namespace hp::test;
namespace fs = std::filesystem;

namespace {

constexpr int64_t samples = 61, classes = 5;

Tensor pictures() {
  Tensor tensor = Tensor::host({samples, 8, 8, 3});
  const Random random(5, "pictures");
  for (int64_t i = 0; i < tensor.count(); ++i)
    tensor.floats()[i] = random.uniform(static_cast<uint64_t>(i), 0.0F, 1.0F);
  return tensor;
}

TrainedNetwork small_network() {
  const Graph graph = testing::small_resnet(1);
  return {"small", graph, LossKind::ce, testing::formula_parameters(graph)};
}

Recipe small_recipe() {
  Recipe recipe;
  recipe.learning_rate = 0.01;
  recipe.optimizer.kind = OptimizerKind::adamw;
  recipe.optimizer.weight_decay = 0.01;
  recipe.optimizer.clip_norm = 1;
  recipe.label_smoothing = 0.1;
  recipe.schedule.decay = Schedule::Decay::cosine;
  recipe.schedule.epochs = recipe.epochs = 4;
  recipe.schedule.per_step = true;
  recipe.batch_size = 8;
  recipe.accumulate = 2;
  return recipe;
}

struct Trained {
  TrainedNetwork network = small_network();
  TrainingReport report;
};

// With `state`, on one thread: a process that was forked has no others.
Trained run(const StateOptions& state = {}, const TrainingOptions& options = {}) {
  Trained trained;
  const FeatureTensor images(pictures());
  FeatureInputs inputs(images);
  CpuKernels kernels({.threads = 1});
  TrainingOptions all = options;
  all.state = state;
  trained.report = train(trained.network, inputs, cyclic_labels(samples, classes), small_recipe(), kernels, all);
  return trained;
}

StateOptions state_at(const fs::path& file, bool resume) { return {file, "the experiment", resume, 0}; }

bool same_weights(const Parameters& a, const Parameters& b) {
  return std::ranges::all_of(a.names(),
                             [&](const std::string& name) { return testing::same_bits(a.at(name), b.at(name)); });
}

// A process that trains from whatever state there is and writes the weights when it is done.
pid_t start_training(const fs::path& folder) {
  const pid_t child = fork();
  if (child != 0) return child;
  try {
    const Trained trained = run(state_at(folder / "state", true));
    save_safetensors(folder / "final", trained.network.parameters);
    _exit(0);
  } catch (...) {
    _exit(1);
  }
}

void flip_byte(const fs::path& file, int64_t from_end) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-from_end, std::ios::end);
  const int byte = stream.get();
  stream.seekp(-from_end, std::ios::end);
  stream.put(static_cast<char>(byte ^ 1));
}

}  // namespace

TEST_CASE("a training that is killed ten times ends with the same bits") {
  const TemporaryFolder folder;
  const auto begin = std::chrono::steady_clock::now();
  const Trained whole = run(state_at(folder / "whole", false));
  const std::chrono::duration<double> length = std::chrono::steady_clock::now() - begin;
  const Random random(static_cast<uint64_t>(begin.time_since_epoch().count()), "moments");
  int killed = 0;
  for (uint64_t i = 0; i < 10 && !fs::exists(folder / "final"); ++i) {
    const pid_t child = start_training(folder.path());
    std::this_thread::sleep_for(random.uniform(i) * 0.3 * length);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) ++killed;
  }
  CHECK(killed >= 3);
  int status = 0;
  waitpid(start_training(folder.path()), &status, 0);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  CHECK(same_weights(whole.network.parameters, load_safetensors(folder / "final")));
}

TEST_CASE("a training that was cancelled goes on with --resume, its curves too") {
  const TemporaryFolder folder;
  TrainingOptions whole_options;
  int64_t calls = 0;
  whole_options.evaluate = [&] { return std::optional<double>(static_cast<double>(++calls)); };
  const Trained whole = run({}, whole_options);
  std::atomic<bool> cancelled = false;
  TrainingOptions options;
  options.cancelled = &cancelled;
  calls = 0;
  options.evaluate = [&]() -> std::optional<double> {
    if (calls == 1 && !cancelled) {  // in the middle of the second evaluation
      cancelled = true;
      return std::nullopt;
    }
    return static_cast<double>(++calls);
  };
  const Trained first = run(state_at(folder / "state", false), options);
  CHECK(first.report.epochs == 1);
  cancelled = false;
  calls = 1;
  options.evaluate = whole_options.evaluate;
  const Trained second = run(state_at(folder / "state", true), options);
  REQUIRE(second.report.curves.size() == 4);
  CHECK(same_weights(whole.network.parameters, second.network.parameters));
  for (size_t i = 0; i < 4; ++i) {
    CHECK(second.report.curves[i].probes[0].loss == whole.report.curves[i].probes[0].loss);
    CHECK(second.report.curves[i].probes[0].top1 == whole.report.curves[i].probes[0].top1);
    CHECK(second.report.curves[i].learning_rate == whole.report.curves[i].learning_rate);
    CHECK(second.report.curves[i].evaluation == whole.report.curves[i].evaluation);
  }
}

TEST_CASE("a training that ended, but whose weights were not written, gives them again without a step") {
  const TemporaryFolder folder;
  const Trained whole = run(state_at(folder / "state", false));
  int told = 0;
  TrainingOptions options;
  options.progress = [&](const Progress&) { ++told; };
  StateOptions state = state_at(folder / "state", true);
  int64_t epoch = -1, step = -1;
  state.resumed = [&](int64_t at_epoch, int64_t at_step) { epoch = at_epoch, step = at_step; };
  const Trained again = run(state, options);
  CHECK(told == 0);
  CHECK(epoch == small_recipe().epochs);
  CHECK(step == 0);
  CHECK(again.report.epochs == whole.report.epochs);
  REQUIRE(again.report.curves.size() == whole.report.curves.size());
  CHECK(again.report.curves.back().probes[0].loss == whole.report.curves.back().probes[0].loss);
  CHECK(same_weights(whole.network.parameters, again.network.parameters));
}

TEST_CASE("a state says what it belongs to, and need not be written every epoch") {
  const TemporaryFolder folder;
  StateOptions rare = state_at(folder / "state", false);
  rare.seconds = 1e9;
  rare.every_epoch = false;
  TrainingOptions options;
  int written = 0;
  options.progress = [&](const Progress&) { written += fs::exists(folder / "state") ? 1 : 0; };
  run(rare, options);
  CHECK(written == 0);  // but at the end
  CHECK(experiment_of_state(folder / "state") == "the experiment");
  flip_byte(folder / "state", static_cast<int64_t>(fs::file_size(folder / "state")) - 10);
  CHECK_THROWS_WITH_AS(experiment_of_state(folder / "state"), doctest::Contains("to train from the beginning"), Error);
}

TEST_CASE("who asks for a training's progress does not change it") {
  TrainingOptions curious;
  std::vector<double> losses;
  curious.progress = [&](const Progress& progress) { losses.push_back(progress.probes[0].loss); };
  const Trained told = run({}, curious), alone = run();
  CHECK(losses.size() >= 4);
  CHECK(same_weights(told.network.parameters, alone.network.parameters));
  for (size_t i = 0; i < 4; ++i) CHECK(told.report.curves[i].probes[0].loss == alone.report.curves[i].probes[0].loss);
}

TEST_CASE("damaged and foreign states are refused with advice") {
  const TemporaryFolder folder;
  const fs::path file = folder / "state";
  std::atomic<bool> cancelled = true;
  TrainingOptions options;
  options.cancelled = &cancelled;
  run(state_at(file, false), options);
  REQUIRE(fs::exists(file));
  const fs::path whole = folder / "whole";
  fs::copy_file(file, whole);
  for (const int64_t place : {int64_t{3}, static_cast<int64_t>(fs::file_size(file)) / 2}) {
    fs::copy_file(whole, file, fs::copy_options::overwrite_existing);
    flip_byte(file, place);
    CHECK_THROWS_WITH_AS(run(state_at(file, true)), doctest::Contains("to train from the beginning"), Error);
  }
  fs::resize_file(file, fs::file_size(file) / 2);
  CHECK_THROWS_WITH_AS(run(state_at(file, true)), doctest::Contains("damaged"), Error);
  CHECK_THROWS_WITH_AS(run({whole, "another experiment", true, 0}), doctest::Contains("belongs to another experiment"),
                       Error);
}

TEST_CASE("a network learns, and its running statistics follow") {
  Trained trained = run();
  CHECK(trained.report.curves.back().probes[0].loss < trained.report.curves.front().probes[0].loss);
  const Parameters before = small_network().parameters;
  CHECK_FALSE(testing::same_bits(before.at("bn1.running_mean"), trained.network.parameters.at("bn1.running_mean")));
  CHECK_FALSE(testing::same_bits(before.at("conv1.weight"), trained.network.parameters.at("conv1.weight")));
}

TEST_CASE("linear probes that share one product go on after an interruption with the same bits") {
  const TemporaryFolder folder;
  constexpr int64_t rows = 90, wide = 48;
  const FeatureTensor features(random_maps({rows, 1, 1, wide}, 4));
  const auto run = [&](std::vector<Probe>& probes, int64_t cancel_at, const StateOptions& state) {
    std::vector<Probe*> all;
    for (int i = 0; i < 3; ++i) {
      const ProbeSpec spec{"probe" + std::to_string(i), HeadKind::linear, i == 1 ? LossKind::bce : LossKind::ce,
                           i != 2};
      probes.push_back(Probe::fresh(spec, wide, class_names(classes), 7));
    }
    for (Probe& probe : probes) all.push_back(&probe);
    std::atomic<bool> cancelled = false;
    TrainingOptions options;
    options.cancelled = &cancelled;
    options.progress = [&](const Progress& progress) { cancelled = progress.epoch == cancel_at; };
    options.state = state;
    CpuKernels kernels({.threads = 1});
    return train(all, features, cyclic_labels(rows, classes), small_recipe(), kernels, options).epochs;
  };
  std::vector<Probe> whole, first, second;
  CHECK(run(whole, -1, {}) == 4);
  CHECK(run(first, 1, state_at(folder / "state", false)) < 4);
  CHECK(run(second, -1, state_at(folder / "state", true)) == 4);
  for (size_t i = 0; i < whole.size(); ++i) CHECK(same_weights(second[i].parameters, whole[i].parameters));
  CHECK(!same_weights(first[0].parameters, whole[0].parameters));
}
