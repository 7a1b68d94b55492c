// The loader: order, determinism, bounded work, unreadable pictures, clean ends.
#include "tools/data/loader.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <set>
#include <stdexcept>

#include "fixtures.h"

using namespace hp;
using namespace hp::test;

namespace {

// Pictures of 6 x 4 whose bytes are their index; chosen ones fail, and one may break down for a reason that is not the
// file's.
class Numbers : public Dataset {
 public:
  explicit Numbers(int64_t count) : Dataset(listing(count)) {}

  std::set<int64_t> broken;
  int64_t breakdown = -1;
  int64_t wide = -1;  // a picture of another size
  mutable std::atomic<int> loads = 0;

 protected:
  Image decode(int64_t index) const override {
    ++loads;
    if (index % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));  // workers overtake each other
    if (index == breakdown) throw std::runtime_error("breakdown");
    require(!broken.contains(index), "[image] picture {} is broken", index);
    return plain_image(6, index == wide ? 5 : 4, static_cast<uint8_t>(index));
  }

 private:
  static Listing listing(int64_t count) {
    Listing listing{.root = "numbers", .classes = {"even", "odd"}};
    for (int64_t i = 0; i < count; ++i) {
      listing.items.push_back({.id = std::to_string(i), .labels = {static_cast<int>(i % 2)}});
    }
    return listing;
  }
};

std::vector<int64_t> upwards(int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

// A fixed order that is far from ascending.
std::vector<int64_t> scattered(int64_t count) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i) indices.push_back(i * 37 % count);
  return indices;
}

std::vector<Batch> all_batches(Loader& loader) {
  std::vector<Batch> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(*batch));
  return batches;
}

std::vector<int64_t> indices_of(const std::vector<Batch>& batches) {
  std::vector<int64_t> indices;
  for (const Batch& batch : batches) indices.insert(indices.end(), batch.indices.begin(), batch.indices.end());
  return indices;
}

}  // namespace

TEST_CASE("batches come in the given order and hold the same bytes with 1 and 3 workers") {
  const Numbers data(101);
  const auto order = scattered(101);
  std::vector<std::vector<Batch>> runs;
  for (const int threads : {1, 3, 3}) {
    Loader loader(data, {.resize = ResizeMode::squash, .size = 9}, order, {.batch = 8, .threads = threads});
    runs.push_back(all_batches(loader));
    CHECK(loader.unreadable().empty());
    CHECK_FALSE(loader.next());
  }
  for (const auto& batches : runs) {
    REQUIRE(batches.size() == 13);
    CHECK(indices_of(batches) == order);
    for (size_t k = 0; k < batches.size(); ++k) {
      const Batch& batch = batches[k];
      CHECK(batch.images.shape() == Shape{k < 12 ? 8 : 5, 9, 9, 3});
      CHECK(batch.samples.size() == batch.indices.size());
      CHECK(batch.images.floats()[0] == static_cast<float>(batch.indices[0]) / 255.0F);
      CHECK(batch.samples[1].id == std::to_string(batch.indices[1]));
      CHECK(batch.samples[1].labels == std::vector<int>{static_cast<int>(batch.indices[1] % 2)});
      CHECK(std::memcmp(batch.images.floats(), runs[0][k].images.floats(), batch.images.bytes()) == 0);
    }
  }
}

TEST_CASE("indices may repeat, be few, or be none") {
  const Numbers data(10);
  Loader repeated(data, {}, {3, 3, 9}, {.batch = 2, .threads = 3});
  CHECK(indices_of(all_batches(repeated)) == std::vector<int64_t>{3, 3, 9});
  Loader none(data, {}, {}, {.threads = 2});
  CHECK_FALSE(none.next());
}

TEST_CASE("workers stop when the queue is full") {
  const Numbers data(500);
  Loader loader(data, {}, upwards(500), {.batch = 10, .threads = 3, .batches_ahead = 2});
  const auto settle = [&](int expected) {
    for (int tries = 0; tries < 2000 && data.loads < expected; ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return data.loads.load();
  };
  CHECK(settle(20) == 20);
  REQUIRE(loader.next());
  CHECK(settle(30) == 30);
}

TEST_CASE("up to 1 % unreadable pictures are skipped, counted and named in order") {
  Numbers data(300);
  data.broken = {250, 7, 8};
  for (const int threads : {1, 3}) {
    std::vector<std::string> named;
    Loader loader(data, {}, upwards(300),
                  {.batch = 16, .threads = threads, .on_unreadable = [&](const Unreadable& picture) {
                     named.push_back(picture.id);
                   }});
    const auto batches = all_batches(loader);
    CHECK(named == std::vector<std::string>{"7", "8", "250"});
    REQUIRE(loader.unreadable().size() == 3);
    CHECK(loader.unreadable()[2].index == 250);
    CHECK(loader.unreadable()[2].reason == "[image] picture 250 is broken");
    CHECK(batches[0].indices.size() == 14);
    CHECK(batches[0].images.shape()[0] == 14);
    CHECK(batches[1].indices[0] == 16);  // nothing shifts
    CHECK(indices_of(batches).size() == 297);
  }
}

TEST_CASE("more than 1 % unreadable pictures stop the run as soon as they are found") {
  Numbers data(400);
  data.broken = {0, 1, 2, 3, 4};
  for (const int threads : {1, 3}) {
    data.loads = 0;
    Loader loader(data, {}, upwards(400), {.batch = 8, .threads = threads});
    const std::string error = error_of([&] { loader.next(); });
    CHECK(contains(error, "5 of 400 pictures are unreadable"));
    CHECK(contains(error, "at most 1 %"));
    CHECK(contains(error, "is broken"));
    CHECK(data.loads <= 16);
    CHECK_FALSE(error_of([&] { loader.next(); }).empty());
  }
  data.broken = {0, 1, 2, 3};
  Loader at_the_limit(data, {}, upwards(400), {.batch = 1, .threads = 2});
  CHECK(indices_of(all_batches(at_the_limit)).size() == 396);  // batches without any picture are passed over
}

TEST_CASE("what is not the picture's fault reaches the caller as it is") {
  Numbers data(50);
  data.breakdown = 20;
  Loader loader(data, {}, upwards(50), {.batch = 4, .threads = 3});
  CHECK_THROWS_WITH_AS(all_batches(loader), "breakdown", std::runtime_error);
}

TEST_CASE("pictures of different sizes are refused by name, not skipped") {
  Numbers data(50);
  data.wide = 13;
  Loader loader(data, {}, upwards(50), {.batch = 5, .threads = 2});
  CHECK(contains(error_of([&] { all_batches(loader); }),
                 "0 has 4 x 6 pixels and 13 has 5 x 6; expected one size: set resize or crop"));
  Loader resized(data, {.crop = 4}, upwards(50), {.batch = 5, .threads = 2});
  CHECK(all_batches(resized).size() == 10);
}

TEST_CASE("a loader may be dropped at any time") {
  const Numbers data(2000);
  for (int round = 0; round < 20; ++round) {
    Loader unused(data, {}, upwards(2000), {.batch = 16, .threads = 3});
    Loader begun(data, {}, upwards(2000), {.batch = 4, .threads = 3});
    for (int i = 0; i < round % 4; ++i) begun.next();
  }
  CHECK(data.loads < 2000);
  const auto interrupted = [&] {
    Loader loader(data, {}, upwards(2000), {.threads = 2});
    loader.next();
    throw std::logic_error("interrupted");
  };
  CHECK_THROWS_AS(interrupted(), std::logic_error);
}

TEST_CASE("senseless options are refused") {
  const Numbers data(5);
  CHECK_THROWS_AS(Loader(data, {}, {5}, {}), Error);
  CHECK_THROWS_AS(Loader(data, {}, {-1}, {}), Error);
  CHECK_THROWS_AS(Loader(data, {}, {0}, {.batch = 0}), Error);
  CHECK_THROWS_AS(Loader(data, {}, {0}, {.threads = 0}), Error);
  CHECK_THROWS_AS(Loader(data, {.size = 4}, {0}, {}), Error);
}

TEST_CASE("files on disk: a zero-byte and a truncated picture among 300") {
  const TemporaryFolder folder;
  const auto good = read_bytes(golden_images / "rgb_420.jpg");
  for (int i = 0; i < 300; ++i) write_bytes(folder / fmt::format("train/a/{:03}.jpg", i), good);
  write_text(folder / "train/a/100.jpg", "");
  write_bytes(folder / "train/a/200.jpg", std::span(good).first(good.size() / 2));
  const auto data = open_dataset({.type = "image-folder", .root = folder.path()}, Split::train);
  Loader loader(*data, {.resize = ResizeMode::shorter, .size = 20, .crop = 16}, upwards(300), {.threads = 2});
  CHECK(indices_of(all_batches(loader)).size() == 298);
  REQUIRE(loader.unreadable().size() == 2);
  CHECK(contains(loader.unreadable()[0].reason, "100.jpg: the file is empty"));
  CHECK(contains(loader.unreadable()[1].reason, "200.jpg: not a readable JPEG file: Premature end"));
}

TEST_CASE("blood cells: every real picture loads with boxes inside") {
  const auto root = shared_data / "bccd-voc/BCCD";
  if (!std::filesystem::exists(root)) {
    MESSAGE("skipped: no bccd-voc");
    return;
  }
  const auto data = open_dataset({.type = "voc", .root = root}, Split::test);
  Loader loader(*data, {.resize = ResizeMode::squash, .size = 64}, upwards(data->size()), {.threads = 2});
  size_t boxes = 0;
  for (const Batch& batch : all_batches(loader)) {
    CHECK(batch.images.shape().with(0, 1) == Shape{1, 64, 64, 3});
    for (const Sample& sample : batch.samples) {
      boxes += sample.boxes.size();
      CHECK(sample.clipped_boxes == 0);
      for (const Box& box : sample.boxes)
        CHECK((box.x0 >= 0 && box.x0 < box.x1 && box.x1 <= 64 && box.y0 < box.y1 && box.y1 <= 64));
    }
  }
  CHECK(boxes == 945);
  CHECK(loader.unreadable().empty());
}
