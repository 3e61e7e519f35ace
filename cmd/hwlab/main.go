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
	if err := newCommand().ExecuteContext(ctx); err != nil {
		if !errors.Is(err, errNoHit) {
			fmt.Fprintln(os.Stderr, "hwlab:", err)
		}
		os.Exit(exitCode(err))
	}
}
