// The interpreter of fused elementwise groups.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "backends/numpy/kernels/pointwise.h"
#include "base/cache_size.h"
#include "base/thread_pool.h"
#include "mc/detail/str.h"
#include "mc/error.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace mc::kernels {
namespace {

constexpr int kMaxDims = 16;
constexpr int64_t kMaxTile = 1024;
// When memory is read and written past the caches: short enough that the processor works ahead into the next
// tile, so that computing and waiting for memory overlap.
constexpr int64_t kStreamedTile = 256;
constexpr int64_t kTileBytes = 24 << 10;  // what all buffers of a tile may take of L1

// Past the caches where the instruction set can: an output too large to stay in them would only be read in to
// be overwritten.
void stream_copy(char* dst, const char* src, size_t n) {
  if (const StreamFn wide = stream_fn()) return wide(dst, src, n);
#if defined(__SSE2__)
  const size_t head = std::min(n, (16 - reinterpret_cast<uintptr_t>(dst) % 16) % 16);
  std::memcpy(dst, src, head);
  dst += head, src += head, n -= head;
  for (; n >= 64; n -= 64, dst += 64, src += 64)
    for (int i = 0; i < 64; i += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(dst + i),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i)));
#endif
  std::memcpy(dst, src, n);
}
void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Memory that a thread keeps between runs.
char* scratch(size_t bytes) {
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<char, Free> data;
  thread_local size_t size = 0;
  if (bytes > size) {
    data.reset(static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
    size = data ? bytes : 0;
    if (!data)
      throw Error(ErrorCode::OutOfMemory, cat("no memory for ", bytes, " bytes of workspace"),
                  "elementwise group");
  }
  return data.get();
}

enum class Access : uint8_t { Direct, Splat, Row, Gather };

}  // namespace

int PwProgram::input(Dtype dtype) {
  const int v = static_cast<int>(values_.size());
  values_.push_back({.dtype = dtype, .input = static_cast<int>(inputs_.size())});
  inputs_.push_back(v);
  return v;
}

int PwProgram::constant(Dtype dtype, const void* element) {
  const int v = static_cast<int>(values_.size());
  values_.push_back({.dtype = dtype, .constant = static_cast<int>(constants_.size())});
  constants_.push_back(v);
  constant_bytes_.resize(constants_.size() * 16);
  std::memcpy(constant_bytes_.data() + (constants_.size() - 1) * 16, element, itemsize(dtype));
  return v;
}

void PwProgram::add_step(const Step& s) {
  const int k = static_cast<int>(steps_.size());
  for (int v : {s.a, s.b, s.c})
    if (v >= 0) values_[static_cast<size_t>(v)].last_use = k;
  steps_.push_back(s);
}

int PwProgram::op(PwOp op, int a, int b, int c) {
  const int count = pw_inputs(op), known = static_cast<int>(values_.size());
  const int given[] = {a, b, c};
  for (int i = 0; i < 3; ++i)
    if ((i < count) != (given[i] >= 0) || given[i] >= known)
      throw Error(ErrorCode::Internal, cat(pw_name(op), " takes ", count, " earlier values"),
                  "elementwise group");
  const Dtype first = dtype(op == PwOp::Where ? b : a);
  const bool fits =
      op == PwOp::Where ? dtype(a) == Dtype::Bool && dtype(c) == first : count < 2 || dtype(b) == first;
  if (!fits)
    throw Error(ErrorCode::DtypeMismatch, cat(pw_name(op), " needs operands of one dtype"),
                "elementwise group");
  if (!tile_fn(op, first))
    throw Error(ErrorCode::DtypeMismatch, cat(pw_name(op), " is not defined for ", dtype_name(first)),
                pw_name(op));
  values_.push_back({.dtype = tile_result(op, first), .step = static_cast<int>(steps_.size())});
  add_step({op, false, first, a, b, c, known});
  return known;
}

int PwProgram::cast(int a, Dtype to) {
  const int v = static_cast<int>(values_.size());
  if (a < 0 || a >= v) throw Error(ErrorCode::Internal, "cast takes an earlier value", "elementwise group");
  values_.push_back({.dtype = to, .step = static_cast<int>(steps_.size())});
  add_step({PwOp::Copy, true, dtype(a), a, -1, -1, v});
  return v;
}

void PwProgram::output(int value) {
  if (value < 0 || value >= static_cast<int>(values_.size()))
    throw Error(ErrorCode::Internal, "an output must be an earlier value", "elementwise group");
  // Inputs, constants and values that are an output already are copied.
  const Value& have = values_[static_cast<size_t>(value)];
  if (have.step < 0 || have.output >= 0) value = op(PwOp::Copy, value);
  values_[static_cast<size_t>(value)].output = static_cast<int>(outputs_.size());
  outputs_.push_back(value);
}

void PwProgram::finish() {
  std::vector<int> reads(values_.size());
  for (const Step& s : steps_)
    for (int v : {s.a, s.b, s.c})
      if (v >= 0) ++reads[static_cast<size_t>(v)];
  std::vector<bool> gone(steps_.size());
  for (size_t k = 0; k < steps_.size(); ++k) {
    Step& s = steps_[k];
    if (s.is_cast || pw_inputs(s.op) != 2 || s.a == s.b) continue;
    for (const bool swapped : {false, true}) {
      const int between = swapped ? s.b : s.a, other = swapped ? s.a : s.b;
      const Value& v = values_[static_cast<size_t>(between)];
      if (v.step < 0 || v.output >= 0 || reads[static_cast<size_t>(between)] != 1) continue;
      const Step& first = steps_[static_cast<size_t>(v.step)];
      if (gone[static_cast<size_t>(v.step)] || first.is_cast || first.second != PwOp::Copy ||
          pw_inputs(first.op) != 2 || !pair_fn(first.op, s.op, swapped, Reach::Cache, s.dtype))
        continue;
      gone[static_cast<size_t>(v.step)] = true;
      s = {first.op, false, s.dtype, first.a, first.b, other, s.out, s.op, swapped};
      break;
    }
  }
  std::vector<Step> kept;
  for (size_t k = 0; k < steps_.size(); ++k)
    if (!gone[k]) kept.push_back(steps_[k]);
  if (kept.size() == steps_.size()) return;
  steps_ = std::move(kept);
  for (Value& v : values_) v.last_use = v.step = -1;
  for (size_t k = 0; k < steps_.size(); ++k) {
    values_[static_cast<size_t>(steps_[k].out)].step = static_cast<int>(k);
    for (int v : {steps_[k].a, steps_[k].b, steps_[k].c})
      if (v >= 0) values_[static_cast<size_t>(v)].last_use = static_cast<int>(k);
  }
}

TileFn PwProgram::function(const Step& s) const {
  return s.is_cast ? cast_fn(s.dtype, dtype(s.out)) : tile_fn(s.op, s.dtype);
}

// One call of run(): everything that the tiles need, worked out once.
struct PwProgram::Run {
  std::span<const Operand> in;
  std::span<void* const> out;
  int dims = 0;
  int64_t shape[kMaxDims] = {}, total = 1;
  std::vector<int64_t> strides;  // per input, collapsed dimensions
  std::vector<Access> access;    // per input
  std::vector<bool> streamed;    // per output
  struct Slot {
    int buffer = -1;   // none
    int64_t step = 1;  // 0 where all of a tile is one number
  };
  std::vector<Slot> slot;  // per value
  struct Function {
    TileFn tile = nullptr;
    PairFn pair = nullptr;      // arithmetic of float32 in place of `tile`
    PairFn straight = nullptr;  // the same, which writes a streamed output where it belongs
  };
  std::vector<Function> function;  // per step
  int buffers = 0;
  int64_t tile = 0, item = 1;  // elements, and bytes of the largest item
  bool rows = false;           // tiles stay within a row of the last dimension
  int64_t row_tiles = 0;

  const int64_t* stride(size_t input) const { return strides.data() + input * kMaxDims; }
  // Offset in elements of the flat position within an input.
  int64_t offset(size_t input, int64_t flat, int last) const {
    const int64_t* s = stride(input);
    int64_t at = 0;
    for (int d = last; d >= 0; --d) {
      at += flat % shape[d] * s[d];
      flat /= shape[d];
    }
    return at;
  }
};

void PwProgram::run(std::span<const Operand> in, std::span<void* const> out,
                    std::span<const int64_t> shape) const {
  if (in.size() != inputs_.size() || out.size() != outputs_.size() || shape.size() > kMaxDims)
    throw Error(ErrorCode::Internal, "operands do not fit the program", "elementwise group");
  Run r;
  r.in = in, r.out = out;
  const size_t ni = in.size();
  r.strides.assign(ni * kMaxDims, 0);
  // Dimensions that every input walks in one go become one.
  for (size_t d = 0; d < shape.size(); ++d) {
    r.total *= shape[d];
    if (shape[d] == 1) continue;
    bool merge = r.dims > 0;
    for (size_t i = 0; merge && i < ni; ++i) merge = r.stride(i)[r.dims - 1] == in[i].strides[d] * shape[d];
    if (!merge) ++r.dims, r.shape[r.dims - 1] = 1;
    r.shape[r.dims - 1] *= shape[d];
    for (size_t i = 0; i < ni; ++i)
      r.strides[i * kMaxDims + static_cast<size_t>(r.dims) - 1] = in[i].strides[d];
  }
  if (r.total == 0) return;
  if (r.dims == 0) r.dims = 1, r.shape[0] = 1;
  const int last = r.dims - 1;

  r.rows = r.dims > 1 && r.shape[last] >= 256;
  r.access.resize(ni);
  for (size_t i = 0; i < ni; ++i) {
    bool flat = true, zero = true;
    int64_t expect = 1;
    for (int d = last; d >= 0; --d) {
      const int64_t s = r.stride(i)[d];
      flat &= s == expect, zero &= s == 0;
      expect *= r.shape[d];
    }
    // A single element is read as it lies, whatever its strides say.
    if (r.total == 1) flat = true;
    r.access[i] = flat                               ? Access::Direct
                  : zero                             ? Access::Splat
                  : r.rows && r.stride(i)[last] == 1 ? Access::Row
                                                     : Access::Gather;
    // Written by a step before its last reader: keep a copy of the tile.
    for (size_t o = 0; flat && o < out.size(); ++o) {
      const Value& v = values_[static_cast<size_t>(outputs_[o])];
      if (out[o] == in[i].data && values_[static_cast<size_t>(inputs_[i])].last_use > v.step)
        r.access[i] = Access::Gather;
    }
  }

  // Buffers: one per input that is not read in place, one per constant, the rest shared by values that are
  // not alive together.
  r.slot.resize(values_.size());
  r.function.reserve(steps_.size());
  for (const Value& v : values_) r.item = std::max<int64_t>(r.item, static_cast<int64_t>(itemsize(v.dtype)));
  for (size_t i = 0; i < ni; ++i)
    if (r.access[i] != Access::Direct && r.access[i] != Access::Row)
      r.slot[static_cast<size_t>(inputs_[i])].buffer = r.buffers++;
  for (int c : constants_) r.slot[static_cast<size_t>(c)].buffer = r.buffers++;
  for (int c : constants_) r.slot[static_cast<size_t>(c)].step = 0;
  for (size_t i = 0; i < ni; ++i)
    if (r.access[i] == Access::Splat) r.slot[static_cast<size_t>(inputs_[i])].step = 0;
  // What computes for longer than its stores take gains nothing from going past the caches.
  const bool arithmetic = std::all_of(steps_.begin(), steps_.end(), [](const Step& s) {
    return !s.is_cast && pair_fn(s.op, s.second, s.swapped, Reach::Cache, s.dtype);
  });
  r.streamed.resize(out.size());
  for (size_t o = 0; o < out.size(); ++o) {
    const Value& v = values_[static_cast<size_t>(outputs_[o])];
    bool aliased = false;
    for (const Operand& x : in) aliased |= x.data == out[o];
    r.streamed[o] =
        arithmetic && !aliased && r.total * static_cast<int64_t>(itemsize(v.dtype)) > last_level_cache();
  }
  const bool streams = std::find(r.streamed.begin(), r.streamed.end(), true) != r.streamed.end();
  std::vector<int> free_buffers;
  for (size_t k = 0; k < steps_.size(); ++k) {
    const Step& s = steps_[k];
    const auto release = [&](bool same_size) {
      int done[3] = {-1, -1, -1};
      for (int j = 0; j < 3; ++j) {
        const int v = j == 0 ? s.a : j == 1 ? s.b : s.c;
        if (v < 0 || v == done[0] || v == done[1]) continue;
        done[j] = v;
        const Value& x = values_[static_cast<size_t>(v)];
        if (x.step >= 0 && x.output < 0 && x.last_use == static_cast<int>(k) &&
            (itemsize(x.dtype) == itemsize(dtype(s.out))) == same_size)
          free_buffers.push_back(r.slot[static_cast<size_t>(v)].buffer);
      }
    };
    release(true);  // a function may write over an input of the same item size
    const Value& v = values_[static_cast<size_t>(s.out)];
    if (v.output < 0) {
      if (free_buffers.empty()) free_buffers.push_back(r.buffers++);
      r.slot[static_cast<size_t>(s.out)].buffer = free_buffers.back();
      free_buffers.pop_back();
      if (v.last_use < 0) free_buffers.push_back(r.slot[static_cast<size_t>(s.out)].buffer);
    } else if (r.streamed[static_cast<size_t>(v.output)]) {
      r.slot[static_cast<size_t>(s.out)].buffer = r.buffers++;
    }
    release(false);
    Run::Function f;
    if (!s.is_cast)
      f.pair = pair_fn(s.op, s.second, s.swapped, streams ? Reach::Memory : Reach::Cache, s.dtype);
    if (!f.pair) f.tile = function(s);
    if (f.pair && v.output >= 0 && r.streamed[static_cast<size_t>(v.output)] && v.last_use < 0 && !r.rows &&
        reinterpret_cast<uintptr_t>(out[static_cast<size_t>(v.output)]) % 64 == 0)
      f.straight = pair_fn(s.op, s.second, s.swapped, Reach::Past, s.dtype);
    r.function.push_back(f);
  }
  r.tile = streams ? kStreamedTile : kMaxTile;
  while (r.tile > 128 && r.buffers * r.tile * r.item > kTileBytes) r.tile /= 2;

  int64_t units, per_unit;
  if (r.rows) {
    r.row_tiles = (r.shape[last] + r.tile - 1) / r.tile;
    units = r.total / r.shape[last] * r.row_tiles;
    per_unit = r.shape[last] / r.row_tiles;
  } else {
    units = (r.total + r.tile - 1) / r.tile;
    per_unit = r.tile;
  }
  const int64_t work = static_cast<int64_t>(steps_.size()) + 2;
  parallel_for(units, std::max<int64_t>(1, 65536 / (work * per_unit)),
               [&](int64_t b, int64_t e) { run_tiles(r, b, e); });
}

void PwProgram::run_tiles(const Run& r, int64_t begin, int64_t end) const {
  const int64_t bytes = r.tile * r.item, last = r.dims - 1;
  const size_t count = values_.size();
  char* base = scratch(static_cast<size_t>(r.buffers * bytes) + count * sizeof(void*));
  // Pointers of the current tile, per value; behind the buffers.
  char** at = reinterpret_cast<char**>(base + r.buffers * bytes);
  const int64_t longest = std::min(r.tile, r.total);
  for (size_t v = 0; v < count; ++v) {
    at[v] = r.slot[v].buffer >= 0 ? base + r.slot[v].buffer * bytes : nullptr;
    if (values_[v].constant >= 0)
      load_tile(at[v], constant_bytes_.data() + values_[v].constant * 16,
                static_cast<int>(itemsize(values_[v].dtype)), 0, longest);
  }
  for (size_t i = 0; i < inputs_.size(); ++i)
    if (r.access[i] == Access::Splat)
      load_tile(at[inputs_[i]], r.in[i].data, static_cast<int>(itemsize(dtype(inputs_[i]))), 0, longest);

  for (int64_t u = begin; u < end; ++u) {
    int64_t start, n, row = 0, col = 0;
    if (r.rows) {
      row = u / r.row_tiles, col = u % r.row_tiles * r.tile;
      start = row * r.shape[last] + col;
      n = std::min(r.tile, r.shape[last] - col);
    } else {
      start = u * r.tile;
      n = std::min(r.tile, r.total - start);
    }
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const int v = inputs_[i];
      const int item = static_cast<int>(itemsize(dtype(v)));
      const char* data = static_cast<const char*>(r.in[i].data);
      const int64_t inner = r.stride(i)[last];
      switch (r.access[i]) {
        case Access::Splat: break;
        case Access::Direct: at[v] = const_cast<char*>(data) + start * item; break;
        case Access::Row:
          at[v] = const_cast<char*>(data) + (r.offset(i, row, static_cast<int>(last) - 1) + col) * item;
          break;
        case Access::Gather:
          if (r.rows) {
            load_tile(at[v], data + (r.offset(i, row, static_cast<int>(last) - 1) + col * inner) * item, item,
                      inner, n);
            break;
          }
          for (int64_t done = 0; done < n;) {
            const int64_t flat = start + done, c = flat % r.shape[last],
                          k = std::min(n - done, r.shape[last] - c);
            load_tile(at[v] + done * item, data + r.offset(i, flat, static_cast<int>(last)) * item, item,
                      inner, k);
            done += k;
          }
          break;
      }
    }
    for (size_t o = 0; o < outputs_.size(); ++o)
      if (!r.streamed[o]) {
        const int v = outputs_[o];
        at[v] = static_cast<char*>(r.out[o]) + start * static_cast<int64_t>(itemsize(dtype(v)));
      }
    for (size_t k = 0; k < steps_.size(); ++k) {
      const Step& s = steps_[k];
      const Run::Function& f = r.function[k];
      if (f.pair) {
        // Tiles begin on a line: the output does, and a tile is whole lines.
        const bool past = f.straight && n % 16 == 0;
        const int c = s.c >= 0 ? s.c : s.a;
        char* to = at[s.out];
        if (past) {
          const Value& v = values_[static_cast<size_t>(s.out)];
          to = static_cast<char*>(r.out[static_cast<size_t>(v.output)]) +
               start * static_cast<int64_t>(sizeof(float));
        }
        auto floats = [&](int v) { return reinterpret_cast<const float*>(at[v]); };
        auto step = [&](int v) { return r.slot[static_cast<size_t>(v)].step; };
        (past ? f.straight : f.pair)(floats(s.a), step(s.a), floats(s.b), step(s.b), floats(c), step(c),
                                     reinterpret_cast<float*>(to), n);
        continue;
      }
      f.tile(at[s.a], s.b >= 0 ? at[s.b] : nullptr, s.c >= 0 ? at[s.c] : nullptr, at[s.out], n);
    }
    for (size_t o = 0; o < outputs_.size(); ++o)
      if (r.streamed[o]) {
        const int v = outputs_[o];
        if (n % 16 == 0 && r.function[static_cast<size_t>(values_[static_cast<size_t>(v)].step)].straight)
          continue;
        const int64_t item = static_cast<int64_t>(itemsize(dtype(v)));
        stream_copy(static_cast<char*>(r.out[o]) + start * item, at[v], static_cast<size_t>(n * item));
      }
  }
  for (size_t o = 0; o < outputs_.size(); ++o)
    if (r.streamed[o]) {
      stream_fence();
      break;
    }
}

}  // namespace mc::kernels
