// HollowCheckpoint: files with the names and shapes of a whole network whose tensors share a few stored numbers.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/files.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tools/checkpoints/conversion.h"

namespace hp::test {

// A tensor of any shape out of element `number` of one small storage.
struct HollowTensor {
  std::string name;
  std::vector<int64_t> size;
};
using Hollow = std::vector<HollowTensor>;

// The tensors of an architecture, then a classifier, under a prefix.
Hollow hollow(const std::string& architecture, const std::string& prefix, const std::string& classifier,
              int64_t classes = 10);
// The same for B-cos networks: classifier without bias, and the running means that their norms keep but never read.
Hollow bcos_hollow(const std::string& architecture, const std::string& prefix, const std::string& classifier);

// wide_resnet50_2, which is no known architecture: ResNet-50 with twice the channels inside of the blocks.
Hollow wide_resnet50();

StorageSpec hollow_values(size_t count = 8);
std::string hollow_state_dict(const Hollow& tensors, const StorageSpec& storage);

// A zip checkpoint in a folder of its own.
class HollowFile {
 public:
  explicit HollowFile(const std::string& object, const StorageSpec& storage = hollow_values());
  std::filesystem::path path() const { return folder_ / "w.pth"; }
  Checkpoint read() const { return read_checkpoint(path()); }
  Conversion plan(const ConversionOptions& options = {}) const { return plan_conversion(read(), options); }
  // Why it is not converted; "converted" if it is.
  std::string refusal(const ConversionOptions& options = {}) const;

 private:
  TemporaryFolder folder_;
};

// A state dict, at the top or in a training checkpoint under the key `wrapper`.
HollowFile file_of(const Hollow& tensors, const std::string& wrapper = "");

// Why a conversion leaves the tensor out.
std::string reason_of(const Conversion& conversion, const std::string& name);
bool contains(const std::string& text, std::string_view part);

}  // namespace hp::test
