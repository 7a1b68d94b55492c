#include "runtime/safetensors.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "runtime/error.h"
#include "tests/files.h"

namespace {

using namespace hp;
using hp::test::read_file;
using hp::test::TemporaryFolder;
using hp::test::write_file;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string with_header(std::string_view header, std::string_view data = "") {
  std::string file(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  return file + std::string(header) + std::string(data);
}

// The message of the refusal, or "accepted".
std::string refusal(std::string_view file) {
  try {
    parse_safetensors(bytes_of(file), "w");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string refused_header(std::string_view header, std::string_view data = "") {
  return refusal(with_header(header, data));
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

constexpr std::string_view good = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string text(values.size() * sizeof(T), '\0');
  std::memcpy(text.data(), std::data(values), text.size());
  return text;
}

Parameters sample() {
  Parameters parameters;
  parameters.set("layer1.0.conv1.weight",
                 Tensor::host({2, 1, 1, 3}, std::vector<float>{1, -2, 3.5F, 0, 1e-30F, -0.0F}));
  parameters.set("bn1.bias", Tensor::host({}, std::vector<float>{7}));
  parameters.set("none", Tensor::host({0, 4}, std::vector<float>{}));
  parameters.metadata = {{"architecture", "tiny"}, {"source", "\"quoted\"\n"}};
  return parameters;
}

}  // namespace

TEST_CASE("safetensors: what is written is read back, bit for bit") {
  const TemporaryFolder folder;
  const Parameters written = sample();
  save_safetensors(folder / "w.safetensors", written);
  const Parameters loaded = load_safetensors(folder / "w.safetensors");
  CHECK(loaded.metadata == written.metadata);
  REQUIRE(loaded.names().size() == written.names().size());
  for (const std::string& name : written.names()) {
    const Tensor &a = written.at(name), &b = loaded.at(name);
    CHECK(a.shape() == b.shape());
    CHECK(std::memcmp(a.bytes_begin(), b.bytes_begin(), a.bytes()) == 0);
  }
}

TEST_CASE("safetensors: the file is reproducible, aligned, sorted, and alone in its folder") {
  const TemporaryFolder folder;
  save_safetensors(folder / "a.safetensors", sample());
  save_safetensors(folder / "a.safetensors", sample());  // replaces
  Parameters other_order;
  const Parameters parameters = sample();
  for (auto name = parameters.names().rbegin(); name != parameters.names().rend(); ++name)
    other_order.set(*name, parameters.at(*name));
  other_order.metadata = parameters.metadata;
  save_safetensors(folder / "b.safetensors", other_order);
  const std::string file = read_file(folder / "a.safetensors");
  CHECK(file == read_file(folder / "b.safetensors"));
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  CHECK((8 + length) % 64 == 0);
  const SafetensorsFile opened(folder / "a.safetensors");
  CHECK(opened.entries().front().name == "bn1.bias");
  CHECK(opened.find("none")->shape == Shape{0, 4});
  CHECK(opened.find("absent") == nullptr);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);
}

TEST_CASE("safetensors: a failed write leaves the old file and no litter") {
  const TemporaryFolder folder;
  write_file(folder / "w.safetensors", "old");
  {
    AtomicFile file(folder / "w.safetensors");
    file.write("half of a new file");
  }
  CHECK(read_file(folder / "w.safetensors") == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  CHECK_THROWS_WITH_AS(save_safetensors(folder / "absent/w.safetensors", sample()),
                       doctest::Contains("No such file or directory"), Error);
}

TEST_CASE("safetensors: every element type becomes float32") {
  const auto read = [](std::string_view dtype, const std::string& data, int64_t count) {
    const std::string file = with_header(
        fmt::format(R"({{"a":{{"dtype":"{}","shape":[{}],"data_offsets":[0,{}]}}}})", dtype, count, data.size()), data);
    const Tensor tensor = to_tensor(parse_safetensors(bytes_of(file), "w").entries[0]);
    return std::vector<float>(tensor.floats(), tensor.floats() + tensor.count());
  };
  CHECK(read("F64", raw<double>({1.5, -0.1}), 2) == std::vector<float>{1.5F, -0.1F});
  CHECK(read("F16", raw<uint16_t>({0x3C00, 0xC500, 0x0001, 0x7BFF, 0x8400}), 5) ==
        std::vector<float>{1, -5, 0x1p-24F, 65504, -0x1p-14F});
  CHECK(read("BF16", raw<uint16_t>({0x3F80, 0xC2F7}), 2) == std::vector<float>{1, -123.5F});
  CHECK(read("I64", raw<int64_t>({-3, 1 << 20}), 2) == std::vector<float>{-3, 1048576});
  CHECK(read("I16", raw<int16_t>({-300}), 1) == std::vector<float>{-300});
  CHECK(read("I8", raw<int8_t>({-128, 127}), 2) == std::vector<float>{-128, 127});
  CHECK(read("U8", raw<uint8_t>({255}), 1) == std::vector<float>{255});
  CHECK(read("BOOL", raw<uint8_t>({0, 1, 7}), 3) == std::vector<float>{0, 1, 1});
  CHECK(std::isinf(from_float16(0xFC00)));
  CHECK(std::isnan(from_float16(0x7E00)));
}

TEST_CASE("safetensors: int32 stays int32") {
  const std::string file =
      with_header(R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})", raw<int32_t>({1 << 30, -1}));
  const Tensor tensor = to_tensor(parse_safetensors(bytes_of(file), "w").entries[0]);
  CHECK(tensor.dtype() == DType::int32);
  CHECK(tensor.data<int32_t>()[0] == 1 << 30);
}

TEST_CASE("safetensors: NaN and infinity are refused by name") {
  const TemporaryFolder folder;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Parameters parameters;
    parameters.set("fine", Tensor::host({2}, std::vector<float>{1, 2}));
    parameters.set("layer4.1.bn2.weight", Tensor::host({3}, std::vector<float>{1, 2, bad}));
    save_safetensors(folder / "w.safetensors", parameters);
    CHECK_THROWS_WITH_AS(load_safetensors(folder / "w.safetensors"), doctest::Contains("'layer4.1.bn2.weight'"), Error);
  }
}

TEST_CASE("safetensors: the header's frame") {
  CHECK(contains(refusal(""), "too short for a header"));
  CHECK(contains(refusal("1234567"), "too short for a header"));
  CHECK(contains(refusal(raw<uint64_t>({100'000'001}) + std::string(64, ' ')), "header too large"));
  CHECK(contains(refusal(raw<uint64_t>({~uint64_t{0}})), "header too large"));
  CHECK(contains(refusal(raw<uint64_t>({10}) + "{}"), "the header is cut off"));
  CHECK(contains(refused_header(""), "not a JSON object"));
  CHECK(contains(refused_header("[]"), "not a JSON object"));
  CHECK(contains(refused_header(" {}"), "not a JSON object"));
  CHECK(contains(refused_header("{"), "no valid JSON"));
  CHECK(contains(refused_header("{}{}"), "no valid JSON"));
  CHECK(contains(refused_header("{\"\xff\":1}"), "no valid JSON"));
  CHECK(refused_header("{}") == "accepted");
  CHECK(refused_header("{}      ") == "accepted");
}

TEST_CASE("safetensors: the header's members") {
  CHECK(refused_header(good, "1234") == "accepted");
  CHECK(contains(
      refused_header(
          R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})"),
      "'a' occurs twice"));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","dtype":"F16","shape":[0],"data_offsets":[0,0]}})"),
                 "'dtype' occurs twice"));
  CHECK(contains(refused_header(R"({"__metadata__":{"k":"1","k":"2"}})"), "'k' occurs twice"));
  CHECK(contains(refused_header(R"({"__metadata__":{"k":1}})"), "unexpected a number"));
  CHECK(contains(refused_header(R"({"a":{"shape":[0],"data_offsets":[0,0]}})"), "no \"dtype\""));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","data_offsets":[0,0]}})"), "no \"shape\""));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","shape":[0]}})"), "no \"data_offsets\""));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":1}})"), "unknown key"));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0]}})"), "no pair"));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}})"), "a negative number"));
  CHECK(
      contains(refused_header(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,0]}})"), "not a 64-bit integer"));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,0]}})"),
                 "not a 64-bit integer"));
  CHECK(contains(refused_header(R"({"a":{"dtype":7,"shape":[0],"data_offsets":[0,0]}})"), "unexpected a number"));
  CHECK(contains(refused_header(R"({"a":{"dtype":["F32"],"shape":[0],"data_offsets":[0,0]}})"), "unexpected an array"));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","shape":"0","data_offsets":[0,0]}})"), "unexpected a string"));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","shape":[[0]],"data_offsets":[0,0]}})"), "unexpected an array"));
  CHECK(contains(refused_header(R"({"a":{"dtype":null,"shape":[0],"data_offsets":[0,0]}})"), "unexpected null"));
  CHECK(contains(refused_header(R"({"a":true})"), "unexpected a truth value"));
  CHECK(contains(refused_header(R"({"a":{"dtype":{"F32":1}}})"), "unexpected an object"));
  CHECK(contains(refused_header(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", "1234"),
                 "more than 8"));
  CHECK(contains(refused_header("{\"a\":" + std::string(1'000'000, '[')), "unexpected an array"));
}

TEST_CASE("safetensors: sizes and offsets") {
  const auto one = [](std::string_view entry, std::string_view data) {
    return refused_header("{\"a\":{" + std::string(entry) + "}}", data);
  };
  CHECK(contains(one(R"("dtype":"F33","shape":[1],"data_offsets":[0,4])", "1234"), "unknown element type of 'a'"));
  CHECK(contains(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", "1234"),
                 "wrong size of 'a'; got 4 bytes; expected 8"));
  CHECK(contains(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])", "1234"), "outside the file"));
  CHECK(contains(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", "1234"), "outside the file"));
  CHECK(contains(one(R"("dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0])", "1234"),
                 "outside the file"));
  CHECK(
      contains(one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])", ""), "too many elements"));
  CHECK(contains(one(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,0])", ""), "extent too large"));
  CHECK(one(R"("dtype":"F32","shape":[0,1152921504606846976,1152921504606846976],"data_offsets":[0,0])", "") ==
        "accepted");
  CHECK(
      contains(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])", "12345678"), "a hole before the data of 'a'"));
  CHECK(contains(
      refused_header(
          R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
          "123456"),
      "an overlap before the data of 'b'"));
  CHECK(contains(refused_header(good, "12345"), "does not end where the last tensor does"));
}

TEST_CASE("safetensors: every truncation of a good file is refused") {
  const TemporaryFolder folder;
  save_safetensors(folder / "w.safetensors", sample());
  const std::string file = read_file(folder / "w.safetensors");
  REQUIRE(refusal(file) == "accepted");
  for (size_t length = 0; length < file.size(); ++length) {
    CAPTURE(length);
    CHECK(refusal(file.substr(0, length)) != "accepted");
  }
}

TEST_CASE("safetensors: mutated files are read or refused, never worse") {
  const TemporaryFolder folder;
  save_safetensors(folder / "w.safetensors", sample());
  const std::string file = read_file(folder / "w.safetensors");
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string mutated = file;
    for (uint32_t change = random() % 3 + 1; change > 0; --change)
      mutated[random() % mutated.size()] = static_cast<char>(random());
    try {
      for (const SafetensorsEntry& entry : parse_safetensors(bytes_of(mutated), "w").entries) to_tensor(entry);
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 1000);
}

TEST_CASE("elements: views reach exactly their storage") {
  const std::string data = raw<float>({0, 1, 2, 3, 4, 5});
  StridedView transposed{.shape = {3, 2}, .strides = {1, 3}};
  const Tensor tensor = read_elements(ElementType::f32, bytes_of(data), transposed);
  CHECK(std::vector<float>(tensor.floats(), tensor.floats() + 6) == std::vector<float>{0, 3, 1, 4, 2, 5});
  // Contiguous arrays are copied in one piece, with axes of one element whatever their strides, and from an offset.
  const auto read = [&](ElementType type, const std::string& from, const StridedView& view) {
    const Tensor some = read_elements(type, bytes_of(from), view);
    return std::vector<float>(some.floats(), some.floats() + some.count());
  };
  const StridedView lone_axes{.shape = {2, 1, 2, 1}, .strides = {2, 77, 1, 99}, .offset = 1};
  CHECK(read(ElementType::f32, data, lone_axes) == std::vector<float>{1, 2, 3, 4});
  CHECK(read(ElementType::f64, raw<double>({0, 1, 2, 3, 4, 5}), lone_axes) == std::vector<float>{1, 2, 3, 4});
  CHECK(read(ElementType::f32, data, {.shape = {2, 2}, .strides = {3, 1}}) == std::vector<float>{0, 1, 3, 4});
  CHECK(read(ElementType::f32, data, {.shape = {}, .offset = 5}) == std::vector<float>{5});
  const auto fits = [](StridedView view) { return view.fits(6); };
  CHECK(fits(transposed));
  CHECK(fits({.shape = {2, 1000}, .strides = {5, 0}}));
  CHECK(fits({.shape = {}, .offset = 5}));
  CHECK_FALSE(fits({.shape = {}, .offset = 6}));
  CHECK_FALSE(fits({.shape = {3, 2}, .strides = {1, 3}, .offset = 1}));
  CHECK_FALSE(fits({.shape = {2}, .strides = {-1}, .offset = 5}));
  CHECK_FALSE(fits({.shape = {2}, .strides = {1}, .offset = -1}));
  CHECK_FALSE(fits({.shape = {3}, .strides = {std::numeric_limits<int64_t>::max()}}));
  CHECK_FALSE(fits({.shape = {2}, .strides = {std::numeric_limits<int64_t>::max()}, .offset = 6}));
  CHECK(fits({.shape = {0, 5}, .strides = {1, 1}, .offset = 6}));
}

TEST_CASE("file: what cannot be opened says why") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(SafetensorsFile(folder / "absent"), doctest::Contains("No such file"), Error);
  CHECK_THROWS_WITH_AS(SafetensorsFile(folder.path()), doctest::Contains("not a regular file; got a folder"), Error);
  CHECK_THROWS_WITH_AS(MappedFile("/dev/null"), doctest::Contains("device or pipe"), Error);
}
