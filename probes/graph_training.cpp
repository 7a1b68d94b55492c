#include "probes/graph_training.h"

#include "probes/device_copies.h"
#include "runtime/error.h"
#include "runtime/ops/loss.h"

namespace hp {
namespace {

constexpr float statistics_momentum = 0.1f;  // torch's default

}  // namespace

GraphTraining::GraphTraining(Trainee trainee, const Parameters& initial, const OptimizerSettings& optimizer,
                             Kernels& kernels)
    : trainee_(std::move(trainee)), kernels_(kernels), seed_(zeros(kernels, {1})), loss_sum_(zeros(kernels, {1})) {
  for (const Node& node : trainee_.graph.nodes()) {
    if (node.kind != OpKind::parameter) continue;
    const Tensor& host = initial.at(node.name);
    require(host.shape() == node.shape && host.dtype() == DType::float32,
            "[training] parameter '{}' does not fit the graph; got {}; expected float32 {}", node.name,
            host.shape().str(), node.shape.str());
    const Tensor own = zeros(kernels_, host.shape());
    kernels_.upload(host.floats(), host.bytes(), own.floats());
    parameters_.set(node.name, own);
  }
  std::vector<Optimizer::Parameter> trained;
  for (const int index : trained_parameters(trainee_.graph)) {
    names_.push_back(trainee_.graph.node(index).name);
    trained.push_back({names_.back(), &parameters_.weight(names_.back())});
  }
  optimizer_ = std::make_unique<Optimizer>(optimizer, std::move(trained), kernels_);
}

GraphTraining::Pass& GraphTraining::pass(int64_t batch) {
  auto [found, is_new] = passes_.try_emplace(batch);
  Pass& pass = found->second;
  if (!is_new) return pass;
  pass.form = training_form(trainee_.graph.with_batch(batch));
  Graph& graph = pass.form.graph;
  const Value logits{graph.find("logits")};
  const Value targets = graph.input("targets", graph.shape(logits));
  pass.logits = logits.index;
  pass.loss = graph.add(std::make_shared<LossOp>(op_of(trainee_.loss)), {logits, targets}, "loss").index;
  for (const std::string& name : names_) pass.taps.push_back({graph.find(name), Tap::Keep::message});
  if (trainee_.input_gradient) pass.taps.push_back({graph.inputs()[0], Tap::Keep::message});
  pass.executor = std::make_unique<Executor>(graph, parameters_, kernels_, Keep::everything);
  pass.propagator = std::make_unique<Propagator>(graph, Composite(), kernels_);
  return pass;
}

void GraphTraining::accumulate(const Tensor& inputs, const Tensor& targets, float share) {
  const int64_t batch = inputs.shape()[0];
  Pass& pass = this->pass(batch);
  last_ = {}, logits_ = {}, input_gradient_ = {};  // their arenas are taken again
  const Tensor values[] = {inputs, targets};
  last_ = pass.executor->run(values);
  logits_ = last_.value(pass.logits);
  kernels_.scale_add(1, static_cast<float>(batch), last_.value(pass.loss).floats(), 1, loss_sum_.floats());
  kernels_.fill(1, share, seed_.floats());
  const Entry entry{pass.loss, {seed_, Form::multiplier, 1}};
  collect_gradients(pass, pass.propagator->run(last_, std::span(&entry, 1), pass.taps));
  follow_statistics(pass);
}

// The first part's gradients are kept where the walk wrote them.
void GraphTraining::collect_gradients(const Pass& pass, const RelevanceTrace& trace) {
  if (trainee_.input_gradient) input_gradient_ = trace.at(pass.taps.back().node).data;
  const bool first = gradients_.empty();
  for (size_t i = 0; i < names_.size(); ++i) {
    const Tensor& gradient = trace.at(pass.taps[i].node).data;
    if (first) {
      gradients_.push_back(gradient);
    } else {
      kernels_.scale_add(gradient.count(), 1, gradient.floats(), 1, gradients_[i].floats());
    }
  }
}

void GraphTraining::follow_statistics(const Pass& pass) {
  for (const BatchNormInTraining& norm : pass.form.norms) {
    const Tensor& batch = last_.saved(norm.node);
    const int64_t channels = batch.shape()[1];
    const struct {
      const std::string& name;
      const float* from;
      float factor;
    } parts[] = {{norm.mean, batch.floats(), 1},
                 {norm.variance, batch.floats() + channels, static_cast<float>(norm.variance_factor())}};
    for (const auto& part : parts) {
      if (part.name.empty()) continue;
      Weight& running = parameters_.weight(part.name);
      kernels_.scale_add(channels, statistics_momentum * part.factor, part.from, 1 - statistics_momentum,
                         running.tensor().floats());
      running.touch();
    }
  }
}

void GraphTraining::update(double learning_rate) {
  if (gradients_.empty()) return;
  optimizer_->step(learning_rate, gradients_);
  gradients_.clear();
}

void GraphTraining::rank_labels(const int32_t* labels, int32_t* ranks) {
  kernels_.label_ranks({logits_.shape()[0], logits_.shape()[1]}, logits_.floats(), labels, ranks);
}

void GraphTraining::reset_loss_sum() { kernels_.fill(1, 0, loss_sum_.floats()); }

float GraphTraining::loss_sum() const {
  float sum = 0;
  kernels_.download(loss_sum_.floats(), sizeof sum, &sum);
  return sum;
}

void GraphTraining::store(Parameters& into) const {
  for (const std::string& name : parameters_.names()) into.set(name, to_host(kernels_, parameters_.at(name)));
}

Parameters GraphTraining::state() const {
  Parameters state;
  store(state);
  for (const Optimizer::Memory& memory : optimizer_->memory()) {
    state.set(memory.name, to_host(kernels_, memory.tensor));
  }
  state.set("loss_sum", to_host(kernels_, loss_sum_));
  write_steps(state, optimizer_->steps());
  return state;
}

void GraphTraining::restore(const Parameters& state) {
  for (const std::string& name : parameters_.names()) {
    read_state(kernels_, state, name, parameters_.at(name));
    parameters_.weight(name).touch();
  }
  for (const Optimizer::Memory& memory : optimizer_->memory()) read_state(kernels_, state, memory.name, memory.tensor);
  read_state(kernels_, state, "loss_sum", loss_sum_);
  optimizer_->set_steps(read_steps(state));
  gradients_.clear();
}

}  // namespace hp
