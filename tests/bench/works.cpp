#include "tests/bench/works.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/sliced_executor.h"
#include "runtime/text.h"

namespace hp::bench {

namespace {

using Kind = WorkSpec::Kind;

std::vector<WorkSpec> make_works() {
  const std::string nodes = R"({"nodes": 50})";
  return {
      {.name = "forward-1", .text = "forward, one image", .must = 0.8},
      {.name = "forward-8", .text = "forward, 8 images", .batch = 8, .must = 0.8},
      {.name = "forward-16", .text = "forward, 16 images", .batch = 16, .must = 0.8},
      {.name = "gradient-1",
       .text = "forward and input gradient, one image",
       .kind = Kind::explain,
       .method = "gradient",
       .unit = "forward-1",
       .must = 2.5},
      {.name = "gradient-8",
       .text = "forward and input gradient, 8 images",
       .kind = Kind::explain,
       .batch = 8,
       .method = "gradient",
       .unit = "forward-8",
       .must = 2.5},
      {.name = "lrp-1",
       .text = "LRP gamma-box, one target",
       .kind = Kind::explain,
       .method = "lrp",
       .unit = "forward-1",
       .must = 4.2},
      {.name = "contribution-1",
       .text = "forward and contribution map, one image",
       .kind = Kind::explain,
       .method = "bcos",
       .unit = "forward-1",
       .bcos = true},
      {.name = "intgrad-50",
       .text = "Integrated Gradients, 50 nodes",
       .kind = Kind::explain,
       .method = "intgrad",
       .options = nodes,
       .unit = "forward-16",
       .units = 1.0 / 16,
       .must = 118},
      {.name = "grid-forward", .text = "grid: forward", .grid = true},
      {.name = "grid-lrp",
       .text = "grid, nine targets: LRP",
       .kind = Kind::explain,
       .grid = true,
       .targets = 9,
       .method = "lrp",
       .unit = "grid-forward",
       .must = 18},
      {.name = "grid-gradcam",
       .text = "grid, nine targets: GradCAM",
       .kind = Kind::explain,
       .grid = true,
       .targets = 9,
       .method = "gradcam",
       .unit = "grid-forward",
       .must = 1.2},
      {.name = "grid-ixg",
       .text = "grid, nine targets: Input x Gradient",
       .kind = Kind::explain,
       .grid = true,
       .targets = 9,
       .method = "ixg",
       .unit = "grid-forward",
       .must = 13},
      {.name = "probes-lrp",
       .text = "grid, nine targets, three probes: LRP",
       .kind = Kind::explain,
       .grid = true,
       .heads = 3,
       .targets = 9,
       .method = "lrp",
       .unit = "grid-lrp",
       .must = 2.85},
      {.name = "probes-gradcam",
       .text = "grid, nine targets, three probes: GradCAM",
       .kind = Kind::explain,
       .grid = true,
       .heads = 3,
       .targets = 9,
       .method = "gradcam",
       .unit = "grid-gradcam",
       .must = 1.1},
      {.name = "train", .text = "training step, 16 images", .kind = Kind::step, .batch = 16},
      {.name = "train-cifar",
       .text = "training step of CIFAR ResNet-20, 128 images of 32 pixels",
       .kind = Kind::step,
       .batch = 128,
       .network = "cifar_resnet20"},
      {.name = "probe-1000",
       .text = "three epochs of a probe on 2048 features, 1000 classes",
       .kind = Kind::epochs,
       .targets = 1000},
      {.name = "probe-20",
       .text = "three epochs of a probe on 2048 features, 20 classes",
       .kind = Kind::epochs,
       .targets = 20},
      {.name = "eight-probes",
       .text = "three epochs of eight such probes together",
       .kind = Kind::epochs,
       .heads = 8,
       .targets = 20,
       .unit = "probe-20",
       .must = 4},
      {.name = "memory-grid-lrp",
       .text = "peak memory of a process: grid, nine targets, LRP",
       .kind = Kind::memory,
       .method = "grid-lrp"},
      {.name = "memory-grid-lrp-1", .text = "the same with one target", .kind = Kind::memory, .method = "grid-lrp-1"},
      {.name = "start-help", .text = "hp-run --help", .kind = Kind::start},
      {.name = "start-gradcam",
       .text = "from nothing to the first GradCAM",
       .kind = Kind::start,
       .method = "gradcam-1"},
      {.name = "gradcam-1",
       .text = "GradCAM, one target",
       .kind = Kind::explain,
       .method = "gradcam",
       .unit = "forward-1"},
      {.name = "ixg-1",
       .text = "Input x Gradient, one target",
       .kind = Kind::explain,
       .method = "ixg",
       .unit = "forward-1"},
      {.name = "grid-lrp-1",
       .text = "grid, one target: LRP",
       .kind = Kind::explain,
       .grid = true,
       .method = "lrp",
       .unit = "grid-forward"},
  };
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const WorkSpec& work : all_works()) all.push_back(work.name);
  return all;
}

}  // namespace

const std::vector<WorkSpec>& all_works() {
  static const std::vector<WorkSpec> works = make_works();
  return works;
}

const WorkSpec& work_named(const std::string& name) {
  const auto found = std::ranges::find(all_works(), name, &WorkSpec::name);
  require(found != all_works().end(), "[bench] no such work; got {}; nearest: {}", printable(name),
          nearest_word(name, names()));
  return *found;
}

std::vector<WorkSpec> works_matching(const std::string& filter, bool bcos) {
  std::vector<std::string> wanted;
  for (const WorkSpec& work : all_works()) {
    if (work.name.find(filter) == std::string::npos || (work.bcos && !bcos)) continue;
    for (const WorkSpec* at = &work; at != nullptr; at = at->unit.empty() ? nullptr : &work_named(at->unit)) {
      wanted.push_back(at->name);
    }
  }
  std::vector<WorkSpec> works;
  for (const WorkSpec& work : all_works()) {
    if (std::ranges::find(wanted, work.name) != wanted.end()) works.push_back(work);
  }
  return works;
}

int64_t images_of(const WorkSpec& work, const Sides& sides) {
  return work.kind == Kind::epochs ? probe_epochs * sides.rows : work.batch;
}

struct Workshop::Place {
  Place(const Folded& backbone, std::vector<Head> all, Kernels& kernels)
      : heads(std::move(all)), session(backbone, heads, kernels) {}
  std::vector<Head> heads;
  Session session;
};

struct Workshop::Forward {
  Forward(const Folded& folded, Head classifier, const Parameters& on_device, int64_t batch, Kernels& kernels)
      : graph(folded.graph.with_batch(batch)),
        head(std::move(classifier)),
        head_graph(head.graph.with_batch(batch)),
        backbone(graph, on_device, kernels, "features"),
        logits(head_graph, head.parameters, kernels, Keep::outputs) {}

  Tensor run(const Tensor& image) {
    last = logits.run(backbone.run(image));
    return last.value(head_graph.find("logits"));
  }

  Graph graph;
  Head head;
  Graph head_graph;
  SlicedExecutor backbone;
  Executor logits;
  Activations last;
};

Workshop::Workshop(Model model, Sides sides, CpuKernels& kernels)
    : model_(std::move(model)), sides_(sides), kernels_(kernels), training_(kernels) {}

Workshop::~Workshop() = default;

void Workshop::keep_only(const WorkSpec& work) {
  work.kind == Kind::forward ? void(forward(work)) : void(place(work));
  model_.parameters = {};
}

void Workshop::clear() {
  places_.clear();
  forwards_.clear();
  folded_.clear();  // with the packed weights
  training_.clear();
}

Workshop::Place& Workshop::place(const WorkSpec& work) {
  std::unique_ptr<Place>& place = places_[fmt::format("{} {}", side(work), work.heads)];
  if (place) return *place;
  if (!folded_.contains(side(work))) folded_.emplace(side(work), folded_backbone(model_, side(work)));
  const Folded& backbone = folded_.at(side(work));
  std::vector<Head> heads;
  for (int i = 0; i < work.heads; ++i) heads.push_back(classifier(model_, backbone, i, kernels_));
  place = std::make_unique<Place>(backbone, std::move(heads), kernels_);
  return *place;
}

Workshop::Forward& Workshop::forward(const WorkSpec& work) {
  std::unique_ptr<Forward>& forward = forwards_[work.name];
  if (forward) return *forward;
  const Parameters& parameters = place(work).session.parameters();
  const Folded& folded = folded_.at(side(work));
  forward =
      std::make_unique<Forward>(folded, classifier(model_, folded, 0, kernels_), parameters, work.batch, kernels_);
  return *forward;
}

const Tensor& Workshop::image(const WorkSpec& work) {
  Tensor& image = images_[fmt::format("{} {}", side(work), work.batch)];
  if (image.empty()) image = formula_image(work.batch, side(work));
  return image;
}

Explanation Workshop::explain(const WorkSpec& work) {
  AttributionPtr& method = methods_[work.method + work.options];
  if (!method) method = make_attribution(work.method, nlohmann::json::parse(work.options));
  std::vector<int> targets;  // [t * batch + b]: target t of every image is class t
  for (int target = 0; target < work.targets; ++target) {
    targets.insert(targets.end(), static_cast<size_t>(work.batch), target);
  }
  return method->explain(place(work).session, image(work), targets);
}

StepSpec Workshop::step(const WorkSpec& work) const {
  if (!work.network.empty()) return {work.network, work.batch, 32};
  return {model_.architecture, work.batch, sides_.image};
}

void Workshop::run(const WorkSpec& work) {
  if (work.kind == Kind::step) return training_.step(step(work));
  if (work.kind == Kind::epochs) return training_.epochs(epochs(work));
  const Tensor result = work.kind == Kind::forward ? forward(work).run(image(work)) : explain(work).map;
  const float last = result.floats()[result.count() - 1];
  require(std::isfinite(last), "[bench] {} gave no finite result; got {}", work.name, last);
}

Tensor Workshop::result(const WorkSpec& work) {
  if (work.kind == Kind::step) return training_.first_losses(step(work));
  if (work.kind == Kind::epochs) return training_.last_losses(epochs(work));
  const Tensor result = work.kind == Kind::forward ? forward(work).run(image(work)) : explain(work).map;
  return Tensor::host(result.shape(), std::span<const float>(result.floats(), static_cast<size_t>(result.count())));
}

double Workshop::flops(const WorkSpec& work) {
  if (work.kind != Kind::forward) return 0;
  double sum = 0;
  for (const Graph* graph : {&forward(work).graph, &forward(work).head_graph}) {
    for (int i = 0; i < graph->size(); ++i) {
      if (graph->node(i).op) sum += static_cast<double>(graph->node(i).op->flops(graph->input_shapes(i)));
    }
  }
  return sum;
}

}  // namespace hp::bench
