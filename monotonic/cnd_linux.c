// The condition variables of C11's threads.h, which know no other clock than the wall clock, on those of POSIX, which do. glibc and musl both
// have the former's types be the latter's.

#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "cnd_t is another type than pthread_cond_t");
_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "mtx_t is another type than pthread_mutex_t");

enum { SECOND = 1000000000L };

int cnd_init(cnd_t *condition) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  int failed = pthread_cond_init((pthread_cond_t *)condition, &attributes);
  pthread_condattr_destroy(&attributes);
  return failed ? thrd_error : thrd_success;
}

// Waits until a time of the wall clock, as that clock is when a thread first asks for this time: one that is woken up and goes on to wait until
// the same time waits for what is left, even if the clock was set meanwhile. No time is none: musl's cnd_wait is this.
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
  static _Thread_local struct timespec asked, deadline;
  if (until && (until->tv_sec != asked.tv_sec || until->tv_nsec != asked.tv_nsec)) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    asked = *until;
    deadline.tv_sec += until->tv_sec - wall.tv_sec;
    deadline.tv_nsec += until->tv_nsec - wall.tv_nsec;
    while (deadline.tv_nsec < 0) {
      deadline.tv_nsec += SECOND;
      deadline.tv_sec--;
    }
    while (deadline.tv_nsec >= SECOND) {
      deadline.tv_nsec -= SECOND;
      deadline.tv_sec++;
    }
  }
  pthread_cond_t *c = (pthread_cond_t *)condition;
  pthread_mutex_t *m = (pthread_mutex_t *)mutex;
  switch (until ? pthread_cond_timedwait(c, m, &deadline) : pthread_cond_wait(c, m)) {
  case 0:
    return thrd_success;
  case ETIMEDOUT:
    return thrd_timedout;
  default:
    return thrd_error;
  }
}
