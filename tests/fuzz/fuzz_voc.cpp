// PASCAL-VOC annotations.
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/fuzz/target.h"
#include "tools/data/formats.h"

namespace {

namespace fs = std::filesystem;

// A VOC tree with one picture's annotation, gone at the end.
class Tree {
 public:
  Tree() {
    std::string name = (fs::temp_directory_path() / "hp-fuzz-XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    root_ = name;
    for (const char* folder : {"Annotations", "JPEGImages", "ImageSets/Main"}) fs::create_directories(root_ / folder);
    std::ofstream(root_ / "ImageSets/Main/test.txt") << "a\n";
    std::ofstream(root_ / "JPEGImages/a.jpg") << "x";
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() {
    std::error_code error;
    fs::remove_all(root_, error);
  }
  const fs::path& root() const { return root_; }

 private:
  fs::path root_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hp;
  static const Tree tree;
  std::ofstream(tree.root() / "Annotations/a.xml", std::ios::binary) << fuzz::as_text({data, size});
  fuzz::refuse_or([] { list_voc(tree.root(), "test", {}, VocBoxes::one_based); });
  fuzz::refuse_or([] { list_voc(tree.root(), "test", {"dog", "person"}, VocBoxes::as_written); });
  return 0;
}
