// Weight: a tensor that convolutions use as their weight, with everything made from it: derived forms and packed
// layouts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "runtime/kernels.h"
#include "runtime/tensor.h"

namespace hp {

// An elementwise function of a weight that a relevance rule needs: positive * max(w, 0) + negative * min(w, 0), or w^2,
// or ones.
struct Derivation {
  enum class Kind { blend, square, ones } kind = Kind::blend;
  float positive = 1, negative = 1;
  auto key() const { return std::tuple(kind, positive, negative); }
  bool operator<(const Derivation& other) const { return key() < other.key(); }
  bool identity() const { return kind == Kind::blend && positive == 1 && negative == 1; }
};

namespace derive {
inline constexpr Derivation identity{};
inline constexpr Derivation positive{Derivation::Kind::blend, 1, 0};
inline constexpr Derivation negative{Derivation::Kind::blend, 0, 1};
inline constexpr Derivation absolute{Derivation::Kind::blend, 1, -1};
inline constexpr Derivation square{Derivation::Kind::square, 0, 0};
inline constexpr Derivation ones{Derivation::Kind::ones, 0, 0};
inline constexpr Derivation gamma(float gamma) { return {Derivation::Kind::blend, 1 + gamma, 1}; }
}  // namespace derive

// Derived forms and packs are made on first use. When the values change, each is made again at its next use, in the
// memory that it has. Not safe for use from several threads at once.
class Weight {
 public:
  Weight() = default;
  explicit Weight(Tensor tensor) : tensor_(std::move(tensor)) {}

  const Tensor& tensor() const { return tensor_; }
  uint64_t version() const { return version_; }

  void assign(Tensor tensor);  // new values, new version
  void touch();                // the values were changed in place: new version, everything derived is out of date

  // A function of this weight. Its values are computed where somebody packs them or asks for them; packing forgets
  // them, unless the pack is a view.
  Weight& derived(const Derivation&);
  // The values of a derived weight too, for ops that read them as they are.
  const Tensor& values(Kernels&);
  const Packed& packed(Kernels&, const Conv2d&, PackUse);
  // A tensor that someone computed from this weight and nothing else that changes (a rule's constant denominator), made
  // on first use.
  const Tensor& kept(const std::string& key, const std::function<Tensor()>& make);
  // Grows only when something had to be packed, of this weight or of its derived forms.
  int64_t packs_made() const;

 private:
  // Something made from the values as they were at `version`.
  template <class T>
  struct Made {
    T value{};
    uint64_t version = 0;
  };
  Tensor derived_values(Kernels&) const;

  Tensor tensor_;  // of a derived weight: empty until values() is called
  const Weight* source_ = nullptr;
  Derivation derivation_;
  uint64_t values_version_ = 0;  // of the values in tensor_
  uint64_t version_ = 1;
  int64_t packs_made_ = 0;
  std::map<Derivation, Made<std::unique_ptr<Weight>>> derived_;
  std::map<std::string, Made<std::unique_ptr<Packed>>> packs_;
  std::map<std::string, Made<Tensor>> kept_;
};

}  // namespace hp
