// Random damage, from a fixed seed: every file is either read within its bounds or refused, and the sanitizers watch.
#include <doctest/doctest.h>

#include <random>

#include "runtime/error.h"
#include "tests/files.h"
#include "tests/places.h"
#include "tools/checkpoints/conversion.h"

namespace {

using namespace hp;

std::string mutate(std::string file, std::mt19937& random) {
  const auto place = [&] { return file.empty() ? 0 : random() % file.size(); };
  for (uint32_t change = random() % 4 + 1; change > 0; --change) {
    switch (random() % 6) {
      case 0:
        file[place()] = static_cast<char>(random());
        break;
      case 1:
        file[place()] ^= static_cast<char>(1U << random() % 8);
        break;
      case 2:
        file[place()] = static_cast<char>(random() % 2 ? 0xFF : 0);
        break;
      case 3:
        file.insert(place(), file.substr(place(), random() % 16));
        break;
      case 4:
        file.erase(place(), random() % 16);
        break;
      default:
        if (random() % 8 == 0) file.resize(place());
    }
    if (file.empty()) file = "x";
  }
  return file;
}

// Mutates a file `rounds` times, reads whatever can be read, and returns how many were refused.
int damage(const std::string& name, int rounds, uint32_t seed) {
  const std::string file = hp::test::read_file(hp::test::source_folder() / "tests/tools/checkpoints/files" / name);
  const hp::test::TemporaryFolder folder;
  std::mt19937 random(seed);
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    hp::test::write_file(folder / "w.pth", mutate(file, random));
    try {
      const Checkpoint checkpoint = read_checkpoint(folder / "w.pth");
      constexpr int64_t most =
          1'000'000;  // a tensor may be stretched to any size, which is harmless until somebody reads it
      for (const CheckpointTensor& tensor : checkpoint.tensors)
        if (tensor.view.shape.count() <= most && name.find("resnet") == name.npos) checkpoint.read(tensor);
      plan_conversion(checkpoint, {});
    } catch (const Error&) {
      ++refused;
    }
  }
  return refused;
}

}  // namespace

TEST_CASE("mutations: legacy streams") {
  CHECK(damage("training_legacy.pth", 600, 1) > 300);
  CHECK(damage("resnet50_legacy.pth", 40, 2) > 0);
}
TEST_CASE("mutations: zip archives") {
  CHECK(damage("training_zip.pth", 600, 3) > 300);
  CHECK(damage("resnet18_zip.pth", 40, 4) > 0);
}
TEST_CASE("mutations: safetensors") { CHECK(damage("expected.safetensors", 600, 5) > 300); }
