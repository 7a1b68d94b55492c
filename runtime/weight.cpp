#include "runtime/weight.h"

namespace hp {

void Weight::assign(Tensor tensor) {
  tensor_ = std::move(tensor);
  touch();
}

void Weight::touch() { ++version_; }

int64_t Weight::packs_made() const {
  int64_t packs = packs_made_;
  for (const auto& [derivation, made] : derived_) packs += made.value->packs_made();
  return packs;
}

void Weight::derive(Kernels& kernels, const Derivation& derivation, const Tensor& values) const {
  switch (derivation.kind) {
    case Derivation::Kind::blend:
      return kernels.blend_signs(tensor_.count(), derivation.positive, derivation.negative, tensor_.floats(),
                                 values.floats());
    case Derivation::Kind::square:
      return kernels.apply(Function::square, tensor_.count(), tensor_.floats(), values.floats());
    case Derivation::Kind::ones:
      return kernels.fill(tensor_.count(), 1, values.floats());
  }
}

Weight& Weight::derived(Kernels& kernels, const Derivation& derivation) {
  if (derivation.identity()) return *this;
  Made<std::unique_ptr<Weight>>& slot = derived_[derivation];
  if (slot.version == version_) return *slot.value;
  if (!slot.value) slot.value = std::make_unique<Weight>();
  Tensor values = slot.value->tensor();
  if (values.shape() != tensor_.shape() || values.empty())
    values = Tensor(tensor_.shape(), DType::float32, std::make_shared<Storage>(kernels.allocate(tensor_.bytes())));
  derive(kernels, derivation, values);
  slot.value->assign(values);
  slot.version = version_;
  return *slot.value;
}

const Tensor& Weight::kept(const std::string& key, const std::function<Tensor()>& make) {
  Made<Tensor>& slot = kept_[key];
  if (slot.version != version_) slot = {make(), version_};
  return slot.value;
}

const Packed& Weight::packed(Kernels& kernels, const Conv2d& geometry, PackUse use) {
  Made<std::unique_ptr<Packed>>& slot = packs_[kernels.pack_format(geometry, use)];
  if (slot.version == version_) return *slot.value;
  if (slot.value) {
    kernels.repack(geometry, use, tensor_.floats(), *slot.value);
  } else {
    slot.value = kernels.pack(geometry, use, tensor_.floats());
  }
  slot.version = version_;
  ++packs_made_;
  return *slot.value;
}

}  // namespace hp
