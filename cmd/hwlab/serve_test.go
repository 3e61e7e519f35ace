package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"git.georgsen.dk/hwlab/internal/api/apitest"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// A server, and a command that is read while it runs, is this test binary, told to be the program: what runs is main, in a process of
// its own, under the race detector where the tests are.
func TestMain(m *testing.M) {
	if os.Getenv("HWLAB_TEST_MAIN") != "" {
		os.Unsetenv("HWLAB_TEST_MAIN")
		main()
		os.Exit(0)
	}
	var err error
	if temporary, err = os.MkdirTemp("", "hwlab-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(temporary)
	testpg.Exit(code)
}

// temporary is a folder for as long as the tests run.
var temporary string

// build builds the program as it is installed, once.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(temporary, "hwlab")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// built is the program for commands that run to their end. There are hundreds, and one with the race detector takes ten times as long
// to start.
func built(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program is a running hwlab.
type program struct {
	t    testing.TB
	cmd  *exec.Cmd
	url  string
	done chan error

	mu  sync.Mutex
	out bytes.Buffer
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// output is all that it has printed.
func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// noSleep is for the race detector, which otherwise lets a process that has ended well wait a second before it is gone.
const noSleep = "GORACE=atexit_sleep_ms=0"

// launch starts hwlab with args and settings in a directory, and nothing of this process's own settings.
func launch(t testing.TB, dir string, settings []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, done: make(chan error, 1)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(self, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"HWLAB_TEST_MAIN=1", noSleep, "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "HWLAB_LISTEN=127.0.0.1:0", "OLLAMA_HOST=127.0.0.1:1",
		"HWLAB_TITLES=off"}, settings...) // a scripted model is asked what the test asks, and no more
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("%v printed:\n%s", args, p.output())
		}
	})
	return p
}

// serveIn launches hwlab serve and waits until it listens.
func serveIn(t testing.TB, dir string, settings ...string) *program {
	t.Helper()
	p := launch(t, dir, settings, "serve")
	p.url = "http://" + p.waitFor(`listening  http://(\S+)`)
	return p
}

// waitFor waits until the output matches, and returns what the parentheses hold.
func (p *program) waitFor(pattern string) string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		if m := expression.FindStringSubmatch(p.output()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-look.C:
		case err := <-p.done:
			p.t.Fatalf("it ended (%v) without printing %s:\n%s", err, pattern, p.output())
		case <-deadline.C:
			p.t.Fatalf("it has not printed %s:\n%s", pattern, p.output())
		}
	}
}

// fails waits until it has ended with an error, and returns what it printed.
func (p *program) fails() string {
	p.t.Helper()
	select {
	case err := <-p.done:
		if err == nil {
			p.t.Errorf("it ended without an error:\n%s", p.output())
		}
	case <-time.After(20 * time.Second):
		p.t.Fatalf("it goes on:\n%s", p.output())
	}
	return p.output()
}

// kill is kill -9.
func (p *program) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// stop is SIGTERM, and waits for an orderly end.
func (p *program) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("after SIGTERM it ended with %v", err)
		}
	case <-time.After(15 * time.Second):
		p.t.Error("after SIGTERM it goes on")
	}
}

func (p *program) request(method, path, body string) *http.Response {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: apitest.Transport(p.t, nil)}
	answer, err := client.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// get decodes the answer to a request that must succeed.
func (p *program) get(method, path, body string, into any) {
	p.t.Helper()
	answer := p.request(method, path, body)
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		p.t.Fatalf("%s %s: %s %s %v", method, path, answer.Status, text, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		p.t.Fatal(err)
	}
}

// stream reads events until the predicate says enough, and returns the text shown and the last event.
func (p *program) stream(path, body string, enough func(shown string) bool) (shown string, last map[string]any) {
	p.t.Helper()
	method := "POST"
	if body == "" {
		method = "GET"
	}
	lines := bufio.NewScanner(p.request(method, path, body).Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		last = nil
		if err := json.Unmarshal([]byte(data), &last); err != nil {
			p.t.Fatal(err)
		}
		if last["type"] == "response.output_text.delta" {
			shown += last["delta"].(string)
		}
		if enough(shown) {
			break
		}
	}
	return shown, last
}

type items struct {
	Data []struct {
		Role    string
		Status  string
		Content []struct{ Text string }
	}
}

func (i items) String() string {
	var list []string
	for _, m := range i.Data {
		list = append(list, fmt.Sprintf("%s(%s): %s", m.Role, m.Status, m.Content[0].Text))
	}
	return strings.Join(list, "\n")
}

// model is a model server on loopback with a script, and the settings that lead to it.
func model(t *testing.T) (*llmtest.Fake, []string) {
	fake := llmtest.New("test-model")
	server := llmtest.NewServer(fake)
	t.Cleanup(server.Close)
	return fake, []string{"OPENAI_BASE_URL=" + server.URL + "/v1", "OPENAI_API_KEY=sk-test-secret"}
}

// eachEngine runs test with the settings of each engine.
func eachEngine(t *testing.T, test func(t *testing.T, settings ...string)) {
	t.Run("sqlite", func(t *testing.T) { test(t) })
	t.Run("postgres", func(t *testing.T) { test(t, "HWLAB_DATABASE_URL="+testpg.Schema(t, testpg.URL(t))) })
}

func TestEverythingShownIsThereAfterAKill(t *testing.T) {
	eachEngine(t, func(t *testing.T, settings ...string) {
		fake, modelSettings := model(t)
		settings = append(settings, modelSettings...)
		dir := t.TempDir()
		p := serveIn(t, dir, settings...)
		var c struct{ ID string }
		p.get("POST", "/v1/conversations", "{}", &c)
		fake.Script(llmtest.Say("An answer ", "that is whole.")...)
		whole, _ := p.stream("/v1/responses", `{"input":"one","stream":true,"conversation":"`+c.ID+`"}`, func(string) bool { return false })
		if whole != "An answer that is whole." {
			t.Fatalf("shown is %q", whole)
		}

		gate := llmtest.NewGate()
		defer gate.Open()
		fake.Script(append(llmtest.Say("Half ", "an ", "answer ")[:3], llmtest.Step{Gate: gate, Text: "never"})...)
		half, last := p.stream("/v1/responses", `{"input":"two","stream":true,"conversation":"`+c.ID+`"}`, func(shown string) bool { return shown == "Half an answer " })
		p.kill()

		p = serveIn(t, dir, settings...)
		var list items
		p.get("GET", "/v1/conversations/"+c.ID+"/items?order=asc", "", &list)
		want := "user(completed): one\nassistant(completed): An answer that is whole.\nuser(completed): two\nassistant(incomplete): " + half
		if list.String() != want {
			t.Errorf("after kill -9 the conversation is\n%s\nnot\n%s", list, want)
		}
		var r struct {
			Status  string
			Details struct{ Reason string } `json:"incomplete_details"`
		}
		var running struct {
			Response *string `json:"running_response_id"`
		}
		p.get("GET", "/v1/conversations/"+c.ID, "", &running)
		if running.Response != nil {
			t.Errorf("a reply is still in progress: %s (%v)", *running.Response, last)
		}
		fake.Script(llmtest.Say("It goes on.")...)
		p.get("POST", "/v1/responses", `{"input":"three","conversation":"`+c.ID+`"}`, &r)
		if r.Status != "completed" {
			t.Errorf("the next reply is %s", r.Status)
		}
		p.stop()
	})
}

func TestSIGTERMSettlesWhatIsBeingWritten(t *testing.T) {
	eachEngine(t, func(t *testing.T, settings ...string) {
		fake, modelSettings := model(t)
		settings = append(settings, modelSettings...)
		dir := t.TempDir()
		p := serveIn(t, dir, settings...)
		gate := llmtest.NewGate()
		defer gate.Open()
		fake.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Gate: gate, Text: "never"})
		stopped := false
		shown, last := p.stream("/v1/responses", `{"input":"one","stream":true}`, func(shown string) bool {
			if shown == "so far" && !stopped {
				stopped = true
				p.cmd.Process.Signal(syscall.SIGTERM)
			}
			return false
		})
		if last["type"] != "response.incomplete" || shown != "so far" {
			t.Errorf("the reader saw %q and then %v", shown, last)
		}
		p.stop()
		response := last["response"].(map[string]any)
		p = serveIn(t, dir, settings...)
		again, end := p.stream("/v1/responses/"+response["id"].(string)+"?stream=true", "", func(string) bool { return false })
		if again != shown || end["type"] != "response.incomplete" {
			t.Errorf("after the start it is %q and then %v", again, end)
		}
		p.stop()
	})
}

func TestItSaysWhatItFound(t *testing.T) {
	fake, settings := model(t)
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes")
	os.Mkdir(notes, 0o700)
	os.WriteFile(filepath.Join(notes, "small.md"), []byte("# NAS\n"), 0o600)
	os.WriteFile(filepath.Join(notes, "large.md"), bytes.Repeat([]byte("words and words\n"), 10000), 0o600)
	p := serveIn(t, dir, append(settings, "HWLAB_LAB_DIR="+notes)...)
	for _, pattern := range []string{`database   SQLite 3\.\d+\.\d+, .*hwlab\.db`, `models     OPENAI_BASE_URL at http://127\.0\.0\.1:\d+/v1: test-model`,
		`models     default: test-model`, `lab notes  1 of 2 go to the model`, `does not go to the model.*large\.md`} {
		p.waitFor(pattern)
	}
	if answer := p.request("GET", "/healthz", ""); answer.StatusCode != 200 {
		t.Errorf("/healthz: %s", answer.Status)
	}
	p.get("POST", "/v1/responses", `{"input":"hi"}`, &struct{}{})
	if got := fake.Requests()[0].Messages[0]; got.Role != "system" || !strings.Contains(got.Text, "# NAS") {
		t.Errorf("the model was told %+v", got)
	}
	if strings.Contains(p.output(), "sk-test-secret") {
		t.Error("the key is printed")
	}

	second := launch(t, dir, nil, "serve").fails()
	if !strings.Contains(second, p.url) {
		t.Errorf("a second server in the same directory says %q and does not name %s", second, p.url)
	}
	p.stop()
}

// text is the body of an answer that must have this status.
func (p *program) text(path string, status int) string {
	p.t.Helper()
	answer := p.request("GET", path, "")
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		p.t.Errorf("%s: %s, not %d: %s %v", path, answer.Status, status, text, err)
	}
	return string(text)
}

func TestReadyMeansThatTheDatabaseTakesAWrite(t *testing.T) {
	file := serveIn(t, t.TempDir())
	if said := file.text("/readyz", 200); said != "ok\n" {
		t.Errorf("with a file it says %q", said)
	}
	file.stop()

	cluster, err := testpg.Start(testpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	p := serveIn(t, t.TempDir(), "HWLAB_DATABASE_URL="+cluster.URL())
	p.text("/readyz", 200)
	admin, err := pgx.Connect(t.Context(), cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	// It answers every question, as one does that a failover has made a standby.
	for _, sql := range []string{`ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	p.becomes("/readyz", 503)
	p.text("/v1/conversations", 200)
	for _, sql := range []string{`SET default_transaction_read_only = off`, `ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	p.becomes("/readyz", 200)

	if err := cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	if said := p.text("/readyz", 503); strings.Contains(said, "127.0.0.1") || strings.Contains(said, "postgres") {
		t.Errorf("a stranger is told of the database: %q", said)
	}
	p.text("/healthz", 200)
	if err := cluster.Restart(); err != nil {
		t.Fatal(err)
	}
	p.becomes("/readyz", 200)
	p.stop()
}

// becomes waits until a path is answered with this status.
func (p *program) becomes(path string, status int) {
	p.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		answer := p.request("GET", path, "")
		if answer.Body.Close(); answer.StatusCode == status {
			return
		}
		select {
		case <-look.C:
		case <-deadline.C:
			p.t.Fatalf("%s is answered %s, not %d", path, answer.Status, status)
		}
	}
}

func TestMetricsTellWhatHappened(t *testing.T) {
	eachEngine(t, func(t *testing.T, settings ...string) {
		fake, modelSettings := model(t)
		p := serveIn(t, t.TempDir(), append(settings, modelSettings...)...)
		has := func(when string, lines ...string) {
			t.Helper()
			told := "\n" + p.text("/metrics", 200)
			for _, line := range lines {
				if !regexp.MustCompile("\n" + line + "\n").MatchString(told) {
					t.Errorf("%s there is no %s in %s", when, line, told)
				}
			}
		}
		has("at first", `hwlab_info\{database="(SQLite|PostgreSQL) [0-9.]+",version=".+"\} 1`, `hwlab_replies_running 0`, `hwlab_replies_total\{status="completed"\} 0`,
			`hwlab_commit_duration_seconds_count 0`, `go_goroutines \d+`, `process_resident_memory_bytes \S+`)

		fake.Script(llmtest.Say("whole")...)
		p.stream("/v1/responses", `{"input":"one","stream":true}`, func(string) bool { return false })
		gate := llmtest.NewGate()
		defer gate.Open()
		fake.Script(llmtest.Step{Text: "half"}, llmtest.Step{Gate: gate, Text: "never"})
		id := ""
		p.stream("/v1/responses", `{"input":"two","stream":true}`, func(shown string) bool {
			if shown == "half" && id == "" {
				has("while a reply runs", `hwlab_replies_running 1`)
				var list struct {
					Data []struct {
						Running string `json:"running_response_id"`
					}
				}
				p.get("GET", "/v1/conversations?listed=false", "", &list)
				id = list.Data[0].Running
				p.get("POST", "/v1/responses/"+id+"/cancel", "", &struct{}{})
			}
			return false
		})
		p.text("/v1/responses/resp_none", 404)
		p.text("/nothing", 404)
		has("in the end", `hwlab_replies_total\{status="completed"\} 1`, `hwlab_replies_total\{status="cancelled"\} 1`, `hwlab_replies_total\{status="failed"\} 0`,
			`hwlab_commit_duration_seconds_count [1-9]\d*`, `hwlab_http_requests_total\{code="200",route="POST /v1/responses"\} 2`,
			`hwlab_http_requests_total\{code="404",route="GET /v1/responses/\{id\}"\} 1`, `hwlab_http_requests_total\{code="404",route="none"\} 1`)
		p.stop()
	})
}

func TestWhatCannotWorkIsRefusedAtStart(t *testing.T) {
	for name, test := range map[string]struct {
		settings []string
		says     string
		never    []string
	}{
		"beyond this machine without a password": {[]string{"HWLAB_LISTEN=0.0.0.0:0"}, "HWLAB_PASSWORD", nil},
		"all addresses without a password":       {[]string{"HWLAB_LISTEN=:0"}, "HWLAB_PASSWORD", nil},
		"an address that is none":                {[]string{"HWLAB_LISTEN=8080"}, "HWLAB_LISTEN", nil},
		"nobody listens":                         {[]string{"HWLAB_DATABASE_URL=postgres://opal:s3cr3tword@127.0.0.1:1/ledger"}, "nothing listens", []string{"opal", "s3cr3tword", "ledger"}},
		"a password that is not escaped":         {[]string{"HWLAB_DATABASE_URL=postgres://opal:s3cr/3tw@rd@127.0.0.1:1/ledger"}, "HWLAB_DATABASE_URL", []string{"opal", "s3cr", "3tw", "ledger"}},
		"no connection string":                   {[]string{"HWLAB_DATABASE_URL=s3cr3tword"}, "HWLAB_DATABASE_URL", []string{"s3cr3tword"}},
		"a base URL that is none":                {[]string{"OPENAI_BASE_URL=:::"}, "OPENAI_BASE_URL", nil},
	} {
		t.Run(name, func(t *testing.T) {
			said := launch(t, t.TempDir(), test.settings, "serve").fails()
			if !strings.Contains(said, test.says) {
				t.Errorf("it says %q, and nothing of %s", said, test.says)
			}
			for _, secret := range test.never {
				if strings.Contains(said, secret) {
					t.Errorf("it says %q, with %q in it", said, secret)
				}
			}
		})
	}
}

func TestSettingsComeFromFlagThenEnvironmentThenFile(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, ".env"), []byte("HWLAB_DATA_DIR="+filepath.Join(dir, "from-file")+"\nHWLAB_PASSWORD=\"a b\"\n"), 0o600)
	for _, test := range []struct {
		settings, args []string
		want           string
	}{
		{nil, nil, "from-file"},
		{[]string{"HWLAB_DATA_DIR=" + filepath.Join(dir, "from-env")}, nil, "from-env"},
		{[]string{"HWLAB_DATA_DIR=" + filepath.Join(dir, "from-env")}, []string{"--data-dir", filepath.Join(dir, "from-flag")}, "from-flag"},
	} {
		p := launch(t, dir, test.settings, append([]string{"serve"}, test.args...)...)
		p.url = "http://" + p.waitFor(`listening  http://(\S+)`)
		p.waitFor(`database   .*` + test.want)
		if answer := p.request("GET", "/v1/models", ""); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("the password of .env is not asked for: %s", answer.Status)
		}
		p.stop()
	}
}

func TestAllSettingsAreInTheHelpAndInTheExample(t *testing.T) {
	help := launch(t, t.TempDir(), nil, "serve", "--help")
	<-help.done
	example, err := os.ReadFile(filepath.Join("..", "..", ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	general := launch(t, t.TempDir(), nil, "--help")
	<-general.done
	for _, s := range new(config).settings() {
		if !strings.Contains(help.output(), s.env) {
			t.Errorf("serve --help does not have %s", s.env)
		}
	}
	for _, s := range new(config).clientSettings() {
		if !strings.Contains(general.output(), s.env) {
			t.Errorf("--help does not have %s", s.env)
		}
	}
	for _, s := range append(new(config).settings(), new(config).clientSettings()...) {
		if !strings.Contains(string(example), s.env+"=") {
			t.Errorf(".env.example does not have %s", s.env)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dsn := testpg.Schema(t, testpg.URL(t))
	p := serveIn(t, t.TempDir(), "HWLAB_DATABASE_URL="+dsn)
	p.stop()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `INSERT INTO schema_migrations (version, name, checksum) VALUES (999, '0999_later.sql', 'x')`); err != nil {
		t.Fatal(err)
	}
	if said := launch(t, t.TempDir(), []string{"HWLAB_DATABASE_URL=" + dsn}, "serve").fails(); !strings.Contains(said, "999") || !strings.Contains(said, "newer") {
		t.Errorf("it says %q", said)
	}
}

func TestTheLargestRequestIsASetting(t *testing.T) {
	_, settings := model(t)
	p := serveIn(t, t.TempDir(), append(settings, "HWLAB_MAX_REQUEST_MB=1")...)
	for size, want := range map[int]int{1 << 20: http.StatusOK, 1<<20 + 1: http.StatusRequestEntityTooLarge} {
		const frame = `{"input":""}`
		body := frame[:10] + strings.Repeat("x", size-len(frame)) + frame[10:]
		if answer := p.request("POST", "/v1/responses", body); answer.StatusCode != want {
			t.Errorf("%d bytes are answered %s", size, answer.Status)
		}
	}
	for _, wrong := range []string{"0", "much", "-1"} {
		if out := launch(t, t.TempDir(), []string{"HWLAB_MAX_REQUEST_MB=" + wrong}, "serve").fails(); !strings.Contains(out, "HWLAB_MAX_REQUEST_MB") {
			t.Errorf("with %q it says %s", wrong, out)
		}
	}
}

func TestWhetherAModelNamesConversationsIsASetting(t *testing.T) {
	type conversation struct{ ID, Title string }
	turn := func(p *program, question string) (c conversation) {
		t.Helper()
		p.get("POST", "/v1/conversations", "{}", &c)
		p.get("POST", "/v1/responses", `{"conversation":"`+c.ID+`","input":"`+question+`"}`, &struct{}{})
		return c
	}
	fake, settings := model(t)
	p := serveIn(t, t.TempDir(), append(settings, "HWLAB_TITLES=on")...)
	gate := llmtest.NewGate()
	defer gate.Open()
	fake.Script(llmtest.Say("It is sdb.")...)
	fake.Script(llmtest.Say("The failing disk")...)
	fake.Script(llmtest.Say("Six.")...)
	fake.Script(llmtest.Step{Gate: gate})
	named := turn(p, "Which disk is it?")
	for named.Title != "The failing disk" && t.Context().Err() == nil {
		p.get("GET", "/v1/conversations/"+named.ID, "", &named)
	}
	turn(p, "How many are there?")
	<-gate.Reached()
	if last := fake.Requests()[3]; !last.NoThinking {
		t.Errorf("for a title the model was asked %+v", last)
	}
	p.stop() // in the middle of a title

	fake, settings = model(t)
	p = serveIn(t, t.TempDir(), append(settings, "HWLAB_TITLES=off")...)
	first := turn(p, "Which disk is it?")
	turn(p, "How many are there?")
	if p.get("GET", "/v1/conversations/"+first.ID, "", &first); first.Title != "Which disk is it?" || len(fake.Requests()) != 2 {
		t.Errorf("its title is %q after %d requests", first.Title, len(fake.Requests()))
	}
	p.stop()
	if out := launch(t, t.TempDir(), []string{"HWLAB_TITLES=perhaps"}, "serve").fails(); !strings.Contains(out, "HWLAB_TITLES") {
		t.Errorf("with perhaps it says %s", out)
	}
}
