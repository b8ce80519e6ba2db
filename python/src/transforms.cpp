// Transformations of Python functions. Here functions take and give flat lists of arrays;
// modelcypher/_transforms.py makes trees of them.
#include "mc/transforms.h"

#include "common.h"

namespace mcpy {
namespace {

struct Compiled {
  mc::Function fn;
};

// f may be called, copied and dropped on any thread.
mc::Function function_of(nb::handle f) {
  std::shared_ptr<void> keep = keep_object(f);
  return [keep](const Arrays& in) {
    nb::gil_scoped_acquire gil;
    nb::object out = nb::handle(static_cast<PyObject*>(keep.get()))(to_pylist(in));
    return to_arrays(out);
  };
}

std::vector<int> ints(nb::handle h) {
  std::vector<int> out;
  for (nb::handle x : nb::iter(h)) out.push_back(x.is_none() ? mc::kNoAxis : nb::cast<int>(x));
  return out;
}

}  // namespace

void bind_transforms(nb::module_& m) {
  nb::class_<Compiled>(m, "Compiled").def("__call__", [](const Compiled& c, nb::handle args) {
    const Arrays in = to_arrays(args);
    Arrays out;
    {
      nb::gil_scoped_release nogil;
      out = c.fn(in);
    }
    return to_pylist(out);
  });
  m.def("compile", [](nb::handle f, bool shapeless, nb::handle donate) {
    return Compiled{mc::compile(function_of(f), shapeless, ints(donate))};
  });
  m.def("checkpoint", [](nb::handle f) { return Compiled{mc::checkpoint(function_of(f))}; });
  m.def("vmap", [](nb::handle f, nb::handle in, nb::handle out) {
    return Compiled{mc::vmap(function_of(f), ints(in), ints(out))};
  });
  m.def("vjp", [](nb::handle f, nb::handle primals, nb::handle cotangents) {
    const mc::Function fn = function_of(f);
    const Arrays p = to_arrays(primals), c = to_arrays(cotangents);
    std::pair<Arrays, Arrays> r;
    {
      nb::gil_scoped_release nogil;
      r = mc::vjp(fn, p, c);
    }
    return nb::make_tuple(to_pylist(r.first), to_pylist(r.second));
  });
  m.def("value_and_grad", [](nb::handle f, nb::handle argnums, nb::handle args) {
    const mc::Function fn = function_of(f);
    const Arrays in = to_arrays(args);
    const std::vector<int> nums = ints(argnums);
    std::pair<Arrays, Arrays> r;
    {
      nb::gil_scoped_release nogil;
      r = mc::value_and_grad(fn, nums)(in);
    }
    return nb::make_tuple(to_pylist(r.first), to_pylist(r.second));
  });
}

}  // namespace mcpy
