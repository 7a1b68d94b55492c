// Parameters: the named tensors of a model, in the order they were added, with free-text metadata.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor.h"
#include "runtime/weight.h"

namespace hp {

// Names follow torchvision ("layer1.0.conv1.weight"); tensors are float32 on one device. One graph may run with several
// Parameters (a teacher and a student), and one Parameters serves several graphs (another batch size).
class Parameters {
 public:
  // Adds or replaces; replacing starts a new version, so that everything derived from the old values is made anew.
  void set(const std::string& name, Tensor value);

  bool contains(std::string_view name) const { return weights_.find(name) != weights_.end(); }
  const Tensor& at(
      std::string_view name) const;             // throws hp::Error naming the missing tensor and its nearest relatives
  Weight& weight(std::string_view name) const;  // the same tensor with its packs and derived forms
  const std::vector<std::string>& names() const { return names_; }
  int64_t count() const;  // number of elements, all tensors together

  std::map<std::string, std::string> metadata;

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::unique_ptr<Weight>, std::less<>> weights_;
};

}  // namespace hp
