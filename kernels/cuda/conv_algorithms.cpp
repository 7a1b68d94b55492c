#include "kernels/cuda/conv_algorithms.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <string_view>

#include "runtime/file.h"

namespace hp {

namespace {

constexpr std::string_view title = "cuDNN algorithms, version 1", separator = ": ";

// The next line of `text`, which loses it.
std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

}  // namespace

ConvAlgorithms::ConvAlgorithms(std::string file, std::string machine)
    : file_(std::move(file)), machine_(std::move(machine)) {
  if (are_measured() && std::filesystem::exists(file_)) read();
}

// The title, the machine, then a line for each convolution: "forward fp32 32x56x56x64 ...: 1".
void ConvAlgorithms::read() {
  const MappedFile file(file_);
  std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  if (take_line(text) != title || take_line(text) != machine_) return;
  std::map<std::string, int> chosen;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    const size_t at = line.rfind(separator);
    if (at == std::string_view::npos) return;
    const std::string_view number = line.substr(at + separator.size());
    int algorithm = 0;
    const auto [end, error] = std::from_chars(number.begin(), number.end(), algorithm);
    if (error != std::errc() || end != number.end()) return;
    chosen[std::string(line.substr(0, at))] = algorithm;
  }
  chosen_ = std::move(chosen);
}

std::optional<int> ConvAlgorithms::find(const std::string& convolution) const {
  const auto found = chosen_.find(convolution);
  if (found == chosen_.end()) return std::nullopt;
  return found->second;
}

void ConvAlgorithms::remember(const std::string& convolution, int algorithm) {
  chosen_[convolution] = algorithm;
  std::string text = fmt::format("{}\n{}\n", title, machine_);
  for (const auto& [name, choice] : chosen_) text += fmt::format("{}{}{}\n", name, separator, choice);
  const std::filesystem::path path(file_);
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace hp
