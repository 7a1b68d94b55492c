#include "runtime/weight.h"

namespace hp {

void Weight::assign(Tensor tensor) {
  tensor_ = std::move(tensor);
  touch();
}

void Weight::touch() {
  ++version_;
  derived_.clear();
  packs_.clear();
  kept_.clear();
}

Weight& Weight::derived(Kernels& kernels, const Derivation& derivation) {
  if (derivation.identity()) return *this;
  std::unique_ptr<Weight>& slot = derived_[derivation];
  if (slot) return *slot;
  Tensor values(tensor_.shape(), DType::float32, std::make_shared<Storage>(kernels.allocate(tensor_.bytes())));
  switch (derivation.kind) {
    case Derivation::Kind::blend:
      kernels.blend_signs(tensor_.count(), derivation.positive, derivation.negative, tensor_.floats(), values.floats());
      break;
    case Derivation::Kind::square:
      kernels.apply(Function::square, tensor_.count(), tensor_.floats(), values.floats());
      break;
    case Derivation::Kind::ones:
      kernels.fill(tensor_.count(), 1, values.floats());
      break;
  }
  slot = std::make_unique<Weight>(values);
  return *slot;
}

const Tensor& Weight::kept(const std::string& key, const std::function<Tensor()>& make) {
  Tensor& slot = kept_[key];
  if (slot.empty()) slot = make();
  return slot;
}

const Packed& Weight::packed(Kernels& kernels, const Conv2d& geometry, PackUse use) {
  std::unique_ptr<Packed>& slot = packs_[kernels.pack_format(geometry, use)];
  if (!slot) {
    slot = kernels.pack(geometry, use, tensor_.floats());
    ++packs_made_;
  }
  return *slot;
}

}  // namespace hp
