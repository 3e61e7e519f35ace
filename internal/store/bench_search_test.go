//go:build integration

package store_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
)

var searchMessages = flag.Int("messages", 1_000_000, "how many messages BenchmarkSearch searches")

// BenchmarkSearch searches 1,000,000 messages of about 600 bytes in 20,000 conversations: a hundred thousand words, common and
// rare as words are, with addresses, devices, hosts, error codes and ids among them. Of each kind of query it reports how long the
// first page takes, all of the messages indexed and with 5,000 that are not.
func BenchmarkSearch(b *testing.B) {
	cluster, err := testpg.Start(testpg.Options{Settings: map[string]string{"shared_buffers": "1GB"}}) // what is recommended for a machine of 4 GB
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cluster.Close() })
	s, err := store.NewStore(b.Context(), testpg.Database(b, cluster.URL()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	ctx := b.Context()
	if err := store.RunMigrations(ctx, s.Pool()); err != nil {
		b.Fatal(err)
	}
	c := newCorpus(*searchMessages)
	start := time.Now()
	c.write(b, s, *searchMessages, time.Now())
	b.Logf("%d messages written in %v", *searchMessages, time.Since(start).Round(time.Second))
	start = time.Now()
	drained(b, s)
	index := time.Since(start)
	for _, sql := range []string{`VACUUM (ANALYZE) search_index`, `VACUUM (ANALYZE) search_words`, `VACUUM (ANALYZE) messages`, `ANALYZE`, `CHECKPOINT`} {
		if _, err := s.Pool().Exec(ctx, sql); err != nil {
			b.Fatal(err)
		}
	}
	var texts, size, words, wordSize, newest int64
	if err := s.Pool().QueryRow(ctx, `SELECT (SELECT sum(octet_length(content)) FROM messages), pg_total_relation_size('search_index'), (SELECT count(*) FROM search_words),
		pg_total_relation_size('search_words'), pg_relation_size('search_index')`).Scan(&texts, &size, &words, &wordSize, &newest); err != nil {
		b.Fatal(err)
	}
	n := int64(*searchMessages)
	b.Logf("a message is %d bytes; indexing one took %v; the index has %d bytes of it, and %d of its %d words (rows alone: %d)", texts/n, index/time.Duration(n), size/n, wordSize/n, words, newest/n)
	searchQueries(b, s, c, "fresh")
	c.write(b, s, 5000, time.Now().Add(time.Hour))
	searchQueries(b, s, c, "queue")
	b.Run("delete", func(b *testing.B) {
		rows, err := s.Pool().Query(ctx, `SELECT id::text FROM conversations WHERE message_count = 50 ORDER BY random() LIMIT 20`)
		if err != nil {
			b.Fatal(err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			b.Fatal(err)
		}
		var times []time.Duration
		for b.Loop() {
			for _, id := range ids {
				start := time.Now()
				if err := s.DeleteConversation(ctx, id); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			ids = ids[:0]
		}
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "ms-50-messages-p50")
		b.ReportMetric(float64(times[len(times)-1].Microseconds())/1000, "ms-max")
	})
}

func searchQueries(b *testing.B, s *store.Store, c *corpus, state string) {
	queries := []struct {
		name string
		text func(i int) string
	}{
		{"rare", func(i int) string { return c.words[len(c.words)-1000+i] }},
		{"absent", func(i int) string { return fmt.Sprint("nowhere", i) }},
		{"common", func(i int) string { return c.words[i] }},
		{"middle", func(i int) string { return c.words[100+20*i] }},
		{"two", func(i int) string { return c.words[20+i] + " " + c.words[300+5*i] }},
		{"nevermeet", func(i int) string { return "evenword oddword" }},
		{"phrase", func(i int) string { return `"the ` + c.words[40+i] + `"` }},
		{"prefix", func(i int) string { return c.words[1000+10*i][:4] }},
		{"10.5.0.109", func(i int) string { return "10.5.0.109" }},
		{"address", func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i%8, 3*i%64, 100+i) }},
		{"sda1", func(i int) string { return "sda1" }},
		{"inner", func(i int) string { w := c.words[3000+100*i]; return w[1:min(len(w), 5)] }},
		{"errorcode", func(i int) string { return fmt.Sprint("E", 1000+17*i) }},
		{"path", func(i int) string { return "/var/lib/" + c.words[500+i] }},
		{"host", func(i int) string { return fmt.Sprintf("node-%d.lan", i) }},
		{"best", func(i int) string { return c.words[300+20*i] }},
		{"oldword", func(i int) string { return "legacyword" }},
		{"oldfragment", func(i int) string { return "acyfrag" }},
		{"literal", func(i int) string { return "=-=-=" }},
	}
	for _, q := range queries {
		b.Run(state+"/"+q.name, func(b *testing.B) {
			var times []time.Duration
			var hits store.Hits
			for b.Loop() {
				for i := range 40 {
					start := time.Now()
					var err error
					hits, err = s.Search(b.Context(), store.SearchQuery{Text: q.text(i), Best: q.name == "best"})
					if times = append(times, time.Since(start)); err != nil {
						b.Fatal(err)
					}
				}
			}
			slices.Sort(times)
			at := func(percent int) float64 { return float64(times[len(times)*percent/100].Microseconds()) / 1000 }
			b.ReportMetric(at(50), "ms-p50")
			b.ReportMetric(at(95), "ms-p95")
			b.ReportMetric(at(100*(len(times)-1)/len(times)), "ms-max")
			b.ReportMetric(float64(len(hits.Hits)), "hits")
			back := 0.0
			if !hits.Back.IsZero() {
				back = 1
			}
			b.ReportMetric(back, "bounded")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// drained indexes all that waits, as two servers do.
func drained(b *testing.B, s *store.Store) {
	var servers sync.WaitGroup
	for range 2 {
		servers.Go(func() {
			for n := 1; n > 0; {
				var err error
				if n, err = s.IndexPending(b.Context(), 4000); err != nil {
					b.Error(err)
				}
			}
		})
	}
	servers.Wait()
}

// corpus makes texts of a homelab.
type corpus struct {
	words []string // the most common first
	total int
	made  int
	rand  *rand.Rand
	zipf  *rand.Zipf
}

func newCorpus(total int) *corpus {
	c := &corpus{total: total, rand: rand.New(rand.NewPCG(1, 2))}
	c.words = strings.Fields("the a of to is in on and it for disk zfs pool node backup switch vlan container proxmox docker nginx systemd mount error update")
	seen := map[string]bool{}
	for _, w := range c.words {
		seen[w] = true
	}
	for len(c.words) < 100_000 {
		w := ""
		for range 2 + c.rand.IntN(3) {
			w += string("bcdfghklmnprstvwz"[c.rand.IntN(17)]) + string("aeiouy"[c.rand.IntN(6)])
			if c.rand.IntN(3) == 0 {
				w += string("lnrst"[c.rand.IntN(5)])
			}
		}
		if !seen[w] {
			seen[w] = true
			c.words = append(c.words, w)
		}
	}
	c.zipf = rand.NewZipf(c.rand, 1.1, 4, uint64(len(c.words)-1))
	return c
}

func (c *corpus) text() string {
	var t strings.Builder
	r := c.rand
	for range 40 + r.IntN(110) {
		switch r.IntN(40) {
		case 0:
			fmt.Fprintf(&t, "10.%d.%d.%d", r.IntN(8), r.IntN(64), r.IntN(256))
		case 1:
			fmt.Fprintf(&t, "/dev/sd%c%d", 'a'+rune(r.IntN(26)), r.IntN(20))
		case 2:
			fmt.Fprintf(&t, "node-%d.lan:%d,", r.IntN(200), 1000+r.IntN(9000))
		case 3:
			fmt.Fprintf(&t, "E%04d", r.IntN(10000))
		case 4:
			fmt.Fprintf(&t, "/var/lib/%s/%s.conf", c.words[r.IntN(5000)], c.words[c.zipf.Uint64()])
		default:
			t.WriteString(c.words[c.zipf.Uint64()])
		}
		t.WriteByte(" \n"[min(r.IntN(10)/9, 1)])
	}
	if r.IntN(8) == 0 {
		fmt.Fprintf(&t, "%x ", r.Uint64()) // an id that nothing else has
	}
	if c.made%10 < 2 {
		t.WriteString([]string{"evenword", "oddword"}[c.made%2])
	}
	if c.made < c.total/2 {
		switch r.IntN(7) {
		case 0:
			t.WriteString(" legacyword")
		case 1:
			fmt.Fprintf(&t, " legacyfrag%d", r.IntN(300))
		}
		if r.IntN(1000) == 0 {
			t.WriteString(" =-=-=")
		}
	}
	c.made++
	return t.String()
}

// write writes n messages, the last of them at a time, and queues them.
func (c *corpus) write(b *testing.B, s *store.Store, n int, last time.Time) {
	const each = 50
	ctx := context.Background()
	conn, err := s.Pool().Acquire(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	at := func(i int) time.Time { return last.Add(time.Duration(i-n) * 20 * time.Second) }
	ids := make([]uuid.UUID, n/each)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"conversations"}, []string{"id", "model", "title", "started_at", "updated_at", "head", "message_count"},
		pgx.CopyFromSlice(len(ids), func(i int) ([]any, error) {
			ids[i] = uuid.Must(uuid.NewV7())
			return []any{ids[i], "m", "", at(i * each), at(i*each + each - 1), each, each}, nil
		}))
	if err == nil {
		_, err = conn.CopyFrom(ctx, pgx.Identifier{"messages"}, []string{"id", "conversation_id", "role", "content", "created_at", "seq"},
			pgx.CopyFromSlice(n, func(i int) ([]any, error) {
				return []any{uuid.Must(uuid.NewV7()), ids[i/each], []string{"user", "assistant"}[i%2], c.text(), at(i), i%each + 1}, nil
			}))
	}
	if err == nil {
		_, err = conn.Exec(ctx, `INSERT INTO search_queue (message_id) SELECT id FROM messages WHERE conversation_id = ANY($1) ORDER BY created_at`, ids)
	}
	if err != nil {
		b.Fatal(err)
	}
}
