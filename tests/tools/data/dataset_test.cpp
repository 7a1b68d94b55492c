// Image folders, CIFAR-10's binary files, and subsets.
#include "tools/data/dataset.h"

#include <map>
#include <set>

#include "fixtures.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr size_t record_bytes = 3073;

// Records whose pixel bytes tell their place: (7 record + 3 plane + position) mod 256.
void write_batch(const std::filesystem::path& path, const std::vector<int>& labels) {
  std::vector<uint8_t> bytes;
  for (size_t record = 0; record < labels.size(); ++record) {
    bytes.push_back(static_cast<uint8_t>(labels[record]));
    for (size_t i = 0; i + 1 < record_bytes; ++i)
      bytes.push_back(static_cast<uint8_t>(7 * record + 3 * (i / 1024) + i % 1024));
  }
  write_bytes(path, bytes);
}

const std::string cifar_names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";

std::string open_error(const DataConfig& config, Split split = Split::train) {
  return error_of([&] { open_dataset(config, split); });
}

std::vector<std::string> ids(const Dataset& data) {
  std::vector<std::string> result;
  for (int64_t i = 0; i < data.size(); ++i) result.push_back(data.item(i).id);
  return result;
}

std::map<int, int> label_counts(const Dataset& data) {
  std::map<int, int> counts;
  for (int64_t i = 0; i < data.size(); ++i) {
    for (const int label : data.item(i).labels) ++counts[label];
  }
  return counts;
}

DataConfig folder_of(const TemporaryFolder& folder) { return {.type = "image-folder", .root = folder.path()}; }

// 3 classes of 12, 8 and 4 images.
void fill_classes(const TemporaryFolder& folder) {
  const auto bytes = bmp_bytes(plain_image(2, 2, 9));
  for (const auto& [name, count] : std::map<std::string, int>{{"ant", 12}, {"bee", 8}, {"cow", 4}}) {
    for (int i = 0; i < count; ++i) write_bytes(folder / fmt::format("train/{}/{:02}.bmp", name, i), bytes);
  }
}

}  // namespace

TEST_CASE("an image folder lists its classes and files in order") {
  const TemporaryFolder folder;
  const auto bytes = bmp_bytes(plain_image(2, 3, 77));
  for (const char* file : {"train/zebra/b.bmp", "train/zebra/a.JPG", "train/ant/deep/er/c.png", "train/ant/.hidden.png",
                           "train/ant/notes.txt", "train/.cache/x.bmp"}) {
    write_bytes(folder / file, bytes);
  }
  const auto data = open_dataset(folder_of(folder), Split::train);
  CHECK(data->classes() == std::vector<std::string>{"ant", "zebra"});
  CHECK(ids(*data) == std::vector<std::string>{"ant/deep/er/c.png", "zebra/a.JPG", "zebra/b.bmp"});
  CHECK(data->item(2).labels == std::vector<int>{1});
  CHECK_FALSE(data->multi_label());
  const Sample sample = data->load(0);
  CHECK(sample.image == plain_image(2, 3, 77));
  CHECK(sample.id == "ant/deep/er/c.png");
  CHECK(sample.labels == std::vector<int>{0});
  CHECK(contains(error_of([&] { data->item(3); }), "item 3 of a data set of 3"));
}

TEST_CASE("an image folder that is not one is refused by name") {
  const TemporaryFolder folder;
  CHECK(contains(open_error(folder_of(folder)), "train: no such folder"));
  write_text(folder / "train/readme.txt", "x");
  CHECK(contains(open_error(folder_of(folder)), "no sub-folders"));
  write_text(folder / "train/ant/readme.txt", "x");
  CHECK(contains(open_error(folder_of(folder)), "ant: no images"));
  CHECK(contains(open_error({.type = "folder", .root = folder.path()}),
                 "expected one of image-folder, tiny-imagenet, cifar10, voc"));
}

TEST_CASE("classes other than the expected ones are refused") {
  const TemporaryFolder folder;
  fill_classes(folder);
  DataConfig config = folder_of(folder);
  config.classes = {"ant", "bee"};
  CHECK(contains(open_error(config), "got 3 classes; expected 2"));
  config.classes = {"ant", "cat", "cow"};
  CHECK(contains(open_error(config), "class 1 is 'bee'; expected 'cat'"));
  config.classes = {"ant", "bee", "cow"};
  const auto train = open_dataset(config, Split::train);
  write_bytes(folder / "other/ant/1.bmp", bmp_bytes(plain_image(2, 2, 1)));
  const auto other = open_dataset({.type = "image-folder", .root = folder.path(), .train = "other"}, Split::train);
  CHECK(contains(error_of([&] { require_same_classes(*train, *other); }), "got 1 classes; expected 3"));
  CHECK_NOTHROW(require_same_classes(*train, *train));
}

TEST_CASE("subsets are the same for the same seed, nested, and in listing order") {
  const TemporaryFolder folder;
  fill_classes(folder);
  const auto subset = [&](Subset wanted) {
    DataConfig config = folder_of(folder);
    config.train_subset = wanted;
    return open_dataset(config, Split::train);
  };
  const auto five = ids(*subset({.limit = 5})), nine = ids(*subset({.limit = 9}));
  CHECK(five.size() == 5);
  CHECK(five == ids(*subset({.limit = 5})));
  CHECK(std::is_sorted(nine.begin(), nine.end()));
  CHECK(std::includes(nine.begin(), nine.end(), five.begin(), five.end()));
  CHECK(five != ids(*subset({.limit = 5, .seed = 1})));
  CHECK(ids(*subset({.limit = 100})).size() == 24);

  CHECK(label_counts(*subset({.per_class = 3})) == std::map<int, int>{{0, 3}, {1, 3}, {2, 3}});
  CHECK(label_counts(*subset({.per_class = 6})) == std::map<int, int>{{0, 6}, {1, 6}, {2, 4}});
  CHECK(subset({.limit = 4, .per_class = 3})->size() == 4);
  CHECK(ids(*subset({.limit = 2, .in_order = true})) == std::vector<std::string>{"ant/00.bmp", "ant/01.bmp"});
  CHECK(subset({.limit = 2, .in_order = true})->item(1).position == 1);
  CHECK_THROWS_AS(subset({.limit = -1}), Error);
}

TEST_CASE("CIFAR-10's binary files give labels and pixels") {
  const TemporaryFolder folder;
  write_text(folder / "batches.meta.txt", cifar_names);
  write_batch(folder / "data_batch_1.bin", {3, 9});
  write_batch(folder / "data_batch_2.bin", {0, 5, 7});
  write_batch(folder / "test_batch.bin", {8});
  DataConfig config{.type = "cifar10", .root = folder.path()};
  const auto train = open_dataset(config, Split::train);
  CHECK(train->classes().size() == 10);
  CHECK(train->classes()[9] == "truck");
  CHECK(ids(*train) == std::vector<std::string>{"data_batch_1.bin:0", "data_batch_1.bin:1", "data_batch_2.bin:0",
                                                "data_batch_2.bin:1", "data_batch_2.bin:2"});
  CHECK(train->item(4).labels == std::vector<int>{7});
  CHECK(train->path(4) == folder / "data_batch_2.bin");
  const Sample sample = train->load(4);
  REQUIRE(sample.image.height == 32);
  for (int y = 0; y < 32; y += 5) {
    for (int x = 0; x < 32; x += 3) {
      for (int c = 0; c < 3; ++c)
        CHECK(sample.image.row(y)[3 * x + c] == static_cast<uint8_t>(14 + 3 * c + 32 * y + x));
    }
  }
  CHECK(open_dataset(config, Split::test)->item(0).labels == std::vector<int>{8});
  config.train = "data_batch_2";
  config.train_subset = {.limit = 2};
  const auto part = open_dataset(config, Split::train);
  CHECK(part->size() == 2);
  CHECK(part->load(1).image.pixels[0] == static_cast<uint8_t>(7 * part->item(1).position));
}

TEST_CASE("damaged CIFAR-10 files are refused by name") {
  const TemporaryFolder folder;
  const DataConfig config{.type = "cifar10", .root = folder.path()};
  CHECK(contains(open_error(config), "batches.meta.txt: no such file"));
  write_text(folder / "batches.meta.txt", "cat\ndog\n");
  CHECK(contains(open_error(config), "got 2 classes; expected 10"));
  write_text(folder / "batches.meta.txt", cifar_names);
  CHECK(contains(open_error(config), "no data_batch_*.bin"));
  write_batch(folder / "data_batch_1.bin", {1, 10});
  CHECK(contains(open_error(config), "data_batch_1.bin: record 1 has class 10; expected 0 to 9"));
  write_text(folder / "data_batch_1.bin", std::string(3072, 'x'));
  CHECK(contains(open_error(config), "got 3072 bytes; expected a multiple of 3073"));
  write_text(folder / "data_batch_1.bin", "");
  CHECK(contains(open_error(config), "data_batch_1.bin"));
  CHECK(contains(open_error(config, Split::test), "test_batch.bin"));
}

TEST_CASE("CIFAR-10 as JPEG files: 5000 and 2000 real images") {
  const auto root = shared_data / "cifar10-jpeg";
  if (!std::filesystem::exists(root)) {
    MESSAGE("skipped: no cifar10-jpeg");
    return;
  }
  const DataConfig config{.type = "image-folder", .root = root};
  const auto train = open_dataset(config, Split::train), test = open_dataset(config, Split::test);
  CHECK_NOTHROW(require_same_classes(*train, *test));
  CHECK(train->classes().front() == "airplane");
  CHECK(train->size() == 5000);
  CHECK(test->size() == 2000);
  for (const auto& [label, count] : label_counts(*train)) CHECK(count == 500);
  for (const auto& [label, count] : label_counts(*test)) CHECK(count == 200);
  CHECK(test->load(1234).image.width == 32);
}
