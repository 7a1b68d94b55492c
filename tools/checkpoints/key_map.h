// Key maps: how the names of one source of checkpoints become canonical names. They are data, one JSON file each in
// models/keymaps.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hp {

// The first rule whose pattern matches decides. A pattern is a name in which each * stands for any text; the n-th * of
// `to` is replaced by the text of the n-th * of `from`. Without `to` the tensor is dropped for the reason given.
struct KeyRule {
  std::string from;
  std::optional<std::string> to;
  std::string reason;
  bool transpose = false;  // a matrix that the source keeps with its axes swapped
};

struct KeyMap {
  std::string name;                        // that of its file
  std::string about;                       // one line: which sources
  std::vector<std::string> architectures;  // patterns of their names: "resnet*"
  std::vector<std::string>
      wrappers;  // dictionaries that may hold the weights, tried in this order; "" is the file's own
  std::vector<std::string> prefixes;      // of names inside the wrapper, tried in this order
  std::vector<KeyRule> inside;            // for names with the prefix, which is stripped
  std::vector<KeyRule> outside;           // for the wrapper's other names
  std::string preprocessing;              // JSON, as the metadata of converted weights holds it, but for "native"
  std::vector<std::string> needs, lacks;  // patterns of names inside: each is there, none is there
  std::string logit_constant;             // of the classifier: a number, "off" for -ln(classes - 1), or nothing
};

bool matches(std::string_view pattern, std::string_view name);

// Throws hp::Error with the JSON's name for unknown, missing or mistyped members.
KeyMap parse_key_map(std::string_view name, std::string_view json);

// The key maps of models/keymaps, which are compiled in, by their order there.
std::vector<KeyMap> key_maps();

inline constexpr std::string_view canonical_map = "canonical";

// The map of a file that convert-weights or a pre-training wrote: its names are canonical, its metadata says the
// architecture and the preprocessing. Nothing for other files. Throws hp::Error if the metadata is not usable.
std::optional<KeyMap> canonical_key_map(const std::map<std::string, std::string>& metadata);

// The canonical name, or nothing (with the reason) for a tensor that is dropped.
struct Renamed {
  std::optional<std::string> name;
  std::string reason;
  bool transpose = false;
};
Renamed rename(std::span<const KeyRule> rules, std::string_view name);

}  // namespace hp
