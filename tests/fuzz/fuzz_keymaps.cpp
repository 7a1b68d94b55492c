// Every key map and every architecture: a file's names and shapes, one tensor a line ("state_dict.fc.weight 10 512"),
// against all of them.
#include <sstream>

#include "tests/fuzz/target.h"
#include "tools/checkpoints/conversion.h"

namespace {

hp::Checkpoint checkpoint_of(std::string_view text) {
  hp::Checkpoint checkpoint;
  checkpoint.container = "names";
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    hp::CheckpointTensor tensor{"", hp::ElementType::f32, {}, 0};
    words >> tensor.name;
    std::vector<int64_t> extents;
    for (int64_t extent = 0; words >> extent;) extents.push_back(extent);
    tensor.view.shape = hp::Shape(std::span<const int64_t>(extents));
    checkpoint.tensors.push_back(std::move(tensor));
  }
  return checkpoint;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hp;
  static Architectures architectures;  // to build them all takes longer than to compare
  fuzz::refuse_or([&] {
    const Checkpoint checkpoint = checkpoint_of(fuzz::as_text({data, size}));
    listing(checkpoint);
    report(checkpoint, plan_conversion(checkpoint, {}, architectures));
  });
  return 0;
}
