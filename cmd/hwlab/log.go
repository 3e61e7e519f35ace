package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// logWriter writes lines apart from those who say them, so that no reply and no stop waits for whoever reads the log: a terminal that is
// stopped, a pager, a full disk behind a pipe. What it cannot hold is left out, and a line there says how much that was.
type logWriter struct {
	mu      sync.Mutex
	lost    int           // lines since the last that was taken
	lines   chan []byte   // nil is the last
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
		}
	}()
	return w
}

// Write never waits and never fails.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.say(bytes.Clone(line))
	return len(line), nil
}

// say takes a line where there is room for it, and for how many are missing before it, and reports whether there was. mu is held, so
// that room stays.
func (w *logWriter) say(line []byte) bool {
	if cap(w.lines)-len(w.lines) < 2 {
		w.lost++
		return false
	}
	if w.lost > 0 {
		w.lines <- fmt.Appendf(nil, "%d lines are missing here, since nobody took them\n", w.lost)
		w.lost = 0
	}
	w.lines <- line
	return true
}

// close waits until all is written, a second at most. Nothing is to be said afterwards.
func (w *logWriter) close() {
	w.mu.Lock()
	ends := w.say(nil)
	w.mu.Unlock()
	if !ends {
		return // nobody takes anything
	}
	select {
	case <-w.written:
	case <-time.After(time.Second):
	}
}
