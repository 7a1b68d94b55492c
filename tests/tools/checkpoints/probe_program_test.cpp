// convert-weights --probe and --zero-shot: heads as files beside the backbone's, exit codes, and that nothing is
// written where one of them fails.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "probes/probe.h"
#include "runtime/npy.h"
#include "tests/places.h"
#include "tests/tools/checkpoints/convert_weights.h"
#include "tests/tools/checkpoints/hollow_checkpoint.h"

namespace {

using namespace hp;
using namespace hp::test;

struct Files {
  TemporaryFolder folder;
  std::string weights = (folder / "out.safetensors").string(), probe = (folder / "head.safetensors").string();

  std::string path(const std::string& name) const { return (folder / name).string(); }
  bool any_written() const { return std::filesystem::exists(weights) || std::filesystem::exists(probe); }
  // Of a run that has to fail.
  std::string refusal(const std::string& arguments) const {
    const Converted refused = convert_weights(folder, arguments);
    CHECK(refused.code == 1);
    CHECK_FALSE(any_written());
    return refused.errors;
  }
};

// Embeddings of 12 channels; too small a network to be found by its shapes.
const std::string clip =
    (source_folder() / "tests/golden/vit/clip.pt").string() + " --arch clip_vit_b_32_w24_d2_h3_p8_r32_e12";

}  // namespace

TEST_CASE("convert-weights --probe: backbone and head of a classifier") {
  const Files files;
  const HollowFile classifier = file_of(hollow("resnet18", "backbone.", "head.fc", 3), "state_dict");
  const std::string both = classifier.path().string() + " -o " + files.weights + " --probe " + files.probe;
  write_file(files.path("names.txt"), "cat\ndog\ncow\n");
  const Converted done = convert_weights(files.folder, both + " --classes " + files.path("names.txt"));
  CHECK_MESSAGE(done.code == 0, done.errors);
  CHECK(contains(done.output, "head linear, 3 classes on 512 channels, logit constant 0"));
  CHECK(std::filesystem::exists(files.weights));
  const Probe probe = Probe::load(files.probe);
  CHECK(probe.classes() == std::vector<std::string>{"cat", "dog", "cow"});
  CHECK(probe.channels() == 512);
  // The head alone, its classes numbered.
  CHECK(convert_weights(files.folder, classifier.path().string() + " --probe " + files.probe).code == 0);
  CHECK(Probe::load(files.probe).classes() == numbered_classes(3));
}

TEST_CASE("convert-weights --probe: no head, no names, too few names") {
  const Files files;
  const HollowFile classifier = file_of(hollow("resnet18", "backbone.", "head.fc", 3), "state_dict");
  const std::string both = classifier.path().string() + " -o " + files.weights + " --probe " + files.probe;
  CHECK(contains(files.refusal(both + " --classes " + files.path("absent.txt")), "absent.txt"));
  write_file(files.path("two.txt"), "cat\ndog\n");
  CHECK(contains(files.refusal(both + " --classes " + files.path("two.txt")), "the head has 3 classes; got 2 names"));
  CHECK(contains(files.refusal(both + " --logit-constant some"), "unknown logit constant; got 'some'"));
  const HollowFile headless = file_of(hollow("resnet18", "backbone.", ""), "state_dict");
  CHECK(contains(files.refusal(headless.path().string() + " -o " + files.weights + " --probe " + files.probe),
                 "the file has no head"));
}

TEST_CASE("convert-weights --zero-shot: CLIP's texts become a probe, scaled as the checkpoint says") {
  const Files files;
  std::vector<float> texts(3 * 12);
  texts[0] = 3, texts[1] = 4, texts[12 + 5] = 0.5F, texts[24 + 11] = -2;
  write_npy(files.path("texts.npy"), Tensor::host({3, 12}, texts));
  write_file(files.path("texts.txt"), "a tabby\na dog\na cow\n");
  const std::string both = clip + " -o " + files.weights + " --probe " + files.probe + " --zero-shot ";
  const Converted done = convert_weights(files.folder, both + files.path("texts.npy"));
  CHECK_MESSAGE(done.code == 0, done.errors);
  CHECK(contains(done.output, "head zero-shot, 3 classes on 12 channels"));
  const Probe probe = Probe::load(files.probe);
  CHECK(probe.classes() == std::vector<std::string>{"a tabby", "a dog", "a cow"});
  const double scale = std::stod(probe.provenance.at("logit_scale"));
  const float* rows = probe.parameters.at("head.weight").floats();
  CHECK(rows[0] == doctest::Approx(0.6 * scale));
  CHECK(rows[1] == doctest::Approx(0.8 * scale));
  CHECK(rows[12 + 5] == doctest::Approx(scale));
  CHECK(rows[24 + 11] == doctest::Approx(-scale));
  CHECK(convert_weights(files.folder, both + files.path("texts.npy") + " --logit-scale 7").code == 0);
  CHECK(Probe::load(files.probe).parameters.at("head.weight").floats()[1] == doctest::Approx(5.6));
}

TEST_CASE("convert-weights --zero-shot: no names, other shapes, another network's embeddings; wrong usage is 2") {
  const Files files;
  write_npy(files.path("texts.npy"), Tensor::host({3, 12}, std::vector<float>(36, 1)));
  const std::string both = clip + " -o " + files.weights + " --probe " + files.probe + " --zero-shot ";
  CHECK(contains(files.refusal(both + files.path("texts.npy")), "the names of the classes are not known; got no "));
  CHECK(
      contains(files.refusal(both + files.path("texts.npy") + " --classes " + files.path("absent.txt")), "absent.txt"));
  write_file(files.path("texts.txt"), "cat\ndog\n");
  CHECK(contains(files.refusal(both + files.path("texts.npy")), "got 3 rows and 2 class names"));
  write_file(files.path("flat.txt"), "cat\n");
  write_npy(files.path("flat.npy"), Tensor::host({12}, std::vector<float>(12, 1)));
  CHECK(contains(files.refusal(both + files.path("flat.npy")), "embeddings do not fit; got [12]; expected [classes"));
  write_npy(files.path("wide.npy"), Tensor::host({2, 16}, std::vector<float>(32, 1)));
  CHECK(contains(files.refusal(both + files.path("wide.npy") + " --classes " + files.path("texts.txt")),
                 "got 16 channels; expected 12"));
  CHECK(
      contains(files.refusal(both + files.path("absent.npy") + " --classes " + files.path("texts.txt")), "absent.npy"));
  CHECK(convert_weights(files.folder, clip + " -o " + files.weights + " --zero-shot " + files.path("texts.npy")).code ==
        2);
  CHECK_FALSE(files.any_written());
}
