#include "base/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cgroup.h"
#include "mc/detail/str.h"
#include "mc/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mc {
namespace {

inline void cpu_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void futex_wait(int* word, int expected) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake_all(int* word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0); }
void futex_wait(std::atomic<int>* word, int expected) { futex_wait(reinterpret_cast<int*>(word), expected); }
void futex_wake_all(std::atomic<int>* word) { futex_wake_all(reinterpret_cast<int*>(word)); }

// Whole CPUs granted by quotas, or a large number.
int cgroup_cpus() {
  int cpus = 1 << 20;
  each_cgroup([&](const std::string& group) {
    FILE* f = std::fopen((group + "/cpu.max").c_str(), "r");
    if (!f) return;
    long long quota = 0, period = 0;
    const int got = std::fscanf(f, "%lld %lld", &quota, &period);
    std::fclose(f);
    if (got == 2 && quota > 0 && period > 0)
      cpus = std::min(cpus, std::max(1, static_cast<int>((quota + period - 1) / period)));
  });
  return cpus;
}

// CPUs that this process may use.
int usable_cpus() {
  static const int cpus = [] {
    cpu_set_t set;
    const int n = sched_getaffinity(0, sizeof set, &set) == 0
                      ? CPU_COUNT(&set)
                      : static_cast<int>(std::thread::hardware_concurrency());
    return std::max(1, std::min(n, cgroup_cpus()));
  }();
  return cpus;
}

int default_threads() {
  if (const char* env = std::getenv("MC_NUM_THREADS"); env && *env) {
    char* end = nullptr;
    const long n = std::strtol(env, &end, 10);
    if (*end || n < 1 || n > 1024)
      throw Error(ErrorCode::InvalidArgument,
                  cat("MC_NUM_THREADS must be a number from 1 to 1024, got '", env, "'"), "MC_NUM_THREADS");
    return static_cast<int>(n);
  }
  return std::min(usable_cpus(), 1024);
}

// How long to spin before sleeping: 20-50 us of pause instructions; not at all where more threads than CPUs
// would only keep the others from running.
int spins_for(int threads) { return threads > usable_cpus() ? 0 : 4000; }

thread_local bool in_region = false;

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads), spins_(spins_for(threads)) {
    try {
      workers_.reserve(static_cast<size_t>(threads));
      for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
    } catch (const std::system_error&) {
      const size_t started = workers_.size() + 1;
      stop();
      throw Error(ErrorCode::OutOfMemory, cat("the system gave ", started, " of ", threads, " threads"),
                  "threads", cat("use --threads ", started, " or fewer (MC_NUM_THREADS, set_num_threads)"));
    }
  }
  ~Pool() { stop(); }
  int threads() const { return threads_; }

  void run(FunctionRef<void(int, int)> fn) {
    error_ = nullptr;
    job_ = &fn;
    pending_.store(threads_ - 1, std::memory_order_relaxed);
    start_.fetch_add(1);
    if (sleepers_.load() > 0) futex_wake_all(&start_);
    call(0);
    for (int spin = 0; int left = pending_.load(std::memory_order_acquire);) {
      if (++spin < spins_) {
        cpu_pause();
      } else {
        waiting_ = true;
        left = pending_.load();
        if (left) futex_wait(&pending_, left);
        waiting_ = false;
      }
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void stop() {
    stop_ = true;
    start_.fetch_add(1);
    futex_wake_all(&start_);
    for (auto& w : workers_) w.join();
  }
  void call(int t) {
    in_region = true;
    try {
      (*job_)(t, threads_);
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    in_region = false;
  }
  void work(int t) {
    int seen = 0;
    for (;;) {
      int now = start_.load(std::memory_order_acquire);
      for (int spin = 0; now == seen && spin < spins_; ++spin) {
        cpu_pause();
        now = start_.load(std::memory_order_acquire);
      }
      while (now == seen) {
        sleepers_.fetch_add(1);
        if (start_.load() == seen) futex_wait(&start_, seen);
        sleepers_.fetch_sub(1);
        now = start_.load(std::memory_order_acquire);
      }
      seen = now;
      if (stop_) return;
      call(t);
      if (pending_.fetch_sub(1) == 1 && waiting_) futex_wake_all(&pending_);
    }
  }

  const int threads_, spins_;
  FunctionRef<void(int, int)>* job_ = nullptr;
  alignas(64) std::atomic<int> start_{0};
  alignas(64) std::atomic<int> pending_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> waiting_{false}, stop_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::vector<std::thread> workers_;
};

std::mutex pool_mutex;       // one region at a time
std::atomic<int> wanted{0};  // 0: the default
Pool* pool = nullptr;        // rebuilt when the size changes; abandoned, not joined, after fork

void after_fork_in_child() {
  pool = nullptr;  // its threads do not exist here
  new (&pool_mutex) std::mutex;
}

Pool& pool_of(int threads) {
  static std::once_flag once;
  std::call_once(once, [] {
    pthread_atfork(nullptr, nullptr, after_fork_in_child);
    std::atexit([] {
      std::lock_guard lock(pool_mutex);
      delete pool;
      pool = nullptr;
    });
  });
  if (!pool || pool->threads() != threads) {
    delete pool;
    pool = nullptr;
    pool = new Pool(threads);
  }
  return *pool;
}

}  // namespace

int num_threads() {
  if (const int n = wanted.load(std::memory_order_relaxed)) return n;
  static const int n = default_threads();
  return n;
}

void set_num_threads(int n) {
  if (n < 0 || n > 1024)
    throw Error(ErrorCode::InvalidArgument, cat("the number of threads must be from 1 to 1024, got ", n),
                "threads");
  wanted = n;
}

void parallel_region(FunctionRef<void(int, int)> fn) {
  const int threads = num_threads();
  if (threads == 1 || in_region) return fn(0, 1);
  std::lock_guard lock(pool_mutex);
  pool_of(threads).run(fn);
}

void start_thread_pool() {
  std::lock_guard lock(pool_mutex);
  pool_of(num_threads());
}

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> fn) {
  if (n <= 0) return;
  const int64_t parts =
      std::min<int64_t>(num_threads(), std::max<int64_t>(1, n / std::max<int64_t>(1, grain)));
  if (parts <= 1 || in_region) return fn(0, n);
  parallel_region([&](int t, int threads) {
    const int64_t use = std::min<int64_t>(parts, threads);
    if (t >= use) return;
    const int64_t begin = n * t / use, end = n * (t + 1) / use;
    if (begin < end) fn(begin, end);
  });
}

SpinBarrier::SpinBarrier(int threads) : threads_(threads), spins_(spins_for(threads)) {}

void SpinBarrier::wait() {
  if (threads_ == 1) return;
  std::atomic_ref<int> arrived(arrived_), generation(generation_), sleepers(sleepers_);
  const int gen = generation.load(std::memory_order_acquire);
  if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived.store(0, std::memory_order_relaxed);
    generation.store(gen + 1);
    if (sleepers.load() > 0) futex_wake_all(&generation_);
    return;
  }
  for (int spin = 0; generation.load(std::memory_order_acquire) == gen; ++spin) {
    if (spin < spins_) {
      cpu_pause();
    } else {
      sleepers.fetch_add(1);
      futex_wait(&generation_, gen);
      sleepers.fetch_sub(1);
    }
  }
}

}  // namespace mc
