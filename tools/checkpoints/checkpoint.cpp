#include "tools/checkpoints/checkpoint.h"

#include <openssl/evp.h>

#include <array>
#include <new>
#include <unordered_set>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/checkpoints/containers.h"

namespace hp {
namespace {

Checkpoint read_container(MappedFile file, std::string_view where) {
  switch (recognise(file.bytes())) {
    case Container::legacy_stream:
      return read_legacy_stream(std::move(file));
    case Container::zip:
      return read_zip(std::move(file));
    case Container::safetensors:
      return read_safetensors(std::move(file), where);
  }
  fail("[checkpoint] unknown container");
}

void check_names(const Checkpoint& checkpoint) {
  std::unordered_set<std::string_view> names;
  for (const CheckpointTensor& tensor : checkpoint.tensors)
    require(names.insert(tensor.name).second, "[checkpoint] two tensors are called {}; the file is damaged or hostile",
            printable(tensor.name));
}

}  // namespace

Checkpoint read_checkpoint(const std::filesystem::path& path) {
  MappedFile file(path);
  try {
    Checkpoint checkpoint = read_container(std::move(file), path.string());
    check_names(checkpoint);
    return checkpoint;
  } catch (const Error& error) {
    const std::string_view text = error.what();
    if (text.starts_with("[safetensors]")) throw;  // names the file already
    fail("[checkpoint] {}: {}", path.string(), text.substr(text.starts_with('[') ? text.find(' ') + 1 : 0));
  }
}

std::string sha256(const std::filesystem::path& path) {
  const MappedFile file(path);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  require(EVP_Digest(file.bytes().data(), file.bytes().size(), digest.data(), &length, EVP_sha256(), nullptr) == 1,
          "[checkpoint] {}: the SHA-256 could not be computed", path.string());
  std::string text;
  for (unsigned int i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace hp
