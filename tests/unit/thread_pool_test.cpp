#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "mc/error.h"

namespace mc {
namespace {

class ThreadPool : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_num_threads(GetParam()); }
  void TearDown() override { set_num_threads(0); }
};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPool, ::testing::Values(1, 2, 3, 8));

TEST_P(ThreadPool, RegionRunsOnceOnEachThread) {
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> calls(static_cast<size_t>(GetParam()));
    parallel_region([&](int t, int threads) {
      EXPECT_EQ(threads, GetParam());
      ++calls[static_cast<size_t>(t)];
    });
    for (const auto& c : calls) EXPECT_EQ(c, 1);
  }
}

TEST_P(ThreadPool, ForCoversEachIndexOnce) {
  for (int64_t n : {0, 1, 7, 100, 4097}) {
    for (int64_t grain : {1, 64, 100000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      for (const auto& s : seen) EXPECT_EQ(s, 1);
    }
  }
}

TEST_P(ThreadPool, FirstExceptionComesBackAndThePoolGoesOn) {
  EXPECT_THROW(parallel_region([](int t, int) {
                 if (t == 0) throw Error(ErrorCode::Internal, "on purpose");
               }),
               Error);
  EXPECT_THROW(parallel_region([](int, int) { throw Error(ErrorCode::Internal, "on purpose"); }), Error);
  std::atomic<int> calls{0};
  parallel_region([&](int, int) { ++calls; });
  EXPECT_EQ(calls, GetParam());
}

TEST_P(ThreadPool, NestedRegionsRunOnTheirThread) {
  std::atomic<int> inner{0};
  parallel_region([&](int, int) {
    parallel_region([&](int t, int threads) {
      EXPECT_EQ(t, 0);
      EXPECT_EQ(threads, 1);
      ++inner;
    });
    parallel_for(10, 1, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(begin, 0);
      EXPECT_EQ(end, 10);
    });
  });
  EXPECT_EQ(inner, GetParam());
}

TEST_P(ThreadPool, BarrierSeparatesPhases) {
  const int n = GetParam();
  SpinBarrier barrier(n);
  std::vector<int> value(static_cast<size_t>(n));
  parallel_region([&](int t, int) {
    for (int phase = 1; phase <= 50; ++phase) {
      value[static_cast<size_t>(t)] = phase;
      barrier.wait();
      EXPECT_EQ(std::accumulate(value.begin(), value.end(), 0), phase * n);
      barrier.wait();
    }
  });
}

TEST_P(ThreadPool, SeveralUserThreadsTakeTurns) {
  std::atomic<int> total{0};
  std::vector<std::thread> users;
  for (int u = 0; u < 3; ++u)
    users.emplace_back([&] {
      for (int i = 0; i < 50; ++i) parallel_region([&](int, int) { ++total; });
    });
  for (std::thread& u : users) u.join();
  EXPECT_EQ(total, 3 * 50 * GetParam());
}

#if !defined(__SANITIZE_THREAD__)  // ThreadSanitizer refuses threads after a fork
TEST_P(ThreadPool, AForkedChildGetsAPoolOfItsOwn) {
  parallel_region([](int, int) {});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::atomic<int> calls{0};
    parallel_region([&](int, int) { ++calls; });
    _exit(calls == GetParam() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}
#endif

TEST(ThreadCount, IsCheckedAndCanBeTakenBack) {
  const int before = num_threads();
  EXPECT_GE(before, 1);
  EXPECT_THROW(set_num_threads(-1), Error);
  EXPECT_THROW(set_num_threads(1025), Error);
  EXPECT_EQ(num_threads(), before);
  set_num_threads(5);
  EXPECT_EQ(num_threads(), 5);
  set_num_threads(0);
  EXPECT_EQ(num_threads(), before);
}

}  // namespace
}  // namespace mc
