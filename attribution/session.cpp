#include "attribution/session.h"

#include "runtime/error.h"
#include "runtime/pool_first.h"
#include "runtime/subgraph.h"

namespace hp {

// Everything in here is made once per input shape; the maps' elements keep their addresses.
struct Session::Network {
  struct Part {
    Graph graph;
    const Parameters& parameters;
    std::map<std::tuple<std::vector<int>, int, std::vector<bool>>, Executor> executors;  // by pins, floor and unread
    std::map<std::string, Propagator> propagators;                                       // by the walk's name

    Executor& executor(Kernels& kernels, const std::vector<int>& pins, int floor = 0,
                       const std::vector<bool>& unread = {}) {
      const auto found = executors.try_emplace({pins, floor, unread}, graph, parameters, kernels, Keep::everything,
                                               pins, floor, unread);
      return found.first->second;
    }
    Propagator& propagator(Kernels& kernels, const std::string& name, const Composite& composite, size_t bytes) {
      return propagators.try_emplace(name, graph, composite, kernels, bytes).first->second;
    }
    size_t bytes() {
      size_t total = 0;
      for (auto& [pins, executor] : executors) total += executor.context().scratch.bytes();
      for (auto& [name, propagator] : propagators) total += propagator.bytes();
      return total;
    }
  };
  Part backbone;
  std::vector<std::unique_ptr<Part>> heads, pooled_heads;  // as they are, and pooling first
};

Session::Session(const Folded& backbone, std::span<const Head> heads, Kernels& kernels, size_t walk_bytes)
    : backbone_(backbone.graph),
      behind_model_input_(subgraph_from(backbone.graph, backbone.graph.find("model_input"))),
      parameters_(on_device(backbone.parameters, kernels)),
      bias_of_(backbone.bias_of),
      kernels_(kernels),
      pool_(kernels),
      walk_bytes_(walk_bytes) {
  require(!heads.empty(), "[session] no head; expected at least one");
  const Shape features = backbone_.node(backbone_.find("features")).shape;
  for (const Head& head : heads) {
    const Node& input = head.graph.node(head.graph.find("features"));
    require(input.kind == OpKind::input && input.shape.rank() == features.rank() && input.shape[-1] == features[-1],
            "[session] head '{}' does not fit the backbone; got features {}; expected {} channels", head.name,
            input.shape.str(), features[-1]);
    heads_.push_back({head.name, head.graph, on_device(head.parameters, kernels)});
  }
}

Session::~Session() = default;

int64_t Session::classes(size_t head) const {
  const Graph& graph = heads_[head].graph;
  return graph.node(graph.find("logits")).shape[-1];
}

void Session::clear() { networks_.clear(); }

size_t Session::bytes() {
  size_t total = pool_.bytes();
  for (auto& [key, network] : networks_) {
    total += network->backbone.bytes();
    for (const std::unique_ptr<Network::Part>& head : network->heads) total += head->bytes();
    for (const std::unique_ptr<Network::Part>& head : network->pooled_heads) total += head->bytes();
  }
  return total;
}

Session::Network& Session::network(Start start, const Shape& input) {
  std::unique_ptr<Network>& network = networks_[(start == Start::image ? "image " : "model_input ") + input.str()];
  if (network) return *network;
  const Graph& whole = start == Start::image ? backbone_ : behind_model_input_;
  auto made =
      std::make_unique<Network>(Network{{with_input_shapes(whole, std::span(&input, 1)), parameters_, {}, {}}, {}, {}});
  const Graph& graph = made->backbone.graph;
  const Shape features = graph.node(graph.find("features")).shape;
  for (const SessionHead& head : heads_) {
    const auto part = [&](Graph of) {
      return std::make_unique<Network::Part>(Network::Part{std::move(of), head.parameters, {}, {}});
    };
    const Graph sized = with_input_shapes(head.graph, std::span(&features, 1));
    made->pooled_heads.push_back(part(pool_first(sized)));
    made->heads.push_back(part(sized));
  }
  network = std::move(made);
  return *network;
}

Pass Session::forward(const Tensor& input, const WalkPlan& plan, Start start) {
  require(input.shape().rank() == 4,
          "[session] input of the wrong rank; got {}; expected [batch, height, width, "
          "channels]",
          input.shape().str());
  Network& network = this->network(start, input.shape());
  Graph& graph = network.backbone.graph;
  std::vector<int> pins = plan.composite.pins(graph);
  for (const std::string& name : plan.pins) pins.push_back(graph.find(name));
  const Composite head_composite = plan.composite.without_first();
  Pass pass;
  pass.backbone_walk_ = &network.backbone.propagator(kernels_, plan.name, plan.composite, walk_bytes_);
  std::vector<bool> unread;
  if (plan.lean) {
    pins.insert(pins.end(), {graph.find("model_input"), graph.find("features")});
    unread = hp::unread(graph, pass.backbone_walk_->choices());
  }
  const int floor = plan.floor.empty() ? 0 : graph.find(plan.floor);
  pass.backbone_ = pass.backbone_walk_->prepare(network.backbone.executor(kernels_, pins, floor, unread).run(input));
  const Tensor features = pass.activations().value(graph.find("features"));
  for (const std::unique_ptr<Network::Part>& head : plan.pool_first ? network.pooled_heads : network.heads) {
    Propagator& walk = head->propagator(kernels_, plan.name, head_composite, walk_bytes_);
    pass.head_walks_.push_back(&walk);
    pass.heads_.push_back(walk.prepare(head->executor(kernels_, head_composite.pins(head->graph)).run(features)));
  }
  return pass;
}

std::vector<float> Session::logits(const Pass& pass, size_t head) {
  const Activations& activations = pass.head(head);
  const Tensor& value = activations.value(activations.graph().find("logits"));
  std::vector<float> host(static_cast<size_t>(value.count()));
  kernels_.download(value.floats(), value.bytes(), host.data());
  return host;
}

void Session::check_targets(const Pass& pass, std::span<const int> targets) const {
  const auto batch = static_cast<size_t>(pass.batch());
  require(!targets.empty() && targets.size() % batch == 0,
          "[session] targets do not fit the batch; got {} for {} images; expected the same number for each image",
          targets.size(), batch);
  for (size_t head = 0; head < heads_.size(); ++head) {
    for (int target : targets) {
      require(target >= 0 && target < classes(head), "[session] no such class; got {}; expected 0 to {} of head '{}'",
              target, classes(head) - 1, heads_[head].name);
    }
  }
}

std::vector<float> Session::target_logits(const Pass& pass, std::span<const int> targets) {
  check_targets(pass, targets);
  const auto batch = static_cast<size_t>(pass.batch());
  std::vector<float> rows;
  for (size_t head = 0; head < heads_.size(); ++head) {
    const std::vector<float> all = logits(pass, head);
    const auto width = static_cast<size_t>(classes(head));
    for (size_t row = 0; row < targets.size(); ++row) {
      rows.push_back(all[row % batch * width + static_cast<size_t>(targets[row])]);
    }
  }
  return rows;
}

RelevanceTrace Session::walk_head(const Pass& pass, size_t head, std::span<const int> targets,
                                  std::span<const float> seeds, std::span<const Tap> taps) {
  check_targets(pass, targets);
  const int logits = pass.head(head).graph().find("logits");
  const int64_t rows = static_cast<int64_t>(targets.size()), width = classes(head);
  std::vector<float> one_hot(static_cast<size_t>(rows * width), 0.0f);
  for (size_t row = 0; row < targets.size(); ++row) {
    one_hot[row * static_cast<size_t>(width) + static_cast<size_t>(targets[row])] = seeds.empty() ? 1.0f : seeds[row];
  }
  const Tensor seed = pool_.take(Shape{rows, width});
  kernels_.upload(one_hot.data(), seed.bytes(), seed.floats());
  const Entry entry{logits, {seed, Form::multiplier, static_cast<int>(rows / pass.batch())}};
  return pass.head_walks_[head]->run(pass.heads_[head], std::span(&entry, 1), taps);
}

// The message of one head at its features, as multipliers: [targets * batch, height, width, channels]; in `into` unless
// that is empty.
Tensor Session::head_message(const Pass& pass, size_t head, std::span<const int> targets, std::span<const float> seeds,
                             const Tensor& into) {
  const Graph& graph = pass.head(head).graph();
  const int features = graph.find("features");
  const Tap tap{features, Tap::Keep::message, into};
  const RelevanceTrace trace = walk_head(pass, head, targets, seeds, std::span(&tap, 1));
  const Message& message = trace.at(features);
  if (message.form == Form::relevance) {
    for (int consumer : graph.node(features).consumers) {
      const RulePtr& rule = pass.head_walks_[head]->choices()[static_cast<size_t>(consumer)].rule;
      require(
          !rule || rule->gives_multiple_of_input(),
          "[session] the relevance of rule {} at '{}' of head '{}' cannot go on into the backbone; expected another "
          "rule",
          rule->name(), graph.node(consumer).name, heads_[head].name);
    }
    const Tensor value = pass.head(head).value(features);
    kernels_.stabilised_ratio(message.data.count(), value.count(), 0, message.data.floats(), value.floats(),
                              message.data.floats());
  }
  return message.data;
}

RelevanceTrace Session::walk(const Pass& pass, std::span<const int> targets, std::span<const float> seeds,
                             std::span<const Tap> taps) {
  check_targets(pass, targets);
  require(seeds.empty() || seeds.size() == targets.size() * heads_.size(),
          "[session] seeds do not fit; got {}; expected {} targets for each of {} heads", seeds.size(), targets.size(),
          heads_.size());
  const auto rows = static_cast<int64_t>(targets.size());
  Tensor stacked;
  if (heads_.size() > 1) {
    const Activations& first = pass.head(0);
    const Shape features = first.value(first.graph().find("features")).shape();
    stacked = pool_.take(features.with(0, rows * static_cast<int64_t>(heads_.size())));
  }
  for (size_t head = 0; head < heads_.size(); ++head) {
    const auto begin = static_cast<int64_t>(head) * rows;
    const Tensor message =
        head_message(pass, head, targets, seeds.empty() ? seeds : seeds.subspan(head * targets.size(), targets.size()),
                     stacked.empty() ? Tensor() : stacked.rows(begin, begin + rows));
    if (heads_.size() == 1) stacked = message;
  }
  const auto stacked_targets = static_cast<int>(stacked.shape()[0] / pass.batch());
  const Entry entry{pass.graph().find("features"), {stacked, Form::multiplier, stacked_targets}};
  return pass.backbone_walk_->run(pass.backbone_, std::span(&entry, 1), taps);
}

Tensor Session::relevance(const Pass& pass, int node, const Message& message) {
  if (message.form == Form::relevance) return message.data;
  const Tensor value = pass.activations().value(node);
  const Tensor result = pool_.take(message.data.shape());
  kernels_.combine(Binary::multiply, result.count(), value.count(), message.data.floats(), value.floats(),
                   result.floats());
  return result;
}

}  // namespace hp
