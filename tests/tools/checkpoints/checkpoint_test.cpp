// Files that PyTorch wrote (files/make_files.py), read back and compared with what they hold.
#include "tools/checkpoints/checkpoint.h"
#include "tests/places.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/files.h"

namespace {

using namespace hp;

const std::filesystem::path files = hp::test::source_folder() / "tests/tools/checkpoints/files";

const CheckpointTensor* find(const Checkpoint& checkpoint, const std::string& name) {
  const auto found = std::find_if(checkpoint.tensors.begin(), checkpoint.tensors.end(),
                                  [&](const auto& tensor) { return tensor.name == name; });
  return found == checkpoint.tensors.end() ? nullptr : &*found;
}

std::string item(const Checkpoint& checkpoint, const std::string& name) {
  for (const CheckpointItem& item : checkpoint.items)
    if (item.name == name) return item.what + (item.foreign ? " (foreign)" : "");
  return "absent";
}

// Every tensor of the state dict, wherever in the file it lies, equals the expected one bit for bit.
void check_values(const std::string& file, const std::string& prefix,
                  const std::string& what = "expected.safetensors") {
  CAPTURE(file);
  const Checkpoint checkpoint = read_checkpoint(files / file);
  const SafetensorsFile expected(files / what);
  CHECK(expected.entries().size() > 10);
  for (const SafetensorsEntry& entry : expected.entries()) {
    CAPTURE(entry.name);
    const CheckpointTensor* tensor = find(checkpoint, prefix + entry.name);
    REQUIRE(tensor != nullptr);
    const Tensor got = checkpoint.read(*tensor), want = to_tensor(entry);
    CHECK(got.shape() == want.shape());
    CHECK(std::memcmp(got.bytes_begin(), want.bytes_begin(), want.bytes()) == 0);
  }
}

}  // namespace

TEST_CASE("checkpoint: every element type, layout and shared storage, in both containers and pickle protocols") {
  check_values("bare_legacy.pth", "");
  check_values("bare_zip.pth", "");
  check_values("protocol4_legacy.pth", "");
  check_values("protocol4_zip.pth", "");
  check_values("training_legacy.pth", "state_dict.");
  check_values("training_zip.pth", "state_dict.");
  check_values("expected.safetensors", "");
}

TEST_CASE("checkpoint: element types are those of the file") {
  const Checkpoint checkpoint = read_checkpoint(files / "bare_zip.pth");
  CHECK(checkpoint.container == "PyTorch zip archive");
  CHECK(find(checkpoint, "half")->type == ElementType::f16);
  CHECK(find(checkpoint, "bfloat16")->type == ElementType::bf16);
  CHECK(find(checkpoint, "double")->type == ElementType::f64);
  CHECK(find(checkpoint, "int64")->type == ElementType::i64);
  CHECK(find(checkpoint, "bool")->type == ElementType::boolean);
  CHECK(find(checkpoint, "shared.row")->storage == find(checkpoint, "shared.column")->storage);
}

TEST_CASE("checkpoint: foreign objects beside the weights are inert and listed") {
  for (const char* file : {"training_legacy.pth", "training_zip.pth"}) {
    const Checkpoint checkpoint = read_checkpoint(files / file);
    CHECK(item(checkpoint, "args") == "an object of argparse.Namespace (foreign)");
    CHECK(item(checkpoint, "message_hub.log_scalars.train/loss") ==
          "an object of mmengine.logging.history_buffer.HistoryBuffer (foreign)");
    CHECK(item(checkpoint, "message_hub.best") == "an object of numpy.core.multiarray.scalar (foreign)");
    CHECK(item(checkpoint, "message_hub.set") == "a set of 2");
    CHECK(item(checkpoint, "meta.epoch") == "a number (3)");
    CHECK(item(checkpoint, "meta.seed") == "a large number");
    CHECK(item(checkpoint, "meta.classes") == "a tuple of 2");
    CHECK(item(checkpoint, "meta.path") == "None");
    CHECK(find(checkpoint, "optimizer.state.0.momentum_buffer") != nullptr);
  }
}

TEST_CASE("checkpoint: TorchScript archives, scripted and traced, give the tensors of their state_dict()") {
  for (const char* file : {"towers_script.pt", "towers_trace.pt"}) {
    check_values(file, "", "towers.safetensors");
    const Checkpoint checkpoint = read_checkpoint(files / file);
    CHECK(checkpoint.container == "TorchScript archive");
    CHECK(checkpoint.tensors.size() == 14);
    CHECK(checkpoint.items.empty());  // numbers, lists, a device: attributes that are no tensors
    CHECK(find(checkpoint, "visual.conv1.weight")->type == ElementType::f16);
    CHECK(find(checkpoint, "visual.layer1.2.weight")->type == ElementType::bf16);
    CHECK(find(checkpoint, "visual.bn1.weight")->storage == find(checkpoint, "tied")->storage);
  }
  CHECK(read_checkpoint(files / "torchscript.pt").tensors.size() == 2);
}

TEST_CASE("checkpoint: what is no state dict says so") {
  const Checkpoint module = read_checkpoint(files / "whole_module.pth");
  CHECK(module.tensors.empty());
  CHECK(item(module, "") == "an object of torch.nn.modules.linear.Linear (foreign)");
}

TEST_CASE("checkpoint: the digest is that of the file") {
  const hp::test::TemporaryFolder folder;
  hp::test::write_file(folder / "abc", "abc");
  CHECK(sha256(folder / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
