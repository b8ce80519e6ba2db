// Elementwise kernels of the host engine: bulk functions over contiguous tiles, and the interpreter that runs
// a group of them over an N-d index space with everything between its inputs and outputs in L1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "mc/dtype.h"

namespace mc::kernels {

// X(name, number of inputs)
#define MC_PW_OPS(X)                                                                                         \
  X(Copy, 1)                                                                                                 \
  X(Negative, 1)                                                                                             \
  X(Abs, 1)                                                                                                  \
  X(Sign, 1)                                                                                                 \
  X(Sqrt, 1)                                                                                                 \
  X(Rsqrt, 1)                                                                                                \
  X(Square, 1)                                                                                               \
  X(Reciprocal, 1)                                                                                           \
  X(Exp, 1)                                                                                                  \
  X(Expm1, 1)                                                                                                \
  X(Exp2, 1)                                                                                                 \
  X(Log, 1)                                                                                                  \
  X(Log1p, 1)                                                                                                \
  X(Log2, 1) X(Sin, 1) X(Cos, 1) X(Tan, 1) X(Arcsin, 1) X(Arccos, 1) X(Arctan, 1) X(Sinh, 1) X(Cosh, 1)      \
      X(Tanh, 1) X(Erf, 1) X(Erfinv, 1) X(Sigmoid, 1) X(Silu, 1) X(Gelu, 1) X(GeluTanh, 1) X(Floor, 1)       \
          X(Ceil, 1) X(Round, 1) X(IsNan, 1) X(IsInf, 1) X(IsFinite, 1) X(LogicalNot, 1) X(BitwiseNot, 1)    \
              X(Conj, 1) X(Real, 1) X(Imag, 1) X(Add, 2) X(Subtract, 2) X(Multiply, 2) X(Divide, 2)          \
                  X(Power, 2) X(FloorDivide, 2) X(Remainder, 2) X(Maximum, 2) X(Minimum, 2) X(Arctan2, 2)    \
                      X(Equal, 2) X(NotEqual, 2) X(Less, 2) X(LessEqual, 2) X(Greater, 2) X(GreaterEqual, 2) \
                          X(LogicalAnd, 2) X(LogicalOr, 2) X(LogicalXor, 2) X(BitwiseAnd, 2) X(BitwiseOr, 2) \
                              X(BitwiseXor, 2) X(LeftShift, 2) X(RightShift, 2) X(Complex, 2) X(Where, 3)

enum class PwOp : uint8_t {
#define MC_PW_ENUM(name, inputs) name,
  MC_PW_OPS(MC_PW_ENUM)
#undef MC_PW_ENUM
};
inline constexpr int kPwOpCount = 0
#define MC_PW_ONE(name, inputs) +1
    MC_PW_OPS(MC_PW_ONE)
#undef MC_PW_ONE
    ;

int pw_inputs(PwOp op);
// The op's name as NumPy's users know it: "floor_divide" …
const char* pw_name(PwOp op);

// n contiguous elements; unused inputs are null; out may be an input of the same item size. Inputs are of one
// dtype, but for Where, whose a is bool and whose b and c have the dtype.
using TileFn = void (*)(const void* a, const void* b, const void* c, void* out, int64_t n);

// The function for inputs of `dtype` (for Where: of b and c); null where the op has no meaning for the dtype.
// Results have tile_result(op, dtype).
//
// Numerics. float16 and bfloat16: in float32, rounded once. Integers wrap; division and remainder by zero
// give 0; floor_divide and remainder follow Python's signs; a shift by a negative or too large count gives 0
// (right shift of a negative number: -1); power with a negative exponent gives 0 save for bases 1 and -1.
// Maximum and minimum propagate NaN; round is to nearest even. Sign of NaN is NaN. Math functions of integers
// and bool are not defined here: cast first.
TileFn tile_fn(PwOp op, Dtype dtype);
// Bool for comparisons, logic and tests; the real dtype for Abs, Real, Imag of a complex one, the complex one
// for Complex; else dtype.
Dtype tile_result(PwOp op, Dtype dtype);

// Conversion of n contiguous elements, a to out. Floats to integers truncate and saturate, NaN gives 0;
// integers to narrower ones wrap; anything but 0 is true; complex to real drops the imaginary part; one
// rounding (64-bit integers reach the 16-bit floats through float64).
TileFn cast_fn(Dtype from, Dtype to);

// Arithmetic of float32, one operation or two at once with the bits of two: second(first(a, b), c), swapped
// second(c, first(a, b)); `second` Copy: first(a, b) alone. Steps are 1, or 0 for an operand that is 16 equal
// numbers. Null where there is none. Reach::Memory: operands or results pass through the caches only, where
// vectors of 256 bits wait less for memory than those of 512 (the bits are the same); Reach::Past: the same,
// and written past the caches: `out` then lies on a boundary of 64 bytes and n is a multiple of 16.
using PairFn = void (*)(const float* a, int64_t step_a, const float* b, int64_t step_b, const float* c,
                        int64_t step_c, float* out, int64_t n);
enum class Reach : uint8_t { Cache, Memory, Past };
PairFn pair_fn(PwOp first, PwOp second, bool swapped, Reach reach, Dtype dtype);

// Copies past the caches; null where there is no such instruction.
using StreamFn = void (*)(char* dst, const char* src, size_t n);
StreamFn stream_fn();

// dst[i] = src[i·stride], i < n, items of 1, 2, 4, 8 or 16 bytes; a stride of 0 fills dst with one item.
void load_tile(void* dst, const void* src, int item, int64_t stride, int64_t n);

// A group of elementwise steps run in one pass: tiles of about 1,000 elements, intermediate values in L1,
// threads over tiles. Build it once, run it any number of times; run() is const and may be called from
// several threads.
class PwProgram {
 public:
  // Builders return the number of the new value. Values are numbered in order of creation.
  int input(Dtype dtype);
  int constant(Dtype dtype, const void* element);
  // Throws mc::Error where the dtypes differ or the op has no meaning for them.
  int op(PwOp op, int a, int b = -1, int c = -1);
  int cast(int a, Dtype to);
  // Marks a value as the next output.
  void output(int value);
  // The program is complete: pairs of steps whose result nobody else reads become one. Call it once, before
  // run().
  void finish();

  Dtype dtype(int value) const { return values_[static_cast<size_t>(value)].dtype; }
  int inputs() const { return static_cast<int>(inputs_.size()); }
  int outputs() const { return static_cast<int>(outputs_.size()); }

  struct Operand {
    const void* data = nullptr;
    const int64_t* strides = nullptr;  // per dimension of the shape, in elements; any sign, 0 to broadcast
  };
  // Outputs are row-major of `shape`. An output may be the memory of an input that is row-major, whole and of
  // its item size.
  void run(std::span<const Operand> inputs, std::span<void* const> outputs,
           std::span<const int64_t> shape) const;

 private:
  struct Value {
    Dtype dtype;
    int input = -1, constant = -1, step = -1;
    int last_use = -1;  // step
    int output = -1;    // the output whose memory it is written to
  };
  struct Step {
    PwOp op;
    bool is_cast;
    Dtype dtype;  // of the inputs that choose the function
    int a, b, c, out;
    PwOp second = PwOp::Copy;  // not Copy: a pair, op being the first
    bool swapped = false;
  };
  struct Run;
  void add_step(const Step& s);
  TileFn function(const Step& s) const;
  void run_tiles(const Run& r, int64_t begin, int64_t end) const;

  std::vector<Value> values_;
  std::vector<Step> steps_;
  std::vector<int> inputs_, outputs_;
  std::vector<int> constants_;           // values
  std::vector<uint8_t> constant_bytes_;  // 16 bytes each
};

}  // namespace mc::kernels
