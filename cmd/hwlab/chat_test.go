package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// room is where a test talks: what the model is told and says, and the commands.
type room struct {
	*llmtest.Fake
	t        *testing.T
	dir      string
	settings []string
	server   *program // nil without one
}

// eachWay runs test without a server, beside one, and through HWLAB_URL.
func eachWay(t *testing.T, test func(t *testing.T, r *room)) {
	for _, way := range []string{"without a server", "beside a server", "through HWLAB_URL"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			fake, settings := model(t)
			r := &room{Fake: fake, t: t, dir: t.TempDir(), settings: append(settings, "HWLAB_TITLES=off", "HWLAB_PASSWORD=sesame")}
			if way != "without a server" {
				r.server = serveIn(t, r.dir, append(r.settings, "HWLAB_DATA_DIR="+filepath.Join(r.dir, "data"))...)
			}
			if way == "through HWLAB_URL" {
				r.settings = []string{"HWLAB_URL=" + r.server.url, "HWLAB_PASSWORD=sesame"}
				r.dir = t.TempDir()
			}
			test(t, r)
		})
	}
}

// run runs hwlab with nothing on standard input.
func (r *room) run(args ...string) ran {
	r.t.Helper()
	return run(r.t, r.dir, r.settings, "", args...)
}

// piped runs hwlab with text on standard input.
func (r *room) piped(text string, args ...string) ran {
	r.t.Helper()
	return run(r.t, r.dir, r.settings, text, args...)
}

// asked is the last that the model was told.
func (r *room) asked() llm.Request {
	all := r.Requests()
	return all[len(all)-1]
}

// said is the record's last conversation, by role and text.
func (r *room) said() string {
	r.t.Helper()
	var c listed
	if err := json.Unmarshal([]byte(r.run("list", "--json", "-l", "1").ended(r.t, 0, `^$`).out), &c); err != nil {
		r.t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(r.run("show", "--json", c.ID).ended(r.t, 0, `^$`).out) {
		var m shown
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			r.t.Fatal(err)
		}
		lines = append(lines, m.Role+"("+m.Status+"): "+m.Content)
	}
	return strings.Join(lines, "\n")
}

// is fails unless the command printed out.
func (r ran) is(t testing.TB, out string) ran {
	t.Helper()
	if r.out != out {
		t.Errorf("it printed %q, not %q", r.out, out)
	}
	return r
}

func TestChatOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		r.Script(llmtest.Say("It is ", "**sdb**.")...)
		r.run("chat", "-s", "Be terse.", "Which disk?").ended(t, 0, `^$`).is(t, "It is **sdb**.\n")
		if m := r.asked().Messages; m[0].Role != "system" || !strings.Contains(m[0].Text, "Be terse.") || m[len(m)-1].Text != "Which disk?" {
			t.Errorf("the model was told %+v", m)
		}
		r.Script(llmtest.Say("Pull it.\n")...)
		r.piped("from a pipe\n\n", "chat", "-c", "And", "now?").ended(t, 0, `^$`).is(t, "Pull it.\n")
		if m := r.asked().Messages; len(m) < 3 || m[len(m)-1].Text != "from a pipe\n\nAnd now?" || m[len(m)-2].Text != "It is **sdb**." {
			t.Errorf("the model was told %+v", m)
		}
		r.Script(llmtest.Say("Another.")...)
		r.piped("only piped\n", "chat").ended(t, 0, `^$`).is(t, "Another.\n")
		if got := r.said(); got != "user(completed): only piped\nassistant(completed): Another." {
			t.Errorf("kept is\n%s", got)
		}
		var list []listed
		for line := range strings.Lines(r.run("list", "--json").out) {
			var c listed
			json.Unmarshal([]byte(line), &c)
			list = append(list, c)
		}
		if len(list) != 2 || list[1].Title != "Which disk?" || list[1].Messages != 4 {
			t.Fatalf("the list is %+v", list)
		}
		first := strings.TrimPrefix(list[1].ID, "conv_")
		r.run("chat", "--cid", first[:len(first)-4], "by its id").ended(t, 0, `^$`).is(t, "ok\n")
		if got := r.said(); !strings.HasPrefix(got, "user(completed): Which disk?") || strings.Count(got, "\n") != 8 {
			t.Errorf("kept is\n%s", got)
		}

		r.run("chat", "--cid", first[:4], "q").ended(t, 2, `several conversations begin with`)
		r.run("chat", "--cid", store.NewID(), "q").ended(t, 3, `^hwlab: no conversation`)
		r.run("chat", "--cid", "what", "q").ended(t, 3, `^hwlab: no conversation`)
		r.run("chat").ended(t, 2, `no question`)
		r.run("chat", "--cid", first, "-c", "q").ended(t, 2, `-c and --cid`)
		r.run("chat", "-x", "--json", "q").ended(t, 2, `--json and -x`)
		r.run("chat", "--what").ended(t, 2, `unknown flag`)
		r.piped("\xff", "chat").ended(t, 2, `not text`)
		r.run("chat", "-s", "\xff", "q").ended(t, 2, `not text`)
		r.run("chat", "--cid", "", "q").ended(t, 2, `--cid is empty`)
		r.run("chat", "--cid", "", "-c", "q").ended(t, 2, `-c and --cid`)
		r.run("chatt").ended(t, 2, `no command "chatt"; did you mean chat`)
		before := r.run("list").out
		r.run("chat", "-m", "nobody", "q").ended(t, 5, `there is no model "nobody"; choose one of: test-model`).is(t, "")
		if after := r.run("list").out; after != before {
			t.Errorf("of a question to nobody there is\n%s", after)
		}
		r.run("chat", "-m", "test-model", "q").ended(t, 0, `^$`)
		if got := r.asked().Model; got != "test-model" {
			t.Errorf("asked was %s", got)
		}
	})
}

func TestChatContinuesNothing(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		r.run("chat", "-c", "q").ended(t, 3, `^hwlab: there is no conversation to go on with\n$`).is(t, "")
	})
}

func TestWhatChatPrints(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		answer := []llmtest.Step{{Reasoning: "Which one "}, {Reasoning: "is it?"}, {Text: "First:\n```sh\nlsblk"}, {Text: " -f\n```\nThen:\n```\nno\n```\n"},
			{Usage: &llm.Usage{InputTokens: 12, OutputTokens: 34, CachedTokens: 5, ReasoningTokens: 7}}, {Finish: llm.FinishStop}}
		const text = "First:\n```sh\nlsblk -f\n```\nThen:\n```\nno\n```\n"
		ask := func(args ...string) ran {
			t.Helper()
			r.Script(answer...)
			return r.run(append([]string{"chat", "q"}, args...)...)
		}
		ask().ended(t, 0, `^Which one is it\?\n\n$`).is(t, text)
		ask("-R").ended(t, 0, `^$`).is(t, text)
		ask("-q").ended(t, 0, `^$`).is(t, text)
		ask("-r", "-q").ended(t, 0, `^$`).is(t, text)
		ask("--no-stream", "-R").ended(t, 0, `^$`).is(t, text)
		ask("-x", "-R").ended(t, 0, `^$`).is(t, "lsblk -f\n")
		ask("-u", "-q").ended(t, 0, `^tokens: 12 in \(5 cached\), 34 out \(7 thinking\)\n$`).is(t, text)
		var o struct {
			ID, Status, Model string
			Conversation      struct{ ID string }
			Output            []struct{ Type string }
			Usage             struct {
				Total int `json:"total_tokens"`
			}
		}
		out := ask("--json", "-q").ended(t, 0, `^$`).out
		if err := json.Unmarshal([]byte(out), &o); err != nil || strings.Count(out, "\n") != 1 || !strings.HasPrefix(o.ID, "resp_") || o.Status != "completed" ||
			o.Model != "test-model" || !strings.HasPrefix(o.Conversation.ID, "conv_") || len(o.Output) != 2 || o.Usage.Total != 46 {
			t.Errorf("--json: %v\n%s", err, out)
		}
		r.Script(llmtest.Say("none")...)
		r.run("chat", "-x", "q").ended(t, 1, `^hwlab: there is no code block`).is(t, "")
		r.Script(llmtest.Say("  1. Do\n     ~~~~\n     a\n       b\n     ~~~\n     ~~~~ \n")...)
		r.run("chat", "-x", "q").ended(t, 0, `^$`).is(t, "a\n  b\n~~~\n")

		before := r.run("list").out
		r.Script(llmtest.Say("unseen")...)
		r.run("chat", "-n", "q").ended(t, 0, `^$`).is(t, "unseen\n")
		if after := r.run("list").out; after != before {
			t.Errorf("with -n there is kept\n%s", after)
		}
		r.run("search", "unseen").ended(t, 1, `^$`)
	})
}

func TestChatThatDoesNotEndWell(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		r.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Finish: llm.FinishLength})
		r.run("chat", "q").ended(t, 4, `^hwlab: the reply is incomplete: it reached its limit of tokens\n$`).is(t, "so far\n")
		r.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Err: &llm.Error{Message: "the card is on fire"}})
		r.run("chat", "q").ended(t, 4, `^hwlab: the reply failed: .*the card is on fire`).is(t, "so far\n")
		r.Script(llmtest.Step{Text: "```\nhalf a"}, llmtest.Step{Break: true})
		r.run("chat", "-x", "q").ended(t, 4, `failed`).is(t, "half a")
	})
	dir, none := t.TempDir(), []string{"OPENAI_BASE_URL=http://127.0.0.1:1/v1"}
	if r := run(t, dir, none, "", "chat", "disks").ended(t, 5, `no model is connected`); !strings.Contains(r.out, "look-up") {
		t.Errorf("the offline advisor says %s", r.out)
	}
	run(t, dir, none, "", "chat", "-m", "offline", "disks").ended(t, 0, `^$`)
	for url, code := range map[string]int{"http://127.0.0.1:1": 5, "nas": 2, "http://u:sesame@nas": 2} {
		for _, args := range [][]string{{"chat", "q"}, {"list"}, {"show", "0"}, {"search", "q"}, {"rename", "0", "x"}, {"delete", "0"}} {
			if r := run(t, dir, []string{"HWLAB_URL=" + url}, "", args...).ended(t, code, `^hwlab: `); strings.Contains(r.err, "sesame") {
				t.Errorf("%q says %s", args, r.err)
			}
		}
	}
	p := serveIn(t, dir, "HWLAB_PASSWORD=sesame")
	run(t, dir, []string{"HWLAB_URL=" + p.url, "HWLAB_PASSWORD=guess"}, "", "chat", "q").ended(t, 1, `set HWLAB_PASSWORD`)
}

func TestChatWithFiles(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		png, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"rack.png": string(png), "manual.pdf": "%PDF-1.4\n\xff", "notes.md": "# Rack\n", "disk.img": "\x00\xff", "large.txt": strings.Repeat("x", mostAttached+1),
			"half.txt": strings.Repeat("y", mostAttached/2+1), "other.txt": strings.Repeat("z", mostAttached/2+1)} {
			if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.piped("dmesg says no", "chat", "-a", "rack.png", "-a", "manual.pdf", "-a", "notes.md", "-a", "-", "what is it?").ended(t, 0, `^$`)
		m := r.asked().Messages
		var got []string
		for _, p := range m[len(m)-1].Parts {
			got = append(got, p.Text+"|"+p.ImageURL+"|"+p.FileName)
		}
		told := strings.Join(got, "\n")
		if !strings.HasPrefix(told, "what is it?||\n|data:image/png;base64,"+base64.StdEncoding.EncodeToString(png)) || !strings.Contains(told, "||manual.pdf") ||
			!strings.Contains(told, "notes.md") || !strings.Contains(told, "# Rack") || !strings.Contains(told, "dmesg says no") {
			t.Errorf("the model was told\n%s", told)
		}
		r.run("chat", "-a", "notes.md").ended(t, 0, `^$`)
		r.run("chat", "-a", "disk.img", "q").ended(t, 1, `disk\.img is no image`)
		r.run("chat", "-a", "large.txt", "q").ended(t, 1, `large\.txt is too much`)
		r.run("chat", "-a", "half.txt", "-a", "other.txt", "q").ended(t, 1, `other\.txt is too much`)
		r.run("chat", "-a", "nowhere.txt", "q").ended(t, 1, `nowhere\.txt`)
		r.piped("x", "chat", "-a", "-", "-a", "-", "q").ended(t, 2, `once`)
	})
}

// running is a command whose output is read as it comes.
type running struct {
	*exec.Cmd
	t      *testing.T
	out    *os.File
	lines  *bufio.Reader
	errors bytes.Buffer
}

func (r *room) start(args ...string) *running {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	c := &running{Cmd: exec.Command(self, args...), t: r.t, out: out, lines: bufio.NewReader(out)}
	c.Dir, c.Env, c.Stdout, c.Stderr = r.dir, environment(r.dir, r.settings), in, &c.errors
	if err := c.Start(); err != nil {
		r.t.Fatal(err)
	}
	in.Close()
	r.t.Cleanup(func() {
		c.Process.Kill()
		out.Close()
	})
	return c
}

// reads reads text.
func (c *running) reads(text string) {
	c.t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c.lines, got); err != nil || string(got) != text {
		c.t.Fatalf("it printed %q, not %q: %v", got, text, err)
	}
}

// ends waits for the end.
func (c *running) ends() ran {
	rest, _ := io.ReadAll(c.lines) // a pipe that the test has closed has none
	c.Wait()
	return ran{string(rest), c.errors.String(), c.ProcessState.ExitCode()}
}

func TestAReaderThatLeavesStopsNothing(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		gate := llmtest.NewGate()
		defer gate.Open()
		r.Script(llmtest.Step{Text: "one\n"}, llmtest.Step{Gate: gate, Text: "two\n"}, llmtest.Step{Text: "three\n"})
		c := r.start("chat", "count")
		c.reads("one\n")
		c.out.Close()
		gate.Open()
		ended := c.ends().ended(t, 141, `^hwlab: the reply resp_\S+ goes on without a reader; to see it: hwlab show \S+\n$`)
		eventually(t, func() string {
			args := strings.Fields(ended.err)
			if got := r.run("show", args[len(args)-1]); !strings.Contains(got.out, "\n## Answer\n\none\ntwo\nthree\n") {
				return got.out + got.err
			}
			return ""
		})
		// What is printed at once, and what is not kept, ends as quietly.
		for command, said := range map[string]string{"chat --no-stream q": `goes on without a reader`, "chat --json q": `goes on without a reader`,
			"chat -n q": `^$`, "list": `^$`, "search count": `^$`} {
			c := r.start(strings.Fields(command)...)
			c.out.Close()
			c.ends().ended(t, 141, said)
		}
	})
}

func TestHeadAndPipes(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		var steps []string
		for range 2000 {
			steps = append(steps, strings.Repeat("line\n", 20))
		}
		r.Script(llmtest.Say(steps...)...)
		cmd := exec.CommandContext(t.Context(), "bash", "-c", `"$0" chat q | head -1; echo "${PIPESTATUS[*]}"`, built(t))
		cmd.Dir, cmd.Env = r.dir, environment(r.dir, r.settings)
		out, err := cmd.Output()
		if err != nil || string(out) != "line\n141 0\n" {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func TestAnInterruptStopsTheReply(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		gate := llmtest.NewGate()
		defer gate.Open()
		r.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Gate: gate, Text: "never"})
		c := r.start("chat", "q")
		c.reads("so far")
		c.Process.Signal(syscall.SIGINT)
		c.ends().ended(t, 130, `^$`).is(t, "\n")
		if got := r.said(); got != "user(completed): q\nassistant(incomplete): so far" {
			t.Errorf("kept is\n%s", got)
		}
		r.Script(llmtest.Say("It goes on.")...)
		r.run("chat", "-c", "more").ended(t, 0, `^$`).is(t, "It goes on.\n")
		if m := r.asked().Messages; m[len(m)-2].Text != "so far" {
			t.Errorf("the model was told %+v", m)
		}

		r.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Gate: gate, Text: "never"})
		c = r.start("chat", "-n", "q")
		c.reads("so far")
		c.Process.Signal(syscall.SIGINT)
		c.ends().ended(t, 130, `^$`).is(t, "\n")

		waits := llmtest.NewGate() // before the first word
		defer waits.Open()
		r.Script(llmtest.Step{Gate: waits, Text: "never"})
		c = r.start("chat", "silence")
		<-waits.Reached()
		c.Process.Signal(syscall.SIGINT)
		c.ends().ended(t, 130, `^$`)
		eventually(t, func() string {
			if got := r.said(); got != "user(completed): silence" {
				return got
			}
			return ""
		})
	})
}

func TestASecondInterruptLeaves(t *testing.T) {
	fake, settings := model(t)
	p := serveIn(t, t.TempDir(), settings...)
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	stopping := make(chan struct{})
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/cancel") { // and it never gets there
			close(stopping)
			<-r.Context().Done()
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	gate := llmtest.NewGate()
	defer gate.Open()
	fake.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Gate: gate, Text: ", and on"})
	r := &room{Fake: fake, t: t, dir: t.TempDir(), settings: []string{"HWLAB_URL=" + proxy.URL}}
	c := r.start("chat", "q")
	c.reads("so far")
	c.Process.Signal(syscall.SIGINT)
	<-stopping
	c.Process.Signal(syscall.SIGINT)
	c.ends().ended(t, 130, `^$`).is(t, "\n")
}

func TestAnInterruptEndsAnyWait(t *testing.T) {
	asked := make(chan string)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // a server notices only then that its client has left
		asked <- r.URL.Path
		<-r.Context().Done()
	}))
	defer silent.Close()
	r := &room{t: t, dir: t.TempDir(), settings: []string{"HWLAB_URL=" + silent.URL}}
	for _, args := range [][]string{{"chat", "q"}, {"chat", "-c", "q"}, {"chat", "-n", "q"}, {"list"}} {
		c := r.start(args...)
		<-asked
		c.Process.Signal(syscall.SIGINT)
		c.ends().ended(t, 130, ``)
	}
}

func TestATerminationStopsNoServer(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		gate := llmtest.NewGate()
		defer gate.Open()
		r.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Gate: gate, Text: ", and on"})
		c := r.start("chat", "q")
		c.reads("so far")
		c.Process.Signal(syscall.SIGTERM)
		c.ends().ended(t, 143, `^$`)
		gate.Open()
		want := "user(completed): q\nassistant(completed): so far, and on"
		if r.server == nil {
			want = "user(completed): q\nassistant(incomplete): so far"
		}
		eventually(t, func() string {
			if got := r.said(); got != want {
				return got
			}
			return ""
		})
	})
}

func TestChatSeesItsServerDieAndComeBack(t *testing.T) {
	fake, settings := model(t)
	dir := t.TempDir()
	p := serveIn(t, dir, settings...)
	gate := llmtest.NewGate()
	defer gate.Open()
	fake.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Gate: gate, Text: "never"})
	r := &room{Fake: fake, t: t, dir: t.TempDir(), settings: []string{"HWLAB_URL=" + p.url}}
	c := r.start("chat", "q")
	c.reads("so far")
	p.kill()
	serveIn(t, dir, append(settings, "HWLAB_LISTEN="+strings.TrimPrefix(p.url, "http://"))...)
	c.ends().ended(t, 4, `^hwlab: the reply is incomplete: its server was stopped\n$`).is(t, "\n")
}

func TestChatOnPostgreSQL(t *testing.T) {
	fake, settings := model(t)
	r := &room{Fake: fake, t: t, dir: t.TempDir(), settings: append(settings, "HWLAB_TITLES=off", "HWLAB_DATABASE_URL="+testpg.Schema(t, testpg.URL(t)))}
	r.run("chat", "-q", "one").ended(t, 0, `^$`).is(t, "ok\n")
	p := serveIn(t, r.dir, append(r.settings, "HWLAB_DATA_DIR="+filepath.Join(r.dir, "data"))...)
	r.run("chat", "-c", "two").ended(t, 0, `^$`).is(t, "ok\n")
	r.settings = append(r.settings, "HWLAB_DATA_DIR="+filepath.Join(r.dir, "other")) // not the server's: it is one itself
	r.run("chat", "-q", "-c", "three").ended(t, 0, `^$`).is(t, "ok\n")
	p.stop()
	if got := r.said(); strings.Count(got, "user(completed): ") != 3 || strings.Count(got, "assistant(completed): ok") != 3 {
		t.Errorf("kept is\n%s", got)
	}
}

func TestTwoCannotChatWithoutAServer(t *testing.T) {
	fake, settings := model(t)
	r := &room{Fake: fake, t: t, dir: t.TempDir(), settings: settings}
	gate := llmtest.NewGate()
	defer gate.Open()
	fake.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Gate: gate, Text: "."})
	c := r.start("chat", "q")
	c.reads("so far")
	r.run("chat", "q").ended(t, 1, `^hwlab: another hwlab, which does not serve, is running with the data directory .*; wait for its end, or start hwlab serve`)
	r.run("list").ended(t, 0, `^$`)
	gate.Open()
	c.ends().ended(t, 0, `^$`).is(t, ".\n")
}

func TestChatGoesOnWhenTheConnectionBreaks(t *testing.T) {
	fake, settings := model(t)
	dir := t.TempDir()
	p := serveIn(t, dir, settings...)
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	gate := llmtest.NewGate()
	defer gate.Open()
	var streams atomic.Int32
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1, ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/responses" && streams.Add(1) == 1 {
			// The question comes through, its answer does not.
			w.Header().Set("Content-Length", "9")
			body := httptest.NewRecorder()
			forward.ServeHTTP(body, r)
			panic(http.ErrAbortHandler)
		}
		if strings.HasPrefix(r.URL.Path, "/v1/responses") && streams.Add(1) <= 4 {
			w = &cutWriter{ResponseWriter: w, left: 6000}
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	var want strings.Builder
	var steps []llmtest.Step
	for i := range 60 {
		word := strings.Repeat(string(rune('a'+i%26)), 50) + "\n"
		want.WriteString(word)
		steps = append(steps, llmtest.Step{Text: word})
	}
	fake.Script(steps...)
	run(t, t.TempDir(), []string{"HWLAB_URL=" + proxy.URL}, "", "chat", "q").ended(t, 0, `^$`).is(t, want.String())
	if n := len(fake.Requests()); n != 1 || streams.Load() < 4 {
		t.Errorf("the model was asked %d times, over %d connections", n, streams.Load())
	}
}

// cutWriter cuts the connection after so many bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(b)
}

func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestCompletionOfIDsAndModels(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		r.run("chat", "Which disk?").ended(t, 0, `^$`)
		var c listed
		if err := json.Unmarshal([]byte(r.run("list", "--json").out), &c); err != nil {
			t.Fatal(err)
		}
		id := strings.TrimPrefix(c.ID, "conv_")
		for _, args := range [][]string{{"show", ""}, {"rename", id[:5]}, {"delete", ""}, {"chat", "--cid", ""}} {
			if out := r.run(append([]string{"__complete"}, args...)...).ended(t, 0, ``).out; out != id+"\tWhich disk?\n:36\n" {
				t.Errorf("%q completes to %s", args, out)
			}
		}
		if out := r.run("__complete", "show", "conv_").out; out != c.ID+"\tWhich disk?\n:36\n" {
			t.Errorf("conv_ completes to %s", out)
		}
		if out := r.run("__complete", "show", id, "").out; out != ":36\n" {
			t.Errorf("a second id completes to %s", out)
		}
		if out := r.run("__complete", "chat", "-m", "").out; out != "test-model\noffline\n:36\n" {
			t.Errorf("models complete to %s", out)
		}
	})
}

func TestColoursChangeNoCharacter(t *testing.T) {
	piece := rapid.SampledFrom([]string{"#", "##", " ", "\n", "`", "``", "```", "````sh\n", "~~~", "*", "**", "***", "é", "word", "- ", "1.", "\t"})
	rapid.Check(t, func(t *rapid.T) {
		var pieces colours
		text, shown := "", ""
		for _, p := range rapid.SliceOf(piece).Draw(t, "text") {
			text += p
			shown += pieces.write(p)
		}
		shown += pieces.end()
		var whole colours
		if at := whole.write(text) + whole.end(); at != shown {
			t.Errorf("at once it is %q, in pieces %q", at, shown)
		}
		if plain := strings.NewReplacer(styleBold, "", styleCode, "", styleNone, "").Replace(shown); plain != text {
			t.Errorf("%q becomes %q", text, plain)
		}
		if i := strings.LastIndex(shown, "\x1b["); i >= 0 && !strings.HasPrefix(shown[i:], styleNone) {
			t.Errorf("the colours do not end: %q", shown)
		}
	})
}
