// convert-weights --verify, with the numbers that the original library gave: exit codes, reasons, and that nothing is
// written where they differ.
#include <doctest/doctest.h>

#include <filesystem>

#include "runtime/npy.h"
#include "tests/golden/formula.h"
#include "tests/golden/golden_data.h"
#include "tests/places.h"
#include "tests/tools/checkpoints/convert_weights.h"
#include "tests/tools/checkpoints/hollow_checkpoint.h"

namespace {

using namespace hp;
using namespace hp::test;

constexpr int64_t batch = 2, side = 32, pixels = side * side;

// [batch, 3, side, side], as the original takes it, from the golden files' [batch, side, side, 3].
Tensor channels_first(const std::vector<float>& images) {
  const Tensor out = Tensor::host({batch, 3, side, side});
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < pixels; ++i)
      for (int64_t c = 0; c < 3; ++c)
        out.floats()[(b * 3 + c) * pixels + i] = images[static_cast<size_t>((b * pixels + i) * 3 + c)];
  return out;
}

// timm's small ViT beside images and what timm computes from them (golden/README.md).
struct Setting {
  TemporaryFolder folder;
  const golden::GoldenFile file{"vit/timm_32x32"};
  const std::string checkpoint = (source_folder() / "tests/golden/vit/timm.safetensors").string();

  Setting() {
    save("images", channels_first(golden::image_tensor("vit/32x32", batch * pixels * 3)));
    save("logits", file.entries().at("logits").values);
    save("features", file.entries().at("embedding").values);
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  void save(const std::string& name, const Tensor& values) const { write_npy(path(name + ".npy"), values); }
  Converted run(const std::string& more) const {
    const std::string architecture = file.header().at("architecture");  // too small a network to be found by its shapes
    return convert_weights(folder,
                           checkpoint + " --arch " + architecture + " -o " + path("out.safetensors") + " " + more);
  }
  Converted verify(const std::string& expected, const std::string& more = "") const {
    return run("--verify " + path(expected + ".npy") + " --verify-input " + path("images.npy") + " " + more);
  }
  bool written() const { return std::filesystem::exists(path("out.safetensors")); }
};

}  // namespace

TEST_CASE("convert-weights --verify: the original's logits and features agree") {
  const Setting setting;
  const Converted logits = setting.verify("logits");
  CHECK_MESSAGE(logits.code == 0, logits.errors);
  CHECK(contains(logits.output, "verified     logits agree: relative error "));
  CHECK(setting.written());
  const Converted features = setting.verify("features");
  CHECK(features.code == 0);
  CHECK(contains(features.output, "verified     mean of the features agree"));
}

TEST_CASE("convert-weights --verify: other logits are refused, unless the tolerance allows them") {
  const Setting setting;
  const Tensor& logits = setting.file.entries().at("logits").values;
  logits.floats()[3] *= 1.01F;
  setting.save("wrong", logits);
  const Converted refused = setting.verify("wrong");
  CHECK(refused.code == 1);
  CHECK(
      contains(refused.errors, "the logits are not those of " + setting.path("wrong.npy") + "; got a relative error"));
  CHECK(contains(refused.errors, "expected at most 0.0001"));
  CHECK_FALSE(setting.written());
  CHECK(setting.verify("wrong", "--verify-tolerance 0.1").code == 0);
  CHECK(setting.written());
}

TEST_CASE("convert-weights --verify: numbers that fit no output, and images that are none") {
  const Setting setting;
  const auto refusal = [&](const std::string& arguments) {
    const Converted refused = setting.run(arguments);
    CHECK(refused.code == 1);
    CHECK_FALSE(setting.written());
    return refused.errors;
  };
  const std::string given = " --verify-input " + setting.path("images.npy");
  setting.save("six", Tensor::host({batch, 6}, std::vector<float>(2 * 6, 1)));
  const std::string six = refusal("--verify " + setting.path("six.npy") + given);
  CHECK(contains(six, "fit no output of vit_ti_8_w24_d2_h3_r32; got [2, 6]; expected [2, 5] (logits), [2, 24]"));
  setting.save("three", Tensor::host({3, 5}, std::vector<float>(15, 1)));
  CHECK(contains(refusal("--verify " + setting.path("three.npy") + given), "got [3, 5]"));
  setting.save("zeros", Tensor::host({batch, 5}, std::vector<float>(10)));
  CHECK(contains(refusal("--verify " + setting.path("zeros.npy") + given), "all 0 or not finite"));
  CHECK(contains(refusal("--verify " + setting.path("absent.npy") + given), "absent.npy"));
  const std::string logits = "--verify " + setting.path("logits.npy") + " --verify-input ";
  setting.save("last", Tensor::host({1, side, side, 3}, std::vector<float>(pixels * 3)));
  CHECK(contains(refusal(logits + setting.path("last.npy")), "expected [batch, 3, height, width]"));
  setting.save("bytes", Tensor::host({1, 3, side, side}, std::vector<float>(pixels * 3, 255)));
  CHECK(contains(refusal(logits + setting.path("bytes.npy")), "a pixel is 255; expected RGB in [0, 1]"));
}

TEST_CASE("convert-weights --verify: the image that is taken where none is given") {
  const Setting setting;
  std::vector<float> image;
  for (int64_t c = 0; c < 3; ++c)
    for (int64_t y = 0; y < side; ++y)
      for (int64_t x = 0; x < side; ++x) image.push_back(static_cast<float>((7 * c + 3 * y + 5 * x) % 17) / 16);
  setting.save("formula", Tensor::host({1, 3, side, side}, image));
  setting.save("any", Tensor::host({1, 5}, std::vector<float>{1, 2, 3, 4, 5}));
  const std::string any = "--verify " + setting.path("any.npy");
  const Converted silent = setting.run(any), same = setting.run(any + " --verify-input " + setting.path("formula.npy"));
  CHECK(silent.code == 1);
  CHECK(contains(silent.errors, "got a relative error"));
  CHECK(silent.errors == same.errors);  // to the printed digits, the same logits
  image[0] = 1;
  setting.save("other", Tensor::host({1, 3, side, side}, image));
  CHECK(setting.run(any + " --verify-input " + setting.path("other.npy")).errors != silent.errors);
}

TEST_CASE("convert-weights --verify: wrong usage is 2") {
  const Setting setting;
  CHECK(convert_weights(setting.folder, setting.checkpoint + " --verify " + setting.path("logits.npy")).code == 2);
  CHECK(setting.verify("logits", "--verify-tolerance -1").code == 2);
  CHECK_FALSE(setting.written());
}
