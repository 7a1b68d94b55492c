#include "tools/experiment/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/error.h"
#include "runtime/file.h"

namespace hp {

OutputFolder::OutputFolder(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  require(!error,
          "[run] output folder cannot be made; got {}: {}; expected a place to write to: choose another with --output",
          path_.string(), error.message());
  const std::filesystem::path file = path_ / ".lock";
  lock_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  require(lock_ >= 0,
          "[run] output folder cannot be written to; got {}: {}; expected a place to write to: choose another with "
          "--output",
          path_.string(), std::strerror(errno));
  // The lock goes with the process, however it ends.
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    close(lock_);
    fail("[run] another run works in this folder; got {}; expected a folder of its own: choose another with --output",
         path_.string());
  }
  remove_leftovers();
}

void OutputFolder::remove_leftovers() const {
  using std::chrono::seconds;
  remove_abandoned(path_, seconds(0));
  // A cache of features that several runs share lies in a folder of its own (`features.cache`).
  for (const char* part : {"features", "probes", "scores", "maps", "shift"}) {
    std::error_code error;
    remove_abandoned(path_ / part, seconds(0));
    for (std::filesystem::recursive_directory_iterator entry(path_ / part, error), end; !error && entry != end;
         entry.increment(error)) {
      if (entry->is_directory(error)) remove_abandoned(entry->path(), seconds(0));
    }
  }
}

OutputFolder::~OutputFolder() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace hp
