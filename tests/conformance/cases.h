// The cases of the conformance suite, made from the table of primitives: operation × dtype × layout.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "prims/op_def.h"
#include "runtime/backend.h"

namespace mc::conformance {

// How an input lies in memory when the operation gets it: always the same values, behind a view of other
// data.
enum class Layout : uint8_t {
  Contiguous,
  Strided,        // every second element of the last axis
  Transposed,     // stored with its axes reversed
  Offset,         // behind three other elements
  Flipped,        // stored backwards along the last axis
  Broadcast,      // the first axis (elementwise: opposite axes of the inputs) is one element repeated
  LastBroadcast,  // the same for the last input only
  Zero,           // elementwise: no elements
  Scalar,         // elementwise: no axes
  Large,          // elementwise: more than a tile, not a multiple of a vector
  Special,        // elementwise: NaN, infinities, zeros of both signs, the largest, the smallest, subnormals
};
const char* layout_name(Layout layout);

struct Case {
  std::string op, dtype, variant;  // "rms_norm", "bf16", "0.strided"
  const OpDef* def = nullptr;
  SampleCase sample;          // shapes, attributes, oracle
  std::vector<Dtype> dtypes;  // of the inputs
  Dtype swept = Dtype::F32;
  Layout layout = Layout::Contiguous;
  // "fwd/rms_norm/bf16/0.strided@numpy"
  std::string name(const char* mode, const Backend& backend) const;
  // Whether finite differences make sense: float inputs, a smooth domain.
  bool differentiable() const;
};

// Whether the engine has the dtypes of the case's inputs and of what the operation makes of them.
bool has_dtypes(const Backend& backend, const Case& c);

// All cases of the table. Dtypes that the engine lacks are left out and counted.
std::vector<Case> all_cases(const Backend& backend, int& left_out);

// What the operation gets: `stored` are evaluated arrays, and view(i) is what makes input i of them.
struct Inputs {
  Arrays stored;
  Arrays view(const Arrays& from) const;
  // Inputs of two elementwise operands broadcast each other: that is the operation's own affair.
  bool own_broadcast() const;
  const Case* of = nullptr;
};
Inputs draw_inputs(const Case& c, uint64_t seed);
// A seed for a case by name, so that one case can be run alone; the same for every engine.
uint64_t seed_of(const std::string& name, uint64_t base);
// Values between lo and hi in any inexact dtype.
Array draw_like(const Shape& shape, Dtype dtype, uint64_t seed, double lo = -1, double hi = 1);

}  // namespace mc::conformance
