#include "tests/tools/checkpoints/checkpoint_builder.h"

#include <zip.h>

#include "tests/files.h"

namespace hp::test {

std::string legacy_file(const LegacySpec& spec) {
  std::string file = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
  file += py::pickle(py::integer(spec.version));
  file += py::pickle(
      py::dict({{"protocol_version", py::integer(1001)}, {"little_endian", py::boolean(spec.little_endian)}}));
  file += py::pickle(spec.object);
  std::vector<std::string> keys;
  for (const StorageSpec& storage : spec.storages) keys.push_back(py::text(storage.key));
  file += py::pickle(py::list(keys));
  for (const StorageSpec& storage : spec.storages) file += raw(storage.elements()) + storage.bytes();
  return file;
}

std::string zip_file(const ZipSpec& spec) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "made.zip";
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  for (const auto& [name, content] : spec.members) {
    zip_source_t* source = zip_source_buffer(archive, content.data(), content.size(), 0);
    const auto index = static_cast<zip_uint64_t>(zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8));
    zip_set_file_compression(archive, index, spec.deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  zip_close(archive);
  return read_file(path);
}

ZipSpec torch_archive(const std::string& object, const std::vector<StorageSpec>& storages) {
  ZipSpec spec{{{"archive/data.pkl", py::pickle(object)}, {"archive/version", "3\n"}}};
  for (const StorageSpec& storage : storages) spec.members.emplace_back("archive/data/" + storage.key, storage.bytes());
  return spec;
}

}  // namespace hp::test
