package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"git.georgsen.dk/hwlab/internal/testpg"
)

// pacedModel is a Chat Completions server that says a word every pause, each the time at which it was said, in nanoseconds,
// until it is told to stop. Like the servers that are used it works in batches: each step says the next word of up to fifty
// replies, each in a chunk of its own. It writes to the connections itself, so that it takes little of the machine it shares
// with what is measured.
type pacedModel struct {
	*httptest.Server
	pause time.Duration
	stop  chan struct{}
	said  atomic.Int64

	mu      sync.Mutex
	batches []*pacedBatch
}

// pacedBatch is the connections of replies that go in step.
type pacedBatch struct {
	mu    sync.Mutex
	conns []net.Conn
}

func newPacedModel(b *testing.B, pause time.Duration) *pacedModel {
	m := &pacedModel{pause: pause, stop: make(chan struct{})}
	m.Server = httptest.NewServer(m)
	b.Cleanup(m.Close)
	return m
}

func (m *pacedModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/models") {
		io.WriteString(w, `{"object":"list","data":[{"id":"paced","object":"model"}]}`)
		return
	}
	io.Copy(io.Discard, r.Body)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	m.mu.Lock()
	defer m.mu.Unlock()
	last := len(m.batches) - 1
	if last < 0 || !m.batches[last].add(conn) {
		batch := &pacedBatch{conns: []net.Conn{conn}}
		m.batches = append(m.batches, batch)
		go m.speak(batch)
	}
}

// add takes conn in, unless the batch is full.
func (p *pacedBatch) add(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) == 50 {
		return false
	}
	p.conns = append(p.conns, conn)
	return true
}

func (m *pacedModel) speak(p *pacedBatch) {
	const before, after = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", " \"}}]}\n\n"
	const end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
	const digits = 19 // of the time
	word := fmt.Appendf(nil, "%x\r\n%s", len(before)+digits+len(after), before)
	at := len(word)
	tick := time.NewTicker(m.pause)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			for _, conn := range p.conns {
				fmt.Fprintf(conn, "%x\r\n%s\r\n0\r\n\r\n", len(end), end)
				conn.Close()
			}
			return
		case <-tick.C:
		}
		p.mu.Lock()
		conns := p.conns
		p.mu.Unlock()
		for _, conn := range conns {
			word = append(append(strconv.AppendInt(word[:at], time.Now().UnixNano(), 10), after...), "\r\n"...)
			if _, err := conn.Write(word); err == nil {
				m.said.Add(1)
			}
		}
	}
}

// cpu is the processor time of a process so far.
func cpu(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// postgresCPU is the processor time of a server with all its sessions.
func postgresCPU(postmaster int) time.Duration {
	total := cpu(postmaster)
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	for _, child := range strings.Fields(string(children)) {
		pid, _ := strconv.Atoi(child)
		total += cpu(pid)
	}
	return total
}

// BenchmarkStreams measures how long a word takes from the model server to a reader, through the database, durable before
// it is shown: n replies at 50 words a second each, with a reader each, for ten seconds in which all of them run.
func BenchmarkStreams(b *testing.B) {
	for _, n := range []int{1, 100, 300, 600, 800, 1000, 3000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				measureStreams(b, n)
			}
		})
	}
}

func measureStreams(b *testing.B, n int) {
	const startsPerSecond, window = 100, 10 * time.Second
	cluster, err := testpg.Start(testpg.Options{Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	model := newPacedModel(b, 20*time.Millisecond)
	p := serveIn(b, b.TempDir(), "HWLAB_DATABASE_URL="+cluster.URL(), "OPENAI_BASE_URL="+model.URL+"/v1")
	p.waitFor(`default: paced`)
	conn, err := pgx.Connect(b.Context(), cluster.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	type counters struct {
		commits, rows       int64
		ours, theirs, bench time.Duration
		at                  time.Time
	}
	look := func() (c counters) {
		conn.Exec(b.Context(), `SELECT pg_stat_clear_snapshot()`)
		conn.QueryRow(b.Context(), `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`).Scan(&c.commits)
		conn.QueryRow(b.Context(), `SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'response_deltas'`).Scan(&c.rows)
		c.ours, c.theirs, c.bench, c.at = cpu(p.cmd.Process.Pid), postgresCPU(cluster.PID()), cpu(os.Getpid()), time.Now()
		return c
	}

	readers := make([][]shownWord, n)
	var group, running sync.WaitGroup
	running.Add(n)
	for i := range n {
		group.Go(func() { readers[i] = readWords(b, p.url, running.Done) })
		time.Sleep(time.Second / startsPerSecond)
	}
	running.Wait()
	time.Sleep(time.Second)
	begin := look()
	time.Sleep(window)
	end := look()
	close(model.stop)
	group.Wait()

	var late []time.Duration
	all := 0
	for _, words := range readers {
		all += len(words)
		for _, w := range words {
			if w.said.After(begin.at) && w.said.Before(end.at) {
				late = append(late, w.late)
			}
		}
	}
	if int64(all) != model.said.Load() {
		b.Errorf("%d words were shown, %d were said", all, model.said.Load())
	}
	slices.Sort(late)
	took := end.at.Sub(begin.at).Seconds()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(late[len(late)/2]), "ms-p50")
	b.ReportMetric(ms(late[len(late)*99/100]), "ms-p99")
	b.ReportMetric(float64(len(late))/took, "words/s")
	b.ReportMetric(float64(end.rows-begin.rows)/took, "rows/s")
	b.ReportMetric(float64(end.commits-begin.commits)/took, "commits/s")
	for name, used := range map[string]time.Duration{"hwlab": end.ours - begin.ours, "postgres": end.theirs - begin.theirs, "bench": end.bench - begin.bench} {
		b.ReportMetric(used.Seconds()/took, "cores-"+name)
		b.ReportMetric(float64(used.Microseconds())/float64(len(late)), "µs/word-"+name)
	}
}

// shownWord is a word that a reader got.
type shownWord struct {
	said time.Time
	late time.Duration
}

// readWords asks for a reply and reads it to its end, on a connection of its own and without a client, which would take more of the
// machine. It calls begun at the first word, or when there is none.
func readWords(b *testing.B, url string, begun func()) (list []shownWord) {
	begun = sync.OnceFunc(begun)
	defer begun()
	const question = `{"input":"go","stream":true}`
	address := strings.TrimPrefix(url, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Error(err)
		return nil
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/responses HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		address, len(question), question)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.Error(answer, err)
		return nil
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if !bytes.HasPrefix(line, []byte(`data: {"type":"response.output_text.delta"`)) {
			continue
		}
		now := time.Now()
		_, text, _ := bytes.Cut(line, []byte(`"delta":"`))
		text, _, _ = bytes.Cut(text, []byte(`"`))
		for word := range bytes.FieldsSeq(text) {
			nanoseconds, err := strconv.ParseInt(string(word), 10, 64)
			if err != nil {
				b.Error(err)
				return list
			}
			said := time.Unix(0, nanoseconds)
			list = append(list, shownWord{said, now.Sub(said)})
		}
		begun()
	}
	return list
}

// BenchmarkEndedReplies has replies of fifty words end, a hundred a second, and reports at the end of each minute how large the
// log's tables are: make bench BENCHPKG=./cmd/hwlab BENCH=EndedReplies BENCHTIME=5x is five minutes.
func BenchmarkEndedReplies(b *testing.B) {
	const perSecond, words = 100, 50
	cluster, err := testpg.Start(testpg.Options{Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/models") {
			io.WriteString(w, `{"object":"list","data":[{"id":"brief","object":"model"}]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range words {
			io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"}}]}\n\n")
			http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
		io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	defer model.Close()
	p := serveIn(b, b.TempDir(), "HWLAB_DATABASE_URL="+cluster.URL(), "OPENAI_BASE_URL="+model.URL+"/v1")
	p.waitFor(`default: brief`)
	conn, err := pgx.Connect(b.Context(), cluster.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	minute := 0
	for b.Loop() {
		minute++
		var ended atomic.Int64
		var group sync.WaitGroup
		tick := time.NewTicker(time.Second / perSecond)
		begun := time.Now()
		for range 60 * perSecond {
			<-tick.C
			group.Go(func() {
				answer, err := http.Post(p.url+"/v1/responses", "application/json", strings.NewReader(`{"input":"go"}`))
				if err != nil {
					b.Error(err)
					return
				}
				defer answer.Body.Close()
				if body, err := io.ReadAll(answer.Body); err != nil || !bytes.Contains(body, []byte(`"status":"completed"`)) {
					b.Errorf("%v %s", err, body)
				}
				ended.Add(1)
			})
		}
		group.Wait()
		tick.Stop()
		var deltas, queue, keys int64
		var left int
		if err := conn.QueryRow(b.Context(), `SELECT pg_total_relation_size('response_deltas'), pg_total_relation_size('search_queue'),
			pg_total_relation_size('idempotency'), (SELECT count(*) FROM response_deltas)`).Scan(&deltas, &queue, &keys, &left); err != nil {
			b.Fatal(err)
		}
		b.Logf("minute %d: %.1f replies/s; response_deltas %d kB (%d rows), search_queue %d kB, idempotency %d kB", minute,
			float64(ended.Load())/time.Since(begun).Seconds(), deltas>>10, left, queue>>10, keys>>10)
		b.ReportMetric(float64(deltas)/(1<<20), "MB-deltas")
	}
}
