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
#include "tools/checkpoints/checkpoint.h"

namespace {

using namespace hp;
using hp::test::read_file;
using hp::test::TemporaryFolder;

struct Run {
  int code;
  std::string output, errors;
};

Run run(const TemporaryFolder& folder, const std::string& arguments) {
  const std::string out = (folder / "stdout").string(), err = (folder / "stderr").string();
  const int status =
      std::system((std::string(HP_CONVERT_WEIGHTS) + " " + arguments + " >" + out + " 2>" + err).c_str());
  return {WEXITSTATUS(status), read_file(out), read_file(err)};
}

const std::string files = (hp::test::source_folder() / "tests/tools/checkpoints/files/").string();

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("convert-weights: converts") {
  const TemporaryFolder folder;
  const std::string output = (folder / "r18.safetensors").string();
  const Run done = run(folder, files + "resnet18_zip.pth -o " + output);
  CHECK(done.code == 0);
  CHECK(done.errors.empty());
  CHECK(contains(done.output, "architecture resnet18\n"));
  CHECK(contains(done.output, "written"));
  const Parameters parameters = load_safetensors(output);
  CHECK(parameters.names().size() == 102);
  CHECK(parameters.metadata.at("architecture") == "resnet18");
  // What was written converts to itself.
  const Run again = run(folder, output + " -o " + (folder / "again.safetensors").string());
  CHECK(again.code == 0);
  CHECK(contains(again.output, "11689512 parameters"));
}

TEST_CASE("convert-weights: lists") {
  const TemporaryFolder folder;
  const Run done = run(folder, files + "training_zip.pth --list");
  CHECK(done.code == 0);
  CHECK(contains(done.output, "state_dict.half"));
  CHECK(contains(done.output, "an object of argparse.Namespace"));
}

TEST_CASE("convert-weights: failure is 1, with the reason, and writes nothing") {
  const TemporaryFolder folder;
  const std::string output = (folder / "out.safetensors").string();
  Run failed = run(folder, files + "bare_zip.pth -o " + output);
  CHECK(failed.code == 1);
  CHECK(contains(failed.errors, "no known architecture"));
  failed = run(folder, files + "resnet18_zip.pth --arch resnet34 -o " + output);
  CHECK(failed.code == 1);
  CHECK(contains(failed.errors, "are missing"));
  CHECK(contains(failed.output, "missing      "));
  failed = run(folder, (folder / "absent.pth").string() + " -o " + output);
  CHECK(failed.code == 1);
  CHECK(contains(failed.errors, "No such file"));
  failed = run(folder, files + "resnet18_zip.pth -o " + (folder / "absent/out.safetensors").string());
  CHECK(failed.code == 1);
  CHECK(contains(failed.errors, "cannot write"));
  CHECK_FALSE(std::filesystem::exists(output));
}

TEST_CASE("convert-weights: wrong usage is 2, help is 0") {
  const TemporaryFolder folder;
  CHECK(run(folder, "").code == 2);
  CHECK(run(folder, files + "bare_zip.pth").code == 2);
  CHECK(run(folder, "--nonsense").code == 2);
  const Run help = run(folder, "--help");
  CHECK(help.code == 0);
  CHECK(contains(help.output, "resnet-torchvision"));
}

TEST_CASE("convert-weights: a disk that is full leaves what was there, and nothing else") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "out");
  const std::string output = (folder / "out/r18.safetensors").string();
  hp::test::write_file(output, "old");
  const std::string out = (folder / "stdout").string(), err = (folder / "stderr").string();
  const int status = std::system(
      fmt::format("ulimit -f 2000; {} {}resnet18_zip.pth -o {} >{} 2>{}", HP_CONVERT_WEIGHTS, files, output, out, err)
          .c_str());
  CHECK(WEXITSTATUS(status) == 1);
  CHECK_MESSAGE(contains(read_file(err), "cannot write " + output + ": File too large"), read_file(err));
  CHECK(read_file(output) == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder / "out"), {}) == 1);
}

TEST_CASE("convert-weights: no more memory than 1.2 of the largest tensor and 64 MiB" *
          doctest::skip(hp::test::sanitized)) {
  const TemporaryFolder folder;
  // ResNet-50 with storages of its own: 94 MiB of weights, the largest tensor 9 MiB.
  const Checkpoint checkpoint = read_checkpoint(files + "resnet50_legacy.pth");
  const std::string whole = (folder / "whole.safetensors").string();
  REQUIRE(run(folder, files + "resnet50_legacy.pth -o " + whole).code == 0);
  std::vector<hp::test::StorageSpec> storages;
  hp::test::py::Items items;
  const Parameters weights = load_safetensors(whole);
  size_t largest = 0;
  for (const std::string& name : weights.names()) {
    const Tensor& tensor = weights.at(name);
    largest = std::max(largest, tensor.bytes());
    storages.push_back(
        {.key = std::to_string(storages.size()), .values = {tensor.floats(), tensor.floats() + tensor.count()}});
    hp::test::TensorSpec spec{{tensor.shape().extents().begin(), tensor.shape().extents().end()}, {}};
    const StridedView view = StridedView::contiguous(tensor.shape());
    spec.stride.assign(view.strides.begin(), view.strides.begin() + tensor.shape().rank());
    const std::string own = name.starts_with("head.") ? "fc." + name.substr(5) : name;
    items.emplace_back(own, hp::test::tensor(hp::test::persistent(storages.back(), false), spec));
  }
  const auto zip = hp::test::torch_archive(hp::test::py::dict(items), storages);
  hp::test::write_file(folder / "whole.pth", hp::test::zip_file(zip));
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
