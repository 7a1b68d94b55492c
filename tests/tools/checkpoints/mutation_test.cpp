// Random damage, from fixed seeds: every file is either read within its bounds or refused, in bounded time and memory.
// Under the sanitizers the files are read here, one after the other; without them each is read by a child process that
// may take no more anonymous memory than the file's size and 64 MiB.
#include <doctest/doctest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

#include "runtime/error.h"
#include "tests/files.h"
#include "tests/places.h"
#include "tests/sanitized.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tests/tools/checkpoints/mutations.h"
#include "tools/checkpoints/conversion.h"

namespace {

using namespace hp;
using namespace hp::test;

constexpr int most_seconds = 10;
constexpr uint64_t spare_memory = uint64_t{64} << 20;

enum Outcome { was_read, was_refused, out_of_memory, out_of_time, crashed };

// libzip reports that it got no memory; that must not pass for a refusal.
Outcome refusal(const Error& error) {
  return std::string_view(error.what()).find("alloc") == std::string_view::npos ? was_refused : out_of_memory;
}

void read_all(const Checkpoint& checkpoint, const std::filesystem::path& file) {
  listing(checkpoint);
  // A tensor may be stretched to any size, which is harmless until somebody reads it.
  constexpr int64_t most = 1'000'000;
  for (const CheckpointTensor& tensor : checkpoint.tensors)
    if (tensor.view.shape.count() <= most) checkpoint.read(tensor);
  const Conversion conversion = plan_conversion(checkpoint, {});
  if (conversion.complete() && conversion.parameters <= most) convert(checkpoint, conversion, file);
}

// Reads whatever can be read of a file. A readable one may still be no network of ours.
Outcome examine(const std::filesystem::path& file) {
  try {
    const Checkpoint checkpoint = read_checkpoint(file);
    try {
      read_all(checkpoint, file);
    } catch (const Error& error) {
      return refusal(error) == out_of_memory ? out_of_memory : was_read;
    }
    return was_read;
  } catch (const Error& error) {
    return refusal(error);
  } catch (const std::bad_alloc&) {
    return out_of_memory;
  }
}

// Bytes of writable private memory of this process, what RLIMIT_DATA counts.
uint64_t data_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmData:")) return std::stoull(line.substr(7)) << 10;
  return 0;
}

// `action` in a child process with bounds on its time and its memory.
template <class Action>
Outcome confined(uint64_t more_bytes, rlim_t seconds, Action&& action) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    malloc_trim(0);
    const rlimit memory{data_bytes() + more_bytes, RLIM_INFINITY}, time{seconds, seconds + 1}, core{0, 0};
    setrlimit(RLIMIT_DATA, &memory);
    setrlimit(RLIMIT_CPU, &time);
    setrlimit(RLIMIT_CORE, &core);
    _exit(action());
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status)) return static_cast<Outcome>(WEXITSTATUS(status));
  return WTERMSIG(status) == SIGXCPU ? out_of_time : crashed;
}

Outcome examine_confined(const std::filesystem::path& file) {
  if (!sanitized)
    return confined(std::filesystem::file_size(file) + spare_memory, most_seconds, [&] { return examine(file); });
  const std::clock_t start = std::clock();
  const Outcome outcome = examine(file);
  return std::clock() - start > most_seconds * CLOCKS_PER_SEC ? out_of_time : outcome;
}

struct Damage {
  std::string name;
  int rounds;
  uint32_t seed;
};

// Checks every damaged file. Name, seed and round make the file that broke the reader again.
void damage(Container container, std::initializer_list<Damage> all) {
  int read = 0, refused = 0;
  for (const auto& [name, rounds, seed] : all) {
    CAPTURE(name);
    const std::string file = read_file(source_folder() / "tests/tools/checkpoints/files" / name);
    const TemporaryFolder folder;
    std::mt19937 random(seed);
    std::array<int, 5> counts{};
    for (int round = 0; round < rounds; ++round) {
      write_file(folder / "w.pth", mutate(container, file, random));
      const Outcome outcome = examine_confined(folder / "w.pth");
      ++counts[outcome];
      CHECK_MESSAGE(outcome <= was_refused, "round ", round, ": outcome ", static_cast<int>(outcome));
    }
    MESSAGE(name, ": ", counts[was_read], " read, ", counts[was_refused], " refused");
    read += counts[was_read], refused += counts[was_refused];
  }
  CHECK(read + refused == 2000);
  CHECK(std::min(read, refused) >= 50);
}

std::string times(std::string_view text, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += text;
  return all;
}

// Few bytes of file that want much memory.
std::vector<std::pair<std::string, std::string>> floods() {
  const auto legacy = [](const std::string& object) { return legacy_file({.object = object, .storages = {}}); };
  const auto safetensors = [](const std::string& header) { return raw(uint64_t{header.size()}) + header; };
  constexpr size_t many = 3'000'000;
  std::vector<std::pair<std::string, std::string>> files;
  files.emplace_back("values", legacy(times("N", many)));
  files.emplace_back("containers", legacy("]" + times("\x85", many)));
  files.emplace_back("marks", legacy(times("(", many)));
  files.emplace_back("memories", legacy("N" + times("\x94", many)));
  files.emplace_back("copies", legacy("]" + times("2", many)));
  files.emplace_back("members", legacy("](" + times("N", many) + "e"));
  std::string dict = "}(";
  for (int i = 0; i < 300'000; ++i) dict += "M" + raw(static_cast<uint16_t>(i)) + "N";
  files.emplace_back("names", legacy(dict + "u"));
  files.emplace_back("deflated pickle", zip_file({{{"a/data.pkl", py::pickle(times("N", 20 * many))}}, true}));
  files.emplace_back("deflated storage",
                     zip_file({{{"a/data.pkl", py::pickle("N")}, {"a/data/0", std::string(200 << 20, 0)}}, true}));
  std::string entries;
  for (int i = 0; i < 100'000; ++i)
    entries += fmt::format("{}\"{}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", i ? "," : "", i);
  files.emplace_back("entries", safetensors("{" + entries + "}"));
  files.emplace_back("name", safetensors("{\"" + std::string(20 << 20, 'a') + "\":{}}"));
  files.emplace_back("numbers", safetensors("{\"a\":{\"shape\":[" + times("0,", 10 << 20) + "0]}}"));
  return files;
}

}  // namespace

// 10 to 20 s of processor time each under the sanitizers, 4 s without.
TEST_CASE("mutations: legacy streams") {
  damage(Container::legacy_stream,
         {{"training_legacy.pth", 1000, 1}, {"protocol4_legacy.pth", 960, 2}, {"resnet50_legacy.pth", 40, 3}});
}
TEST_CASE("mutations: zip archives") {
  damage(Container::zip, {{"training_zip.pth", 800, 4},
                          {"protocol4_zip.pth", 760, 5},
                          {"resnet18_zip.pth", 40, 6},
                          {"towers_trace.pt", 400, 8}});
}
TEST_CASE("mutations: safetensors") { damage(Container::safetensors, {{"expected.safetensors", 2000, 7}}); }

TEST_CASE("floods: a small file cannot fill the memory" * doctest::skip(sanitized)) {
  const TemporaryFolder folder;
  for (const auto& [name, file] : floods()) {
    CAPTURE(name);
    write_file(folder / "w.pth", file);
    const Outcome outcome = examine_confined(folder / "w.pth");
    CHECK_MESSAGE(outcome <= was_refused, "outcome ", static_cast<int>(outcome), ", ", file.size(), " bytes");
  }
  // That the bound is one.
  CHECK(confined(spare_memory, 1, [] {
          try {
            return std::string(spare_memory + (8 << 20), 'x').size() > 1 ? was_read : was_refused;
          } catch (const std::bad_alloc&) {
            return out_of_memory;
          }
        }) == out_of_memory);
  CHECK(confined(spare_memory, 1, []() -> Outcome {
          while (std::clock() >= 0) {
          }
          return was_read;
        }) == out_of_time);
}
