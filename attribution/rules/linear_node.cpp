#include "attribution/rules/linear_node.h"

#include "runtime/error.h"

namespace hp {

LinearNode::LinearNode(const NodeView& view) : view_(view), inputs_(view.inputs()) {}

bool LinearNode::nonnegative() const {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const int which = static_cast<int>(i);
    if (view_.op().role(which) == Role::data && !view_.nonnegative(which)) return false;
  }
  return true;
}

Operand LinearNode::derived(int which, const Derivation& derivation) {
  const Operand& operand = inputs_[static_cast<size_t>(which)];
  if (derivation.identity()) return operand;
  Weight* weight = operand.weight;
  if (!weight) {  // a weight that depends on the image
    temporaries_.push_back(std::make_unique<Weight>(operand.tensor));
    weight = temporaries_.back().get();
  }
  Weight& result = weight->derived(derivation);
  // Convolutions read their weight packed: of the tensor they take the shape.
  const OpKind kind = view_.node().kind;
  const bool packs = (kind == OpKind::conv2d || kind == OpKind::linear) && view_.op().role(which) == Role::weight;
  return {packs ? operand.tensor : result.values(kernels()), &result};
}

Tensor LinearNode::part(const Tensor& x, Gate gate) const {
  if (gate == Gate::all) return x;
  const Function function = gate == Gate::positive   ? Function::positive_part
                            : gate == Gate::negative ? Function::negative_part
                                                     : Function::absolute;
  Tensor y = scratch(x.shape());
  kernels().apply(function, x.count(), x.floats(), y.floats());
  return y;
}

Tensor LinearNode::forward(const ModifiedCopy& copy) {
  std::vector<Operand> operands = inputs_;
  for (size_t i = 0; i < operands.size(); ++i) {
    const int which = static_cast<int>(i);
    const Role role = view_.op().role(which);
    if (role == Role::weight) operands[i] = derived(which, copy.weight);
    if (role == Role::bias) operands[i] = derived(which, copy.bias);
    if (role == Role::data && !(copy.data == Gate::all || (copy.data != Gate::negative && view_.nonnegative(which))))
      operands[i] = {part(inputs_[i].tensor, copy.data), nullptr};
  }
  Tensor out = scratch(output().shape());
  view_.op().forward(view_.context, operands, {}, out, {});
  return out;
}

Tensor LinearNode::without_bias(const Tensor& z) {
  const Op& op = view_.op();
  Tensor linear = scratch(z.shape());
  for (size_t i = 0; i < inputs_.size(); ++i) {  // the usual case: a bias along the last axis
    if (op.role(static_cast<int>(i)) == Role::statistics) break;
    if (op.role(static_cast<int>(i)) != Role::bias) continue;
    const Tensor& bias = inputs_[i].tensor;
    kernels().combine(Binary::subtract, z.count(), bias.count(), z.floats(), bias.floats(), linear.floats());
    return linear;
  }
  bool has_weight = false, has_statistics = false;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    has_weight = has_weight || op.role(static_cast<int>(i)) == Role::weight;
    has_statistics = has_statistics || op.role(static_cast<int>(i)) == Role::statistics;
  }
  if (has_weight && !has_statistics) return z;
  // Constants that are no bias input (an affine op's shift, a batch norm's mean): the op at 0 says what they add.
  std::vector<Operand> operands = inputs_;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (op.role(static_cast<int>(i)) != Role::data) continue;
    const Shape shape = inputs_[i].tensor.shape();
    operands[i] = {data_like(shape.rank() ? shape.with(0, 1) : shape, {0}), nullptr};
  }
  Tensor offset = scratch(z.shape().rank() ? z.shape().with(0, 1) : z.shape());
  op.forward(view_.context, operands, {}, offset, {});
  kernels().combine(Binary::subtract, z.count(), offset.count(), z.floats(), offset.floats(), linear.floats());
  return linear;
}

Tensor LinearNode::data_like(const Shape& shape, const std::vector<float>& values) const {
  Tensor x = scratch(shape);
  if (values.size() == 1) {
    kernels().fill(x.count(), values[0], x.floats());
    return x;
  }
  const int64_t channels = static_cast<int64_t>(values.size());
  require(channels == shape.columns(), "[rule] '{}': wrong number of values per channel; got {}; expected {} or one",
          view_.node().name, channels, shape.columns());
  const Tensor row = scratch({channels});
  kernels().upload(values.data(), row.bytes(), row.floats());
  kernels().fill(x.count(), 0, x.floats());
  kernels().combine(Binary::add, x.count(), channels, x.floats(), row.floats(), x.floats());
  return x;
}

Tensor LinearNode::evaluate_constant(const std::vector<std::pair<std::vector<float>, Derivation>>& copies) {
  const Op& op = view_.op();
  const Shape shape = output().shape().with(0, 1);
  Tensor sum(shape, DType::float32,
             std::make_shared<Storage>(kernels().allocate(static_cast<size_t>(shape.count()) * sizeof(float))));
  kernels().fill(sum.count(), 0, sum.floats());
  for (const auto& [values, weight] : copies) {
    std::vector<Operand> operands = inputs_;
    for (size_t i = 0; i < operands.size(); ++i) {
      const Role role = op.role(static_cast<int>(i));
      if (role == Role::data) operands[i] = {data_like(inputs_[i].tensor.shape().with(0, 1), values), nullptr};
      if (role == Role::weight) operands[i] = derived(static_cast<int>(i), weight);
      if (role == Role::bias) operands[i] = derived(static_cast<int>(i), derive::zero);
    }
    const Tensor out = scratch(shape);
    op.forward(view_.context, operands, {}, out, {});
    kernels().scale_add(sum.count(), 1, out.floats(), 1, sum.floats());
  }
  return sum;
}

Tensor LinearNode::constant(const std::string& key,
                            const std::vector<std::pair<std::vector<float>, Derivation>>& copies) {
  Weight* weight = nullptr;
  std::string where = key + ' ' + view_.op().describe();
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Role role = view_.op().role(static_cast<int>(i));
    if (role == Role::data) where += ' ' + inputs_[i].tensor.shape().with(0, 1).str();
    if (role == Role::weight) weight = inputs_[i].weight;
  }
  return weight ? weight->kept(where, [&] { return evaluate_constant(copies); }) : evaluate_constant(copies);
}

Tensor LinearNode::derived_bias(const Derivation& derivation) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (view_.op().role(static_cast<int>(i)) == Role::bias) return derived(static_cast<int>(i), derivation).tensor;
  }
  return {};
}

void LinearNode::adjoint(const Tensor& message, int targets, int which, const Derivation& weight, Tensor in) {
  std::vector<Operand> operands = inputs_;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (view_.op().role(static_cast<int>(i)) == Role::weight) operands[i] = derived(static_cast<int>(i), weight);
  }
  view_.op().vjp(view_.context, {operands, output(), view_.saved()}, message, targets, which, in);
}

}  // namespace hp
