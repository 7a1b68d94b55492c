#include "tools/experiment/score_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "probes/digest.h"
#include "runtime/error.h"
#include "runtime/file.h"

namespace hp {

namespace {

using nlohmann::json;

constexpr size_t mark_digits = 16;

std::string mark_of(std::string_view content) { return sha256_of(content).substr(0, mark_digits); }

// JSON knows no numbers that are not finite, and CSV files show their sign.
json number_or_text(double value) {
  if (std::isfinite(value)) return value;
  return fmt::format("{}", value);
}

double number_from(const json& value) {
  if (value.is_number()) return value.get<double>();
  const std::string& text = value.get_ref<const std::string&>();
  const double size =
      text.ends_with("inf") ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  return std::copysign(size, text.starts_with('-') ? -1 : 1);
}

// Names come from files and need not be UTF-8: every byte becomes the character of its number.
std::string characters(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    if (value >= 0x80) text += static_cast<char>(value < 0xC0 ? 0xC2 : 0xC3);
    text += static_cast<char>(value < 0xC0 ? value : value - 0x40);
  }
  return text;
}

std::string bytes_of(const json& characters) {
  std::string bytes;
  const std::string& text = characters.get_ref<const std::string&>();
  for (size_t i = 0; i < text.size(); ++i) {
    const auto value = static_cast<unsigned char>(text[i]);
    const bool two = (value == 0xC2 || value == 0xC3) && i + 1 < text.size();
    bytes += two ? static_cast<char>(static_cast<unsigned char>(text[++i]) + (value == 0xC3 ? 0x40 : 0)) : text[i];
  }
  return bytes;
}

json to_json(const std::vector<std::string>& texts) {
  json list = json::array();
  for (const std::string& text : texts) list.push_back(characters(text));
  return list;
}

std::vector<std::string> texts_from(const json& list) {
  std::vector<std::string> texts;
  for (const json& text : list) texts.push_back(bytes_of(text));
  return texts;
}

json to_json(const std::vector<Record>& records) {
  json list = json::array();
  for (const Record& r : records) list.push_back({characters(r.sample), r.target, r.cell, number_or_text(r.value)});
  return list;
}

json to_json(const GalleryItem& item) {
  json maps = json::array();
  for (const GalleryMap& map : item.maps) maps.push_back({map.method, map.probe, map.picture.string()});
  return {item.evaluation, characters(item.sample), characters(item.target), item.input.string(), std::move(maps)};
}

GalleryItem gallery_item_from(const json& all) {
  GalleryItem item{all.at(0), bytes_of(all.at(1)), bytes_of(all.at(2)), all.at(3).get<std::string>(), {}};
  for (const json& map : all.at(4)) item.maps.push_back({map.at(0), map.at(1), map.at(2).get<std::string>()});
  return item;
}

json to_json(const ScoredBatch& batch) {
  json all{{"negative", number_or_text(batch.negative_logits)},
           {"logits", batch.logits},
           {"warnings", to_json(batch.warnings)},
           {"files", to_json(batch.files)}};
  for (const char* list : {"scores", "completeness", "gallery"}) all[list] = json::array();
  for (const auto& [key, records] : batch.scores)
    all["scores"].push_back({key.evaluation, key.metric, key.method, key.probe, to_json(records)});
  for (const double value : batch.completeness) all["completeness"].push_back(number_or_text(value));
  for (const GalleryItem& item : batch.gallery) all["gallery"].push_back(to_json(item));
  return all;
}

ScoredBatch batch_from(const json& all) {
  ScoredBatch batch;
  batch.negative_logits = number_from(all.at("negative"));
  batch.logits = all.at("logits");
  batch.warnings = texts_from(all.at("warnings"));
  batch.files = texts_from(all.at("files"));
  for (const json& scores : all.at("scores")) {
    auto& [key, records] = batch.scores.emplace_back();
    key = {scores.at(0), scores.at(1), scores.at(2), scores.at(3)};
    for (const json& r : scores.at(4)) records.push_back({bytes_of(r.at(0)), r.at(1), r.at(2), number_from(r.at(3))});
  }
  for (const json& value : all.at("completeness")) batch.completeness.push_back(number_from(value));
  for (const json& item : all.at("gallery")) batch.gallery.push_back(gallery_item_from(item));
  return batch;
}

std::string text_of(const std::filesystem::path& file) {
  const MappedFile mapped(file);
  return {reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()};
}

std::string line_of(const std::string& content) { return mark_of(content) + " " + content + "\n"; }

}  // namespace

ScoreLog::ScoreLog(std::filesystem::path file, const std::string& digest) : file_(std::move(file)) {
  std::filesystem::create_directories(file_.parent_path());
  const std::string header = line_of("hp scores 1 " + digest);
  const std::string found = std::filesystem::exists(file_) ? text_of(file_) : std::string();
  if (!found.starts_with(header)) {
    if (!found.empty()) content_of(std::string_view(found).substr(0, found.find('\n')), 1);
    foreign_ = !found.empty();
    AtomicFile fresh(file_);
    fresh.write(header);
    fresh.commit();
  }
  ends_ = {static_cast<int64_t>(header.size())};
  if (found.starts_with(header)) read(std::string_view(found).substr(header.size()));
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CLOEXEC);
  require(descriptor_ >= 0, "[scores] cannot write {}: {}", file_.string(), std::strerror(errno));
  keep(earlier_.size());
}

ScoreLog::~ScoreLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ScoreLog::damaged(size_t line, std::string_view reason) const {
  fail("[scores] line {} of {} is damaged; got: {}; delete the file, and what it holds is computed again", line,
       file_.string(), reason);
}

std::string_view ScoreLog::content_of(std::string_view line, size_t number) const {
  const std::string_view content = line.substr(std::min(line.size(), mark_digits + 1));
  if (!line.starts_with(mark_of(content) + " ")) damaged(number, "contents that do not fit their digest");
  return content;
}

void ScoreLog::read(std::string_view text) {
  for (size_t line = 2; text.find('\n') != std::string_view::npos; ++line) {  // without: its writer was killed
    const size_t length = text.find('\n');
    const std::string_view content = content_of(text.substr(0, length), line);
    try {
      earlier_.push_back(batch_from(json::parse(content)));
    } catch (const json::exception& error) {
      damaged(line, error.what());
    }
    ends_.push_back(ends_.back() + static_cast<int64_t>(length) + 1);
    text.remove_prefix(length + 1);
  }
}

void ScoreLog::keep(size_t count) {
  earlier_.resize(std::min(count, earlier_.size()));
  ends_.resize(earlier_.size() + 1);
  const bool cut = ::ftruncate(descriptor_, ends_.back()) == 0 && ::lseek(descriptor_, ends_.back(), SEEK_SET) >= 0;
  require(cut, "[scores] cannot write {}: {}", file_.string(), std::strerror(errno));
}

void ScoreLog::append(const ScoredBatch& batch) {
  const std::string line = line_of(to_json(batch).dump());
  for (size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "[scores] cannot write {}: {}; make room, and the same command goes on from here",
            file_.string(), std::strerror(errno));
    done += static_cast<size_t>(written);
  }
}

}  // namespace hp
