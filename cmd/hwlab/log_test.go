package main

import (
	"bufio"
	"fmt"
	"io"
	"testing"
)

// Who does not read the log keeps nobody waiting, and is told what is not there.
func TestNobodyWaitsForTheLog(t *testing.T) {
	reader, writer := io.Pipe()
	log := newLogWriter(writer)
	const said = 3 * logLines
	for i := range said {
		fmt.Fprintln(log, "line", i)
	}
	lines, lost := 0, 0
	read := make(chan struct{})
	go func() {
		defer close(read)
		for in := bufio.NewScanner(reader); in.Scan(); {
			var n int
			if _, err := fmt.Sscanf(in.Text(), "%d lines were left out here", &n); err == nil {
				lost += n
			} else if in.Text() == fmt.Sprint("line ", lines) {
				lines++
			} else {
				t.Errorf("after %d lines comes %q", lines, in.Text())
			}
		}
	}()
	log.close()
	writer.Close()
	<-read
	if lines+lost != said || lines < logLines {
		t.Errorf("of %d lines %d are read and %d are said to be left out", said, lines, lost)
	}
}
