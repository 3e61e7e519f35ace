package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
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

// pacedModel is a Chat Completions server that says a word every pause, each the time at which it was said, in nanoseconds.
func pacedModel(b *testing.B, pause time.Duration, words int) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/models") {
			io.WriteString(w, `{"object":"list","data":[{"id":"paced","object":"model"}]}`)
			return
		}
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		flush := http.NewResponseController(w).Flush
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for range words {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%d \"}}]}\n\n", time.Now().UnixNano())
			flush()
		}
		io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	b.Cleanup(server.Close)
	return server
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
// it is shown: n replies at 50 words a second each, with a reader each.
func BenchmarkStreams(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 3000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			cluster, err := testpg.Start(testpg.Options{Durable: true})
			if err != nil {
				b.Fatal(err)
			}
			defer cluster.Close()
			const words = 500 // ten seconds
			model := pacedModel(b, 20*time.Millisecond, words)
			p := serveIn(b, b.TempDir(), "HWLAB_DATABASE_URL="+cluster.URL(), "OPENAI_BASE_URL="+model.URL+"/v1")
			p.waitFor(`default: paced`)
			conn, err := pgx.Connect(b.Context(), cluster.URL())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close(b.Context())
			counters := func() (commits, rows int64) {
				conn.Exec(b.Context(), `SELECT pg_stat_clear_snapshot()`)
				conn.QueryRow(b.Context(), `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`).Scan(&commits)
				conn.QueryRow(b.Context(), `SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'response_deltas'`).Scan(&rows)
				return commits, rows
			}
			for b.Loop() {
				var mu sync.Mutex
				var late []time.Duration
				var group sync.WaitGroup
				var shown atomic.Int64
				commits, rows := counters()
				ours, theirs, started := cpu(p.cmd.Process.Pid), postgresCPU(cluster.PID()), time.Now()
				for i := range n {
					group.Go(func() {
						time.Sleep(time.Duration(i) * time.Second / time.Duration(n)) // they do not all begin in one moment
						mine := readWords(b, p.url)
						shown.Add(int64(len(mine)))
						mu.Lock()
						late = append(late, mine...)
						mu.Unlock()
					})
				}
				group.Wait()
				took := time.Since(started).Seconds()
				moreCommits, moreRows := counters()
				slices.Sort(late)
				if shown.Load() != int64(n*words) {
					b.Errorf("%d words were shown, %d were said", shown.Load(), n*words)
				}
				ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
				b.ReportMetric(ms(late[len(late)/2]), "ms-p50")
				b.ReportMetric(ms(late[len(late)*99/100]), "ms-p99")
				b.ReportMetric(float64(shown.Load())/took, "words/s")
				b.ReportMetric(float64(moreRows-rows)/took, "rows/s")
				b.ReportMetric(float64(moreCommits-commits)/took, "commits/s")
				b.ReportMetric((cpu(p.cmd.Process.Pid)-ours).Seconds()/took, "cores-hwlab")
				b.ReportMetric((postgresCPU(cluster.PID())-theirs).Seconds()/took, "cores-postgres")
			}
		})
	}
}

// readWords asks for a reply and returns how long each of its words took.
func readWords(b *testing.B, url string) []time.Duration {
	answer, err := http.Post(url+"/v1/responses", "application/json", strings.NewReader(`{"input":"go","stream":true}`))
	if err != nil {
		b.Error(err)
		return nil
	}
	defer answer.Body.Close()
	var list []time.Duration
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if !bytes.HasPrefix(line, []byte(`data: {"type":"response.output_text.delta"`)) {
			continue
		}
		now := time.Now().UnixNano()
		_, text, _ := bytes.Cut(line, []byte(`"delta":"`))
		text, _, _ = bytes.Cut(text, []byte(`"`))
		for word := range bytes.FieldsSeq(text) {
			said, err := strconv.ParseInt(string(word), 10, 64)
			if err != nil {
				b.Error(err)
				return list
			}
			list = append(list, time.Duration(now-said))
		}
	}
	return list
}
