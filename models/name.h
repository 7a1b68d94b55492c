// Names of architectures: a base name and settings behind it, "clip_rn50_w8_r64".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace hp {

// Settings are one letter and a number, each behind an underscore: w channels of the first stage or of a token, d
// depth, h heads, r native side of the image in pixels, e channels of an embedding. A part without a letter in front of
// its digits ("vit_ti_16") belongs to the base.
struct ModelName {
  std::string base;
  std::map<char, int64_t> settings;

  int64_t get(char letter, int64_t otherwise) const;
};

ModelName parse_model_name(const std::string& name);

// `base` with a setting behind it, or `base` alone where `value` is the base's own.
std::string with_setting(const std::string& base, char letter, int64_t value, int64_t own);

// Throws hp::Error that names the architecture unless every setting is one of `letters` and within its limits: widths
// multiples of 4 from 4 to 1024, other numbers from 1 to 4096.
void require_settings(const ModelName& name, std::string_view letters, const std::string& architecture);

}  // namespace hp
