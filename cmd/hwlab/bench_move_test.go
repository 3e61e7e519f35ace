package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// many is a record of conversations of a hundred messages that is made up as it is read.
type many struct{ conversations int }

const eachHas = 100

// manyMessages is how many messages the benchmarks move that measure memory.
func manyMessages(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("HWLAB_BENCH_MESSAGES"))
	if err != nil {
		return 1000000
	}
	return n
}

func (m many) id(i, j int) string { return fmt.Sprintf("01900000-0000-7000-8000-%07x%05x", i+1, j) }

func (m many) ConversationIDs(_ context.Context, after string, limit int) (ids []string, err error) {
	next := 0
	if after != "" {
		n, err := strconv.ParseInt(after[24:31], 16, 64)
		if err != nil {
			return nil, err
		}
		next = int(n)
	}
	for ; next < m.conversations && len(ids) < limit; next++ {
		ids = append(ids, m.id(next, 0))
	}
	return ids, nil
}

func (m many) ArchiveConversation(_ context.Context, id string, f func(store.ArchiveRow) error) error {
	n, err := strconv.ParseInt(id[24:31], 16, 64)
	if err != nil {
		return err
	}
	i, at := int(n)-1, time.Date(2026, 1, 1, 0, 0, int(n), 0, time.UTC)
	err = f(store.ArchiveRow{Conversation: &store.ArchivedConversation{ID: id, Model: "m", Title: fmt.Sprint("number ", i), StartedAt: at, UpdatedAt: at, Head: eachHas,
		MessageCount: eachHas, Metadata: json.RawMessage(`{}`), Listed: true}})
	words := rand.New(rand.NewPCG(uint64(i), 1))
	for j := 1; j <= eachHas && err == nil; j++ {
		err = f(store.ArchiveRow{Message: &store.ArchivedMessage{ID: m.id(i, j), Seq: int64(j), Role: []string{"user", "assistant"}[j%2], Status: store.MessageCompleted,
			CreatedAt: at, Content: prose(words, 600)}})
	}
	return err
}

func prose(r *rand.Rand, n int) string {
	var t strings.Builder
	for t.Len() < n {
		fmt.Fprintf(&t, "%s%d ", []string{"disk", "switch", "the", "node", "backup", "zfs", "of", "vlan"}[r.IntN(8)], r.IntN(5000))
	}
	return t.String()[:n]
}

// write writes the record as an export.
func (m many) write(b *testing.B, path string) {
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	if _, err := archive.Export(b.Context(), m, file, nil, func(archive.Counts) {}); err != nil {
		b.Fatal(err)
	}
}

// durablePostgres is a server whose commits are on disk.
func durablePostgres(b *testing.B) *testpg.Cluster {
	cluster, err := testpg.Start(testpg.Options{Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			b.Error(err)
		}
	})
	return cluster
}

// BenchmarkImport imports 100,000 messages into PostgreSQL until they are durable and found, beside a raw COPY of the same into the
// plain tables until that is durable: the medians of five rounds in turns. The index is drained after the last.
func BenchmarkImport(b *testing.B) {
	cluster, path := durablePostgres(b), filepath.Join(b.TempDir(), "all.jsonl")
	m := many{1000}
	m.write(b, path)
	var ratios, copies, imports []float64
	for i := range 5 * b.N {
		copied := m.copy(b, testpg.Schema(b, cluster.URL()))
		record, err := store.NewStore(b.Context(), testpg.Schema(b, cluster.URL()))
		if err != nil {
			b.Fatal(err)
		}
		if err := store.RunMigrations(b.Context(), record.Pool()); err != nil {
			b.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if _, err = archive.Import(b.Context(), record, file, archive.Options{Progress: func(archive.Result) {}, Problem: func(place, what string) { b.Error(place, what) }}); err != nil {
			b.Fatal(err)
		}
		last := prose(rand.New(rand.NewPCG(uint64(m.conversations-1), 1)), 600)
		hits, err := record.Search(b.Context(), store.SearchQuery{Text: `"` + last[:40] + `"`})
		if err != nil || len(hits.Hits) == 0 {
			b.Fatalf("what was imported is not found: %v", err)
		}
		imported := time.Since(began)
		file.Close()
		ratios, copies, imports = append(ratios, copied.Seconds()/imported.Seconds()), append(copies, copied.Seconds()), append(imports, imported.Seconds())
		if i == 5*b.N-1 {
			began = time.Now()
			if err := archive.Index(b.Context(), record, func(int) {}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(began).Seconds(), "drain-s")
		}
		record.Close()
	}
	middle := func(list []float64) float64 { slices.Sort(list); return list[len(list)/2] }
	b.ReportMetric(middle(ratios), "of-COPY")
	b.ReportMetric(middle(copies), "COPY-s")
	b.ReportMetric(middle(imports), "import-s")
}

// copy writes the messages to the plain tables by COPY and returns how long that took.
func (m many) copy(b *testing.B, dsn string) time.Duration {
	plain, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer plain.Close(b.Context())
	if _, err := plain.Exec(b.Context(), `CREATE TABLE conversations (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), started_at TIMESTAMPTZ NOT NULL DEFAULT now(), model TEXT NOT NULL DEFAULT '');
		CREATE TABLE messages (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), conversation_id UUID NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
			role TEXT NOT NULL CHECK (role IN ('user','assistant','system')), content TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now())`); err != nil {
		b.Fatal(err)
	}
	var conversations, messages [][]any
	for i := range m.conversations {
		err := m.ArchiveConversation(b.Context(), m.id(i, 0), func(r store.ArchiveRow) error {
			if c := r.Conversation; c != nil {
				conversations = append(conversations, []any{[16]byte(uuid.MustParse(c.ID)), c.StartedAt, c.Model})
			} else {
				messages = append(messages, []any{[16]byte(uuid.MustParse(r.Message.ID)), [16]byte(uuid.MustParse(m.id(i, 0))), r.Message.Role, r.Message.Content, r.Message.CreatedAt})
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	err = pgx.BeginFunc(b.Context(), plain, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(b.Context(), pgx.Identifier{"conversations"}, []string{"id", "started_at", "model"}, pgx.CopyFromRows(conversations))
		if err == nil {
			_, err = tx.CopyFrom(b.Context(), pgx.Identifier{"messages"}, []string{"id", "conversation_id", "role", "content", "created_at"}, pgx.CopyFromRows(messages))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// peak runs the program to its end and returns the most memory that it had, in MB.
func peak(b *testing.B, dir string, settings []string, args ...string) float64 {
	b.Helper()
	p := launch(b, dir, settings, args...)
	most := 0
	field := regexp.MustCompile(`VmHWM:\s+(\d+) kB`)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-p.done:
			if err != nil {
				b.Fatalf("%v: %v\n%s", args, err, p.output())
			}
			return float64(most) / 1000
		case <-look.C:
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if found := field.FindSubmatch(status); found != nil {
			n, err := strconv.Atoi(string(found[1]))
			if err != nil {
				b.Fatal(err)
			}
			most = max(most, n)
		}
	}
}

// BenchmarkMemory moves 1,000,000 messages, or HWLAB_BENCH_MESSAGES, from a file to PostgreSQL to SQLite and out again, and reports
// the most memory that the program had at each.
func BenchmarkMemory(b *testing.B) {
	cluster, dir := durablePostgres(b), b.TempDir()
	path := filepath.Join(dir, "all.jsonl")
	many{manyMessages(b) / eachHas}.write(b, path)
	for i := range b.N {
		settings := []string{"HWLAB_DATABASE_URL=" + testpg.Schema(b, cluster.URL())}
		file := filepath.Join(dir, fmt.Sprint("copy", i))
		for _, step := range []struct {
			name     string
			settings []string
			args     []string
		}{
			{"import", settings, []string{"import", path}},
			{"export", settings, []string{"export", "-o", filepath.Join(dir, fmt.Sprint("postgres", i))}},
			{"copy", settings, []string{"copy", "--from", "env:HWLAB_DATABASE_URL", "--to", filepath.Join(file, "hwlab.db")}},
			{"export-sqlite", nil, []string{"export", "--data-dir", file, "-o", filepath.Join(dir, fmt.Sprint("sqlite", i))}},
		} {
			began := time.Now()
			b.ReportMetric(peak(b, dir, step.settings, step.args...), step.name+"-MB")
			b.ReportMetric(time.Since(began).Seconds(), step.name+"-s")
		}
		for _, name := range []string{"postgres", "sqlite"} {
			if !sameFile(b, path, filepath.Join(dir, fmt.Sprint(name, i))) {
				b.Errorf("what came out of %s is not what went in", name)
			}
		}
	}
}

func sameFile(b *testing.B, one, other string) bool {
	var sums [2]string
	for i, path := range []string{one, other} {
		file, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, file); err != nil {
			b.Fatal(err)
		}
		file.Close()
		sums[i] = fmt.Sprintf("%x", sum.Sum(nil))
	}
	return sums[0] == sums[1]
}
