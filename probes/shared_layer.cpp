#include "probes/shared_layer.h"

#include "probes/device_copies.h"
#include "runtime/ops/conv.h"
#include "runtime/subgraph.h"
#include "runtime/training_form.h"

namespace hp {
namespace {

constexpr int64_t most_filters = 256;

// The convolution that alone reads the input; -1 if it is no such layer.
int first_layer(const Graph& graph) {
  const std::vector<int> inputs = graph.inputs();
  if (inputs.size() != 1) return -1;
  const Node& features = graph.node(inputs[0]);
  if (features.consumers.size() != 1 || features.shape.rank() != 4 || features.shape[1] != 1 || features.shape[2] != 1)
    return -1;
  const int index = features.consumers[0];
  const Node& layer = graph.node(index);
  if (layer.kind != OpKind::conv2d || layer.inputs[0] != inputs[0]) return -1;
  const Conv2dOp::Params& params = static_cast<const Conv2dOp&>(*layer.op).params();
  const Shape& weight = graph.node(layer.inputs[1]).shape;
  const bool is_linear = weight[2] == 1 && weight[3] == 1 && params.stride == 1 && params.padding == 0 &&
                         params.groups == 1 && weight[0] <= most_filters;
  return is_linear ? index : -1;
}

}  // namespace

bool SharedLayer::takes(const Graph& graph, const Kernels& kernels) {
  const int index = first_layer(graph);
  if (index < 0 || kernels.device() != Device::cpu) return false;
  const std::vector<int>& inputs = graph.node(index).inputs;
  for (size_t which = 1; which < inputs.size(); ++which) {
    const Node& parameter = graph.node(inputs[which]);
    if (parameter.kind != OpKind::parameter || parameter.consumers.size() != 1) return false;
  }
  return trained_parameters(graph).size() == inputs.size() - 1;
}

SharedLayer::SharedLayer(OptimizerSettings optimizer, Kernels& kernels)
    : settings_(std::move(optimizer)), kernels_(kernels), pool_(kernels) {}

SharedLayer::Rest SharedLayer::add(const Graph& graph, const Parameters& initial) {
  const int index = first_layer(graph);
  const Node& layer = graph.node(index);
  Member member;
  const Node& weight = graph.node(layer.inputs[1]);
  member.weight_name = weight.name;
  member.weight_shape = weight.shape;
  member.initial_weight = initial.at(weight.name);
  if (layer.inputs.size() > 2) {
    member.bias_name = graph.node(layer.inputs[2]).name;
    member.initial_bias = initial.at(member.bias_name);
  }
  member.first = filters_;
  member.filters = weight.shape[0];
  filters_ += member.filters;
  channels_ = weight.shape[1];
  member.output = zeros(kernels_, {layer.shape[0], 1, 1, member.filters});
  members_.push_back(std::move(member));
  return {subgraph_from(graph, index), members_.size() - 1};
}

void SharedLayer::start() {
  const int64_t batch = members_.empty() ? 0 : members_[0].output.shape()[0];
  weight_.assign(zeros(kernels_, {filters_, channels_}));
  bias_ = zeros(kernels_, {filters_});
  sums_ = zeros(kernels_, {batch, filters_});
  gradient_ = zeros(kernels_, {batch, filters_});
  weight_gradient_ = zeros(kernels_, {filters_, channels_});
  for (Member& member : members_) {
    const int64_t last = member.first + member.filters;
    member.weight.assign(weight_.tensor().rows(member.first, last).reshaped(member.weight_shape));
    kernels_.upload(member.initial_weight.floats(), member.initial_weight.bytes(), member.weight.tensor().floats());
    std::vector<Optimizer::Parameter> trained{{member.weight_name, &member.weight}};
    if (!member.bias_name.empty()) {
      member.bias.assign(bias_.rows(member.first, last));
      kernels_.upload(member.initial_bias.floats(), member.initial_bias.bytes(), member.bias.tensor().floats());
      member.bias_gradient = zeros(kernels_, {member.filters});
      trained.push_back({member.bias_name, &member.bias});
    }
    member.gradient = zeros(kernels_, {batch, member.filters});
    member.optimizer = std::make_unique<Optimizer>(settings_, std::move(trained), kernels_);
  }
}

Conv2d SharedLayer::geometry() const {
  return {.batch = features_.shape()[0], .channels = channels_, .filters = filters_, .fast = true};
}

void SharedLayer::move_columns(const Member& member, const float* from, float* to, bool to_member) {
  const int64_t rows = features_.shape()[0];
  Block block{
      .extent = {1, 1, rows, member.filters}, .src_stride = {0, 0, filters_, 1}, .dst_stride = {0, 0, filters_, 1}};
  (to_member ? block.src_offset : block.dst_offset) = member.first;
  (to_member ? block.dst_stride : block.src_stride)[2] = member.filters;
  kernels_.copy_block(block, from, to);
}

void SharedLayer::forward(const Tensor& features) {
  features_ = features;
  const Conv2d conv = geometry();
  kernels_.conv2d(conv, weight_.packed(kernels_, conv, PackUse::forward), {.bias = bias_.floats()}, features.floats(),
                  sums_.floats());
  for (Member& member : members_) {
    if (member.output.shape()[0] != conv.batch) member.output = pool_.take({conv.batch, 1, 1, member.filters});
    move_columns(member, sums_.floats(), member.output.floats(), true);
  }
}

void SharedLayer::set_gradient(size_t index, const Tensor& gradient) {
  Member& member = members_[index];
  move_columns(member, gradient.floats(), gradient_.floats(), false);
  if (member.bias_name.empty()) return;
  const Tensor sums = has_gradient_ ? pool_.take(member.bias_gradient.shape()) : member.bias_gradient;
  kernels_.column_sums({features_.shape()[0], member.filters}, gradient.floats(), sums.floats());
  if (has_gradient_) kernels_.scale_add(sums.count(), 1, sums.floats(), 1, member.bias_gradient.floats());
}

void SharedLayer::backward() {
  const Tensor part = has_gradient_ ? pool_.take(weight_gradient_.shape()) : weight_gradient_;
  kernels_.conv2d_weight_gradient(geometry(), features_.floats(), gradient_.floats(), part.floats());
  if (has_gradient_) kernels_.scale_add(part.count(), 1, part.floats(), 1, weight_gradient_.floats());
  has_gradient_ = true;
}

void SharedLayer::update(size_t index, double learning_rate) {
  if (!has_gradient_) return;
  Member& member = members_[index];
  std::vector<Tensor> gradients{weight_gradient_.rows(member.first, member.first + member.filters)};
  if (!member.bias_name.empty()) gradients.push_back(member.bias_gradient);
  member.optimizer->step(learning_rate, gradients);
}

void SharedLayer::updated() {
  if (has_gradient_) weight_.touch();
  has_gradient_ = false;
}

std::vector<std::pair<std::string, Tensor>> SharedLayer::Member::tensors() const {
  std::vector<std::pair<std::string, Tensor>> all{{weight_name, weight.tensor()}};
  if (!bias_name.empty()) all.emplace_back(bias_name, bias.tensor());
  for (const Optimizer::Memory& memory : optimizer->memory()) all.emplace_back(memory.name, memory.tensor);
  return all;
}

void SharedLayer::store(size_t index, Parameters& into) const {
  const Member& member = members_[index];
  into.set(member.weight_name, to_host(kernels_, member.weight.tensor()));
  if (!member.bias_name.empty()) into.set(member.bias_name, to_host(kernels_, member.bias.tensor()));
}

void SharedLayer::add_state(size_t index, Parameters& state) const {
  const Member& member = members_[index];
  for (const auto& [name, tensor] : member.tensors()) state.set(name, to_host(kernels_, tensor));
  write_steps(state, member.optimizer->steps());
}

void SharedLayer::restore(size_t index, const Parameters& state) {
  Member& member = members_[index];
  for (const auto& [name, tensor] : member.tensors()) read_state(kernels_, state, name, tensor);
  member.optimizer->set_steps(read_steps(state));
  weight_.touch();
  has_gradient_ = false;
}

}  // namespace hp
