#include "tests/cases/functions.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hp::cases {

namespace {

constexpr FunctionRow functions[] = {
    {Function::relu, "relu", -1, 1, [](double x) { return std::max(x, 0.0); }},
    {Function::sigmoid, "sigmoid", -3, 3, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {Function::tanh, "tanh", -1.5, 1.5, [](double x) { return std::tanh(x); }},
    {Function::exponential, "exponential", -5, 5, [](double x) { return std::exp(x); }},
    {Function::logarithm, "logarithm", 0.01, 4, [](double x) { return std::log(x); }},
    {Function::square, "square", -3, 3, [](double x) { return x * x; }},
    {Function::absolute, "absolute", -2, 2, [](double x) { return std::abs(x); }},
    {Function::positive_part, "positive_part", -1, 1, [](double x) { return std::max(x, 0.0); }},
    {Function::negative_part, "negative_part", -1, 1, [](double x) { return std::min(x, 0.0); }},
    {Function::sign, "sign", -1, 1, [](double x) { return x > 0   ? 1.0
                                                          : x < 0 ? -1.0
                                                                  : 0.0; }},
    {Function::gelu, "gelu", -5, 5, [](double x) { return x * std::erfc(-x / std::sqrt(2.0)) / 2; }},
    {Function::gelu_tanh, "gelu_tanh", -5, 5,
     [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))); }},
    {Function::quick_gelu, "quick_gelu", -5, 5, [](double x) { return x / (1 + std::exp(-1.702 * x)); }},
    {Function::silu, "silu", -6, 6, [](double x) { return x / (1 + std::exp(-x)); }},
};

}  // namespace

std::span<const FunctionRow> all_functions() { return functions; }

const FunctionRow& definition_of(Function function) {
  return *std::ranges::find(functions, function, &FunctionRow::function);
}

}  // namespace hp::cases
