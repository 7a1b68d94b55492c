#include <doctest/doctest.h>

#include "runtime/error.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tools/checkpoints/containers.h"

namespace {

using namespace hp;
using namespace std::string_view_literals;

std::string advice(std::string_view file) {
  try {
    recognise(std::as_bytes(std::span(file)));
  } catch (const Error& error) {
    return error.what();
  }
  return "recognised";
}

bool says(std::string_view file, std::string_view part) {
  CAPTURE(advice(file));
  return advice(file).find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("recognise: containers, by content") {
  const auto container = [](std::string_view file) { return recognise(std::as_bytes(std::span(file))); };
  CHECK(container("PK\3\4........") == Container::zip);
  CHECK(container(test::legacy_file({.object = test::py::none(), .storages = {}})) == Container::legacy_stream);
  CHECK(container("\x80\x04\x95\x0d\0\0\0\0\0\0\0\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv) ==
        Container::legacy_stream);
  CHECK(container("\2\0\0\0\0\0\0\0{}"sv) == Container::safetensors);
}

TEST_CASE("recognise: an empty file") { CHECK(says("", "the file is empty")); }
TEST_CASE("recognise: a Git-LFS pointer") {
  CHECK(says("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "git lfs pull"));
}
TEST_CASE("recognise: a web page") {
  CHECK(says("<!DOCTYPE html>\n<html>", "web page"));
  CHECK(says("\n\n  <HTML lang=en>", "web page"));
}
TEST_CASE("recognise: a tar archive, whatever its suffix") {
  std::string tar(512, '\0');
  tar.replace(0, 4, "name");
  tar.replace(257, 5, "ustar");
  CHECK(says(tar, "tar archive"));
}
TEST_CASE("recognise: a bare pickle") {
  CHECK(says(test::py::pickle(test::py::dict({})), "bare pickle"));
  CHECK(says("\x80", "bare pickle"));
}
TEST_CASE("recognise: other formats") {
  CHECK(says("\x89HDF\r\n\x1a\n....", "HDF5"));
  CHECK(says("\x1f\x8b\x08", "gunzip"));
  CHECK(says("\x93NUMPY\1", "NumPy array"));
  CHECK(says("PK\5\6", "empty zip"));
  CHECK(says("\x08\x06\x12", "protocol buffer"));
}
TEST_CASE("recognise: anything else shows its first bytes") { CHECK(says("hello world", "68 65 6c 6c 6f 20 77 6f")); }
