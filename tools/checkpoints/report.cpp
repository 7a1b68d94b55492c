// The conversion in words.
#include <algorithm>
#include <map>

#include "runtime/text.h"
#include "tools/checkpoints/conversion.h"

#include <fmt/format.h>

namespace hp {
namespace {

constexpr size_t names_shown = 3;

std::string plural(size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string bare(std::string_view name) {  // without the quotes that a list does not need
  const std::string text = printable(name);
  return text.starts_with('\'') && text.ends_with('\'') ? text.substr(1, text.size() - 2) : text;
}

std::string section(std::string_view title, const std::vector<std::string>& lines) {
  std::string text = fmt::format("{:<13}{}\n", title, lines.empty() ? "none" : std::to_string(lines.size()));
  for (const std::string& line : lines) text += fmt::format("  {}\n", line);
  return text;
}

// One line a reason, with the first few names.
std::string dropped_section(const std::vector<DroppedTensor>& dropped) {
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  std::map<std::string, size_t> group_of_reason;
  for (const DroppedTensor& tensor : dropped) {
    const auto [group, added] = group_of_reason.emplace(tensor.reason, groups.size());
    if (added) groups.push_back({tensor.reason, {}});
    groups[group->second].second.push_back(bare(tensor.name));
  }
  std::string text = fmt::format("{:<13}{}\n", "dropped", dropped.empty() ? "none" : std::to_string(dropped.size()));
  for (const auto& [reason, names] : groups) {
    const size_t shown = std::min(names.size(), names_shown);
    text +=
        fmt::format("  {}{}: {}\n", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                    names.size() > shown ? fmt::format(", ... ({} in all)", names.size()) : "", reason);
  }
  return text;
}

}  // namespace

std::string report(const Checkpoint& checkpoint, const Conversion& conversion) {
  std::string place = conversion.wrapper;
  if (!conversion.prefix.empty()) place += (place.empty() ? "" : ".") + conversion.prefix + "*";
  std::string text =
      fmt::format("{:<13}{}, {}\n", "container", checkpoint.container, plural(checkpoint.tensors.size(), "tensor"));
  text += fmt::format("{:<13}{}\n", "architecture", conversion.architecture);
  text += fmt::format("{:<13}{}{}\n", "key map", conversion.key_map, place.empty() ? "" : ", names in " + place);
  text += fmt::format("{:<13}{}: {} parameters and {} running statistics\n", "used",
                      plural(conversion.used.size(), "tensor"), conversion.parameters, conversion.running_statistics);
  text += fmt::format("{:<13}{}\n", "classifier",
                      conversion.classes == 0             ? "none"
                      : conversion.logit_constant.empty() ? fmt::format("{} classes", conversion.classes)
                                                          : fmt::format("{} classes, logit constant {}",
                                                                        conversion.classes, conversion.logit_constant));
  text += dropped_section(conversion.dropped);
  text += section("missing", conversion.missing);
  if (!conversion.wrong.empty()) text += section("wrong", conversion.wrong);
  if (!conversion.unexpected.empty()) text += section("unexpected", conversion.unexpected);
  return text;
}

std::string listing(const Checkpoint& checkpoint) {
  size_t width = 0;
  for (const CheckpointTensor& tensor : checkpoint.tensors) width = std::max(width, bare(tensor.name).size());
  for (const CheckpointItem& item : checkpoint.items) width = std::max(width, bare(item.name).size());
  std::string text = fmt::format("{}, {}\n", checkpoint.container, plural(checkpoint.tensors.size(), "tensor"));
  for (const CheckpointTensor& tensor : checkpoint.tensors)
    text += fmt::format("{:<{}}  {:<4}  {}\n", bare(tensor.name), width, name_of(tensor.type), tensor.view.shape.str());
  for (const CheckpointItem& item : checkpoint.items)
    text += fmt::format("{:<{}}  {}\n", bare(item.name), width, item.what);
  return text;
}

}  // namespace hp
