#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>

#include "runtime/error.h"
#include "tools/checkpoints/containers.h"
#include "tools/checkpoints/legacy_magic.h"

namespace hp {
namespace {

using namespace std::string_view_literals;

struct Known {
  std::string_view start;
  std::string_view advice;
};

// Files that people pass by mistake.
constexpr std::array<Known, 8> mistakes{{
    {"version https://git-lfs"sv,
     "this is a Git-LFS pointer, not the file it stands for; run 'git lfs pull' in its repository or download the file "
     "itself"},
    {"PK\5\6"sv, "this is an empty zip archive; download or save the checkpoint again"},
    {"\x1f\x8b"sv, "this is gzip-compressed; unpack it with gunzip first"},
    {"BZh"sv, "this is bzip2-compressed; unpack it with bunzip2 first"},
    {"\xfd"
     "7zXZ"sv,
     "this is xz-compressed; unpack it with unxz first"},
    {"\x93NUMPY"sv, "this is a NumPy array; save a dictionary of named tensors with torch.save or as safetensors"},
    {"GGUF"sv, "this is a GGUF file of a language model; only PyTorch checkpoints and safetensors are read"},
    {"\x08"sv,
     "this looks like a protocol buffer (ONNX or TensorFlow); only PyTorch checkpoints and safetensors are read"},
}};

constexpr size_t tar_magic_at = 257;

bool is_web_page(std::string_view text) {
  std::string start;
  for (const char c : text.substr(0, 256))
    if (!std::isspace(static_cast<unsigned char>(c)))
      start += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return start.starts_with("<!doctypehtml") || start.starts_with("<html") || start.starts_with("<?xml");
}

std::string first_bytes(std::string_view text) {
  std::string bytes;
  for (const char c : text.substr(0, 8))
    bytes += fmt::format("{}{:02x}", bytes.empty() ? "" : " ", static_cast<unsigned char>(c));
  return bytes;
}

}  // namespace

Container recognise(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  require(!text.empty(), "[checkpoint] the file is empty; download or save it again");
  if (text.starts_with("PK\3\4")) return Container::zip;
  if (has_legacy_magic(text)) return Container::legacy_stream;
  if (text.size() > 8 && text[8] == '{') return Container::safetensors;
  require(!is_web_page(text),
          "[checkpoint] this is a web page, not a checkpoint; the download went wrong: open the link in a browser and "
          "take the file behind it");
  require(text.size() < tar_magic_at + 5 || text.substr(tar_magic_at, 5) != "ustar",
          "[checkpoint] this is a tar archive: either unpack it and take the checkpoint inside, or, if a PyTorch "
          "before 0.1.10 wrote it, load it "
          "there and save it anew");
  require(!text.starts_with("\x89HDF\r\n\x1a\n"), "[checkpoint] this is an HDF5 file, as Keras writes it (.h5); {}",
          foreign_framework_advice);
  for (const Known& mistake : mistakes) require(!text.starts_with(mistake.start), "[checkpoint] {}", mistake.advice);
  require(text[0] != '\x80',
          "[checkpoint] this is a bare pickle, not written by torch.save; save the state dict with torch.save or as "
          "safetensors");
  fail("[checkpoint] unknown container; got a file that starts with {}; expected a PyTorch checkpoint or safetensors",
       first_bytes(text));
}

}  // namespace hp
