// Times whole works of a network with formula weights against the machine's own limit: bench-works --help
//
// Works: forward pass, input gradient and LRP for one and nine targets, the first at one image, the rest at one and
// eight, LRP also at the size of a 3x3 grid. Every round measures the peak (multiply-adds in registers) and then each
// work once, so that all of them see the same load. Columns: median and minimum over the rounds, per image; the rate
// and its share of the peak (forward passes only); the cost in units of F, the forward pass of the same size and batch,
// as ratio of medians and of minima. Forward passes that a gradient or LRP needs are part of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>

#include "attribution/composites.h"
#include "attribution/session.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "models/backbone.h"
#include "runtime/error.h"
#include "tests/attribution/networks.h"
#include "tests/bench/loops_peak.h"

namespace {

using namespace hp;

struct Options {
  std::string network = "resnet50", only;
  int64_t size = 224, grid = 0;
  int repeats = 15, threads = 0;
  bool cpu_time = false;
};

// Seconds by the wall clock, or of processor time, which other programs on a busy machine disturb less.
class Clock {
 public:
  explicit Clock(bool cpu_time) : id_(cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC) {}
  double seconds_of(const std::function<void()>& run) const {
    const double begin = now();
    run();
    return now() - begin;
  }

 private:
  double now() const {
    timespec time{};
    clock_gettime(id_, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  clockid_t id_;
};

struct Work {
  std::string name;
  int64_t batch = 1;
  double flops = 0;  // per run; 0: has no rate
  std::string unit;  // the work whose time is its F; empty for forward passes
  std::function<void()> run;
  std::vector<double> seconds = {};

  double median() const {
    std::vector<double> sorted = seconds;
    std::ranges::nth_element(sorted, sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2));
    return sorted[sorted.size() / 2];
  }
  double minimum() const { return *std::ranges::min_element(seconds); }
};

// The classifier of torchvision's ResNets: global pooling, then a linear op.
Head classifier(const Shape& features) {
  constexpr int64_t classes = 1000;
  Head head{"fc", {}, {}};
  Graph& graph = head.graph;
  Value x = graph.input("features", features, true);
  x = graph.add(std::make_shared<AvgPoolOp>(), {x}, "avgpool");
  x = graph.add(std::make_shared<ReshapeOp>(Shape{features[-1]}), {x}, "flatten");
  const Value weight = graph.parameter("fc.weight", {classes, features[-1]});
  const Value bias = graph.parameter("fc.bias", {classes});
  graph.add(std::make_shared<LinearOp>(), {x, weight, bias}, "logits");
  for (const std::string name : {"fc.weight", "fc.bias"}) {
    const Shape& shape = graph.node(graph.find(name)).shape;
    const std::vector<int64_t> extents(shape.extents().begin(), shape.extents().end());
    head.parameters.set(name, Tensor::host(shape, golden::parameter(name, extents, false)));
  }
  return head;
}

// One image size and batch: the forward pass alone (backbone, then classifier), and a session for the walks.
class Bench {
 public:
  Bench(const Options& options, int64_t size, int64_t batch, Kernels& kernels)
      : folded_(fold(options, size, batch)),
        head_(classifier(folded_.graph.node(folded_.graph.find("features")).shape)),
        parameters_(on_device(folded_.parameters, kernels)),
        image_(Tensor::host({batch, size, size, 3}, test::formula_images(batch, size))),
        backbone_(folded_.graph, parameters_, kernels, Keep::outputs),
        logits_(head_.graph, head_.parameters, kernels, Keep::outputs),
        session_(folded_, std::span(&head_, 1), kernels) {
    const Tensor& mean = folded_.parameters.at("model_input.mean");
    const Tensor& variance = folded_.parameters.at("model_input.variance");
    const InputBox box = normalised_box(std::span(mean.floats(), 3), std::span(variance.floats(), 3));
    for (const std::string name : {"gradient", "epsilon_gamma_box"}) {
      plans_[name] = {name, CompositeSpec::parse(name, "bench").build(box), {}};
    }
    for (const Graph* graph : {&folded_.graph, &head_.graph}) {
      for (int i = 0; i < graph->size(); ++i) {
        if (graph->node(i).op) flops_ += static_cast<double>(graph->node(i).op->flops(graph->input_shapes(i)));
      }
    }
    name_ = fmt::format("{} x {}", batch, size);
  }

  void add_forward(std::vector<Work>& works) {
    works.push_back({name_ + " forward", image_.shape()[0], flops_, {}, [this] { forward(); }});
  }
  void add_walk(std::vector<Work>& works, const std::string& composite, int targets) {
    works.push_back({fmt::format("{} {}, {} target{}", name_, composite, targets, targets == 1 ? "" : "s"),
                     image_.shape()[0], 0, name_ + " forward",
                     [this, composite, targets] { walk(composite, targets); }});
  }

 private:
  static Folded fold(const Options& options, int64_t size, int64_t batch) {
    const Backbone backbone = build_backbone(options.network, {batch, size, size});
    const bool bottleneck = folded_bottleneck(backbone.graph);
    return fold_batch_norm(backbone.graph, test::formula_parameters(backbone.graph, bottleneck));
  }
  static bool folded_bottleneck(const Graph& graph) { return !graph.match("layer1.0.conv3").empty(); }

  void forward() {
    const Activations activations = backbone_.run(image_);
    const Activations head = logits_.run(activations.value(folded_.graph.find("features")));
    if (!(std::abs(head.value(head_.logits()).floats()[0]) < 1e30F)) fail("[bench] logits are not finite");
  }

  void walk(const std::string& composite, int targets) {
    const Pass pass = session_.forward(image_, plans_.at(composite));
    std::vector<int> classes;
    for (int64_t row = 0; row < targets * image_.shape()[0]; ++row) classes.push_back(static_cast<int>(row % 1000));
    const Tap tap{pass.graph().find("model_input"), Tap::Keep::message};
    const RelevanceTrace trace = session_.walk(pass, classes, {}, std::span(&tap, 1));
    if (!(std::abs(trace.at(tap.node).data.floats()[0]) < 1e30F)) fail("[bench] the map is not finite");
  }

  Folded folded_;
  Head head_;
  Parameters parameters_;
  Tensor image_;
  Executor backbone_, logits_;
  Session session_;
  std::map<std::string, WalkPlan> plans_;
  double flops_ = 0;
  std::string name_;
};

// GFLOP/s of all threads together.
double peak(const CpuKernels& kernels, const Clock& clock, std::vector<float>& sums) {
  const PeakLoops& inner = loops_for<PeakLoops>(kernels.isa());
  constexpr int64_t steps = 1'000'000;
  const int threads = kernels.threads();
  sums.resize(static_cast<size_t>(threads));
  const double seconds = clock.seconds_of([&] {
    parallel_chunks(threads, threads, 1, [&](int chunk, int64_t, int64_t) {
      sums[static_cast<size_t>(chunk)] = inner.multiply_add(steps, 0.9999F, 1e-6F);
    });
  });
  return static_cast<double>(steps * inner.flops_per_step * threads) / seconds * 1e-9;
}

std::string_view name_of(Isa isa) {
  if (isa == Isa::avx512) return "AVX-512";
  return isa == Isa::avx2 ? "AVX2" : "baseline";
}

void print(const std::vector<Work>& works, const std::vector<double>& peaks) {
  const double best = *std::ranges::max_element(peaks);
  fmt::print("peak: {:.0f} GFLOP/s at best, {:.0f} in the worst round\n", best, *std::ranges::min_element(peaks));
  fmt::print("{:<42}{:>10}{:>10}{:>10}{:>8}{:>10}{:>8}\n", "work", "median ms", "min ms", "GFLOP/s", "of peak",
             "F (med)", "F (min)");
  for (const Work& work : works) {
    const double images = static_cast<double>(work.batch) / 1e3;
    fmt::print("{:<42}{:10.2f}{:10.2f}", work.name, work.median() / images, work.minimum() / images);
    if (work.flops > 0) {
      const double rate = work.flops / work.minimum() * 1e-9;
      fmt::print("{:10.1f}{:7.1f}%", rate, 100 * rate / best);
    }
    const auto unit = std::ranges::find(works, work.unit, &Work::name);
    if (unit != works.end()) {
      fmt::print("{:18}{:10.2f}{:8.2f}", "", work.median() / unit->median(), work.minimum() / unit->minimum());
    }
    fmt::print("\n");
  }
}

void run(const Options& options) {
  const Clock clock(options.cpu_time);
  CpuKernels kernels({.threads = options.cpu_time ? 1 : options.threads});
  fmt::print("{}, CPU, {} threads, {}, {} rounds, {} time\n", options.network, kernels.threads(),
             name_of(kernels.isa()), options.repeats, options.cpu_time ? "processor" : "wall");
  std::vector<std::unique_ptr<Bench>> benches;
  std::vector<Work> works;
  auto bench = [&](int64_t size, int64_t batch) -> Bench& {
    benches.push_back(std::make_unique<Bench>(options, size, batch, kernels));
    benches.back()->add_forward(works);
    return *benches.back();
  };
  for (const int64_t batch : {1, 8}) {
    Bench& here = bench(options.size, batch);
    here.add_walk(works, "gradient", 1);
    here.add_walk(works, "epsilon_gamma_box", 1);
    if (batch == 1) here.add_walk(works, "epsilon_gamma_box", 9);
  }
  if (options.grid > 0) bench(options.grid, 1).add_walk(works, "epsilon_gamma_box", 9);
  std::erase_if(works, [&](const Work& work) { return work.name.find(options.only) == std::string::npos; });

  std::vector<float> sums;
  std::vector<double> peaks;
  for (Work& work : works) work.run();  // packs weights, makes primitives, takes memory
  for (int round = 0; round < options.repeats; ++round) {
    peaks.push_back(peak(kernels, clock, sums));
    for (Work& work : works) work.seconds.push_back(clock.seconds_of(work.run));
  }
  print(works, peaks);
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  CLI::App app("Times whole works: forward passes, input gradients, relevance");
  app.add_option("--network", options.network, "an architecture of models/")->capture_default_str();
  app.add_option("--size", options.size, "side of the images")->capture_default_str();
  app.add_option("--grid", options.grid, "side of a grid for LRP with nine targets, such as 672; 0: none");
  app.add_option("--repeats", options.repeats, "rounds")->capture_default_str()->check(CLI::Range(1, 10000));
  app.add_option("--threads", options.threads, "0: all cores");
  app.add_flag("--cpu-time", options.cpu_time, "one thread, and its processor time: for busy machines");
  app.add_option("--only", options.only, "works with this in their name");
  CLI11_PARSE(app, count, arguments);
  try {
    run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
