#include "tests/bench/works.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "runtime/error.h"
#include "tests/attribution/networks.h"
#include "tests/bench/process.h"
#include "tests/bench/serve.h"
#include "tests/cases/cases.h"
#include "tests/files.h"

using namespace hp;
using namespace hp::bench;

namespace {

std::span<const float> values(const Tensor& tensor) { return {tensor.floats(), static_cast<size_t>(tensor.count())}; }

}  // namespace

TEST_CASE("every work and every kernel case has a name of its own, and every unit exists") {
  std::set<std::string> names;
  for (const WorkSpec& work : all_works()) {
    CHECK_MESSAGE(names.insert(work.name).second, work.name);
    if (!work.unit.empty()) CHECK(work_named(work.unit).name == work.unit);
  }
  std::set<std::string> cases_seen;
  for (const cases::Family& family : cases::all_families()) {
    for (const cases::KernelCase& kernel_case : family.make()) {
      CHECK_MESSAGE(cases_seen.insert(family.name + ": " + kernel_case.name).second, kernel_case.name);
    }
  }
}

TEST_CASE("a filter brings along what the works are stated in") {
  std::vector<std::string> names;
  for (const WorkSpec& work : works_matching("probes-lrp", false)) names.push_back(work.name);
  CHECK(names == std::vector<std::string>{"grid-forward", "grid-lrp", "probes-lrp"});
  CHECK(works_matching("no such work", false).empty());
  CHECK(works_matching("contribution", false).empty());
  CHECK(works_matching("contribution", true).size() == 2);
  CHECK_THROWS_WITH_AS(work_named("grid-lpr"), doctest::Contains("nearest: grid-lrp"), Error);
}

TEST_CASE("works of a model from a file give the bits of the model itself") {
  const hp::test::TemporaryFolder folder;
  const Model model = formula_model("resnet18");
  save_model(folder.path() / "model.safetensors", model);
  CpuKernels kernels({.threads = 1});
  const Sides sides{32, 64};
  Workshop one(formula_model("resnet18"), sides, kernels);
  Workshop other(load_model(folder.path() / "model.safetensors"), sides, kernels);
  for (const char* name : {"forward-1", "lrp-1"}) {
    const Tensor a = one.result(work_named(name)), b = other.result(work_named(name));
    CHECK(test::largest(values(a)) > 0);
    CHECK(test::distance(values(a), values(b)) == 0);
  }
  CHECK(one.flops(work_named("forward-8")) == doctest::Approx(8 * one.flops(work_named("forward-1"))));
}

TEST_CASE("transformers, CLIP and B-cos networks run the works that peers are timed on") {
  CpuKernels kernels({.threads = 1});
  const Sides sides{32, 64};
  for (const char* network : {"vit_ti_16_d2_r32", "dino_vits8_w24_d2_h3_r32", "clip_rn50_w8_r32", "bcos_resnet18"}) {
    CAPTURE(network);
    const hp::test::TemporaryFolder folder;
    const Model model = formula_model(network);
    save_model(folder.path() / "model.safetensors", model);
    Workshop one(formula_model(network), sides, kernels),
        other(load_model(folder.path() / "model.safetensors"), sides, kernels);
    for (const char* name : {"forward-1", "gradient-1", "contribution-1"}) {
      const WorkSpec& work = work_named(name);
      if (work.bcos && !model.is_bcos()) continue;
      const Tensor a = one.result(work), b = other.result(work);
      CHECK(test::largest(values(a)) > 1e-5);
      CHECK(test::distance(values(a), values(b)) == 0);
    }
  }
  // Without a classifier the features themselves.
  Model bare = formula_model("vit_ti_16_d2_r32");
  Parameters backbone;
  for (const std::string& name : bare.parameters.names())
    if (!name.starts_with("head.")) backbone.set(name, bare.parameters.at(name));
  backbone.metadata = bare.parameters.metadata;
  bare.parameters = std::move(backbone);
  Workshop features(std::move(bare), sides, kernels);
  CHECK(features.result(work_named("forward-1")).shape() == Shape{1, 192});
}

TEST_CASE("three probes at once explain what three runs of one probe would") {
  CpuKernels kernels({.threads = 1});
  Workshop workshop(formula_model("resnet18"), {32, 64}, kernels);
  const Tensor one = workshop.result(work_named("grid-lrp")), three = workshop.result(work_named("probes-lrp"));
  REQUIRE(one.shape() == Shape{9, 64, 64});
  REQUIRE(three.shape() == Shape{27, 64, 64});
  CHECK(test::distance(values(three.rows(0, 9)), values(one)) < 1e-5);
  // Probe 1 has the classes of probe 0 seven places on, apart from their biases.
  CHECK(test::distance(values(three.rows(9, 11)), values(one.rows(7, 9))) < 1e-2);
  workshop.clear();
  CHECK(test::distance(values(workshop.result(work_named("grid-lrp"))), values(one)) == 0);
}

TEST_CASE("training works learn, and a probe's result does not depend on the others") {
  CpuKernels kernels({.threads = 1});
  Workshop workshop(formula_model("resnet18"), {.image = 32, .grid = 64, .rows = 600}, kernels);
  const Tensor losses = workshop.result(work_named("train-cifar"));
  REQUIRE(losses.shape() == Shape{3});
  CHECK(losses.floats()[2] < losses.floats()[0]);
  const Tensor one = workshop.result(work_named("probe-20")), eight = workshop.result(work_named("eight-probes"));
  REQUIRE(eight.shape() == Shape{8});
  CHECK(eight.floats()[0] == one.floats()[0]);
  CHECK(eight.floats()[7] != one.floats()[0]);
  workshop.run(work_named("train"));
}

TEST_CASE("a server answers every line with one line of JSON") {
  const hp::test::TemporaryFolder folder;
  CpuKernels kernels({.threads = 1});
  WorkOptions options{.network = "resnet18", .weights = {}, .sides = {32, 64}};
  const std::string file = (folder.path() / "logits.npy").string();
  std::istringstream in("describe\nworks\nrun forward-1 3 1\nrun nothing 3\nsave forward-1 " + file +
                        "\njump\nquit\nrun\n");
  std::ostringstream out;
  serve(kernels, options, in, out);
  std::istringstream lines(out.str());
  std::vector<nlohmann::json> answers;
  for (std::string line; std::getline(lines, line);) answers.push_back(nlohmann::json::parse(line));
  REQUIRE(answers.size() == 6);
  CHECK(answers[0]["threads"] == 1);
  CHECK(answers[1].size() == all_works().size());
  REQUIRE(answers[2]["seconds"].size() == 3);
  CHECK(answers[2]["seconds"][2] > 0);
  CHECK(answers[3]["error"].get<std::string>().find("no such work") != std::string::npos);
  CHECK(std::filesystem::file_size(file) == 128 + 4 * 1000);
  CHECK(answers[5]["error"].get<std::string>().find("unknown command") != std::string::npos);
}

TEST_CASE("child processes: output, time, failure") {
  const ProcessResult result = run_process({"/bin/sh", "-c", "sleep 0.05; echo 12"});
  CHECK(result.output == "12\n");
  CHECK(result.seconds >= 0.05);
  CHECK_THROWS_WITH_AS(run_process({"/bin/sh", "-c", "exit 3"}), doctest::Contains("/bin/sh failed"), Error);
  CHECK_THROWS_WITH_AS(run_process({"/no/such/program"}), doctest::Contains("No such file"), Error);
  CHECK(peak_memory() > 1 << 20);
}
