//go:build linux && !musl

package main

// #include <malloc.h>
import "C"

// The Kafka client allocates what it fetches and sends in C, from a dozen threads. glibc gives nearly each of them a heap of its own
// and keeps what is freed there, tens of MB in all: one heap is enough, and large pieces go back at once. musl does so by itself.
func init() {
	C.mallopt(C.M_ARENA_MAX, 1)
	C.mallopt(C.M_MMAP_THRESHOLD, 128<<10)
	C.mallopt(C.M_TRIM_THRESHOLD, 1<<20)
}
