#include "runtime/executor.h"

#include <algorithm>

#include "runtime/error.h"
#include "runtime/observer.h"

namespace hp {

int64_t Activations::batch() const {
  const std::vector<int> inputs = graph_->inputs();
  return inputs.empty() ? 1 : graph_->node(inputs[0]).shape[0];
}

const Operand& Activations::operand(int node) const {
  const int holder = plan_->holder(node);
  require(holder >= 0 && plan_->readable(node),
          "[executor] value not kept; got '{}'; expected a pinned node or Keep::everything", graph_->node(node).name);
  return operands_[static_cast<size_t>(holder)];
}

std::vector<Operand> Activations::inputs(int node) const {
  std::vector<Operand> inputs;
  inputs.reserve(graph_->node(node).inputs.size());
  for (int input : graph_->node(node).inputs) inputs.push_back(operand(input));
  return inputs;
}

Executor::Executor(const Graph& graph, const Parameters& parameters, Kernels& kernels, Keep keep,
                   std::vector<int> pinned, int floor, std::vector<bool> unread)
    : graph_(graph), parameters_(parameters), kernels_(kernels), pool_(kernels) {
  for (const Node& node : graph.nodes()) {
    if (node.kind != OpKind::parameter) continue;
    const Tensor& tensor = parameters.at(node.name);
    require(tensor.shape() == node.shape && tensor.dtype() == DType::float32,
            "[executor] parameter '{}' does not fit the graph; got {} {}; expected float32 {}", node.name,
            name_of(tensor.dtype()), tensor.shape().str(), node.shape.str());
    require(tensor.device() == kernels.device(),
            "[executor] parameter '{}' lies on another device; move the parameters first", node.name);
  }
  plan_ = std::make_shared<Plan>(graph, keep, pinned, floor, std::move(unread));
}

void Executor::update_constants(std::vector<Operand>& operands) {
  std::vector<uint64_t> version(operands.size(), 0);
  for (int i = 0; i < graph_.size(); ++i) {
    const Node& node = graph_.node(i);
    const size_t index = static_cast<size_t>(i);
    if (node.kind == OpKind::parameter) {
      Weight& weight = parameters_.weight(node.name);
      version[index] = weight.version();
      operands[index] = {weight.tensor(), &weight};
    } else if (node.is_constant) {
      std::vector<Operand> inputs;
      for (int input : node.inputs) {
        inputs.push_back(operands[static_cast<size_t>(input)]);
        version[index] += version[static_cast<size_t>(input)];
      }
      version[index] = std::max<uint64_t>(version[index], 1);  // one without inputs is computed once
      Constant& constant = constants_[i];
      if (constant.version != version[index]) {
        const Saved saved = node.op->saved(graph_.input_shapes(i));
        Tensor out = constant.weight.tensor().empty() ? pool_.take(node.shape) : constant.weight.tensor();
        node.op->forward(context(), inputs, {}, out, saved.none ? Tensor() : pool_.take(saved.shape, saved.dtype));
        constant.weight.assign(out);
        constant.version = version[index];
      }
      operands[index] = {constant.weight.tensor(), &constant.weight};
    }
  }
}

Activations Executor::run(std::span<const Tensor> inputs) {
  const Observed observed(kernels_.observer(), "forward");
  Activations activations;
  activations.graph_ = &graph_;
  activations.plan_ = plan_;
  activations.operands_.resize(static_cast<size_t>(graph_.size()));
  activations.saved_.resize(static_cast<size_t>(graph_.size()));
  const std::vector<int> input_nodes = graph_.inputs();
  require(inputs.size() == input_nodes.size(), "[executor] wrong number of inputs; got {}; expected {}", inputs.size(),
          input_nodes.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Node& node = graph_.node(input_nodes[i]);
    require(inputs[i].shape() == node.shape && inputs[i].dtype() == DType::float32 &&
                inputs[i].device() == kernels_.device(),
            "[executor] input '{}' does not fit; got {} {}; expected float32 {} on the executor's device", node.name,
            name_of(inputs[i].dtype()), inputs[i].shape().str(), node.shape.str());
    activations.operands_[static_cast<size_t>(input_nodes[i])] = {inputs[i], nullptr};
  }
  update_constants(activations.operands_);
  const std::shared_ptr<Storage> arena = pool_.take(plan_->bytes());
  for (const Step& step : plan_->steps()) run_step(step, activations, arena);
  return activations;
}

void Executor::run_step(const Step& step, Activations& activations, const std::shared_ptr<Storage>& arena) {
  const Node& node = graph_.node(step.node);
  const Observed observed(kernels_.observer(), [&] { return Activity{"forward", node.name, step_cost(graph_, step)}; });
  std::vector<Operand> inputs;
  inputs.reserve(node.inputs.size());
  for (int input : node.inputs) inputs.push_back(activations.operands_[static_cast<size_t>(plan_->holder(input))]);
  const Fusion fusion{
      step.addend < 0 ? nullptr : activations.operands_[static_cast<size_t>(plan_->holder(step.addend))].data(),
      step.activation, step.scale, step.softmax};
  Tensor out(graph_.node(step.result).shape, DType::float32, arena, plan_->offset(step.result));
  const Saved saved = node.op->saved(graph_.input_shapes(step.node));
  if (!saved.none) {
    activations.saved_[static_cast<size_t>(step.node)] =
        Tensor(saved.shape, saved.dtype, arena, plan_->saved_offset(step.node));
  }
  node.op->forward(context(), inputs, fusion, out, activations.saved_[static_cast<size_t>(step.node)]);
  activations.operands_[static_cast<size_t>(step.result)] = {out, nullptr};
}

}  // namespace hp
