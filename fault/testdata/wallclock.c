// The wall clock as a process sees it that has this loaded before the C library (LD_PRELOAD), set by as many seconds as stand in the file that
// WALL_CLOCK names. gcc -shared -fPIC -o wallclock.so wallclock.c
//
// What Go code reads comes from the kernel and stays as it is.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static volatile long *by;
static int (*wait_until)(cnd_t *, mtx_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
  int file = open(getenv("WALL_CLOCK"), O_RDONLY);
  by = mmap(NULL, sizeof *by, PROT_READ, MAP_SHARED, file, 0);
  if (by == MAP_FAILED)
    abort();
  close(file);
  wait_until = dlsym(RTLD_NEXT, "cnd_timedwait");
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (!failed && clock == CLOCK_REALTIME)
    now->tv_sec += *by;
  return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
  (void)zone;
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now)
    *now = precise.tv_sec;
  return precise.tv_sec;
}

// Waits for a time of the wall clock, however that is set meanwhile, as the kernel does: by looking at it every now and then.
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
  enum { SECOND = 1000000000, LOOK = SECOND / 20 };
  for (;;) {
    struct timespec now, next;
    clock_gettime(CLOCK_REALTIME, &now);
    long long left = (until->tv_sec - now.tv_sec) * (long long)SECOND + until->tv_nsec - now.tv_nsec;
    long long wait = left < 0 ? 0 : left < LOOK ? left : LOOK;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &next);
    next.tv_nsec += wait;
    next.tv_sec += next.tv_nsec / SECOND;
    next.tv_nsec %= SECOND;
    int how = wait_until(condition, mutex, &next);
    if (how != thrd_timedout || left <= wait)
      return how;
  }
}
