// Command hwlab is the Lab Advisor: a self-hosted chat advisor for a homelab whose conversations cannot be lost.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Signals are caught to the very end: one that comes while the process is about to exit would make an error of it.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // else a write to a closed pipe ends the process; here it is an error
	cmd := newCommand()
	cmd.SetOut(stdout{os.Stdout})
	if err := cmd.ExecuteContext(ctx); err != nil {
		if text := harmless(err.Error()); text != "" {
			fmt.Fprintln(os.Stderr, "hwlab:", text)
		}
		os.Exit(exitCode(err))
	}
}

// stdout is standard output. Who reads it may leave, as head does: what is written then fails with errPipe.
type stdout struct{ file *os.File }

var errPipe = &exit{code: 128 + int(syscall.SIGPIPE)}

func (o stdout) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		err = errPipe
	}
	return n, err
}
