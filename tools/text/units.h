// Numbers with their units, short.
#pragma once

#include <cstdint>
#include <string>

namespace hp {

std::string bytes_text(double bytes);      // "640 B", "12 kB", "3.1 MB", "2.5 GB"
std::string count_text(int64_t count);     // "640", "272.5 k", "25.56 M"
std::string flops_text(double flops);      // "82.2 MFLOP", "8.18 GFLOP"; "-" for none
std::string seconds_text(double seconds);  // "12.3 us", "4.56 ms", "7.89 s"

}  // namespace hp
