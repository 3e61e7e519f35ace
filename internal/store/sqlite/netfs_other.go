//go:build !linux

package sqlite

// networkFilesystem is known on Linux only.
func networkFilesystem(string) string { return "" }
