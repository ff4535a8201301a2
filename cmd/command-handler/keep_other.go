//go:build !musl

package main

// keepGroups is for musl's malloc alone.
func keepGroups() {}
