#include "tests/cuda_host/fiber.h"

#include <sys/mman.h>

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_host {

namespace {

constexpr size_t page = 4096;

// What the address sanitizer must know of a change of stacks; nothing without it.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t stack_bytes = 512 << 10;
void start_switch(void** fake_stack, const void* bottom, size_t size) {
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
}
void finish_switch(void* fake_stack, const void** bottom, size_t* size) {
  __sanitizer_finish_switch_fiber(fake_stack, bottom, size);
}
#else
constexpr size_t stack_bytes = 64 << 10;
void start_switch(void**, const void*, size_t) {}
void finish_switch(void*, const void**, size_t*) {}
#endif

// The stack from which fibers are resumed, and the place to go back to.
struct Scheduler {
  jmp_buf state{};
  const void* bottom = nullptr;
  size_t bytes = 0;
};
Scheduler scheduler;

}  // namespace

// makecontext only gives the fiber its stack; _setjmp and _longjmp switch without a system call.
Fiber::Fiber(void (*entry)()) {
  void* memory = mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);  // a stack that overflows faults
  stack_ = static_cast<std::byte*>(memory) + page;
  getcontext(&start_);
  start_.uc_stack.ss_sp = stack_;
  start_.uc_stack.ss_size = stack_bytes;
  makecontext(&start_, entry, 0);
}

Fiber::~Fiber() { munmap(stack_ - page, stack_bytes + page); }

void Fiber::resume() {
  void* fake_stack = nullptr;
  start_switch(&fake_stack, stack_, stack_bytes);
  if (_setjmp(scheduler.state) == 0) {
    if (started_) _longjmp(state_, 1);
    started_ = true;
    setcontext(&start_);
  }
  finish_switch(fake_stack, nullptr, nullptr);
}

void Fiber::suspend() {
  void* fake_stack = nullptr;
  start_switch(&fake_stack, scheduler.bottom, scheduler.bytes);
  if (_setjmp(state_) == 0) _longjmp(scheduler.state, 1);
  finish_switch(fake_stack, &scheduler.bottom, &scheduler.bytes);
}

void Fiber::entered() { finish_switch(nullptr, &scheduler.bottom, &scheduler.bytes); }

}  // namespace cuda_host
