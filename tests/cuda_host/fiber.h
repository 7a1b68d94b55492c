// Fiber: a stack of its own for one CUDA thread. One operating-system thread runs them all.
#pragma once

#include <ucontext.h>
#include <csetjmp>
#include <cstddef>

namespace cuda_host {

// resume() runs the fiber until it calls suspend(). The entry function must never return.
class Fiber {
 public:
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();          // by the scheduler
  void suspend();         // by the fiber itself
  static void entered();  // the first thing that an entry function does: the sanitizer learns of the new stack

 private:
  ucontext_t start_{};
  jmp_buf state_{};
  std::byte* stack_ = nullptr;
  bool started_ = false;
};

}  // namespace cuda_host
