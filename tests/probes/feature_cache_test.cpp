#include "probes/feature_cache.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <limits>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "tests/files.h"
#include "tests/probes/toy.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr int64_t samples = 23, side = 3, channels = 4;
const Shape map_shape{side, side, channels};

struct Setup {
  TemporaryFolder folder;
  CpuKernels kernels;
  Tensor maps = random_maps({samples, side, side, channels}, 77);
  FeatureKey key{"weights", "data", "preprocessing", "layer3", "cpu test", DType::float32, false};
  FillOptions options;
  int64_t computed = 0;  // samples that the source was asked for

  Setup() {
    options.batch = 2;
    options.shard_bytes = 5 * side * side * channels * 4;  // 5 rows fit, 4 are whole batches: 6 shards, the last of 3
    options.source = [this](int64_t begin, int64_t end) {
      computed += end - begin;
      return FeatureBatch{maps.rows(begin, end), {}};
    };
  }
  FeatureCache open() {
    computed = 0;
    std::optional<FeatureCache> cache = FeatureCache::open(folder.path(), key, samples, map_shape, kernels, options);
    REQUIRE(cache.has_value());
    return std::move(*cache);
  }
  std::filesystem::path shard(int index) const {
    return FeatureCache::folder_of(folder.path(), key) / ("shard-0000" + std::to_string(index) + ".safetensors");
  }
  std::filesystem::path manifest() const { return FeatureCache::folder_of(folder.path(), key) / "manifest.json"; }
};

std::vector<float> rows_of(const FeatureCache& cache, const std::vector<int64_t>& rows) {
  std::vector<float> values(rows.size() * static_cast<size_t>(cache.row_shape().count()));
  cache.gather(rows, values.data());
  return values;
}

std::vector<float> all_of(const FeatureCache& cache) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < cache.size(); ++i) rows.push_back(i);
  return rows_of(cache, rows);
}

void flip_byte(const std::filesystem::path& path, size_t from_end) {
  std::string bytes = read_file(path);
  bytes[bytes.size() - from_end] ^= 1;
  write_file(path, bytes);
}

}  // namespace

TEST_CASE("an interrupted run loses a shard at most, which has no more than so many rows") {
  Setup setup;
  setup.options.shard_bytes = int64_t{1} << 30;
  setup.options.shard_rows = 7;  // 6 are whole batches
  CHECK(setup.open().shards_computed() == 4);
  CHECK(FillOptions().shard_rows <= 1024);
}

TEST_CASE("features come back from the cache bit by bit and are computed once") {
  Setup setup;
  const FeatureCache first = setup.open();
  CHECK(setup.computed == samples);
  CHECK(first.shards_computed() == 6);
  CHECK(first.size() == samples);
  CHECK(first.row_shape() == map_shape);
  CHECK(all_of(first) == values_of(setup.maps));
  const FeatureCache second = setup.open();
  CHECK(setup.computed == 0);
  CHECK(all_of(second) == values_of(setup.maps));
  // Rows in any order, across shards.
  const std::vector<float> picked = rows_of(second, {22, 0, 7});
  const std::vector<float> wanted = values_of(setup.maps.rows(22, 23));
  CHECK(std::equal(wanted.begin(), wanted.end(), picked.begin()));
  const std::vector<float> last = values_of(setup.maps.rows(7, 8));
  CHECK(std::equal(last.begin(), last.end(), picked.end() - static_cast<int64_t>(last.size())));
  // Another size of shards is no reason to compute anything again.
  setup.options.shard_bytes *= 3;
  CHECK(all_of(setup.open()) == values_of(setup.maps));
  CHECK(setup.computed == 0);
}

TEST_CASE("the expected size is that of the data") {
  Setup setup;
  CHECK(FeatureCache::expected_bytes(setup.key, samples, map_shape) == samples * side * side * channels * 4);
  setup.key.pooled = true;
  setup.key.dtype = DType::float16;
  CHECK(FeatureCache::expected_bytes(setup.key, samples, map_shape) == samples * channels * 2);
  // protocol: ImageNet's maps and pooled features of a ResNet-50
  setup.key.dtype = DType::float32;
  CHECK(FeatureCache::expected_bytes(setup.key, 1281167, {7, 7, 2048}) == 10495320064);
}

TEST_CASE("pooled features are the mean over the map") {
  Setup setup;
  setup.key.pooled = true;
  const FeatureCache cache = setup.open();
  CHECK(cache.row_shape() == Shape{1, 1, channels});
  const std::vector<float> pooled = all_of(cache);
  for (int64_t sample = 0; sample < samples; ++sample) {
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (int64_t p = 0; p < side * side; ++p) sum += setup.maps.floats()[(sample * side * side + p) * channels + c];
      CHECK(pooled[static_cast<size_t>(sample * channels + c)] == doctest::Approx(sum / 9).epsilon(1e-6));
    }
  }
}

TEST_CASE("float16 keeps eleven bits") {
  Setup setup;
  setup.key.dtype = DType::float16;
  float* values = setup.maps.floats();
  const float special[] = {0.0F, -0.0F, 65504.0F, -65504.0F, 1e-8F, 6e-8F, -3e-6F, 6.1e-5F, 1.0F, 2049.0F};
  std::copy(std::begin(special), std::end(special), values);
  const std::vector<float> back = all_of(setup.open());
  for (size_t i = 0; i < back.size(); ++i) {
    const double error = std::abs(static_cast<double>(back[i]) - values[i]);
    CHECK(error <= std::max(std::abs(static_cast<double>(values[i])) * 0x1p-11, 0x1p-25));
  }
  CHECK(back[2] == 65504.0F);
  CHECK(back[8] == 1.0F);
  CHECK(std::signbit(back[1]));
}

TEST_CASE("features that cannot be stored are refused by name") {
  Setup setup;
  setup.maps.floats()[7 * side * side * channels] = 70000;
  CHECK_NOTHROW(setup.open());
  setup.key.dtype = DType::float16;
  CHECK_THROWS_WITH_AS(setup.open(), doctest::Contains("sample 7 is too large for float16"), Error);
  setup.key.dtype = DType::float32;
  setup.key.data = "other";
  setup.maps.floats()[9 * side * side * channels] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(setup.open(), doctest::Contains("sample 9 is not finite"), Error);
}

TEST_CASE("a source of another shape is refused") {
  Setup setup;
  setup.options.source = [&](int64_t begin, int64_t) { return FeatureBatch{setup.maps.rows(begin, begin + 1), {}}; };
  CHECK_THROWS_WITH_AS(setup.open(), doctest::Contains("source gave something else"), Error);
}

TEST_CASE("samples that could not be read have no row") {
  Setup setup;
  const std::vector<int64_t> unreadable{5, 6, 22};
  setup.options.source = [&](int64_t begin, int64_t end) {
    FeatureBatch batch{setup.maps.rows(begin, end), {}};
    for (const int64_t sample : unreadable)
      if (sample >= begin && sample < end) batch.skipped.push_back(sample);
    return batch;
  };
  for (int round = 0; round < 2; ++round) {
    CAPTURE(round);
    const FeatureCache cache = setup.open();
    CHECK(cache.size() == samples - 3);
    CHECK(cache.skipped() == unreadable);
    CHECK(cache.sample(4) == 4);
    CHECK(cache.sample(5) == 7);
    CHECK(cache.sample(19) == 21);
    CHECK(rows_of(cache, {5}) == values_of(setup.maps.rows(7, 8)));
  }
}

TEST_CASE("an interrupted run goes on at the next shard") {
  Setup setup;
  std::atomic<bool> cancelled{false};
  setup.options.cancelled = &cancelled;
  setup.options.progress = [&](int64_t done, int64_t total) {
    CHECK(total == samples);
    if (done >= 10) cancelled = true;  // within the third shard
  };
  CHECK_FALSE(
      FeatureCache::open(setup.folder.path(), setup.key, samples, map_shape, setup.kernels, setup.options).has_value());
  CHECK(std::filesystem::exists(setup.shard(1)));
  CHECK_FALSE(std::filesystem::exists(setup.shard(2)));
  setup.options.cancelled = nullptr;
  const FeatureCache cache = setup.open();
  CHECK(setup.computed == samples - 8);
  CHECK(cache.shards_computed() == 4);
  CHECK(all_of(cache) == values_of(setup.maps));
}

TEST_CASE("a killed run leaves nothing half-written") {
  Setup setup;
  const pid_t child = ::fork();
  if (child == 0) {  // dies while it computes the fourth shard
    setup.options.source = [&](int64_t begin, int64_t end) {
      if (begin >= 14) ::kill(::getpid(), SIGKILL);
      return FeatureBatch{setup.maps.rows(begin, end), {}};
    };
    try {
      FeatureCache::open(setup.folder.path(), setup.key, samples, map_shape, setup.kernels, setup.options);
    } catch (...) {
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  const FeatureCache cache = setup.open();
  CHECK(setup.computed == samples - 12);
  CHECK(all_of(cache) == values_of(setup.maps));
}

TEST_CASE("a file too large for the disk is an error, and the next run goes on") {
  Setup setup;
  setup.options.shard_bytes = int64_t{1} << 20;  // all in one shard
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1024, 1024};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int code = 1;
    try {
      FeatureCache::open(setup.folder.path(), setup.key, samples, map_shape, setup.kernels, setup.options);
    } catch (const Error& error) {
      code = std::string(error.what()).find("cannot write") != std::string::npos ? 7 : 2;
    }
    ::_exit(code);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(std::filesystem::is_empty(FeatureCache::folder_of(setup.folder.path(), setup.key)));
  CHECK(all_of(setup.open()) == values_of(setup.maps));
}

TEST_CASE("a shard that was changed, cut short or removed is computed again, and only that one") {
  Setup setup;
  setup.open();
  const std::string good = read_file(setup.shard(1));
  const auto check_rebuilt = [&] {
    const FeatureCache cache = setup.open();
    CHECK(setup.computed == 4);
    CHECK(all_of(cache) == values_of(setup.maps));
    CHECK(read_file(setup.shard(1)) == good);
  };
  SUBCASE("a flipped bit in the data") { flip_byte(setup.shard(1), 10); }
  SUBCASE("a flipped bit in the header") { flip_byte(setup.shard(1), good.size() - 20); }
  SUBCASE("truncated") { std::filesystem::resize_file(setup.shard(1), good.size() - 1); }
  SUBCASE("empty") { std::filesystem::resize_file(setup.shard(1), 0); }
  SUBCASE("longer") { write_file(setup.shard(1), good + "x"); }
  SUBCASE("removed") { std::filesystem::remove(setup.shard(1)); }
  SUBCASE("swapped with another") {
    std::filesystem::copy_file(setup.shard(0), setup.shard(1), std::filesystem::copy_options::overwrite_existing);
  }
  check_rebuilt();
}

TEST_CASE("a manifest that cannot be trusted means that everything is computed again") {
  Setup setup;
  setup.open();
  const std::string good = read_file(setup.manifest());
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    REQUIRE(text.find(from) != std::string::npos);
    return text.replace(text.find(from), from.size(), to);
  };
  std::vector<std::string> bad{"", "{", "[]", "null", "{\"digest\": 3}", good.substr(0, good.size() / 2)};
  bad.push_back(replaced("\"digest\": \"", "\"digest\": \"0"));
  bad.push_back(replaced("\"samples\": 23", "\"samples\": 24"));
  bad.push_back(replaced("\"samples\": 23", "\"samples\": -23"));
  bad.push_back(replaced("\"samples\": 23", "\"samples\": 1e300"));
  bad.push_back(replaced("\"rows_per_shard\": 4", "\"rows_per_shard\": 0"));
  bad.push_back(replaced("\"rows_per_shard\": 4", "\"rows_per_shard\": 9223372036854775807"));
  bad.push_back(replaced("\"skipped\": []", "\"skipped\": [99]"));
  bad.push_back(replaced("\"skipped\": []", "\"skipped\": \"all\""));
  bad.push_back(replaced("\"shards\": [", "\"shards\": [7, "));
  for (const std::string& text : bad) {
    CAPTURE(text);
    write_file(setup.manifest(), text);
    const FeatureCache cache = setup.open();
    CHECK(setup.computed == samples);
    CHECK(all_of(cache) == values_of(setup.maps));
    CHECK(read_file(setup.manifest()) == good);
  }
}

TEST_CASE("every part of the key names another cache") {
  Setup setup;
  setup.open();
  const FeatureKey original = setup.key;
  std::vector<FeatureKey> others(7, original);
  others[0].weights = "w2";
  others[1].data = "d2";
  others[2].preprocessing = "p2";
  others[3].node = "layer2";
  others[4].engine = "cpu other";
  others[5].dtype = DType::float16;
  others[6].pooled = true;
  for (const FeatureKey& key : others) {
    setup.key = key;
    setup.open();
    CHECK(setup.computed == samples);
  }
  setup.key = original;
  setup.open();
  CHECK(setup.computed == 0);
  // A part that runs over into the next is another key too.
  FeatureKey joined = original;
  joined.weights += joined.data;
  joined.data = "";
  CHECK(joined.digest() != original.digest());
}

TEST_CASE("another number of samples or another map is never served from an old cache") {
  Setup setup;
  setup.open();
  const auto open = [&](int64_t count, const Shape& map) {
    return FeatureCache::open(setup.folder.path(), setup.key, count, map, setup.kernels, setup.options);
  };
  setup.computed = 0;
  CHECK(open(samples - 1, map_shape)->size() == samples - 1);
  CHECK(setup.computed == samples - 1);
  setup.maps = setup.maps.reshaped({samples, 1, 9, channels});
  setup.computed = 0;
  CHECK(open(samples, {1, 9, channels})->row_shape() == Shape{1, 9, channels});
  CHECK(setup.computed == samples);
}

TEST_CASE("what a killed process left is removed once it is old") {
  Setup setup;
  setup.open();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  const auto folder = FeatureCache::folder_of(setup.folder.path(), setup.key);
  const auto name = [&](pid_t process) {
    return folder / ("shard-00000.safetensors.partial-" + std::to_string(process) + "-0");
  };
  write_file(name(child), "x");
  write_file(name(::getpid()), "x");
  setup.open();
  CHECK(std::filesystem::exists(name(child)));  // young
  for (const pid_t process : {child, ::getpid()})
    std::filesystem::last_write_time(name(process),
                                     std::filesystem::file_time_type::clock::now() - std::chrono::hours(2));
  setup.open();
  CHECK_FALSE(std::filesystem::exists(name(child)));
  CHECK(std::filesystem::exists(name(::getpid())));  // its process lives
}

TEST_CASE("a folder that cannot be made is an error") {
  Setup setup;
  write_file(setup.folder / "file", "");
  CHECK_THROWS_WITH_AS(
      FeatureCache::open(setup.folder / "file", setup.key, samples, map_shape, setup.kernels, setup.options),
      doctest::Contains("cannot make the folder"), Error);
}
