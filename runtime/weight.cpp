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

Tensor Weight::derived_values(Kernels& kernels) const {
  const Tensor& from = source_->tensor_;
  Tensor values = tensor_;
  if (values.empty() || values.shape() != from.shape())
    values = Tensor(from.shape(), DType::float32, std::make_shared<Storage>(kernels.allocate(from.bytes())));
  switch (derivation_.kind) {
    case Derivation::Kind::blend:
      kernels.blend_signs(from.count(), derivation_.positive, derivation_.negative, from.floats(), values.floats());
      break;
    case Derivation::Kind::square:
      kernels.apply(Function::square, from.count(), from.floats(), values.floats());
      break;
    case Derivation::Kind::ones:
      kernels.fill(from.count(), 1, values.floats());
      break;
  }
  return values;
}

const Tensor& Weight::values(Kernels& kernels) {
  if (source_ && values_version_ != version_) {
    tensor_ = derived_values(kernels);
    values_version_ = version_;
  }
  return tensor_;
}

Weight& Weight::derived(const Derivation& derivation) {
  if (derivation.identity()) return *this;
  Made<std::unique_ptr<Weight>>& slot = derived_[derivation];
  if (slot.version == version_) return *slot.value;
  if (!slot.value) {
    slot.value = std::make_unique<Weight>();
    slot.value->source_ = this;
    slot.value->derivation_ = derivation;
  }
  slot.value->touch();
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
  const Tensor plain = source_ && values_version_ != version_ ? derived_values(kernels) : tensor_;
  if (slot.value) {
    kernels.repack(geometry, use, plain.floats(), *slot.value);
  } else {
    slot.value = kernels.pack(geometry, use, plain.floats());
  }
  if (source_ && slot.value->is_view()) {
    tensor_ = plain;
    values_version_ = version_;
  }
  slot.version = version_;
  ++packs_made_;
  return *slot.value;
}

}  // namespace hp
