// Relevance rules word by word on a dense matrix, in double precision (attribution.md B.2): the reference of the rules.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "runtime/arena_pool.h"
#include "runtime/op.h"

namespace hp::test {

using Vector = std::vector<double>;

inline double positive(double v) { return v > 0 ? v : 0; }
inline double negative(double v) { return v < 0 ? v : 0; }
inline double same(double v) { return v; }

// y = w x + b for one image.
struct DenseOp {
  size_t inputs = 0, outputs = 0;
  Vector w, b;  // w [outputs, inputs]

  // f(w) part(x)
  template <class F, class Part>
  Vector product(const F& f, const Part& part, const Vector& x) const {
    Vector y(outputs, 0.0);
    for (size_t j = 0; j < outputs; ++j) {
      for (size_t i = 0; i < inputs; ++i) y[j] += f(w[j * inputs + i]) * part(x[i]);
    }
    return y;
  }
  // f(w)^T s
  template <class F>
  Vector transposed(const F& f, const Vector& s) const {
    Vector x(inputs, 0.0);
    for (size_t j = 0; j < outputs; ++j) {
      for (size_t i = 0; i < inputs; ++i) x[i] += f(w[j * inputs + i]) * s[j];
    }
    return x;
  }
  Vector forward(const Vector& x) const {
    Vector y = product(same, same, x);
    for (size_t j = 0; j < outputs; ++j) y[j] += b[j];
    return y;
  }
};

// The matrix of an op with one data input, from unit vectors pushed through Op::forward as one batch. `operands`: those
// of one image. The bias is left out while w is measured, so that the columns are exact.
inline DenseOp dense_of(Context context, const Op& op, std::vector<Operand> operands) {
  DenseOp dense;
  auto zeros = [&](const Shape& shape) {
    Tensor t = context.scratch.take(shape);
    context.kernels.fill(t.count(), 0, t.floats());
    return t;
  };
  auto run = [&] {
    std::vector<Shape> shapes;
    for (const Operand& operand : operands) shapes.push_back(operand.tensor.shape());
    Tensor out = context.scratch.take(op.infer(shapes));
    op.forward(context, operands, {}, out, {});
    return Vector(out.floats(), out.floats() + out.count());
  };
  const Shape shape = operands[0].tensor.shape();
  const int64_t inputs = shape.count();
  operands[0] = {zeros(shape), nullptr};
  dense.b = run();
  dense.inputs = static_cast<size_t>(inputs);
  dense.outputs = dense.b.size();
  operands[0] = {zeros(shape.with(0, inputs)), nullptr};
  for (int64_t i = 0; i < inputs; ++i) operands[0].tensor.floats()[i * inputs + i] = 1;
  for (size_t i = 1; i < operands.size(); ++i) {
    if (op.role(static_cast<int>(i)) == Role::bias) operands[i] = {zeros(operands[i].tensor.shape()), nullptr};
  }
  const Vector columns = run();  // [inputs, outputs]
  dense.w.resize(columns.size());
  for (size_t i = 0; i < dense.inputs; ++i) {
    for (size_t k = 0; k < dense.outputs; ++k) dense.w[k * dense.inputs + i] = columns[i * dense.outputs + k];
  }
  return dense;
}

struct DenseOptions {
  double stabiliser = 1e-6f;
  double gamma = 0.25, alpha = 2, beta = 1;
  bool zero_bias = false;
  Vector low, high;  // per input
};

inline double stab(double d, double epsilon) { return d + (d < 0 ? -epsilon : epsilon); }

// What a rule does to the relevance r of the outputs of one image.
class DenseRules {
 public:
  DenseRules(const DenseOp& op, const Vector& x, const DenseOptions& options)
      : op_(op), x_(x), options_(options), z_(op.forward(x)) {}

  Vector apply(const std::string& rule, const Vector& r) const {
    if (rule == "epsilon") return epsilon(r);
    if (rule == "z_plus") return alpha_beta(r, 1, 0);
    if (rule == "alpha_beta") return alpha_beta(r, options_.alpha, options_.beta);
    if (rule == "gamma") return gamma(r);
    if (rule == "z_box") return z_box(r);
    if (rule == "w_square") return w_square(r);
    return flat(r);
  }

  // sum_i R_i = sum_j R_j c_j (attribution.md B.8), with biases.
  double absorbed(const std::string& rule, const Vector& r) const {
    const Vector p = denominators(1), n = denominators(-1);
    const Vector squares = op_.product([](double w) { return w * w; }, [](double) { return 1.0; }, x_);
    double sum = 0;
    for (size_t j = 0; j < r.size(); ++j) {
      const double b = op_.b[j], e = options_.stabiliser, z = z_[j];
      double c = 1;
      if (rule == "epsilon") c = (z - b) / stab(z, e);
      if (rule == "z_plus") c = (p[j] - positive(b)) / stab(p[j], e);
      if (rule == "alpha_beta")
        c = options_.alpha * (p[j] - positive(b)) / stab(p[j], e) -
            options_.beta * (n[j] - negative(b)) / stab(n[j], e);
      if (rule == "gamma") {
        const double bias = b + options_.gamma * (z > 0 ? positive(b) : negative(b));
        const double d = z + options_.gamma * (z > 0 ? p[j] : n[j]);
        c = z == 0 ? 0 : (d - bias) / stab(d, e);
      }
      if (rule == "w_square") c = squares[j] / stab(squares[j] + b * b, e);
      sum += r[j] * c;
    }
    return sum;
  }

 private:
  double bias(size_t j) const { return options_.zero_bias ? 0 : op_.b[j]; }

  // sum of the parts of one sign of x w, and of the bias
  Vector denominators(int sign) const {
    const auto signed_part = [](int part) { return [part](double v) { return part * v > 0 ? v : 0.0; }; };
    const Vector a = op_.product(signed_part(sign), positive, x_);
    const Vector c = op_.product(signed_part(-sign), negative, x_);
    Vector d(op_.outputs);
    for (size_t j = 0; j < d.size(); ++j) d[j] = a[j] + c[j] + (sign > 0 ? positive(bias(j)) : negative(bias(j)));
    return d;
  }

  Vector ratio(const Vector& r, const Vector& d) const {
    Vector s(r.size());
    for (size_t j = 0; j < s.size(); ++j) s[j] = r[j] / stab(d[j], options_.stabiliser);
    return s;
  }

  // target += factor * part(x) * w'^T s
  template <class Part, class F>
  void add(Vector& target, double factor, const Part& part, const F& f, const Vector& s) const {
    const Vector back = op_.transposed(f, s);
    for (size_t i = 0; i < target.size(); ++i) target[i] += factor * part(x_[i]) * back[i];
  }

  Vector epsilon(const Vector& r) const {
    Vector d = op_.product(same, same, x_), result(op_.inputs, 0.0);
    for (size_t j = 0; j < d.size(); ++j) d[j] += bias(j);
    add(result, 1, same, same, ratio(r, d));
    return result;
  }

  Vector alpha_beta(const Vector& r, double alpha, double beta) const {
    Vector result(op_.inputs, 0.0);
    const Vector p = ratio(r, denominators(1)), n = ratio(r, denominators(-1));
    add(result, alpha, positive, positive, p);
    add(result, alpha, negative, negative, p);
    add(result, -beta, positive, negative, n);
    add(result, -beta, negative, positive, n);
    return result;
  }

  // protocol.md 5.2: `own` for x+, `other` for x-, at outputs of one sign.
  template <class Own, class Other>
  void add_gamma(Vector& result, const Vector& r, bool above, const Own& own, const Other& other) const {
    const Vector a = op_.product(own, positive, x_), c = op_.product(other, negative, x_);
    Vector d(op_.outputs), kept(op_.outputs);
    for (size_t j = 0; j < d.size(); ++j) {
      d[j] = a[j] + c[j] + own(bias(j));
      kept[j] = (above ? z_[j] > 0 : z_[j] < 0) ? r[j] : 0;
    }
    add(result, 1, positive, own, ratio(kept, d));
    add(result, 1, negative, other, ratio(kept, d));
  }

  Vector gamma(const Vector& r) const {
    const auto up = [g = options_.gamma](double v) { return v + g * positive(v); };
    const auto down = [g = options_.gamma](double v) { return v + g * negative(v); };
    Vector result(op_.inputs, 0.0);
    add_gamma(result, r, true, up, down);
    add_gamma(result, r, false, down, up);
    return result;
  }

  Vector z_box(const Vector& r) const {
    Vector d = op_.product(same, same, x_);
    const Vector low = op_.product(positive, same, options_.low), high = op_.product(negative, same, options_.high);
    for (size_t j = 0; j < d.size(); ++j) d[j] -= low[j] + high[j];
    const Vector s = ratio(r, d);
    Vector result(op_.inputs, 0.0);
    add(result, 1, same, same, s);
    const Vector lows = op_.transposed(positive, s), highs = op_.transposed(negative, s);
    for (size_t i = 0; i < result.size(); ++i) result[i] -= options_.low[i] * lows[i] + options_.high[i] * highs[i];
    return result;
  }

  Vector w_square(const Vector& r) const {
    const auto square = [](double w) { return w * w; };
    Vector d = op_.product(square, [](double) { return 1.0; }, x_);
    for (size_t j = 0; j < d.size(); ++j) d[j] += bias(j) * bias(j);
    return op_.transposed(square, ratio(r, d));
  }

  // No weight of the tests is 0, so a 0 in the matrix is no connection.
  Vector flat(const Vector& r) const {
    const auto one = [](double w) { return w == 0 ? 0.0 : 1.0; };
    return op_.transposed(one, ratio(r, op_.product(one, [](double) { return 1.0; }, x_)));
  }

  const DenseOp& op_;
  const Vector& x_;
  const DenseOptions& options_;
  Vector z_;
};

}  // namespace hp::test
