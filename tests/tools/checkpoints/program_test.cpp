// convert-weights as a user runs it: exit codes, output, and that nothing is written on failure.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/files.h"
#include "tests/places.h"
#include "tests/sanitized.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tests/tools/checkpoints/convert_weights.h"
#include "tests/tools/checkpoints/hollow_checkpoint.h"
#include "tools/checkpoints/checkpoint.h"

namespace {

using namespace hp;
using namespace hp::test;

const std::string files = (source_folder() / "tests/tools/checkpoints/files/").string();

}  // namespace

TEST_CASE("convert-weights: converts") {
  const TemporaryFolder folder;
  const std::string output = (folder / "r18.safetensors").string();
  const Converted done = convert_weights(folder, files + "resnet18_zip.pth -o " + output);
  CHECK(done.code == 0);
  CHECK(done.errors.empty());
  CHECK(contains(done.output, "architecture resnet18\n"));
  CHECK(contains(done.output, "written"));
  const Parameters parameters = load_safetensors(output);
  CHECK(parameters.names().size() == 102);
  CHECK(parameters.metadata.at("architecture") == "resnet18");
  // What was written converts to itself.
  const Converted again = convert_weights(folder, output + " -o " + (folder / "again.safetensors").string());
  CHECK(again.code == 0);
  CHECK(contains(again.output, "11689512 parameters"));
}

TEST_CASE("convert-weights: lists") {
  const TemporaryFolder folder;
  const Converted done = convert_weights(folder, files + "training_zip.pth --list");
  CHECK(done.code == 0);
  CHECK(contains(done.output, "state_dict.half"));
  CHECK(contains(done.output, "an object of argparse.Namespace"));
}

TEST_CASE("convert-weights: failure is 1, with the reason, and writes nothing") {
  const TemporaryFolder folder;
  const std::string output = (folder / "out.safetensors").string();
  Converted failed = convert_weights(folder, files + "bare_zip.pth -o " + output);
  CHECK(failed.code == 1);
  CHECK(contains(failed.errors, "no known architecture"));
  failed = convert_weights(folder, files + "resnet18_zip.pth --arch resnet34 -o " + output);
  CHECK(failed.code == 1);
  CHECK(contains(failed.errors, "are missing"));
  CHECK(contains(failed.output, "missing      "));
  failed = convert_weights(folder, (folder / "absent.pth").string() + " -o " + output);
  CHECK(failed.code == 1);
  CHECK(contains(failed.errors, "No such file"));
  failed = convert_weights(folder, files + "resnet18_zip.pth -o " + (folder / "absent/out.safetensors").string());
  CHECK(failed.code == 1);
  CHECK(contains(failed.errors, "cannot write"));
  CHECK_FALSE(std::filesystem::exists(output));
}

TEST_CASE("convert-weights: a file that is something else says what it is and what to do") {
  const TemporaryFolder folder;
  const std::string output = (folder / "out.safetensors").string();
  const auto refusal = [&](const std::filesystem::path& file) {
    const Converted refused = convert_weights(folder, file.string() + " -o " + output);
    CHECK(refused.code == 1);
    CHECK_FALSE(std::filesystem::exists(output));
    return refused.errors;
  };
  const auto says = [&](const std::string& name, const std::string& bytes, std::string_view what,
                        std::string_view advice) {
    write_file(folder / name, bytes);
    const std::string errors = refusal(folder / name);
    CHECK_MESSAGE(contains(errors, (folder / name).string()), errors);
    CHECK_MESSAGE(contains(errors, what), errors);
    CHECK_MESSAGE(contains(errors, advice), errors);
  };
  says("lfs.pth", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n",
       "this is a Git-LFS pointer", "run 'git lfs pull'");
  says("resnet.h5", "\x89HDF\r\n\x1a\n........", "this is an HDF5 file, as Keras writes it (.h5)",
       "take the network's PyTorch release, or save its weights as safetensors");
  const ZipSpec keras{{{"metadata.json", "{}"}, {"config.json", "{}"}, {"model.weights.h5", "\x89HDF"}}};
  says("resnet.keras", zip_file(keras), "this is a zip archive of Keras (.keras), no PyTorch checkpoint",
       "take the network's PyTorch release, or save its weights as safetensors");
  for (const char* whole : {"resnet18_zip.pth", "resnet50_legacy.pth", "towers.safetensors"}) {
    CAPTURE(whole);
    const std::string bytes = read_file(files + whole);
    says(whole, bytes.substr(0, bytes.size() / 2), "cut off", "download ");
  }

  const auto of = [&](const Hollow& tensors, const std::string& wrapper = "") {
    return refusal(file_of(tensors, wrapper).path());
  };
  const std::string optimiser = of({{"state.0.exp_avg", {4, 4}}, {"state.0.exp_avg_sq", {4, 4}}}, "optimizer");
  CHECK(contains(optimiser, "an optimiser's state and no weights; take the checkpoint that the training wrote"));
  const std::string text = of({{"token_embedding.weight", {9, 4}}, {"transformer.resblocks.0.ln_1.weight", {4}}});
  CHECK(contains(text, "CLIP's text tower alone; take the whole model"));
  const std::string width = of(wide_resnet50());
  CHECK(contains(width, "a network of another width"));
  CHECK(contains(width, "the names are those of resnet50"));
}

TEST_CASE("convert-weights: wrong usage is 2, help is 0") {
  const TemporaryFolder folder;
  CHECK(convert_weights(folder, "").code == 2);
  CHECK(convert_weights(folder, files + "bare_zip.pth").code == 2);
  CHECK(convert_weights(folder, "--nonsense").code == 2);
  const Converted help = convert_weights(folder, "--help");
  CHECK(help.code == 0);
  CHECK(contains(help.output, "resnet-torchvision"));
}

TEST_CASE("convert-weights: a disk that is full leaves what was there, and nothing else") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "out");
  const std::string output = (folder / "out/r18.safetensors").string();
  write_file(output, "old");
  const std::string out = (folder / "stdout").string(), err = (folder / "stderr").string();
  const int status = std::system(
      fmt::format("ulimit -f 2000; {} {}resnet18_zip.pth -o {} >{} 2>{}", HP_CONVERT_WEIGHTS, files, output, out, err)
          .c_str());
  CHECK(WEXITSTATUS(status) == 1);
  CHECK_MESSAGE(contains(read_file(err), "cannot write " + output + ": File too large"), read_file(err));
  CHECK(read_file(output) == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder / "out"), {}) == 1);
}

TEST_CASE("convert-weights: no more memory than 1.2 of the largest tensor and 64 MiB" * doctest::skip(sanitized)) {
  const TemporaryFolder folder;
  // ResNet-50 with storages of its own: 94 MiB of weights, the largest tensor 9 MiB.
  const Checkpoint checkpoint = read_checkpoint(files + "resnet50_legacy.pth");
  const std::string whole = (folder / "whole.safetensors").string();
  REQUIRE(convert_weights(folder, files + "resnet50_legacy.pth -o " + whole).code == 0);
  std::vector<StorageSpec> storages;
  py::Items items;
  const Parameters weights = load_safetensors(whole);
  size_t largest = 0;
  for (const std::string& name : weights.names()) {
    const Tensor& tensor = weights.at(name);
    largest = std::max(largest, tensor.bytes());
    storages.push_back(
        {.key = std::to_string(storages.size()), .values = {tensor.floats(), tensor.floats() + tensor.count()}});
    TensorSpec spec{{tensor.shape().extents().begin(), tensor.shape().extents().end()}, {}};
    const StridedView view = StridedView::contiguous(tensor.shape());
    spec.stride.assign(view.strides.begin(), view.strides.begin() + tensor.shape().rank());
    const std::string own = name.starts_with("head.") ? "fc." + name.substr(5) : name;
    items.emplace_back(own, hp::test::tensor(persistent(storages.back(), false), spec));
  }
  const auto zip = torch_archive(py::dict(items), storages);
  write_file(folder / "whole.pth", zip_file(zip));
  const size_t limit = largest + largest / 5 + (size_t{64} << 20);
  REQUIRE(limit < std::filesystem::file_size(whole) * 9 / 10);  // so that loading all of it cannot pass
  const auto confined = [&](const std::string& source, const std::string& target) {
    return std::system(fmt::format("ulimit -d {}; {} {} -o {} >{} 2>&1", limit >> 10, HP_CONVERT_WEIGHTS, source,
                                   target, (folder / "said").string())
                           .c_str());
  };
  const std::string copy = (folder / "copy.safetensors").string();
  for (const std::string& source : {files + "resnet50_legacy.pth", whole, (folder / "whole.pth").string()}) {
    CAPTURE(source);
    CHECK_MESSAGE(confined(source, copy) == 0, read_file(folder / "said"));
    const Parameters again = load_safetensors(copy);
    CHECK(again.names() == weights.names());
    CHECK(std::memcmp(again.at("layer4.2.conv2.weight").floats(), weights.at("layer4.2.conv2.weight").floats(),
                      largest) == 0);
    std::filesystem::remove(copy);
  }
}
