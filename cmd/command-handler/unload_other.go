//go:build !linux

package main

// unload is for Linux alone.
func unload() {}
