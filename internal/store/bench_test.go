//go:build integration

package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// Each benchmark measures the record beside plain pgx on the two plain tables of the contract, on one server, in turns: a
// round of the one, a round of the other. The machine may be noisy, so what is reported is the median of the rounds'
// ratios. Run them with make bench.

// plainSchema is what a program would write that knows nothing of the record.
const plainSchema = `
CREATE TABLE conversations (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), started_at TIMESTAMPTZ NOT NULL DEFAULT now(), model TEXT NOT NULL DEFAULT '');
CREATE TABLE messages (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), conversation_id UUID NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
	role TEXT NOT NULL CHECK (role IN ('user','assistant','system')), content TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now())`

// pair is the record and the plain tables on one durable server.
type pair struct {
	record *store.Store
	plain  *pgxpool.Pool
}

var durable = sync.OnceValues(func() (*testpg.Cluster, error) { return testpg.Start(testpg.Options{Durable: true}) })

func newPair(b *testing.B) pair {
	cluster, err := durable()
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	record, err := store.NewStore(ctx, testpg.Schema(b, cluster.URL()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(record.Close)
	if err := store.RunMigrations(ctx, record.Pool()); err != nil {
		b.Fatal(err)
	}
	config, err := pgxpool.ParseConfig(testpg.Schema(b, cluster.URL()))
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = record.Pool().Config().MaxConns
	plain, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(plain.Close)
	if _, err := plain.Exec(ctx, plainSchema); err != nil {
		b.Fatal(err)
	}
	return pair{record, plain}
}

// text is prose of n bytes, of words that differ from call to call.
func text(n int) string {
	var t strings.Builder
	for t.Len() < n {
		fmt.Fprintf(&t, "%s%d ", []string{"disk", "switch", "the", "node", "backup", "zfs", "of", "vlan"}[rand.IntN(8)], rand.IntN(5000))
	}
	return t.String()[:n]
}

// conversations makes n in each and returns their ids.
func (p pair) conversations(b *testing.B, n int) (record, plain []string) {
	for range n {
		id, err := p.record.CreateConversation(b.Context(), "m")
		if err != nil {
			b.Fatal(err)
		}
		record = append(record, id)
		if err := p.plain.QueryRow(b.Context(), `INSERT INTO conversations (model) VALUES ('m') RETURNING id::text`).Scan(&id); err != nil {
			b.Fatal(err)
		}
		plain = append(plain, id)
	}
	return record, plain
}

func (p pair) add(ctx context.Context, id, content string) error {
	_, err := p.record.AddMessage(ctx, id, "user", content)
	return err
}

func (p pair) addPlain(ctx context.Context, id, content string) error {
	var message string
	return p.plain.QueryRow(ctx, `INSERT INTO messages (conversation_id, role, content) VALUES ($1, 'user', $2) RETURNING id::text`, id, content).Scan(&message)
}

// ratio is the median over rounds of ours / theirs, and the median of each.
func ratio(rounds int, ours, theirs func() time.Duration) (median float64, our, their time.Duration) {
	var ratios []float64
	var a, c []time.Duration
	for i := range rounds + 1 {
		var x, y time.Duration
		if i%2 == 0 {
			x, y = ours(), theirs()
		} else {
			y, x = theirs(), ours()
		}
		if i == 0 {
			continue // to warm up
		}
		ratios, a, c = append(ratios, float64(x)/float64(y)), append(a, x), append(c, y)
	}
	slices.Sort(ratios)
	slices.Sort(a)
	slices.Sort(c)
	return ratios[len(ratios)/2], a[len(a)/2], c[len(c)/2]
}

// BenchmarkAppend is one writer: the latency of an append over that of a plain INSERT of the same text.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{600, 2000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			p := newPair(b)
			const n = 100
			record, plain := p.conversations(b, 10)
			one := func(ids []string, add func(context.Context, string, string) error) func() time.Duration {
				return func() time.Duration {
					var times []time.Duration
					for i := range n {
						content := text(size)
						start := time.Now()
						if err := add(b.Context(), ids[i%len(ids)], content); err != nil {
							b.Fatal(err)
						}
						times = append(times, time.Since(start))
					}
					slices.Sort(times)
					return times[n/2]
				}
			}
			for b.Loop() {
				x, ours, theirs := ratio(21, one(record, p.add), one(plain, p.addPlain))
				b.ReportMetric(x, "x-plain-latency")
				b.ReportMetric(float64(ours.Microseconds()), "µs")
				b.ReportMetric(float64(theirs.Microseconds()), "µs-plain")
			}
		})
	}
}

// BenchmarkAppendBurst is 16 writers: appends a second over plain INSERTs a second, with the search queue left alone and
// with an indexer draining it meanwhile.
func BenchmarkAppendBurst(b *testing.B) {
	for _, drained := range []bool{false, true} {
		for _, size := range []int{600, 2000} {
			b.Run(fmt.Sprintf("drained=%v/%dB", drained, size), func(b *testing.B) {
				p := newPair(b)
				const writers, each = 16, 60
				record, plain := p.conversations(b, writers*4)
				burst := func(ids []string, add func(context.Context, string, string) error) func() time.Duration {
					return func() time.Duration {
						contents := make([]string, 32)
						for i := range contents {
							contents[i] = text(size)
						}
						var group sync.WaitGroup
						start := time.Now()
						for w := range writers {
							group.Go(func() {
								for i := range each {
									if err := add(b.Context(), ids[w*4+i%4], contents[(w+i)%32]); err != nil {
										b.Error(err)
									}
								}
							})
						}
						group.Wait()
						return time.Since(start)
					}
				}
				ours := burst(record, p.add)
				if drained {
					alone := ours
					ours = func() time.Duration { // an indexer works for as long as the burst lasts, no longer
						ctx, cancel := context.WithCancel(b.Context())
						var indexer sync.WaitGroup
						indexer.Go(func() {
							for ctx.Err() == nil {
								if n, err := p.record.IndexPending(ctx, 500); err != nil && ctx.Err() == nil {
									b.Error(err)
								} else if n == 0 {
									time.Sleep(time.Millisecond)
								}
							}
						})
						d := alone()
						cancel()
						indexer.Wait()
						return d
					}
				}
				for b.Loop() {
					x, our, their := ratio(15, ours, burst(plain, p.addPlain))
					b.ReportMetric(1/x, "x-plain-throughput")
					b.ReportMetric(writers*each/our.Seconds(), "appends/s")
					b.ReportMetric(writers*each/their.Seconds(), "plain/s")
				}
				var backlog int
				if err := p.record.Pool().QueryRow(b.Context(), `SELECT count(*) FROM search_queue`).Scan(&backlog); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(backlog), "backlog")
			})
		}
	}
}

// BenchmarkThread reads a thread of 1,000 messages among 200,000, beside a raw index scan of the same rows.
func BenchmarkThread(b *testing.B) {
	p := newPair(b)
	ctx := b.Context()
	record, plain := p.conversations(b, 1)
	for _, pool := range []*pgxpool.Pool{p.record.Pool(), p.plain} {
		if _, err := pool.Exec(ctx, `INSERT INTO conversations (model) SELECT 'm' FROM generate_series(1, 199)`); err != nil {
			b.Fatal(err)
		}
	}
	// The record's rows bring their numbers as its own appends do; the plain ones have the index that a raw scan needs.
	if _, err := p.record.Pool().Exec(ctx, `INSERT INTO messages (conversation_id, role, content, seq) SELECT id, 'user', repeat(md5(random()::text), 19), n FROM generate_series(1, 1000) n, conversations ORDER BY n`); err != nil {
		b.Fatal(err)
	}
	if _, err := p.record.Pool().Exec(ctx, `UPDATE conversations SET head = 1000, message_count = 1000`); err != nil {
		b.Fatal(err)
	}
	if _, err := p.plain.Exec(ctx, `INSERT INTO messages (conversation_id, role, content) SELECT id, 'user', repeat(md5(random()::text), 19) FROM generate_series(1, 1000) n, conversations ORDER BY n`); err != nil {
		b.Fatal(err)
	}
	if _, err := p.plain.Exec(ctx, `CREATE INDEX ON messages (conversation_id, created_at)`); err != nil {
		b.Fatal(err)
	}
	for _, pool := range []*pgxpool.Pool{p.record.Pool(), p.plain} {
		if _, err := pool.Exec(ctx, `VACUUM ANALYZE`); err != nil {
			b.Fatal(err)
		}
	}
	ours := func() time.Duration {
		return medianOf(15, func() {
			c, err := p.record.GetConversation(ctx, record[0])
			if err != nil || len(c.Messages) != 1000 {
				b.Fatal(len(c.Messages), err)
			}
		})
	}
	theirs := func() time.Duration {
		return medianOf(15, func() {
			rows, err := p.plain.Query(ctx, `SELECT id::text, conversation_id::text, role, content, created_at FROM messages WHERE conversation_id = $1 ORDER BY created_at`, plain[0])
			if err != nil {
				b.Fatal(err)
			}
			var list []store.Message
			for rows.Next() {
				var m store.Message
				if err := rows.Scan(&m.ID, &m.ConversationID, &m.Role, &m.Content, &m.CreatedAt); err != nil {
					b.Fatal(err)
				}
				list = append(list, m)
			}
			if rows.Err() != nil || len(list) != 1000 {
				b.Fatal(len(list), rows.Err())
			}
		})
	}
	for b.Loop() {
		x, our, their := ratio(21, ours, theirs)
		b.ReportMetric(x, "x-raw-scan")
		b.ReportMetric(float64(our.Microseconds()), "µs")
		b.ReportMetric(float64(their.Microseconds()), "µs-raw")
	}
}

// BenchmarkList reads the newest 100 of 100,000 conversations, beside plain pgx reading one of as many plain rows, any, by
// its primary key. The two alternate call by call: how long a wake-up takes changes from moment to moment, and would
// otherwise favour the one or the other.
func BenchmarkList(b *testing.B) {
	p := newPair(b)
	ctx := b.Context()
	for pool, sql := range map[*pgxpool.Pool]string{
		p.record.Pool(): `INSERT INTO conversations (model, started_at, updated_at)
			SELECT 'm', now() - n * interval '1 second', now() - n * interval '1 second' FROM generate_series(1, 100000) n`,
		p.plain: `INSERT INTO conversations (model, started_at) SELECT 'm', now() - n * interval '1 second' FROM generate_series(1, 100000) n`,
	} {
		for _, sql := range []string{sql, `VACUUM ANALYZE conversations`} {
			if _, err := pool.Exec(ctx, sql); err != nil {
				b.Fatal(err)
			}
		}
	}
	rows, err := p.plain.Query(ctx, `SELECT id::text FROM conversations LIMIT 5000`)
	if err != nil {
		b.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.Fatal(err)
	}
	timed := func(f func() error) func() time.Duration {
		return func() time.Duration {
			start := time.Now()
			if err := f(); err != nil {
				b.Fatal(err)
			}
			return time.Since(start)
		}
	}
	full := func(list []store.ConversationSummary, err error) error {
		if err == nil && len(list) != 100 {
			err = fmt.Errorf("%d conversations", len(list))
		}
		return err
	}
	for name, read := range map[string]func() error{
		"newest": func() error { return full(p.record.ListConversations(ctx)) },
		"page": func() error {
			page, err := p.record.List(ctx, store.ListQuery{})
			return full(page.Conversations, err)
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				x, our, their := ratio(2000, timed(read), timed(func() error {
					var c store.ConversationSummary
					return p.plain.QueryRow(ctx, `SELECT id::text, model, started_at FROM conversations WHERE id = $1`, ids[rand.IntN(len(ids))]).
						Scan(&c.ID, &c.Model, &c.StartedAt)
				}))
				b.ReportMetric(x, "probes")
				b.ReportMetric(float64(our.Microseconds()), "µs")
				b.ReportMetric(float64(their.Microseconds()), "µs-probe")
			}
		})
	}
}

func medianOf(n int, f func()) time.Duration {
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		f()
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[n/2]
}
