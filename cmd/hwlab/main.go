// Command hwlab is the Lab Advisor: a self-hosted chat advisor for a homelab whose conversations cannot be lost.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "hwlab:", err)
		os.Exit(exitCode(err))
	}
}
