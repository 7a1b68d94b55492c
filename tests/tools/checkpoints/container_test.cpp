// The two containers of PyTorch, built by hand: what is read, and one refusal for each way in which they can be broken.
#include <doctest/doctest.h>

#include "runtime/error.h"
#include "tests/files.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tools/checkpoints/checkpoint.h"
#include "tools/checkpoints/zip_directory.h"

namespace {

using namespace hp;
using namespace hp::test;

// The values of the file's first tensor as text, or why the file is refused.
std::string result(const std::string& file) {
  const TemporaryFolder folder;
  write_file(folder / "w.pth", file);
  try {
    const Checkpoint checkpoint = read_checkpoint(folder / "w.pth");
    if (checkpoint.tensors.empty()) return "no tensor";
    const Tensor tensor = checkpoint.read(checkpoint.tensors.front());
    return fmt::format("{} {}", checkpoint.tensors.front().name,
                       fmt::join(std::vector<float>(tensor.floats(), tensor.floats() + tensor.count()), " "));
  } catch (const Error& error) {
    return error.what();
  }
}

bool refused(const std::string& file, std::string_view part) {
  const std::string text = result(file);
  CAPTURE(text);
  return text.starts_with("[") && text.find(part) != std::string::npos &&
         (text.find("w.pth") != std::string::npos || text.starts_with("[zip]"));
}

const StorageSpec numbers{.key = "94020243121552", .values = {0, 1, 2, 3, 4, 5}};

std::string object(bool legacy, const StorageSpec& storage = numbers) {
  return py::dict({{"w", tensor(persistent(storage, legacy), {{3, 2}, {1, 3}})}});
}

LegacySpec legacy() { return {.object = object(true), .storages = {numbers}}; }
ZipSpec archive() { return torch_archive(object(false), {numbers}); }

}  // namespace

TEST_CASE("legacy stream: a strided view") { CHECK(result(legacy_file(legacy())) == "w 0 3 1 4 2 5"); }

TEST_CASE("legacy stream: a view of a storage") {
  LegacySpec spec = legacy();
  const std::string view = py::tuple({py::text("v"), py::integer(2), py::integer(3)});
  spec.object = py::dict({{"w", tensor(persistent(numbers, true, view), {{2}, {1}, 1})}});
  CHECK(result(legacy_file(spec)) == "w 3 4");
}

TEST_CASE("legacy stream: version, byte order") {
  LegacySpec spec = legacy();
  spec.version = 1002;
  CHECK(refused(legacy_file(spec), "unknown version"));
  spec = legacy();
  spec.little_endian = false;
  CHECK(refused(legacy_file(spec), "big-endian"));
}

TEST_CASE("legacy stream: storages that are missing, twice, unknown, of another length") {
  LegacySpec spec = legacy();
  spec.storages = {};
  CHECK(refused(legacy_file(spec), "the file lacks storage '94020243121552'"));
  spec.storages = {numbers, numbers};
  CHECK(refused(legacy_file(spec), "listed twice"));
  spec.storages = {numbers, {"7", {1}}};
  CHECK(refused(legacy_file(spec), "no tensor uses"));
  spec = legacy();
  StorageSpec lying = numbers;
  lying.announced = 7;
  spec.object = object(true, lying);
  CHECK(refused(legacy_file(spec), "has 6 elements; expected 7"));
}

TEST_CASE("legacy stream: bytes behind the end") {
  CHECK(refused(legacy_file(legacy()) + "x", "1 bytes follow the last storage"));
}

TEST_CASE("legacy stream: every truncation is refused") {
  const std::string file = legacy_file(legacy());
  for (size_t length = 0; length < file.size(); ++length) {
    CAPTURE(length);
    CHECK(result(file.substr(0, length)).starts_with("[checkpoint]"));
  }
}

TEST_CASE("zip: stored and deflated") {
  CHECK(result(zip_file(archive())) == "w 0 3 1 4 2 5");
  ZipSpec spec = archive();
  spec.deflate = true;
  CHECK(result(zip_file(spec)) == "w 0 3 1 4 2 5");
}

TEST_CASE("zip: stored members are read where they lie, others and doubtful ones by libzip") {
  const auto places = [](const std::string& file) { return zip_places(std::as_bytes(std::span(file))); };
  const std::string file = zip_file(archive());
  const auto found = places(file);
  REQUIRE(found.has_value());
  REQUIRE(found->size() == 3);
  CHECK(found->back().name == "archive/data/94020243121552");
  CHECK(found->back().bytes.size() == 24);
  CHECK(std::memcmp(found->back().bytes.data(), numbers.bytes().data(), 24) == 0);
  ZipSpec spec = archive();
  spec.deflate = true;
  const std::string packed = zip_file(spec);
  const auto packed_places = places(packed);
  REQUIRE(packed_places.has_value());
  for (const ZipPlace& place : *packed_places) CHECK((place.bytes.empty() || place.name.ends_with("version")));
  CHECK_FALSE(places("").has_value());
  CHECK_FALSE(places("PK\5\6").has_value());
  // A directory that points elsewhere is not believed, whatever libzip makes of it.
  const size_t entry = file.rfind("PK\1\2");
  for (const uint32_t offset : {0U, 1U, 0xFFFFFFF0U, 0xFFFFFFFFU}) {
    std::string changed = file;
    changed.replace(entry + 42, 4, raw(offset));
    const auto misled = places(changed);
    CHECK((!misled || misled->back().bytes.data() != found->back().bytes.data()));
    CHECK(result(changed).starts_with("["));
  }
  for (size_t length = 0; length < file.size(); ++length) CHECK_FALSE(places(file.substr(0, length)).has_value());
}

TEST_CASE("zip: any folder name, unknown members beside") {
  ZipSpec spec = archive();
  for (auto& [name, content] : spec.members) name = "my.net" + name.substr(name.find('/'));
  spec.members.emplace_back("my.net/.data/serialization_id", "123");
  spec.members.emplace_back("my.net/byteorder", "little");
  CHECK(result(zip_file(spec)) == "w 0 3 1 4 2 5");
}

TEST_CASE("zip: no checkpoint") {
  CHECK(refused(zip_file({{{"readme.txt", "x"}}}), "holds no data.pkl"));
  CHECK(refused(zip_file({{{"a.npy", "x"}}}), ".npz"));
  CHECK(refused(zip_file({{{"mydata.pkl", "x"}}}), "holds no data.pkl"));
}

TEST_CASE("zip: version, byte order, two objects") {
  ZipSpec spec = archive();
  spec.members[1].second = "99\n";
  CHECK(refused(zip_file(spec), "unknown version"));
  spec.members[1].second = std::string(1000, '3');
  CHECK(refused(zip_file(spec), "too large"));
  spec = archive();
  spec.members.emplace_back("archive/byteorder", "big");
  CHECK(refused(zip_file(spec), "byte order is 'big'"));
  spec = archive();
  spec.members.emplace_back("other/data.pkl", "N.");
  CHECK(refused(zip_file(spec), "two data.pkl"));
}

TEST_CASE("zip: storages that are missing or of another length") {
  ZipSpec spec = archive();
  spec.members.pop_back();
  CHECK(refused(zip_file(spec), "lacks storage 'archive/data/94020243121552'"));
  spec = archive();
  spec.members.back().second += "1234";
  CHECK(refused(zip_file(spec), "has 28 bytes; expected 24"));
}

TEST_CASE("zip: bytes behind the pickle") {
  ZipSpec spec = archive();
  spec.members[0].second += "N.";
  CHECK(refused(zip_file(spec), "2 bytes follow the pickle"));
}

TEST_CASE("zip: a storage whose bytes were changed fails its checksum") {
  std::string file = zip_file(archive());
  const size_t data = file.find(numbers.bytes());
  REQUIRE(data != file.npos);
  file[data + 5] ^= 1;
  CHECK(refused(file, "damaged"));
}

TEST_CASE("zip: two members of one name") {
  std::string file = zip_file({{{"archive/data.pkl", "N."}, {"archive/data.pkm", "N."}}});
  for (size_t at = file.find("data.pkm"); at != file.npos; at = file.find("data.pkm")) file.replace(at, 8, "data.pkl");
  CHECK(refused(file, "two members are called"));
}

TEST_CASE("zip: every truncation is refused") {
  const std::string file = zip_file(archive());
  for (size_t length = 0; length < file.size(); ++length) {
    CAPTURE(length);
    CHECK(result(file.substr(0, length)).starts_with("["));
  }
}

TEST_CASE("zip: sizes that the file's length rules out") {
  const std::string file = zip_file(archive());
  const size_t directory = file.find("PK\1\2");
  constexpr size_t packed_size_at = 20, size_at = 24;
  for (const uint32_t size : {0xFFFFFFF0U, 1U << 30, 100'000U}) {
    std::string changed = file;
    changed.replace(directory + size_at, 4, raw(size));
    CHECK(refused(changed, "impossible size"));
    changed.replace(directory + packed_size_at, 4, raw(size));
    CHECK(result(changed).starts_with("["));
  }
}

TEST_CASE("TorchScript: records without a memo, as old archives have them; what is hostile is refused") {
  const auto record = [](const std::string& attributes) {
    return py::global("__torch__.net", "Net") + ")\x81" + attributes + "b";
  };
  const auto script = [](const std::string& object) {
    ZipSpec spec = torch_archive(object, {numbers});
    spec.members.emplace_back("archive/constants.pkl", py::pickle(py::tuple({})));
    spec.members.emplace_back("archive/code/__torch__/net.py", "raise SystemExit");
    return zip_file(spec);
  };
  const std::string w = tensor(persistent(numbers, false), {{3, 2}, {1, 3}});
  const std::string tagged = py::call(py::global("torch.jit._pickle", "restore_type_tag"),
                                      py::tuple({py::dict({{"w", w}}), py::text("Dict[str, Tensor]")}));
  CHECK(result(script(record(py::dict({{"training", py::boolean(true)}, {"net", record(py::dict({{"w", w}}))}})))) ==
        "net.w 0 3 1 4 2 5");
  CHECK(result(script(record(py::dict({{"weights", tagged}})))) == "weights.w 0 3 1 4 2 5");
  CHECK(result(script(record(py::none()))) == "no tensor");
  // A module that contains itself, and one whose state is the module.
  CHECK(refused(script(py::global("__torch__", "Net") + ")\x81q" + std::string(1, '\5') + "}" + py::text("self") + "h" +
                       std::string(1, '\5') + "sb"),
                "nested too deeply"));
  CHECK(result(script(py::global("__torch__", "Net") + ")\x81" + "2b")) == "no tensor");
  CHECK(refused(script(py::call(py::global("os", "system"), py::tuple({py::text("true")}))), "names os.system"));
  // A class called like TorchScript's is not one of its own.
  CHECK(result(script(py::call(py::global("__torch__evil", "Net"), py::tuple({})))) == "no tensor");
}

TEST_CASE("checkpoint: the same name twice is refused") {
  const std::string twice = "}(" + py::text("w") + tensor(persistent(numbers, false), {{1}, {1}}) + py::text("w") +
                            tensor(persistent(numbers, false), {{2}, {1}}) + "u";
  CHECK(refused(zip_file(torch_archive(twice, {numbers})), "two tensors are called 'w'"));
}

TEST_CASE("checkpoint: os.system is refused in both containers, and nothing is run") {
  const TemporaryFolder folder;
  const std::string attack =
      py::call(py::global("os", "system"), py::tuple({py::text("touch " + (folder / "owned").string())}));
  const std::string state = py::dict({{"state_dict", attack}});
  CHECK(refused(legacy_file({.object = state, .storages = {}}), "the file names os.system"));
  CHECK(refused(zip_file(torch_archive(state, {})), "the file names os.system"));
  CHECK(refused(zip_file(torch_archive(attack, {})), "the file names os.system"));
  CHECK_FALSE(std::filesystem::exists(folder / "owned"));
}
