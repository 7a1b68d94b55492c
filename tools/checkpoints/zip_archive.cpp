#include "tools/checkpoints/zip_archive.h"

#include <zip.h>
#include <zlib.h>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/checkpoints/zip_directory.h"

namespace hp {
namespace {

struct CloseMember {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

// Deflate cannot pack more than this many bytes into one, plus a few for a short member.
constexpr uint64_t largest_ratio = 1032;
// What a member may unpack to beyond the size of the archive: weights do not shrink, so larger ones are there to fill
// the memory.
constexpr uint64_t spare_unpacked = uint64_t{32} << 20;

ZipMember checked_member(const zip_stat_t& facts, uint64_t file_bytes) {
  constexpr zip_uint64_t needed =
      ZIP_STAT_NAME | ZIP_STAT_INDEX | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  require((facts.valid & needed) == needed, "[zip] a member without name or size; the archive is damaged");
  const std::string name = printable(facts.name);
  require(facts.comp_method == ZIP_CM_STORE || facts.comp_method == ZIP_CM_DEFLATE,
          "[zip] member {} is packed with method {}; expected stored or deflated", name, facts.comp_method);
  require(
      facts.comp_size <= file_bytes,
      "[zip] member {} is larger than the archive; got {} bytes; expected at most {}; the file is cut off or damaged",
      name, facts.comp_size, file_bytes);
  const bool possible =
      facts.comp_method == ZIP_CM_STORE ? facts.size == facts.comp_size : facts.size / largest_ratio <= facts.comp_size;
  require(possible, "[zip] member {} has an impossible size; got {} bytes from {}; the archive is damaged or hostile",
          name, facts.size, facts.comp_size);
  require(
      facts.size <= file_bytes + spare_unpacked,
      "[zip] member {} unpacks to {} bytes from an archive of {}; expected at most {}; if you trust it, unpack it and "
      "pack it again without compression (zip -0)",
      name, facts.size, file_bytes, file_bytes + spare_unpacked);
  return {facts.index, facts.size, facts.crc};
}

// Only where the archive's own directory and libzip say the same.
void place(ZipMember& member, const zip_stat_t& facts, const ZipPlace& place) {
  const bool same = place.name == facts.name && place.bytes.size() == member.bytes &&
                    (facts.valid & ZIP_STAT_CRC) != 0 && place.checksum == facts.crc;
  if (same && member.bytes > 0) member.stored = place.bytes.data();
}

}  // namespace

void ZipArchive::Discard::operator()(zip* archive) const { zip_discard(archive); }

ZipArchive::ZipArchive(std::span<const std::byte> file) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(file.data(), file.size(), 0, &error);
  archive_.reset(source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr);
  const std::string reason = archive_ ? "" : zip_error_strerror(&error);
  zip_error_fini(&error);
  if (!archive_ && source) zip_source_free(source);
  require(archive_ != nullptr, "[zip] the archive cannot be opened: {}; it is cut off or damaged, download it again",
          reason);

  const zip_int64_t count = zip_get_num_entries(archive_.get(), 0);
  const std::optional<std::vector<ZipPlace>> places = zip_places(file);
  const bool placed = places && places->size() == static_cast<size_t>(count);
  for (zip_int64_t index = 0; index < count; ++index) {
    zip_stat_t facts;
    zip_stat_init(&facts);
    require(zip_stat_index(archive_.get(), static_cast<zip_uint64_t>(index), 0, &facts) == 0,
            "[zip] member {} cannot be examined: {}", index, zip_strerror(archive_.get()));
    ZipMember member = checked_member(facts, file.size());
    if (placed && facts.comp_method == ZIP_CM_STORE) place(member, facts, (*places)[static_cast<size_t>(index)]);
    require(members_.emplace(facts.name, member).second,
            "[zip] two members are called {}; the archive is damaged or hostile", printable(facts.name));
  }
}

const ZipMember* ZipArchive::find(const std::string& name) const {
  const auto found = members_.find(name);
  return found == members_.end() ? nullptr : &found->second;
}

std::optional<std::span<const std::byte>> ZipArchive::mapped(const std::string& name) const {
  const ZipMember* member = find(name);
  if (!member || !member->stored) return std::nullopt;
  const auto* bytes = reinterpret_cast<const Bytef*>(member->stored);
  require(crc32_z(0, bytes, member->bytes) == member->checksum,
          "[zip] member {} is damaged: {}; download the file again", printable(name), "CRC error");
  return std::span(member->stored, member->bytes);
}

std::vector<std::byte> ZipArchive::read(const std::string& name) const {
  const ZipMember* member = find(name);
  require(member != nullptr, "[zip] the archive lacks {}; it is damaged", printable(name));
  const std::unique_ptr<zip_file_t, CloseMember> file(zip_fopen_index(archive_.get(), member->index, 0));
  require(file != nullptr, "[zip] member {} cannot be opened: {}", printable(name), zip_strerror(archive_.get()));
  std::vector<std::byte> bytes(member->bytes);
  size_t done = 0;
  for (;;) {  // one read beyond the end makes libzip compare the checksum
    std::byte beyond{};
    const bool full = done == bytes.size();
    const zip_int64_t got =
        full ? zip_fread(file.get(), &beyond, 1) : zip_fread(file.get(), bytes.data() + done, bytes.size() - done);
    require(got >= 0, "[zip] member {} is damaged: {}; download the file again", printable(name),
            zip_file_strerror(file.get()));
    require(got > 0 || full, "[zip] member {} ends early; got {} bytes; expected {}", printable(name), done,
            bytes.size());
    if (got == 0) return bytes;
    require(!full, "[zip] member {} is longer than the {} bytes that the archive announces", printable(name),
            bytes.size());
    done += static_cast<size_t>(got);
  }
}

}  // namespace hp
