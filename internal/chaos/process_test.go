package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/api/apitest"
)

// process is a running hwlab.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	client *http.Client
	ended  chan struct{} // closed when it has ended
	err    error         // then: how

	mu        sync.Mutex
	out       bytes.Buffer
	listening chan string // gets where it listens
}

var listens = regexp.MustCompile(`listening  (http://\S+)\n`)

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Write(b)
	if p.listening != nil {
		if m := listens.FindSubmatch(p.out.Bytes()); m != nil {
			p.listening <- string(m[1])
			p.listening = nil
		}
	}
	return len(b), nil
}

// output is all that it has printed.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// launch starts hwlab serve with its data in dir.
func launch(t *testing.T, dir string, settings ...string) (*process, <-chan string) {
	t.Helper()
	program, err := hwlab()
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	p := &process{t: t, ended: make(chan struct{}), listening: listening, client: &http.Client{Transport: apitest.Transport(t, &http.Transport{})}}
	p.cmd = exec.Command(program, "serve")
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "HWLAB_LISTEN=127.0.0.1:0", "OLLAMA_HOST=127.0.0.1:1",
		"HWLAB_TITLES=off"}, settings...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	must(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if out := p.output(); t.Failed() {
			t.Logf("hwlab %d printed:\n%s", p.cmd.Process.Pid, out[max(0, len(out)-8000):])
		}
	})
	return p, listening
}

// serve starts hwlab with its data in dir and waits until it listens.
func serve(t *testing.T, dir string, settings ...string) *process {
	t.Helper()
	p, listening := launch(t, dir, settings...)
	select {
	case p.url = <-listening:
	case <-p.ended:
		t.Fatalf("hwlab ended (%v):\n%s", p.err, p.output())
	case <-time.After(60 * time.Second):
		t.Fatalf("hwlab does not listen:\n%s", p.output())
	}
	return p
}

// kill is kill -9, and waits until it is gone.
func (p *process) kill() {
	p.cmd.Process.Kill() // fails when it has ended
	<-p.ended
	p.client.CloseIdleConnections()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(s))
}

// stop is SIGTERM. It returns how long the process took to end, which must be in order.
func (p *process) stop() time.Duration {
	p.t.Helper()
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(40 * time.Second):
		p.t.Fatalf("after SIGTERM it goes on:\n%s", p.output())
	}
	if p.err != nil {
		p.t.Errorf("after SIGTERM it ended with %v:\n%s", p.err, p.output())
	}
	return time.Since(begun)
}

// object is a JSON object.
type object map[string]any

// at is what stands at a path of keys and indices; nil if there is nothing.
func (o object) at(path ...any) any {
	var v any = map[string]any(o)
	for _, step := range path {
		switch key := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[key]
		case int:
			list, _ := v.([]any)
			if key < 0 {
				key += len(list)
			}
			if key < 0 || key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}

func (o object) str(path ...any) string {
	s, _ := o.at(path...).(string)
	return s
}

// request is a request with a body, or without if that is nil.
func (p *process) request(ctx context.Context, method, path string, body object, header http.Header) (*http.Response, error) {
	var text io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, text)
	if err != nil {
		return nil, err
	}
	if header != nil {
		r.Header = header.Clone()
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return p.client.Do(r)
}

// try is a request that may fail: status 0 is no answer.
func (p *process) try(method, path string, body object, header http.Header) (status int, answer object, err error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 60*time.Second)
	defer cancel()
	r, err := p.request(ctx, method, path, body, header)
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, nil, err
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return r.StatusCode, nil, fmt.Errorf("%s: %w", raw, err)
	}
	return r.StatusCode, answer, nil
}

// ok is a request that must succeed.
func (p *process) ok(method, path string, body object) object {
	p.t.Helper()
	status, answer, err := p.try(method, path, body, nil)
	if err != nil || status != http.StatusOK {
		p.t.Fatalf("%s %s: %d %v %v", method, path, status, answer, err)
	}
	return answer
}

// conversation makes one and returns its id.
func (p *process) conversation() string {
	p.t.Helper()
	return p.ok("POST", "/v1/conversations", object{}).str("id")
}

// event is one event of a stream, as it was received.
type event struct {
	Type     string
	Sequence int `json:"sequence_number"`
	Delta    string
	Response struct {
		ID, Status string
	}
	raw string
}

// reader reads a stream.
type reader struct {
	name  string
	begun chan struct{} // closed at the first text, or at the end
	ended chan struct{} // closed at the end

	mu    sync.Mutex
	seen  []event
	whole bool  // it was read to its [DONE]
	err   error // why it was not
}

// read starts a reader of a stream.
func (p *process) read(method, path string, body object, header http.Header) *reader {
	r := &reader{name: method + " " + path, begun: make(chan struct{}), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(p.t.Context())
	go func() {
		defer cancel()
		begin := sync.OnceFunc(func() { close(r.begun) })
		err := r.run(ctx, begin, p, method, path, body, header)
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
		begin()
		close(r.ended)
	}()
	p.t.Cleanup(func() {
		cancel()
		<-r.ended
	})
	return r
}

func (r *reader) run(ctx context.Context, begin func(), p *process, method, path string, body object, header http.Header) error {
	answer, err := p.request(ctx, method, path, body, header)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, err := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: %s %w", answer.Status, text, err)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			r.mu.Lock()
			r.whole = true
			r.mu.Unlock()
			return nil
		}
		e := event{raw: data}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err // of a line that was cut: it was not received
		}
		r.mu.Lock()
		r.seen = append(r.seen, e)
		r.mu.Unlock()
		if e.Delta != "" {
			begin()
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// events are those that it has received.
func (r *reader) events() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// shown is the text that it has received.
func (r *reader) shown() string { return shown(r.events()) }

func shown(events []event) string {
	var text strings.Builder
	for _, e := range events {
		if e.Type == "response.output_text.delta" {
			text.WriteString(e.Delta)
		}
	}
	return text.String()
}

// id is the reply's, "" if the reader did not get so far.
func (r *reader) id() string {
	for _, e := range r.events() {
		if e.Response.ID != "" {
			return e.Response.ID
		}
	}
	return ""
}

// wait waits until something has happened, for so long at most.
func wait(t *testing.T, what string, happened <-chan struct{}, atMost time.Duration) {
	t.Helper()
	limit := time.NewTimer(atMost)
	defer limit.Stop()
	select {
	case <-happened:
	case <-limit.C:
		t.Fatalf("after %v: not yet: %s", atMost, what)
	}
}

// end waits for the end of a reader whose stream must be whole, and returns its events.
func (r *reader) end(t *testing.T, atMost time.Duration) []event {
	t.Helper()
	limit := time.NewTimer(atMost)
	defer limit.Stop()
	select {
	case <-r.ended:
	case <-limit.C:
		t.Fatalf("after %v %s goes on; it has shown %q", atMost, r.name, tail(r.shown()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.whole {
		t.Fatalf("%s was cut: %v", r.name, r.err)
	}
	return r.seen
}

func tail(text string) string { return text[max(0, len(text)-60):] }
