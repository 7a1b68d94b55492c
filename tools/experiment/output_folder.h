// OutputFolder: the folder of one run, held against a second run for as long as this object lives.
#pragma once

#include <filesystem>

namespace hp {

class OutputFolder {
 public:
  // Makes the folder, and clears it of the temporary files of killed runs. Throws hp::Error if it cannot be written to,
  // or if another run holds it.
  explicit OutputFolder(std::filesystem::path path);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  // What killed runs left half-written: nobody else writes here.
  void remove_leftovers() const;

  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace hp
