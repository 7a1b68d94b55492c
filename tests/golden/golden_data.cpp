#include "tests/golden/golden_data.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/safetensors.h"
#include "tests/golden/formula.h"
#include "tests/places.h"

namespace hp::golden {

namespace {

constexpr double node_tolerance = 1e-5, node_limit = 5e-4, output_tolerance = 1e-4, relevance_tolerance = 1e-3;

// "resnet20 image test/horse/0024.jpg epsilon_plus": what a failed comparison is about, besides the entry's name.
std::string context_of(const GoldenFile& file, const GoldenEntry& entry) {
  std::string text = file.header().at("network").get<std::string>();
  if (entry.about.contains("image")) {
    const nlohmann::json& image = file.header().at("images").at(entry.about["image"].get<size_t>());
    text += " image " + image.at(image.contains("file") ? "file" : "seed_name").get<std::string>();
  }
  for (const char* key : {"composite", "method"}) {
    if (entry.about.contains(key)) text += " " + entry.text(key);
  }
  if (entry.about.contains("target")) text += fmt::format(" class {}", entry.about["target"].get<int>());
  return text;
}

// Relevance inside the network counts as one group.
std::string group_of(const GoldenEntry& entry) {
  const std::string group = entry.text("group");
  return entry.text("kind") != "relevance" || group.starts_with("input") ? group : "layers";
}

}  // namespace

double GoldenEntry::tolerance() const {
  const std::string kind = text("kind");
  if (kind == "node") {
    return std::max(node_tolerance, std::min(3 * about.at("float32_error").get<double>(), node_limit));
  }
  const double allowed = kind == "relevance" ? relevance_tolerance : output_tolerance;
  return std::max(allowed, 3 * about.at("group_float32_error").get<double>());
}

GoldenFile::GoldenFile(const std::string& name) : name_(name) {
  const SafetensorsFile file((test::source_folder() / "tests/golden" / (std::string(name) + ".safetensors")).string());
  header_ = nlohmann::json::parse(file.metadata().at("golden"));
  for (const auto& [key, about] : header_.at("entries").items()) {
    const SafetensorsEntry* stored = file.find(key);
    REQUIRE_MESSAGE(stored != nullptr, name << " has no tensor " << key);
    entries_[key] = {key, about, to_tensor(*stored)};
  }
  REQUIRE(entries_.size() == file.entries().size());
  header_.erase("entries");
}

double Deviation::largest() const {
  const double largest = std::max({elements, norm, sum});
  return std::isfinite(elements + norm + sum) ? largest : std::numeric_limits<double>::infinity();
}

Deviation deviation(const GoldenEntry& entry, const Tensor& got) {
  const auto samples = entry.about.at("samples").get<size_t>(), size = static_cast<size_t>(got.count());
  const float *want = entry.values.floats(), *values = got.floats();
  const uint32_t seed = fnv1a(entry.name);
  double difference = 0, stored = 0;
  for (size_t k = 0; k < static_cast<size_t>(entry.values.count()); ++k) {
    const double value = values[samples == 0 ? k : sample_index(k, samples, size, seed)];
    difference += (value - want[k]) * (value - want[k]);
    stored += static_cast<double>(want[k]) * want[k];
  }
  double sum = 0, squares = 0;
  for (size_t i = 0; i < size; ++i) {
    sum += values[i];
    squares += static_cast<double>(values[i]) * values[i];
  }
  const double want_sum = entry.about.at("sum").get<double>(), want_norm = entry.about.at("l2").get<double>();
  return {std::sqrt(difference / stored), std::abs(std::sqrt(squares) - want_norm) / want_norm,
          std::abs(sum - want_sum) / (want_norm * std::sqrt(static_cast<double>(size)))};
}

void Comparison::check(const std::string& name, const Tensor& got, const std::string& how) {
  const auto found = file_.entries().find(name);
  REQUIRE_MESSAGE(found != file_.entries().end(), file_.name() << " has no entry " << name);
  const GoldenEntry& entry = found->second;
  const auto extents = entry.about.at("shape").get<std::vector<int64_t>>();
  REQUIRE_MESSAGE(got.count() == Shape(std::span<const int64_t>(extents)).count(),
                  name << " has another shape: " << got.shape().str());
  const Deviation off = deviation(entry, got);
  const double error = off.largest(), tolerance = entry.tolerance();
  CHECK_MESSAGE(error <= tolerance,
                fmt::format("{}: {}{}{}: relative error {:.2e} (elements {:.2e}, norm {:.2e}, sum {:.2e}); tolerance "
                            "{:.2e}",
                            context_of(file_, entry), name, how.empty() ? "" : ", ", how, error, off.elements, off.norm,
                            off.sum, tolerance));
  Largest& largest = groups_[group_of(entry)];
  largest = {std::max(largest.error, error), std::max(largest.share, error / tolerance)};
  compared_.insert(name);
  ++count_;
}

void Comparison::finish() const {
  for (const auto& [name, entry] : file_.entries()) {
    CHECK_MESSAGE(compared_.contains(name), file_.name() << ": nothing was compared with " << name);
  }
  std::string text =
      fmt::format("{}: {} comparisons with {} entries; largest relative error (part of the tolerance):", file_.name(),
                  count_, file_.entries().size());
  for (const auto& [group, largest] : groups_) {
    text += fmt::format("\n  {:30} {:.1e} ({:.2f})", group, largest.error, largest.share);
  }
  MESSAGE(text);
}

}  // namespace hp::golden
