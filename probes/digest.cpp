#include "probes/digest.h"

#include <openssl/evp.h>

#include <array>

#include "runtime/error.h"

namespace hp {

std::string sha256_of(std::span<const std::byte> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  require(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1,
          "[digest] SHA-256 failed on {} bytes", bytes.size());
  std::string text;
  for (unsigned int i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace hp
