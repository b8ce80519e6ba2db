// The one thread pool of the process. Workers spin briefly after a job and then sleep; the caller is worker
// 0.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "mc/device.h"

namespace mc {

// A non-owning callable: no allocation, valid for the call only.
template <class Sig>
class FunctionRef;
template <class R, class... A>
class FunctionRef<R(A...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT: implicit by design
      : obj_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))), call_([](void* o, A... a) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(o))(static_cast<A&&>(a)...);
        }) {}
  R operator()(A... a) const { return call_(obj_, static_cast<A&&>(a)...); }

 private:
  void* obj_;
  R (*call_)(void*, A...);
};

// Runs fn(thread, threads) once on each of num_threads() threads and waits. Nested calls run alone on the
// calling thread as fn(0, 1). The first exception is rethrown. Called from several user threads at once,
// regions run one after another.
MC_ENGINE_API void parallel_region(FunctionRef<void(int thread, int threads)> fn);

// Runs fn(begin, end) over a static split of [0, n) in ranges of at least `grain`; small n runs on the
// caller. Which thread runs which range must not change results.
MC_ENGINE_API void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t begin, int64_t end)> fn);

// Makes the pool now, so that what is registered for the process's end from here on runs before the pool's.
void start_thread_pool();

// A barrier for use inside one parallel_region; all its threads must call wait(). Spins briefly, then sleeps.
class SpinBarrier {
 public:
  explicit SpinBarrier(int threads);
  void wait();

 private:
  alignas(64) int arrived_ = 0;
  alignas(64) int generation_ = 0;
  int sleepers_ = 0;
  int threads_, spins_;
};

}  // namespace mc
