package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// promptModel answers at once, streamed or not, as it is asked.
func promptModel(b *testing.B) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/models") {
			io.WriteString(w, `{"object":"list","data":[{"id":"prompt","object":"model"}]}`)
			return
		}
		var asked struct{ Stream bool }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !asked.Stream {
			io.WriteString(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Yes.\"}}]}\n\n"+
			"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	b.Cleanup(server.Close)
	return server.URL + "/v1"
}

// BenchmarkAnswer measures what hwlab, on SQLite, adds to a model that answers at once: to a whole reply, and to the first
// word of a streamed one. Each of a run's pairs asks the model itself and then through hwlab.
func BenchmarkAnswer(b *testing.B) {
	model := promptModel(b)
	p := serveIn(b, b.TempDir(), "OPENAI_BASE_URL="+model)
	p.waitFor(`default: prompt`)
	for _, test := range []struct {
		name           string
		direct, hwlab  string // bodies
		directA, oursA string // what an answer has come to when its time is taken
	}{
		{"whole", `{"model":"prompt","messages":[{"role":"user","content":"Is it on?"}]}`, `{"model":"prompt","input":"Is it on?"}`, "", ""},
		{"first-word", `{"model":"prompt","stream":true,"messages":[{"role":"user","content":"Is it on?"}]}`,
			`{"model":"prompt","stream":true,"input":"Is it on?"}`, `"content":"Yes."`, `"response.output_text.delta"`},
	} {
		b.Run(test.name, func(b *testing.B) {
			const pairs = 300
			for b.Loop() {
				var direct, ours, more []time.Duration
				for range pairs {
					d := timeAnswer(b, model+"/chat/completions", test.direct, test.directA)
					o := timeAnswer(b, p.url+"/v1/responses", test.hwlab, test.oursA)
					direct, ours, more = append(direct, d), append(ours, o), append(more, o-d)
				}
				for name, list := range map[string][]time.Duration{"ms-direct": direct, "ms-hwlab": ours, "ms-more": more} {
					slices.Sort(list)
					b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, name)
				}
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// timeAnswer is how long an answer takes to the line that has a text, or to its end. It is read to its end in any case.
func timeAnswer(b *testing.B, url, body, until string) time.Duration {
	begin := time.Now()
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		b.Fatal(answer.Status)
	}
	var at time.Duration
	lines := bufio.NewReader(answer.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if until != "" && at == 0 && bytes.HasPrefix(line, []byte("data: ")) && bytes.Contains(line, []byte(until)) {
			at = time.Since(begin)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if until == "" {
		return time.Since(begin)
	}
	if at == 0 {
		b.Fatalf("%s has not said %s", url, until)
	}
	return at
}
