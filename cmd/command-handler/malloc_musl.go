//go:build musl

package main

/*
#include <stdlib.h>

// musl's malloc gives a group of some 28 equal blocks back to the kernel as soon as all of them are free, and librdkafka frees the
// records of a transaction all at once: every few of them cost an mmap, an munmap and two page faults, a tenth of the handler's
// CPU time under full load. A block that stays in each group keeps it. What is kept is what a full transaction takes anyway.
static void keep(size_t size, int blocks) {
	void **block = malloc(blocks * sizeof *block);
	if (!block)
		return;
	for (int i = 0; i < blocks; i++)
		block[i] = malloc(size);
	for (int i = 0; i < blocks; i++)
		if (i % 8)
			free(block[i]);
	free(block);
}

// The sizes that librdkafka 2.15 asks for, from a trace of a drain.
static void keepGroups(void) {
	keep(233, 1000); // an answer
	keep(261, 2000); // an event
	keep(54, 2000);  // their headers
	keep(300, 1200); // a command that was fetched
	keep(508, 64);   // its headers
	keep(68, 300);
	keep(40, 300); // a TLS record
}
*/
import "C"

// keepGroups is for a backlog: before there is one it would be a twentieth of all the handler's memory, for nothing.
func keepGroups() { C.keepGroups() }
