// A stand-in for the OpenMP runtime under ThreadSanitizer: parallel regions on threads that are
// created and joined, which the sanitizer understands, where the real runtime's barriers are
// invisible to it. Only what torch's code generator calls; no nesting, no work sharing beyond
// static loops.
#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace {

thread_local int thread_number = 0;
thread_local int team_size = 1;
std::atomic<int> wanted_threads{2};
std::mutex critical;

struct Barrier {
  pthread_barrier_t barrier;
};
thread_local Barrier* team_barrier = nullptr;

}  // namespace

extern "C" {

void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned /*flags*/) {
  const int size = team_size > 1  ? 1
                   : threads != 0 ? static_cast<int>(threads)
                                  : wanted_threads.load();
  if (size == 1) {
    const int number = thread_number, outer = team_size;
    thread_number = 0;
    if (outer == 1) team_size = 1;
    body(data);
    thread_number = number;
    team_size = outer;
    return;
  }
  Barrier shared;
  pthread_barrier_init(&shared.barrier, nullptr, size);
  const auto run = [&](int number) {
    thread_number = number;
    team_size = size;
    team_barrier = &shared;
    body(data);
    thread_number = 0;
    team_size = 1;
    team_barrier = nullptr;
  };
  std::vector<std::thread> team;
  for (int number = 1; number < size; ++number) team.emplace_back(run, number);
  run(0);
  for (std::thread& thread : team) thread.join();
  pthread_barrier_destroy(&shared.barrier);
}

void GOMP_barrier() {
  if (team_barrier != nullptr) pthread_barrier_wait(&team_barrier->barrier);
}
void GOMP_critical_start() { critical.lock(); }
void GOMP_critical_end() { critical.unlock(); }

int omp_get_thread_num() { return thread_number; }
int omp_get_num_threads() { return team_size; }
int omp_get_max_threads() { return wanted_threads.load(); }
void omp_set_num_threads(int threads) { wanted_threads.store(threads); }
int omp_in_parallel() { return team_size > 1; }
int omp_get_num_procs() { return static_cast<int>(std::thread::hardware_concurrency()); }

}  // extern "C"
