// Storage: a block of bytes on one device, owned.
#pragma once

#include <cstddef>
#include <utility>

namespace hp {

enum class Device { cpu, cuda };

// Move-only. Made by Kernels::allocate; `free` gives the block back to whoever made it.
class Storage {
 public:
  using Free = void (*)(void* data, size_t bytes);

  Storage() = default;
  Storage(void* data, size_t bytes, Device device, Free free)
      : data_(data), bytes_(bytes), device_(device), free_(free) {}
  Storage(Storage&& other) noexcept { swap(other); }
  Storage& operator=(Storage&& other) noexcept {
    Storage moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~Storage() {
    if (data_) free_(data_, bytes_);
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  void swap(Storage& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(device_, other.device_);
    std::swap(free_, other.free_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_ = Device::cpu;
  Free free_ = nullptr;
};

// Host memory, 64-byte aligned (2 MiB with huge pages asked for, when it is large). Throws std::bad_alloc.
Storage allocate_host(size_t bytes);

}  // namespace hp
