package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/sqlite"
)

// keeper is a record that conversations are moved out of or into.
type keeper interface {
	record
	archive.Record
	archive.Thread
	List(ctx context.Context, q store.ListQuery) (store.ListPage, error)
	ArchiveSize(ctx context.Context) (conversations, messages int, err error)
	Waiting(ctx context.Context) (int, error)
}

// openKeeper opens what is configured to be written.
func openKeeper(ctx context.Context, cfg config) (keeper, error) {
	r, err := openRecord(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return r.(keeper), nil
}

// openSource opens what is configured to be read. An SQLite file may be in use by a server.
func openSource(ctx context.Context, cfg config) (keeper, error) {
	if cfg.DatabaseURL != "" {
		return openKeeper(ctx, cfg)
	}
	path := filepath.Join(cfg.DataDir, "hwlab.db")
	s, err := sqlite.OpenReadOnly(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no record at %s; HWLAB_DATA_DIR or HWLAB_DATABASE_URL says where it is", path)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// recordCommand is a command that needs no more of the configuration than where the record is.
func recordCommand(cmd *cobra.Command, run func(cmd *cobra.Command, args []string, cfg config) error) *cobra.Command {
	var cfg config
	cmd.Flags().StringVar(&cfg.DataDir, "data-dir", dataDir(), "directory of hwlab.db, unless HWLAB_DATABASE_URL is set (HWLAB_DATA_DIR)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := cfg.load(cmd.Flags()); err != nil {
			return err
		}
		spare()
		return run(cmd, args, cfg)
	}
	return cmd
}

// spare keeps the memory of a command small that moves conversations: what is moved is garbage at once.
func spare() { debug.SetGCPercent(50) }

// continued is what is said of an interruption instead of where it met the program.
func continued(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &exit{130, "interrupted; what was taken over stays, and the same command goes on with the rest"}
}

func newExportCommand() *cobra.Command {
	var output string
	var markdown bool
	cmd := recordCommand(&cobra.Command{
		Use:   "export [ID...]",
		Short: "Write all conversations, or those named, as JSON lines",
		Long: "Write all conversations, or those named, as JSON lines: everything that is kept of them, for hwlab import. " +
			"With --markdown write one conversation to be read by people.\n\nThe server may be running.",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeIDs(0),
	}, func(cmd *cobra.Command, args []string, cfg config) (err error) {
		if markdown && len(args) != 1 {
			return &usageError{errors.New("--markdown writes one conversation: name it")}
		}
		from, err := openSource(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer from.Close()
		var ids []string
		for _, arg := range args {
			id, err := findConversation(cmd.Context(), from, arg)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		out, done := cmd.OutOrStdout(), func() error { return nil }
		if output != "" {
			if out, done, err = createFile(output); err != nil {
				return err
			}
			defer func() {
				if err != nil {
					os.Remove(output + ".part")
				}
			}()
		}
		if markdown {
			if err := archive.Markdown(cmd.Context(), from, out, ids[0]); err != nil {
				return err
			}
			return done()
		}
		p, all := newProgress(cmd.ErrOrStderr(), "exported"), 0
		if ids == nil {
			if _, all, err = from.ArchiveSize(cmd.Context()); err != nil {
				return err
			}
		}
		n, err := archive.Export(cmd.Context(), from, out, ids, func(n archive.Counts) {
			p.show(n.Messages, int64(n.Messages), int64(all), counted(n.Conversations, n.Messages))
		})
		if cmd.Context().Err() != nil {
			return &exit{130, "interrupted"}
		}
		if err != nil {
			return err
		}
		if err := done(); err != nil {
			return err
		}
		p.end(counted(n.Conversations, n.Messages))
		return nil
	})
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write instead of standard output; it must not be there yet")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "write one conversation as Markdown")
	return cmd
}

// createFile makes a file for its owner only. It appears under its name when done is called, whole and on disk.
func createFile(path string) (out io.Writer, done func() error, err error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, nil, fmt.Errorf("%s is there already", path)
	}
	file, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return file, func() error {
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
		return os.Rename(path+".part", path)
	}, nil
}

func newImportCommand() *cobra.Command {
	var asJSON bool
	cmd := recordCommand(&cobra.Command{
		Use:   "import FILE",
		Short: "Add the conversations of an export",
		Long: "Add the conversations of an export to the record; - reads standard input. It may be of hwlab, of Open WebUI, of the page of llama.cpp's server, " +
			"of ChatGPT or Claude (conversations.json, or the ZIP file that holds it), or the log of llm (logs.db). What is there already is left as it is, so an import can be repeated; a conversation that has changed since, here or there, is named, and the exit code is 1.\n\n" +
			"Of a file that is damaged, what is whole is added, the rest is named by its place, and the exit code is 1.",
		Args: usage(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, args []string, cfg config) (err error) {
		defer func() { err = continued(cmd.Context(), err) }()
		in, name := cmd.InOrStdin(), args[0]
		start, size := make([]byte, len(archive.SQLiteMagic)), int64(0)
		var file *os.File
		if name != "-" {
			if file, err = os.Open(name); err != nil {
				return err
			}
			defer file.Close()
			if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
				size = info.Size()
			}
			_, _ = file.ReadAt(start, 0) // what cannot be read so is neither a log nor a ZIP file
			in = file
		}
		to, err := openKeeper(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer to.Close()
		p := newProgress(cmd.ErrOrStderr(), "imported")
		var done, of atomic.Int64 // of what is read
		of.Store(size)
		o := archive.Options{
			Progress: func(r archive.Result) { p.show(r.Seen, done.Load(), of.Load(), outcome(r)) },
			Problem:  func(place, what string) { p.say(fmt.Sprintf("%s: %s: %s", name, place, what)) },
		}
		count := func(n int) { done.Add(int64(n)) }
		var result archive.Result
		switch {
		case string(start) == archive.SQLiteMagic:
			result, err = archive.ImportLLM(cmd.Context(), to, name, func(read, all int64) {
				done.Store(read)
				of.Store(all)
			}, o)
		case strings.HasPrefix(string(start), archive.ZIPMagic):
			var z *archive.ZIP
			if z, err = archive.OpenZIP(file, size); err == nil {
				of.Store(z.Size())
				result, err = archive.ImportZIP(cmd.Context(), to, z, count, o)
			}
		default:
			result, err = archive.Import(cmd.Context(), to, archive.Counting(interruptible{cmd.Context(), in}, count), o)
		}
		if err != nil && !errors.Is(err, archive.ErrNotWhole) {
			if result != (archive.Result{}) {
				p.end(outcome(result))
			}
			return err
		}
		err = errors.Join(err, index(cmd.Context(), to, p, result))
		if asJSON {
			err = errors.Join(err, writeJSON(cmd.OutOrStdout(), moved{result.Added, result.Messages, result.Same, result.Differs, result.Failed}))
		}
		return err
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what came of it as a JSON object")
	return cmd
}

// moved is what import --json and copy --json write: how many conversations were added, with how many messages, and what became of
// the others.
type moved struct {
	Added    int `json:"added"`
	Messages int `json:"messages"`
	Same     int `json:"same"`
	Differs  int `json:"differs"`
	Failed   int `json:"failed"`
}

// index indexes what was added, and what waits from an earlier time, and ends the report.
func index(ctx context.Context, to keeper, p *progress, result archive.Result) error {
	report, indexed := outcome(result), newProgress(p.out, "indexed")
	waiting, err := to.Waiting(ctx)
	if err == nil {
		err = archive.Index(ctx, to, func(done int) { indexed.show(done, int64(done), int64(waiting), plural(done, "message")) })
	}
	if took := time.Since(indexed.began); took > time.Second {
		report += fmt.Sprintf("; indexed in %.1f s", took.Seconds())
	}
	p.end(report)
	return err
}

func outcome(r archive.Result) string {
	text := counted(r.Added, r.Messages)
	for _, part := range []struct {
		n    int
		what string
	}{{r.Same, "were there already"}, {r.Differs, "are there and differ"}} {
		if part.n > 0 {
			text += fmt.Sprintf("; %d %s", part.n, part.what)
		}
	}
	if r.Failed > 0 {
		text += "; " + plural(r.Failed, "problem") + " named above"
	}
	return text
}

func counted(conversations, messages int) string {
	return fmt.Sprintf("%s with %s", plural(conversations, "conversation"), plural(messages, "message"))
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func newCopyCommand() *cobra.Command {
	var from, to string
	var replace, asJSON bool
	cmd := &cobra.Command{
		Use:   "copy --from PLACE --to PLACE",
		Short: "Copy all conversations to another record, and verify the copy",
		Long: "Copy all conversations from one record to another, and compare each in both at the end by a checksum of its content and order. " +
			"The source may be in use. A copy that was interrupted is continued by running it again.\n\n" +
			"A PLACE is an SQLite file, a directory with hwlab.db in it, a postgres:// URL without a password, or env:NAME for a URL in the " +
			"environment variable NAME.",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			defer func() { err = continued(cmd.Context(), err) }()
			source, err := place(from, true)
			if err != nil {
				return &usageError{fmt.Errorf("--from: %w", err)}
			}
			target, err := place(to, false)
			if err != nil {
				return &usageError{fmt.Errorf("--to: %w", err)}
			}
			a, err := source(cmd.Context())
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			defer a.Close()
			b, err := target(cmd.Context())
			if err != nil {
				return fmt.Errorf("--to: %w", err)
			}
			defer b.Close()
			spare()
			_, all, err := a.ArchiveSize(cmd.Context())
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			p := newProgress(cmd.ErrOrStderr(), "copied")
			o := archive.Options{
				Progress: func(r archive.Result) { p.show(r.Seen, int64(r.Seen), int64(all), outcome(r)) },
				Problem:  func(place, what string) { p.say(place + ": " + what) },
			}
			result, err := archive.Copy(cmd.Context(), b, a, replace, o)
			if err != nil && !errors.Is(err, archive.ErrNotWhole) {
				p.end(outcome(result))
				return err
			}
			if err := index(cmd.Context(), b, p, result); err != nil {
				return err
			}
			p = newProgress(cmd.ErrOrStderr(), "verified")
			o.Progress = func(r archive.Result) { p.show(r.Seen, int64(r.Seen), int64(all), counted(r.Same, r.Seen)) }
			equal, unequal, err := archive.Compare(cmd.Context(), a, b, o)
			if err != nil {
				return err
			}
			p.end(counted(equal.Conversations, equal.Messages) + " equal by checksum")
			if asJSON {
				if err := writeJSON(cmd.OutOrStdout(), struct {
					moved
					Equal   int `json:"equal"`
					Unequal int `json:"unequal"`
				}{moved{result.Added, result.Messages, result.Same, result.Differs, result.Failed}, equal.Conversations, unequal}); err != nil {
					return err
				}
			}
			if unequal > 0 {
				return fmt.Errorf("the copy lacks or differs in %s; what was written to during the copy is the same after another run, what differs in both stays unless you say --replace",
					plural(unequal, "conversation"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "record to read")
	cmd.Flags().StringVar(&to, "to", "", "record to write")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what came of it as a JSON object")
	cmd.Flags().BoolVar(&replace, "replace", false, "where a conversation is in both and differs, take that of --from")
	return cmd
}

// place is how to open the record that text names.
func place(text string, read bool) (func(ctx context.Context) (keeper, error), error) {
	dsn := ""
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		if dsn = os.Getenv(name); dsn == "" {
			return nil, fmt.Errorf("the environment has no %s", name)
		}
	} else if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		u, err := url.Parse(text)
		if err != nil { // its text would show the password
			return nil, errors.New("the URL cannot be read; give it as env:NAME, with @ : / ? # in the password escaped")
		}
		_, password := u.User.Password()
		if password || u.Query().Has("password") {
			return nil, errors.New("a password on the command line can be read by others on this machine; put the URL into an environment variable and give env:NAME")
		}
		dsn = text
	}
	if dsn != "" {
		return func(ctx context.Context) (keeper, error) { return openKeeper(ctx, config{DatabaseURL: dsn}) }, nil
	}
	if text == "" {
		return nil, errors.New("no record named")
	}
	path := text
	if info, err := os.Stat(text); err == nil && info.IsDir() {
		path = filepath.Join(text, "hwlab.db")
	}
	return func(ctx context.Context) (keeper, error) {
		if read {
			s, err := sqlite.OpenReadOnly(ctx, path)
			if err != nil {
				return nil, err
			}
			return s, nil
		}
		s, err := sqlite.Open(ctx, path)
		if err != nil {
			return nil, err
		}
		return s, nil
	}, nil
}

// findConversation returns the id of the conversation that text names: its id, with or without conv_, or a unique beginning of it.
func findConversation(ctx context.Context, from archive.Source, text string) (string, error) {
	prefix := strings.ToLower(strings.TrimPrefix(text, "conv_"))
	if prefix == "" || strings.Trim(prefix, "0123456789abcdef-") != "" {
		return "", &notFoundError{text}
	}
	const least = "00000000-0000-0000-0000-000000000000"
	after := prefix[:min(len(prefix), 36)]
	after += least[len(after):]
	if !store.IsID(after) {
		return "", &notFoundError{text}
	}
	ids, err := from.ConversationIDs(ctx, after, 2)
	if err != nil {
		return "", err
	}
	// These come after that id; it may be one itself.
	err = from.ArchiveConversation(ctx, after, func(store.ArchiveRow) error { return errFound })
	if errors.Is(err, errFound) {
		ids = append(ids, after)
	} else if !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, prefix) })
	switch len(ids) {
	case 0:
		return "", &notFoundError{text}
	case 1:
		return ids[0], nil
	}
	return "", severalError(text)
}

func severalError(text string) error {
	return &usageError{fmt.Errorf("several conversations begin with %s", text)}
}

var errFound = errors.New("found")

// progress tells how far something is: a bar on a terminal, else a line now and then.
type progress struct {
	out      io.Writer
	what     string
	terminal bool
	began    time.Time
	told     time.Time
}

func newProgress(out io.Writer, what string) *progress {
	return &progress{out: out, what: what, terminal: isTerminal(out), began: time.Now(), told: time.Now()}
}

func isTerminal(f any) bool {
	if out, ok := f.(stdout); ok {
		f = out.file
	}
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show tells that n messages, or done of size bytes where size is known, are done.
func (p *progress) show(n int, done, size int64, text string) {
	every := 10 * time.Second
	if p.terminal {
		every = 100 * time.Millisecond
	}
	if time.Since(p.told) < every {
		return
	}
	p.told = time.Now()
	passed := time.Since(p.began)
	text = fmt.Sprintf("%s, %.0f messages/s", text, float64(n)/passed.Seconds())
	part, left := 0.0, ""
	if size > 0 && done > 0 {
		part = min(1, float64(done)/float64(size))
		left = fmt.Sprintf("%.0f %%, %s left", 100*part, time.Duration(float64(passed)*(1-part)/part).Round(time.Second))
	}
	switch {
	case !p.terminal && left != "":
		fmt.Fprintf(p.out, "%s %s, %s\n", p.what, text, left)
	case !p.terminal:
		fmt.Fprintf(p.out, "%s %s\n", p.what, text)
	default:
		line := p.what + " " + text
		if full := int(20 * part); left != "" {
			line = "[" + strings.Repeat("#", full) + strings.Repeat(".", 20-full) + "] " + left + ", " + line
		}
		fmt.Fprintf(p.out, "\r\x1b[K%s", line[:min(len(line), p.width())])
	}
}

// width is how much of a line a terminal shows, which must not go on in the next one.
func (p *progress) width() int {
	if file, ok := p.out.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 1 {
			return width - 1
		}
	}
	return 79
}

// say writes a line of its own.
func (p *progress) say(text string) { p.line(text) }

func (p *progress) end(text string) { p.line(p.what + " " + text) }

func (p *progress) line(text string) {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, text)
}

// usageError is a command that was not given as it must be: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

// usage makes what args refuses a [usageError].
func usage(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if err := args(cmd, list); err != nil {
			return &usageError{err}
		}
		return nil
	}
}

// notFoundError is a conversation that is not there: exit code 3.
type notFoundError struct{ text string }

func (e *notFoundError) Error() string { return "no conversation " + e.text }

// exit ends the process with a code, and with text on standard error unless that is "".
type exit struct {
	code int
	text string
}

func (e *exit) Error() string { return e.text }

// exitCode is what the process ends with after err.
func exitCode(err error) int {
	var known *exit
	var usage *usageError
	var missing *notFoundError
	var silent *noServerError
	var refused *apiError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &known):
		return known.code
	case errors.As(err, &usage):
		return 2
	case errors.Is(err, context.Canceled):
		return 130
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound, errors.As(err, &missing), errors.Is(err, store.ErrNotFound):
		return 3
	case errors.As(err, &refused) && refused.Code == "model_not_found", errors.As(err, &silent):
		return 5
	}
	return 1
}
