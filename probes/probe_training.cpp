#include "probes/probe_training.h"

#include "runtime/ops/loss.h"

namespace hp {

ProbeTraining::ProbeTraining(Probe& probe, const Shape& features, Kernels& kernels)
    : probe_(probe), features_(features), kernels_(kernels), seed_(zeros({1})), loss_sum_(zeros({1})) {
  kernels_.fill(1, 1, seed_.floats());
  for (const std::string& name : probe.parameters.names()) {
    const Tensor& host = probe.parameters.at(name);
    const Tensor own = zeros(host.shape());
    kernels_.upload(host.floats(), host.bytes(), own.floats());
    parameters_.set(name, own);
    states_.push_back({name, zeros(host.shape()), zeros(host.shape())});
  }
}

Tensor ProbeTraining::zeros(const Shape& shape) {
  const size_t bytes = static_cast<size_t>(shape.count()) * sizeof(float);
  const Tensor tensor(shape, DType::float32, std::make_shared<Storage>(kernels_.allocate(bytes)));
  kernels_.fill(shape.count(), 0, tensor.floats());
  return tensor;
}

ProbeTraining::Pass& ProbeTraining::pass(int64_t batch) {
  auto [found, is_new] = passes_.try_emplace(batch);
  Pass& pass = found->second;
  if (!is_new) return pass;
  Graph& graph = pass.graph;
  const Value logits = probe_.build(graph, graph.input("features", features_.with(0, batch)));
  const Value targets = graph.input("targets", graph.shape(logits));
  pass.logits = logits.index;
  pass.loss = graph.add(std::make_shared<LossOp>(op_of(probe_.spec().loss)), {logits, targets}, "loss").index;
  for (const State& state : states_) pass.taps.push_back({graph.find(state.name), Tap::Keep::message});
  pass.executor = std::make_unique<Executor>(graph, parameters_, kernels_, Keep::everything);
  pass.propagator = std::make_unique<Propagator>(graph, Composite(), kernels_);
  return pass;
}

void ProbeTraining::accumulate(const Tensor& features, const Tensor& targets, float weight) {
  Pass& pass = this->pass(features.shape()[0]);
  last_ = {};  // its arena is taken again
  const Tensor inputs[] = {features, targets};
  last_ = pass.executor->run(inputs);
  logits_ = last_.value(pass.logits);
  kernels_.scale_add(1, weight, last_.value(pass.loss).floats(), 1, loss_sum_.floats());
  const Entry entry{pass.loss, {seed_, Form::multiplier, 1}};
  const RelevanceTrace trace = pass.propagator->run(last_, std::span(&entry, 1), pass.taps);
  for (size_t i = 0; i < states_.size(); ++i) {
    const Tensor& gradient = trace.at(pass.taps[i].node).data;
    kernels_.scale_add(gradient.count(), 1, gradient.floats(), has_gradient_ ? 1.0F : 0.0F,
                       states_[i].gradient.floats());
  }
  has_gradient_ = true;
}

void ProbeTraining::update(const SgdStep& sgd) {
  for (const State& state : states_) {
    Weight& weight = parameters_.weight(state.name);
    kernels_.sgd_step(state.gradient.count(), sgd, state.gradient.floats(), state.velocity.floats(),
                      weight.tensor().floats());
    weight.touch();
  }
  has_gradient_ = false;
}

void ProbeTraining::rank_labels(const int32_t* labels, int32_t* ranks) {
  kernels_.label_ranks({logits_.shape()[0], logits_.shape()[1]}, logits_.floats(), labels, ranks);
}

void ProbeTraining::reset_loss_sum() { kernels_.fill(1, 0, loss_sum_.floats()); }

float ProbeTraining::loss_sum() const {
  float sum = 0;
  kernels_.download(loss_sum_.floats(), sizeof sum, &sum);
  return sum;
}

void ProbeTraining::store() {
  for (const State& state : states_) {
    const Tensor& own = parameters_.at(state.name);
    const Tensor host = Tensor::host(own.shape());
    kernels_.download(own.floats(), own.bytes(), host.floats());
    probe_.parameters.set(state.name, host);
  }
}

}  // namespace hp
