// The elementwise functions by their definitions in double precision.
#pragma once

#include <span>

#include "runtime/kernels.h"

namespace hp::cases {

// A function, the range to draw its arguments from, and its definition.
struct FunctionRow {
  Function function;
  const char* name;
  double low, high;
  double (*value)(double);
};

std::span<const FunctionRow> all_functions();
const FunctionRow& definition_of(Function function);

}  // namespace hp::cases
