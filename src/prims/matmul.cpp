// Products of matrices and tensors.
#include <algorithm>
#include <map>
#include <string>

#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

void infer_matmul(InferCtx& c) {
  const Shape &a = c.shape(0), &b = c.shape(1);
  require_dtype(c, 0, kDNumber);
  if (c.dtype(0) != c.dtype(1))
    c.fail(ErrorCode::DtypeMismatch,
           cat("dtypes ", dtype_name(c.dtype(0)), " and ", dtype_name(c.dtype(1)), " differ"));
  if (a.ndim() < 2 || b.ndim() < 2)
    c.fail(ErrorCode::ShapeMismatch, cat("matrices need two dimensions, got ", a.str(), " and ", b.str()));
  if (a.at(-1) != b.at(-2))
    c.fail(ErrorCode::ShapeMismatch, cat("shapes ", a.str(), " and ", b.str(), " do not fit: ", a.at(-1),
                                         " columns against ", b.at(-2), " rows"));
  Shape la = a, lb = b;
  for (int i = 0; i < 2; ++i) {
    la.erase(la.ndim() - 1);
    lb.erase(lb.ndim() - 1);
  }
  Shape out = broadcast_shapes(la, lb, "matmul");
  out.push_back(a.at(-2));
  out.push_back(b.at(-1));
  c.push(out, c.dtype(0));
}

Arrays vjp_matmul(const VjpCtx& c) {
  Arrays out(2);
  const bool z = is_complex(c.cot[0].dtype());
  auto adjoint = [&](const Array& x) { return swapaxes(z ? conj(x) : x, -1, -2); };
  if (c.needs[0]) out[0] = unbroadcast(matmul(c.cot[0], adjoint(c.in[1])), c.in[0].shape());
  if (c.needs[1]) out[1] = unbroadcast(matmul(adjoint(c.in[0]), c.cot[0]), c.in[1].shape());
  return out;
}

// Batch dimensions align from the right: the batched side's example gets as many as the other has.
Arrays vmap_matmul(const VmapCtx& c) {
  int rank = 0;
  for (size_t i = 0; i < 2; ++i) rank = std::max(rank, c.in[i].ndim() - (c.batched[i] ? 1 : 0));
  Arrays in;
  for (size_t i = 0; i < 2; ++i) {
    Array x = c.in[i];
    if (c.batched[i]) {
      Shape s = x.shape();
      while (s.ndim() - 1 < rank) s.insert(1, 1);
      x = reshape(x, s);
    }
    in.push_back(x);
  }
  // One matrix for all examples of a matrix: one product with more rows.
  if (c.batched[0] && !c.batched[1] && c.in[0].ndim() == 3 && c.in[1].ndim() == 2) {
    const Shape s = c.in[0].shape();
    return {reshape(matmul(reshape(c.in[0], {s[0] * s[1], s[2]}), c.in[1]), {s[0], s[1], c.in[1].shape(1)})};
  }
  return {apply1(Op::Matmul, in)};
}

std::vector<SampleCase> cases() {
  return {{{{3, 5}, {5, 4}}, {}, "in0 @ in1"},
          {{{2, 1, 3, 5}, {4, 5, 2}}, {}, "in0 @ in1"},
          {{{1, 300}, {300, 3}}, {}, "in0 @ in1"},
          {{{3, 0}, {0, 2}}, {}, "in0 @ in1"},
          {{{17, 33}, {33, 40}}, {}, "in0 @ in1"}};
}

const OpDef kRows[] = {
    {.op = Op::Matmul,
     .doc = "matrix product over the last two dimensions, batch dimensions broadcast; the dot product of the "
            "contract",
     .infer = infer_matmul,
     .vjp = vjp_matmul,
     .vmap = vmap_matmul,
     .hlo = "stablehlo.dot_general",
     .samples = {.dtypes = kDNumber, .c = 4, .cases = cases}},
};

Array promoted_matmul(const Array& a, const Array& b) {
  Dtype d = promote(a.dtype(), b.dtype());
  if (is_bool(d)) d = Dtype::I32;
  return apply1(Op::Matmul, {astype(a, d), astype(b, d)});
}

// --- einsum

[[noreturn]] void bad(std::string_view subscripts, std::string_view why) {
  throw Error(ErrorCode::InvalidArgument, cat("'", subscripts, "': ", why), "einsum");
}

struct Term {
  Array array;
  std::string labels;  // one character a dimension; ellipsis dimensions have codes from 1 up
};

// The diagonal of repeated labels, and sums over labels that nobody needs.
Term simplify(Term t, const std::string& needed) {
  for (size_t i = 0; i < t.labels.size(); ++i) {
    const size_t j = t.labels.find(t.labels[i], i + 1);
    if (j == std::string::npos) continue;
    const int64_t n = t.array.shape(static_cast<int>(i));
    Shape si = Shape::filled(t.array.ndim(), 1), sj = si;
    si[static_cast<int>(i)] = n;
    sj[static_cast<int>(j)] = n;
    const Array on = equal(reshape(arange(0, n), si), reshape(arange(0, n), sj));
    t.array = sum(where(on, t.array, zeros_like(t.array)), {static_cast<int64_t>(j)});
    t.labels.erase(j, 1);
    --i;
  }
  Axes drop;
  std::string left;
  for (size_t i = 0; i < t.labels.size(); ++i) {
    if (needed.find(t.labels[i]) == std::string::npos)
      drop.push_back(static_cast<int64_t>(i));
    else
      left += t.labels[i];
  }
  if (!drop.empty()) t = {sum(t.array, drop), left};
  return t;
}

Array arrange(const Term& t, const std::string& order) {
  Axes axes;
  for (char l : order) axes.push_back(static_cast<int64_t>(t.labels.find(l)));
  return transpose(t.array, axes);
}

// Labels in both are batch if still needed, else contracted, by one matmul.
Term contract(const Term& a, const Term& b, const std::string& needed) {
  std::string batch, summed, left, right;
  for (char l : a.labels) {
    if (b.labels.find(l) == std::string::npos)
      left += l;
    else
      (needed.find(l) != std::string::npos ? batch : summed) += l;
  }
  for (char l : b.labels)
    if (a.labels.find(l) == std::string::npos) right += l;
  std::map<char, int64_t> dims;
  for (size_t i = 0; i < a.labels.size(); ++i) dims[a.labels[i]] = a.array.shape(static_cast<int>(i));
  for (size_t i = 0; i < b.labels.size(); ++i) {
    int64_t& d = dims[b.labels[i]];
    d = std::max(d, b.array.shape(static_cast<int>(i)));
  }
  auto size = [&](const std::string& s) {
    int64_t n = 1;
    for (char l : s) n *= dims[l];
    return n;
  };
  auto widened = [&](const Term& t) {  // dimensions of 1 that meet larger ones
    Shape s;
    for (char l : t.labels) s.push_back(dims[l]);
    return Term{broadcast_to(t.array, s), t.labels};
  };
  const Array x =
      reshape(arrange(widened(a), batch + left + summed), {size(batch), size(left), size(summed)});
  const Array y =
      reshape(arrange(widened(b), batch + summed + right), {size(batch), size(summed), size(right)});
  const std::string letters = cat(batch, left, right);
  Shape out;
  for (char l : letters) out.push_back(dims[l]);
  return {reshape(matmul(x, y), out), letters};
}

}  // namespace

Rows matmul_rows() { return kRows; }

Array matmul(const Array& a, const Array& b) {
  if (a.ndim() == 0 || b.ndim() == 0)
    throw Error(ErrorCode::ShapeMismatch, "scalars have no matrix product", "matmul", "use multiply");
  const Array x = a.ndim() == 1 ? expand_dims(a, {0}) : a, y = b.ndim() == 1 ? expand_dims(b, {1}) : b;
  const Array r = promoted_matmul(x, y);
  if (a.ndim() == 1 && b.ndim() == 1) return reshape(r, {});
  if (a.ndim() == 1) return squeeze(r, {-2});
  return b.ndim() == 1 ? squeeze(r, {-1}) : r;
}
// Unlike matmul, pairs every row of `a` with every column of `b`.
Array dot(const Array& a, const Array& b) {
  if (a.ndim() == 0 || b.ndim() == 0) return a * b;
  return b.ndim() > 2 ? tensordot(a, b, {-1}, {-2}) : matmul(a, b);
}
Array inner(const Array& a, const Array& b) {
  if (a.ndim() == 0 || b.ndim() == 0) return a * b;
  return tensordot(a, b, {-1}, {-1});
}
Array outer(const Array& a, const Array& b) { return reshape(a, {-1, 1}) * reshape(b, {1, -1}); }

Array tensordot(const Array& a, const Array& b, const Axes& axes_a, const Axes& axes_b) {
  if (axes_a.ndim() != axes_b.ndim())
    throw Error(ErrorCode::InvalidArgument,
                cat("axes ", axes_a.str(), " and ", axes_b.str(), " differ in number"), "tensordot");
  Axes xa, xb, ra, rb;
  for (int i = 0; i < axes_a.ndim(); ++i) {
    xa.push_back(normalize_axis(axes_a[i], a.ndim(), "tensordot"));
    xb.push_back(normalize_axis(axes_b[i], b.ndim(), "tensordot"));
    if (a.shape()[static_cast<int>(xa[i])] != b.shape()[static_cast<int>(xb[i])])
      throw Error(ErrorCode::ShapeMismatch,
                  cat("axis ", axes_a[i], " of ", a.shape().str(), " does not fit axis ", axes_b[i], " of ",
                      b.shape().str()),
                  "tensordot");
  }
  normalize_axes(axes_a, a.ndim(), "tensordot");
  normalize_axes(axes_b, b.ndim(), "tensordot");
  Shape out;
  int64_t k = 1, m = 1, n = 1;
  for (int d = 0; d < a.ndim(); ++d) {
    if (xa.contains(d)) {
      k *= a.shape()[d];
    } else {
      ra.push_back(d);
      out.push_back(a.shape()[d]);
      m *= a.shape()[d];
    }
  }
  Axes left = ra, right = xb;
  for (int64_t d : xa) left.push_back(d);
  for (int d = 0; d < b.ndim(); ++d)
    if (!xb.contains(d)) {
      right.push_back(d);
      out.push_back(b.shape()[d]);
      n *= b.shape()[d];
    }
  return reshape(matmul(reshape(transpose(a, left), {m, k}), reshape(transpose(b, right), {k, n})), out);
}

Array einsum(std::string_view subscripts, const Arrays& operands) {
  std::string text;
  for (char ch : subscripts)
    if (ch != ' ') text += ch;
  const size_t arrow = text.find("->");
  const std::string left = text.substr(0, arrow);
  std::vector<std::string> inputs;
  for (size_t from = 0;;) {
    const size_t comma = left.find(',', from);
    inputs.push_back(left.substr(from, comma - from));
    if (comma == std::string::npos) break;
    from = comma + 1;
  }
  if (inputs.size() != operands.size())
    bad(subscripts, cat("names ", inputs.size(), " operands, got ", operands.size()));
  int ellipsis_rank = 0;
  auto expand = [&](const std::string& s, int ndim) {  // ellipsis to codes, right-aligned
    std::string out;
    int letters = 0;
    for (char ch : s) letters += ch != '.';
    const size_t dots = s.find("...");
    if (dots == std::string::npos) {
      if (s.find('.') != std::string::npos)
        bad(subscripts, "a single '.' means nothing; an ellipsis has three");
      out = s;
    } else {
      const int extra = ndim < 0 ? ellipsis_rank : ndim - letters;
      if (extra < 0) bad(subscripts, cat("'", s, "' names more dimensions than the operand's ", ndim));
      if (ndim >= 0) ellipsis_rank = std::max(ellipsis_rank, extra);
      std::string codes;
      for (int i = extra; i > 0; --i) codes += static_cast<char>(i);
      out = s.substr(0, dots) + codes + s.substr(dots + 3);
    }
    for (char ch : out)
      if (!(ch > 0 && ch <= kMaxRank) && !((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')))
        bad(subscripts, cat("'", ch, "' is no label"));
    return out;
  };
  std::vector<Term> terms;
  std::map<char, int64_t> dims;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string labels = expand(inputs[i], operands[i].ndim());
    if (static_cast<int>(labels.size()) != operands[i].ndim())
      bad(subscripts, cat("'", inputs[i], "' names ", labels.size(), " dimensions, operand ", i,
                          " has shape ", operands[i].shape().str()));
    for (size_t d = 0; d < labels.size(); ++d) {
      int64_t& n = dims.emplace(labels[d], operands[i].shape(static_cast<int>(d))).first->second;
      const int64_t m = operands[i].shape(static_cast<int>(d));
      if (n != m && n != 1 && m != 1)
        bad(subscripts, cat("label '", labels[d], "' is ", n, " in one operand and ", m, " in another"));
      n = std::max(n, m);
    }
    terms.push_back({operands[i], labels});
  }
  std::string output;
  if (arrow != std::string::npos) {
    output = expand(text.substr(arrow + 2), -1);
    for (size_t i = 0; i < output.size(); ++i) {
      if (!dims.count(output[i]))
        bad(subscripts, cat("label '", output[i], "' of the result is in no operand"));
      if (output.find(output[i], i + 1) != std::string::npos)
        bad(subscripts, cat("label '", output[i], "' is twice in the result"));
    }
  } else {  // labels that occur once, in alphabetical order, the ellipsis in front
    for (int i = ellipsis_rank; i > 0; --i) output += static_cast<char>(i);
    std::string all;
    for (const Term& t : terms) all += t.labels;
    for (const auto& [l, n] : dims)
      if (l > kMaxRank && std::count(all.begin(), all.end(), l) == 1) output += l;
  }
  auto needed_after = [&](size_t first) {
    std::string needed = output;
    for (size_t i = first; i < terms.size(); ++i) needed += terms[i].labels;
    return needed;
  };
  Term acc = simplify(terms[0], needed_after(1));
  for (size_t i = 1; i < terms.size(); ++i) {
    const std::string needed = needed_after(i + 1);
    acc = contract(acc, simplify(terms[i], needed + acc.labels), needed);
  }
  acc = simplify(acc, output);
  return arrange(acc, output);
}

}  // namespace mc
