// predict-gpu-times: how long works would take on a GPU, from counted bytes, operations and launches.
//
// The works run on the CUDA backend with a device that drops what is queued, so launches are counted exactly, in the
// steady state; bytes and operations are those that each node states of itself (runtime/cost.h). A node's bound is its
// time at the given rates; where its launches take longer than that, they dominate.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "attribution/method.h"
#include "kernels/cuda/cuda_kernels.h"
#include "models/backbone.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/observer.h"
#include "runtime/text.h"
#include "tests/bench/model.h"
#include "tests/cuda_host/device.h"

namespace {

using namespace hp;

struct Gpu {
  double bytes_rate = 3.0e12, flops_rate = 67e12;  // H100 SXM: what a copy reaches, float32 without tensor cores
  double launch = 2.5e-6;                          // seconds from one small kernel to the next
};

struct Count {
  Cost cost;
  double launches = 0;

  double bound(const Gpu& gpu) const { return std::max(cost.bytes / gpu.bytes_rate, cost.flops / gpu.flops_rate); }
  double seconds(const Gpu& gpu) const { return std::max(bound(gpu), launches * gpu.launch); }
  double lost(const Gpu& gpu) const { return seconds(gpu) - bound(gpu); }
};

// Adds up what nodes cost and queue, by phase and node ("lrp/gamma/layer3.2.conv2").
class Counter final : public Observer {
 public:
  void begin(const Activity& activity) override {
    if (!activity.node.empty()) {
      open_ = activity.name();
      counts_[open_].cost += activity.cost;
      before_ = cuda_host::queued();
    }
  }
  void end() override {
    if (open_.empty()) return;  // a whole pass
    counts_[open_].launches += static_cast<double>(cuda_host::queued() - before_);
    open_.clear();
  }

  void clear() { counts_.clear(); }
  const std::map<std::string, Count>& counts() const { return counts_; }

 private:
  std::map<std::string, Count> counts_;
  std::string open_;
  size_t before_ = 0;
};

struct Work {
  std::string text;
  int64_t batch = 1, side = 224;
  int targets = 1;
  std::string method = {}, options = "null";  // none: a forward pass
  Shape images() const { return {batch, side, side, 3}; }
};

std::vector<Work> works_of(const std::string& network) {
  const std::string lrp = network.starts_with("vit") ? R"({"composite": "attn_lrp"})" : "null";
  return {{"forward, 1 image"},
          {"forward, 32 images", 32},
          {"Input x Gradient, 1 image", 1, 224, 1, "ixg"},
          {"Input x Gradient, 32 images", 32, 224, 1, "ixg"},
          {"LRP, 1 image", 1, 224, 1, "lrp", lrp},
          {"LRP, 32 images", 32, 224, 1, "lrp", lrp},
          {"LRP, grid of 672 pixels, 9 targets", 1, 672, 9, "lrp", lrp},
          {"Integrated Gradients, 50 nodes, 1 image", 1, 224, 1, "intgrad", R"({"nodes": 50})"}};
}

// The model with parameters that nobody looks at.
bench::Model shapes_alone(const std::string& network, int64_t side) {
  const Backbone backbone = build_backbone(network, {1, side, side});
  bench::Model model{network, {}};
  const auto add = [&](const std::string& name, const Shape& shape) {
    model.parameters.set(name, Tensor::host(shape, std::vector<float>(static_cast<size_t>(shape.count()), 1.0F)));
  };
  for (const Node& node : backbone.graph.nodes()) {
    if (node.kind == OpKind::parameter) add(node.name, node.shape);
  }
  add("head.weight", {1000, backbone.channels()});
  add("head.bias", {1000});
  return model;
}

class Predictor {
 public:
  Predictor(std::string network, const Gpu& gpu) : network_(std::move(network)), gpu_(gpu) {}

  void print() {
    fmt::print(
        "\n### {}\n\n| work | GFLOP | GB | launches | bound (ms) | launches alone (ms) | predicted (ms) | nodes "
        "whose launches dominate |\n|---|---|---|---|---|---|---|---|\n",
        network_);
    std::string named;
    for (const Work& work : works_of(network_)) {
      CudaKernels kernels;
      kernels.observe(&counter_);
      print_row(work, static_cast<double>(count(work, kernels)));
      named += fmt::format("- {}: {}\n", work.text, most_lost());
    }
    fmt::print("\nThe nodes that lose most to their launches, with the microseconds that these add to the bound:\n\n{}",
               named);
  }

 private:
  void print_row(const Work& work, double launches) const {
    Count all;
    double bound = 0, seconds = 0, inside = 0;
    int dominated = 0;
    for (const auto& [name, node] : counter_.counts()) {
      all.cost += node.cost;
      inside += node.launches;
      bound += node.bound(gpu_);
      seconds += node.seconds(gpu_);
      dominated += node.lost(gpu_) > 0 ? 1 : 0;
    }
    seconds += (launches - inside) * gpu_.launch;  // what lies between nodes
    fmt::print("| {} | {:.4g} | {:.3g} | {:.0f} | {:.3g} | {:.3g} | {:.3g} | {} of {} |\n", work.text,
               all.cost.flops * 1e-9, all.cost.bytes * 1e-9, launches, bound * 1e3, launches * gpu_.launch * 1e3,
               seconds * 1e3, dominated, counter_.counts().size());
  }

  std::string most_lost() const {
    std::vector<std::pair<double, std::string>> nodes;
    for (const auto& [name, node] : counter_.counts()) nodes.emplace_back(-node.lost(gpu_), name);
    std::ranges::sort(nodes);
    constexpr size_t shown = 6;
    std::string text;
    for (size_t i = 0; i < std::min(shown, nodes.size()) && nodes[i].first < 0; ++i)
      text += fmt::format("{}{} ({:.0f})", i == 0 ? "" : ", ", nodes[i].second, -nodes[i].first * 1e6);
    return text.empty() ? "none" : text;
  }

  // Launches in the steady state; the counter keeps what is theirs.
  size_t count(const Work& work, CudaKernels& kernels) {
    const bench::Model model = shapes_alone(network_, work.side);
    const Folded backbone = bench::folded_backbone(model, work.side);
    const Tensor images(
        work.images(), DType::float32,
        std::make_shared<Storage>(kernels.allocate(static_cast<size_t>(work.images().count()) * sizeof(float))));
    if (work.method.empty()) {
      const Graph graph = backbone.graph.with_batch(work.batch);
      const Parameters parameters = on_device(backbone.parameters, kernels);
      Executor executor(graph, parameters, kernels, Keep::outputs, {graph.find("features")});
      return second_run([&] { executor.run(images); });
    }
    const Head head = bench::classifier(model, backbone, 0, kernels);
    Session session(backbone, {&head, 1}, kernels);
    const std::vector<int> targets(static_cast<size_t>(work.targets * work.batch), 0);
    const AttributionPtr method = make_attribution(work.method, nlohmann::json::parse(work.options));
    return second_run([&] { method->explain(session, images, targets); });
  }

  // The first run packs weights and takes memory.
  template <class Run>
  size_t second_run(const Run& run) {
    run();
    counter_.clear();
    const size_t before = cuda_host::queued();
    run();
    return cuda_host::queued() - before;
  }

  std::string network_;
  Gpu gpu_;
  Counter counter_;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Predicts times on a GPU from counted bytes, operations and launches, as tables in Markdown.",
               "predict-gpu-times"};
  std::vector<std::string> networks{"resnet50", "vit_b_16"};
  Gpu gpu;
  double terabytes = gpu.bytes_rate * 1e-12, teraflops = gpu.flops_rate * 1e-12, microseconds = gpu.launch * 1e6;
  app.add_option("networks", networks, "architectures of models/")->capture_default_str();
  app.add_option("--bandwidth", terabytes, "TB/s of a copy")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--flops", teraflops, "TFLOP/s")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--launch", microseconds, "microseconds a launch")->capture_default_str()->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  gpu = {terabytes * 1e12, teraflops * 1e12, microseconds * 1e-6};
  try {
    cuda_host::machinery().computes = false;
    cuda_host::machinery().memory_bytes = size_t{15} << 30;
    fmt::print("{} TB/s, {} TFLOP/s, {} us a launch\n", terabytes, teraflops, microseconds);
    for (const std::string& network : networks) Predictor(network, gpu).print();
  } catch (const std::exception& error) {
    fmt::print(stderr, "predict-gpu-times: {}\n", error.what());
    return 1;
  }
  return 0;
}
