#include "runtime/strided_plan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "core/op_names.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "prims/attrs.h"
#include "prims/block_formats.h"
#include "transforms/fuse.h"

namespace mc::strided {
namespace {

constexpr int kMaxGroupInputs = 24;
constexpr size_t kGroupReach = 64;  // how many nodes ahead products with the same x are looked for

// Where a value is: a strided window of a storage.
struct Place {
  int32_t storage = -1;
  int64_t offset = 0;  // bytes
  Shape strides;       // elements
};

// To odd, so that the rounding to 16 bits that follows is the only one.
float odd(double x) {
  float f = static_cast<float>(x);
  if (static_cast<double>(f) == x || x != x) return f;
  if (std::abs(static_cast<double>(f)) > std::abs(x)) f = std::nextafter(f, 0.0f);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(f) | 1u);
}
uint16_t half_bits(double x) { return blocks::float_to_half(odd(x)); }
uint16_t brain_bits(double x) {
  const uint32_t u = std::bit_cast<uint32_t>(odd(x));
  if (x != x) return static_cast<uint16_t>((u >> 16) | 0x40);
  return static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

// Strides of a reshaped strided array without moving data, if there are such.
std::optional<Shape> reshape_strides(const Shape& shape, const Shape& strides, const Shape& to) {
  if (shape.numel() == 0 || is_row_major(shape, strides)) return row_major(to);
  // Match runs of dimensions of equal product; a run must be contiguous within itself.
  Shape out = Shape::filled(to.ndim(), 0);
  int i = 0, j = 0;
  while (i < shape.ndim() || j < to.ndim()) {
    int64_t a = i < shape.ndim() ? shape[i] : 1, b = j < to.ndim() ? to[j] : 1;
    const int i0 = i, j0 = j;
    i = std::min(i + 1, shape.ndim());
    j = std::min(j + 1, to.ndim());
    while (a != b) {
      if (a < b) {
        if (i >= shape.ndim()) return std::nullopt;
        a *= shape[i++];
      } else {
        if (j >= to.ndim()) return std::nullopt;
        b *= to[j++];
      }
    }
    int64_t stride = 1;  // of the run's last dimension that is not 1
    bool found = false;
    int64_t expect = 0;
    for (int k = i - 1; k >= i0; --k) {
      if (shape[k] == 1) continue;
      if (!found) {
        stride = strides[k];
        found = true;
      } else if (strides[k] != expect) {
        return std::nullopt;
      }
      expect = strides[k] * shape[k];
    }
    int64_t s = stride;
    for (int k = j - 1; k >= j0; --k) {
      out[k] = s;
      s *= to[k];
    }
  }
  return out;
}

class Planner {
 public:
  Planner(const Graph& g, const std::vector<bool>& donated, const Rules& rules)
      : g_(g), donated_(donated), rules_(rules), places_(g.values.size()) {}

  Plan make() {
    for (size_t i = 0; i < g_.inputs.size(); ++i) {
      const int32_t s = add_storage(Storage::Kind::Input, static_cast<int>(i), g_.values[i].nbytes());
      plan_.storages[static_cast<size_t>(s)].first = -1;
      places_[i] = {s, 0, row_major(g_.values[i].shape)};
    }
    group_ = fuse_pointwise(g_, kMaxGroupInputs, is_pointwise);
    members_.resize(g_.nodes.size());
    for (size_t i = 0; i < g_.nodes.size(); ++i)
      if (group_[i] >= 0) members_[static_cast<size_t>(group_[i])].push_back(static_cast<int32_t>(i));
    for (size_t i = 0; i < g_.nodes.size(); ++i) node(i);
    outputs();
    lifetimes();
    share_in_place();
    lay_out();
    for (size_t i = 0; i < plan_.storages.size(); ++i)
      plan_.roots.push_back(static_cast<size_t>(root(static_cast<int32_t>(i))));
    return std::move(plan_);
  }

 private:
  const Aval& aval(ValueId v) const { return g_.values[static_cast<size_t>(v)]; }
  Place& place(ValueId v) { return places_[static_cast<size_t>(v)]; }
  Storage& storage(int32_t s) { return plan_.storages[static_cast<size_t>(s)]; }

  int32_t add_storage(Storage::Kind kind, int index, size_t bytes) {
    Storage s;
    s.kind = kind;
    s.index = index;
    s.bytes = bytes;
    plan_.storages.push_back(s);
    return static_cast<int32_t>(plan_.storages.size()) - 1;
  }

  size_t align_up(size_t n) const { return (n + rules_.align - 1) / rules_.align * rules_.align; }

  Place new_temp(const Aval& a) {
    return {add_storage(Storage::Kind::Temp, 0, a.nbytes()), 0, row_major(a.shape)};
  }

  void add_operand(Step& step, const Aval& a, const Place& p) {
    step.operands.push_back({p.storage, p.offset});
    step.views.push_back({a.shape, p.strides, a.dtype});
  }

  // A row-major copy of a value, made by a step of its own.
  Place materialize(const Aval& a, const Place& from) {
    Step copy;
    copy.n_in = 1;
    const Place to = new_temp(a);
    add_operand(copy, a, from);
    add_operand(copy, a, to);
    plan_.steps.push_back(std::move(copy));
    return to;
  }

  void node(size_t i) {
    const GraphNode& n = g_.nodes[i];
    if (group_[i] >= 0) {
      if (group_[i] == static_cast<int32_t>(i)) pointwise(i);
      return;
    }
    if (n.op == Op::Full) return full(n);
    if (is_view(n.op)) return view(n);
    if (rules_.products && n.op == Op::QuantizedMatmul && products(i)) return;
    const std::optional<uint32_t> flags = rules_.kernel_flags(n.op);
    if (!flags)
      throw Error(ErrorCode::UnsupportedOp, cat(rules_.engine, " has no kernel for ", op_name(n.op)),
                  std::string(op_name(n.op)));
    Step step;
    step.kind = Step::Kind::Kernel;
    step.op = n.op;
    step.attrs = n.attrs;
    step.n_in = n.n_in;
    std::vector<Place> in;
    for (ValueId v : g_.operands_of(n)) {
      Place p = place(v);
      const Aval& a = aval(v);
      const bool row_ok = a.shape.ndim() == 0 || a.shape.back() == 1 || p.strides.back() == 1;
      const bool ok =
          (*flags & kAnyStrides) || ((*flags & kRowStrides) && row_ok) || is_row_major(a.shape, p.strides);
      in.push_back(ok ? p : materialize(a, p));
    }
    size_t j = 0;
    for (ValueId v : g_.operands_of(n)) add_operand(step, aval(v), in[j++]);
    for (int o = 0; o < n.n_out; ++o) {
      place(n.first_out + o) = new_temp(aval(n.first_out + o));
      add_operand(step, aval(n.first_out + o), place(n.first_out + o));
    }
    plan_.steps.push_back(std::move(step));
  }

  void pointwise(size_t last) {
    PointwiseGroup group;
    std::map<ValueId, bool> inside;
    for (int32_t m : members_[last]) {
      const GraphNode& n = g_.nodes[static_cast<size_t>(m)];
      for (ValueId v : g_.operands_of(n))
        if (!inside.count(v) && std::find(group.inputs.begin(), group.inputs.end(), v) == group.inputs.end())
          group.inputs.push_back(v);
      inside[n.first_out] = true;
      group.nodes.push_back(&n);
    }
    const ValueId out = g_.nodes[last].first_out;
    group.output = out;
    const Shape& shape = aval(out).shape;
    Step step;
    step.op = g_.nodes[last].op;
    step.n_in = static_cast<int>(group.inputs.size());
    for (ValueId v : group.inputs) {
      Place p = place(v);
      Aval a = aval(v);
      Shape strides = Shape::filled(shape.ndim(), 0);
      const int extra = shape.ndim() - a.shape.ndim();
      for (int d = 0; d < a.shape.ndim(); ++d) strides[d + extra] = a.shape[d] == 1 ? 0 : p.strides[d];
      p.strides = strides;
      a.shape = shape;
      add_operand(step, a, p);
    }
    place(out) = new_temp(aval(out));
    add_operand(step, aval(out), place(out));
    step.kind = Step::Kind::Pointwise;
    step.pointwise = std::move(group);
    plan_.steps.push_back(std::move(step));
  }

  // Products of one x with several weights that are inputs run as one step, where the first of them stands.
  // True if the node is part of such a step.
  bool products(size_t first) {
    const GraphNode& n = g_.nodes[first];
    if (done_.count(n.first_out)) return true;
    const ValueId x = g_.operands_of(n)[0];
    auto fits = [&](const GraphNode& m) {
      if (m.op != Op::QuantizedMatmul || g_.operands_of(m)[0] != x ||
          m.attrs.as<QuantAttrs>().fast != n.attrs.as<QuantAttrs>().fast)
        return false;
      for (ValueId v : g_.operands_of(m).subspan(1))
        if (static_cast<size_t>(v) >= g_.inputs.size()) return false;
      return true;
    };
    std::vector<const GraphNode*> members;
    for (size_t i = first; i < std::min(g_.nodes.size(), first + kGroupReach); ++i)
      if (fits(g_.nodes[i])) members.push_back(&g_.nodes[i]);
    if (members.size() < 2 || members[0] != &n) return false;
    Step step;
    step.kind = Step::Kind::Products;
    step.op = Op::QuantizedMatmul;
    const Place px =
        is_row_major(aval(x).shape, place(x).strides) ? place(x) : materialize(aval(x), place(x));
    add_operand(step, aval(x), px);
    for (const GraphNode* m : members) {
      step.group.push_back(m->attrs);
      for (ValueId v : g_.operands_of(*m).subspan(1)) add_operand(step, aval(v), place(v));
    }
    step.n_in = static_cast<int>(step.operands.size());
    for (const GraphNode* m : members) {
      place(m->first_out) = new_temp(aval(m->first_out));
      add_operand(step, aval(m->first_out), place(m->first_out));
      done_[m->first_out] = true;
    }
    plan_.steps.push_back(std::move(step));
    return true;
  }

  // One element in constant memory, seen with strides of zero.
  void full(const GraphNode& n) {
    const auto& a = n.attrs.as<FullAttrs>();
    std::vector<std::byte> data(rules_.const_bytes);
    auto put = [&](auto v) { std::memcpy(data.data(), &v, sizeof v); };
    switch (a.dtype) {
      case Dtype::Bool: put(static_cast<uint8_t>(a.i != 0)); break;
      case Dtype::U8:
      case Dtype::I8: put(static_cast<uint8_t>(a.i)); break;
      case Dtype::U16:
      case Dtype::I16: put(static_cast<uint16_t>(a.i)); break;
      case Dtype::U32:
      case Dtype::I32: put(static_cast<uint32_t>(a.i)); break;
      case Dtype::U64:
      case Dtype::I64: put(static_cast<uint64_t>(a.i)); break;
      case Dtype::F16: put(half_bits(a.re)); break;
      case Dtype::BF16: put(brain_bits(a.re)); break;
      case Dtype::F32: put(static_cast<float>(a.re)); break;
      case Dtype::F64: put(a.re); break;
      case Dtype::C64:
        put(static_cast<float>(a.re));
        {
          const float im = static_cast<float>(a.im);
          std::memcpy(data.data() + 4, &im, 4);
        }
        break;
      case Dtype::C128:
        put(a.re);
        std::memcpy(data.data() + 8, &a.im, 8);
        break;
    }
    const int32_t s =
        add_storage(Storage::Kind::Const, static_cast<int>(plan_.consts.size()), itemsize(a.dtype));
    plan_.consts.push_back(std::move(data));
    place(n.first_out) = {s, 0, Shape::filled(a.shape.ndim(), 0)};
  }

  void view(const GraphNode& n) {
    const std::span<const ValueId> ops = g_.operands_of(n);
    Place p = place(ops[0]);
    const Shape& shape = aval(ops[0]).shape;
    const Shape& to = aval(n.first_out).shape;
    const int64_t item = static_cast<int64_t>(itemsize(aval(ops[0]).dtype));
    switch (n.op) {
      case Op::StopGradient:
      case Op::Bitcast: break;
      case Op::Barrier:
        for (int k = 0; k < n.n_out; ++k) place(n.first_out + k) = place(ops[static_cast<size_t>(k)]);
        return;
      case Op::Real:
      case Op::Imag:
        if (is_complex(aval(ops[0]).dtype)) {
          for (int64_t& s : p.strides) s *= 2;
          if (n.op == Op::Imag) p.offset += item / 2;
        }
        break;
      case Op::Transpose: {
        const Axes& axes = n.attrs.as<TransposeAttrs>().axes;
        Shape s = p.strides;
        for (int d = 0; d < axes.ndim(); ++d) s[d] = p.strides[static_cast<int>(axes[d])];
        p.strides = s;
        break;
      }
      case Op::BroadcastTo: {
        Shape s = Shape::filled(to.ndim(), 0);
        const int extra = to.ndim() - shape.ndim();
        for (int d = 0; d < shape.ndim(); ++d) s[d + extra] = shape[d] == 1 ? 0 : p.strides[d];
        p.strides = s;
        break;
      }
      case Op::Slice: {
        const auto& a = n.attrs.as<SliceAttrs>();
        for (int d = 0; d < shape.ndim(); ++d) {
          p.offset += a.start[d] * p.strides[d] * item;
          p.strides[d] *= a.step[d];
        }
        break;
      }
      case Op::Flip:
        for (int64_t ax : n.attrs.as<FlipAttrs>().axes) {
          const int d = static_cast<int>(ax);
          if (shape[d] > 0) p.offset += (shape[d] - 1) * p.strides[d] * item;
          p.strides[d] = -p.strides[d];
        }
        break;
      case Op::Reshape:
        if (auto s = reshape_strides(shape, p.strides, to)) {
          p.strides = *s;
        } else {
          p = materialize(aval(ops[0]), p);
          p.strides = row_major(to);
        }
        break;
      default: break;
    }
    if (to.numel() == 0) {
      p.offset = 0;
      p.strides = row_major(to);
    }
    place(n.first_out) = p;
  }

  void outputs() {
    for (ValueId v : g_.outputs) {
      const Aval& a = aval(v);
      Place p = place(v);
      const Storage::Kind kind = storage(p.storage).kind;
      const bool small_part = kind != Storage::Kind::Input && a.nbytes() * 2 < storage(p.storage).bytes;
      if (!is_row_major(a.shape, p.strides) || kind == Storage::Kind::Const || small_part) {
        p = materialize(a, p);
        place(v) = p;
      }
      Storage& s = storage(p.storage);
      if (s.kind == Storage::Kind::Temp) {
        s.kind = Storage::Kind::Output;
        s.index = static_cast<int>(plan_.output_buffers.size());
        plan_.output_buffers.push_back(s.bytes);
      }
      plan_.outputs.push_back({p.storage, static_cast<size_t>(p.offset)});
    }
  }

  void lifetimes() {
    for (size_t i = 0; i < plan_.steps.size(); ++i)
      for (const Operand& o : plan_.steps[i].operands) {
        Storage& s = storage(o.storage);
        if (s.first < 0 && s.kind != Storage::Kind::Input) s.first = static_cast<int32_t>(i);
        s.last = static_cast<int32_t>(i);
      }
    for (const OutputRef& o : plan_.outputs) storage(o.storage).last = INT32_MAX;
  }

  int32_t root(int32_t s) {
    while (storage(s).alias >= 0) s = storage(s).alias;
    return s;
  }

  // Lets an output take over the memory of an input that is used here for the last time.
  void share_in_place() {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      Step& step = plan_.steps[i];
      const bool fused = step.kind == Step::Kind::Pointwise;
      if (!fused && !(step.kind == Step::Kind::Kernel && (*rules_.kernel_flags(step.op) & kInPlace)))
        continue;
      const int32_t out = step.operands[static_cast<size_t>(step.n_in)].storage;
      const View& out_t = step.views[static_cast<size_t>(step.n_in)];
      if (storage(out).alias >= 0) continue;
      const int tries = fused ? step.n_in : 1;
      for (int k = 0; k < tries; ++k) {
        const Operand& in = step.operands[static_cast<size_t>(k)];
        const View& t = step.views[static_cast<size_t>(k)];
        const int32_t r = root(in.storage);
        Storage& s = storage(r);
        const bool takeable =
            s.kind == Storage::Kind::Temp ||
            (s.kind == Storage::Kind::Input && static_cast<size_t>(s.index) < donated_.size() &&
             donated_[static_cast<size_t>(s.index)]);
        if (!takeable || last_use(r) != static_cast<int32_t>(i) || in.offset != 0 ||
            s.bytes != storage(out).bytes)
          continue;
        if (itemsize(t.dtype) != itemsize(out_t.dtype) || !is_row_major(out_t.shape, t.strides) ||
            !(t.shape == out_t.shape))
          continue;
        bool elsewhere = false;  // read through another operand of this step
        for (int m = 0; m < step.n_in; ++m)
          elsewhere = elsewhere || (m != k && root(step.operands[static_cast<size_t>(m)].storage) == r);
        if (elsewhere) continue;
        if (s.kind == Storage::Kind::Temp && storage(out).kind == Storage::Kind::Output) {
          // The memory goes out: the whole chain lives in the output's buffer.
          s.kind = Storage::Kind::Output;
          s.index = storage(out).index;
        }
        storage(out).alias = r;
        s.last = std::max(s.last, storage(out).last);
        break;
      }
    }
    // Outputs that took over a donated input need no memory of their own.
    std::vector<bool> used(plan_.output_buffers.size());
    for (const Storage& s : plan_.storages)
      if (s.kind == Storage::Kind::Output && s.alias < 0) used[static_cast<size_t>(s.index)] = true;
    for (size_t i = 0; i < used.size(); ++i)
      if (!used[i]) plan_.output_buffers[i] = kNoBuffer;
  }

  int32_t last_use(int32_t r) { return storage(r).last; }

  // Greedy by size: each temporary goes to the lowest offset where nothing that lives at the same time is.
  void lay_out() {
    std::vector<int32_t> order;
    for (size_t i = 0; i < plan_.storages.size(); ++i) {
      const Storage& s = plan_.storages[i];
      if (s.kind == Storage::Kind::Temp && s.alias < 0 && s.last >= 0)
        order.push_back(static_cast<int32_t>(i));
    }
    // Small graphs and long chains alike: sweep in the order of first use with a list of what is live.
    std::sort(order.begin(), order.end(),
              [&](int32_t a, int32_t b) { return storage(a).first < storage(b).first; });
    size_t all = 0;
    for (int32_t id : order) all += align_up(std::max<size_t>(storage(id).bytes, 1)) + align_up(rules_.guard);
    plan_.apart = all <= rules_.apart;
    struct Live {
      size_t offset, bytes;
      int32_t last;
    };
    std::vector<Live> live;  // by offset
    for (int32_t id : order) {
      Storage& s = storage(id);
      if (!plan_.apart) std::erase_if(live, [&](const Live& l) { return l.last < s.first; });
      const size_t bytes = align_up(std::max<size_t>(s.bytes, 1)) + align_up(rules_.guard);
      size_t at = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
      for (const Live& l : live) {
        if (l.offset >= at + bytes && l.offset - at < best_gap) {
          best = at;
          best_gap = l.offset - at;
        }
        at = std::max(at, l.offset + l.bytes);
      }
      if (best == SIZE_MAX) best = at;
      s.offset = best;
      plan_.temp_bytes = std::max(plan_.temp_bytes, best + bytes);
      live.insert(std::upper_bound(live.begin(), live.end(), best,
                                   [](size_t o, const Live& l) { return o < l.offset; }),
                  {best, bytes, s.last});
    }
  }

  const Graph& g_;
  const std::vector<bool>& donated_;
  const Rules& rules_;
  std::vector<Place> places_;
  std::vector<int32_t> group_;
  std::vector<std::vector<int32_t>> members_;
  std::map<ValueId, bool> done_;  // outputs of nodes that an earlier step computes
  Plan plan_;
};

}  // namespace

size_t Memory::output_bytes() const {
  size_t sum = 0;
  for (size_t b : output_buffers)
    if (b != kNoBuffer) sum += b;
  return sum;
}

Plan make_plan(const Graph& graph, const std::vector<bool>& donated, const Rules& rules) {
  return Planner(graph, donated, rules).make();
}

}  // namespace mc::strided
