//go:build integration

package store_test

import (
	"context"
	"errors"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// A turn whose answer did not come in time, because the synchronous standby is away, is on the primary alone. To call it kept
// when it is sent again would be to lose it with that machine.
func TestARepeatedTurnIsKeptWhereTheStandbyHasIt(t *testing.T) {
	primary, err := testpg.Start(testpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	standby, err := primary.Standby("second")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(standby.Close(), primary.Close()); err != nil {
			t.Error(err)
		}
	})
	s, err := store.NewStore(t.Context(), primary.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := store.RunMigrations(t.Context(), s.Pool()); err != nil {
		t.Fatal(err)
	}
	fence, err := s.JoinServer(t.Context(), store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`ALTER SYSTEM SET synchronous_standby_names = 'second'`, `SELECT pg_reload_conf()`} {
		if _, err := s.Pool().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for sync := false; !sync; {
		err := s.Pool().QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`).Scan(&sync)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := standby.Stop(); err != nil {
		t.Fatal(err)
	}

	turn := store.NewResponse{ID: store.NewID(), Fence: fence, Key: "again", Fingerprint: "f", Model: "m",
		Input: []store.NewMessage{{Role: "user", Content: "Is it kept?"}}}
	waiting := func() (n int) { // for the standby
		t.Helper()
		if err := s.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// abandon sends a turn, gives it up once it waits for the standby, and returns its error when the server waits no more.
	abandon := func(turn store.NewResponse) error {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { _, err := s.StartResponse(ctx, turn); done <- err }()
		for waiting() == 0 {
			select {
			case err := <-done:
				t.Fatalf("without its standby the turn is answered with %v", err)
			default:
			}
		}
		cancel()
		err := <-done
		for waiting() > 0 {
		}
		return err
	}
	if err := abandon(turn); !store.Unknown(err) {
		t.Fatalf("a turn that was given up is answered with %v", err)
	}
	// The primary has it now, since the wait for the standby was given up.
	var n int
	if err := s.Pool().QueryRow(t.Context(), `SELECT count(*) FROM responses WHERE id = $1`, turn.ID).Scan(&n); err != nil || n != 1 {
		t.Fatalf("the primary has it %d times, %v", n, err)
	}
	var repeated *store.RepeatedError
	byID := turn
	byID.Key = ""
	for _, again := range []store.NewResponse{turn, byID} {
		if err := abandon(again); errors.As(err, &repeated) {
			t.Fatalf("without its standby the turn is called kept: %v", err)
		}
	}
	if err := standby.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, again := range []store.NewResponse{turn, byID} {
		if _, err := s.StartResponse(t.Context(), again); !errors.As(err, &repeated) || repeated.ResponseID != turn.ID {
			t.Fatalf("with its standby the turn is answered with %v", err)
		}
	}
}
