package main

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// logWriter writes lines apart from those who say them, so that no reply and no stop waits for whoever reads the log: a terminal that is
// stopped, a pager, a full disk behind a pipe. What it cannot hold is left out, and how much that was is said.
type logWriter struct {
	lines   chan []byte // nil is the last
	lost    atomic.Int64
	written chan struct{} // closed after the last
}

// logLines is how many lines wait at most.
const logLines = 1000

func newLogWriter(out io.Writer) *logWriter {
	w := &logWriter{lines: make(chan []byte, logLines), written: make(chan struct{})}
	go func() {
		defer close(w.written)
		for line := range w.lines {
			if line == nil {
				return
			}
			out.Write(line)
			if n := w.lost.Swap(0); n > 0 {
				fmt.Fprintf(out, "%d lines were left out here, since nobody took them\n", n)
			}
		}
	}()
	return w
}

// Write never waits and never fails.
func (w *logWriter) Write(line []byte) (int, error) {
	select {
	case w.lines <- bytes.Clone(line):
	default:
		w.lost.Add(1)
	}
	return len(line), nil
}

// close waits until all is written, a second at most. What is said later may be lost.
func (w *logWriter) close() {
	late := time.After(time.Second)
	select {
	case w.lines <- nil:
	case <-late:
		return
	}
	select {
	case <-w.written:
	case <-late:
	}
}
