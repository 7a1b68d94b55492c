// Whether this build runs under a sanitizer, whose own memory no bound can be set on.
#pragma once

namespace hp::test {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace hp::test
