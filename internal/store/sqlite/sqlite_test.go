package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"git.georgsen.dk/hwlab/internal/store"
)

func openTest(t *testing.T) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data", "hwlab.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, path
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Both engines have the same methods.
func TestTwin(t *testing.T) {
	other, ours := reflect.TypeFor[*store.Store](), reflect.TypeFor[*Store]()
	for m := range other.Methods() {
		if m.Name == "Pool" {
			continue
		}
		twin, ok := ours.MethodByName(m.Name)
		if !ok {
			t.Errorf("no method %s", m.Name)
			continue
		}
		signature := func(m reflect.Method) string { return strings.Replace(m.Type.String(), m.Type.In(0).String(), "", 1) }
		if signature(m) != signature(twin) {
			t.Errorf("%s is %s, should be %s", m.Name, signature(twin), signature(m))
		}
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	s, path := openTest(t)
	must[string](t)(s.CreateConversation(t.Context(), ""))
	for name, want := range map[string]fs.FileMode{"": 0o700, "hwlab.db": 0o600, "hwlab.lock": 0o600, "hwlab.db-wal": 0o600, "hwlab.db-shm": 0o600} {
		info := must[fs.FileInfo](t)(os.Stat(filepath.Join(filepath.Dir(path), name)))
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", info.Name(), info.Mode().Perm(), want)
		}
	}
	if i := s.Info(); !strings.HasPrefix(i.Engine, "SQLite 3.") || !strings.HasSuffix(i.Detail, "hwlab.db") || i.Warnings != nil {
		t.Errorf("info is %+v", i)
	}
}

func TestSettings(t *testing.T) {
	s, _ := openTest(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "secure_delete": "1"} {
		err := s.write(t.Context(), func(t tx) error {
			var got string
			if err := t.get("PRAGMA "+pragma, nil, &got); err != nil || got != want {
				return fmt.Errorf("%s is %s, want %s: %w", pragma, got, want, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	err := s.read(t.Context(), func(t tx) error {
		_, err := t.exec(`DELETE FROM messages`)
		return err
	})
	if err == nil {
		t.Error("a reader may write")
	}
}

func TestAnyPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ä b?c#d%41&e=f", "x y?mode=ro#.db")
	s := must[*Store](t)(Open(t.Context(), path))
	id := must[string](t)(s.CreateConversation(t.Context(), "m"))
	s.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	s = must[*Store](t)(OpenReadOnly(t.Context(), path))
	defer s.Close()
	must[store.ConversationSummary](t)(s.Summary(t.Context(), id))
}

func TestSecondWriterIsRefused(t *testing.T) {
	s, path := openTest(t)
	refused := func(path, url string) {
		t.Helper()
		_, err := Open(t.Context(), path)
		var locked *LockedError
		if !errors.As(err, &locked) || locked.URL != url || !strings.Contains(err.Error(), url) || !strings.Contains(err.Error(), "hwlab.db") {
			t.Fatalf("second open: %v", err)
		}
	}
	refused(path, "")
	for _, url := range []string{"http://127.0.0.1:18080", "http://[::1]:1"} {
		if err := s.SetURL(url); err != nil {
			t.Fatal(err)
		}
		refused(path, url)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		t.Fatal(err)
	}
	refused(filepath.Join(link, "hwlab.db"), "http://[::1]:1")
	must[string](t)(s.CreateConversation(t.Context(), "")) // the refusals took nothing from the first

	reader := must[*Store](t)(OpenReadOnly(t.Context(), path))
	defer reader.Close()
	if _, err := reader.CreateConversation(t.Context(), ""); !errors.Is(err, errReadOnly) {
		t.Errorf("a store for reading wrote: %v", err)
	}
	if err := reader.SetURL(""); !errors.Is(err, errReadOnly) {
		t.Errorf("a store for reading set the URL: %v", err)
	}
	if list := must[[]store.ConversationSummary](t)(reader.ListConversations(t.Context())); len(list) != 1 {
		t.Errorf("a reader sees %d conversations, want 1", len(list))
	}
	s.Close()
	s.Close()
	if _, err := s.ListConversations(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	again := must[*Store](t)(Open(t.Context(), path))
	defer again.Close()
	refused(path, "") // the URL went with its server
}

// TestKilledWriter is two tests: run by TestMain's environment it is the process that gets killed.
func TestKilledWriter(t *testing.T) {
	if path := os.Getenv("HWLAB_TEST_WRITER"); path != "" {
		s := must[*Store](t)(Open(t.Context(), path))
		if err := s.SetURL("http://killed"); err != nil {
			t.Fatal(err)
		}
		id := must[string](t)(s.CreateConversation(t.Context(), ""))
		for i := 0; ; i++ {
			must[string](t)(s.AddMessage(t.Context(), id, "user", fmt.Sprint("message ", i)))
			fmt.Println("kept", i)
		}
	}
	path := filepath.Join(t.TempDir(), "hwlab.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
	cmd.Env = append(os.Environ(), "HWLAB_TEST_WRITER="+path)
	out := must[interface{ Read([]byte) (int, error) }](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text []byte
	for buf := make([]byte, 4096); !bytes.Contains(text, []byte("kept 50\n")); {
		n, err := out.Read(buf)
		if text = append(text, buf[:n]...); err != nil {
			t.Fatalf("%v after %s", err, text)
		}
	}
	_, err := Open(t.Context(), path)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.URL != "http://killed" {
		t.Errorf("beside a running writer: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for buf, err := make([]byte, 4096), error(nil); err == nil; {
		var n int
		n, err = out.Read(buf)
		text = append(text, buf[:n]...)
	}
	cmd.Wait()

	s := must[*Store](t)(Open(t.Context(), path))
	defer s.Close()
	list := must[[]store.ConversationSummary](t)(s.ListConversations(t.Context()))
	kept := bytes.Count(text, []byte("kept "))
	if list[0].MessageCount < kept-1 || list[0].Head != int64(list[0].MessageCount) { // the last line may be cut
		t.Errorf("%d appends had returned, %d are there, head %d", kept, list[0].MessageCount, list[0].Head)
	}
	for i, m := range must[*store.Conversation](t)(s.GetConversation(t.Context(), list[0].ID)).Messages {
		if m.Content != fmt.Sprint("message ", i) || m.Seq != int64(i+1) {
			t.Fatalf("message %d is %q at %d", i, m.Content, m.Seq)
		}
	}
}

func TestSchemaRefused(t *testing.T) {
	s, path := openTest(t)
	s.Close()
	db := foreign(t, path)
	var schema *store.SchemaError
	for _, change := range []string{
		`INSERT INTO schema_migrations VALUES (99, '0099_later.sql', 'x', 0)`,
		`DELETE FROM schema_migrations WHERE version = 99; UPDATE schema_migrations SET checksum = 'other'`,
	} {
		if _, err := db.Exec(change); err != nil {
			t.Fatal(err)
		}
		for _, open := range []func(context.Context, string) (*Store, error){Open, OpenReadOnly} {
			if _, err := open(t.Context(), path); !errors.As(err, &schema) {
				t.Errorf("after %s: %v", change, err)
			}
		}
	}
	if _, err := db.Exec(`DELETE FROM schema_migrations`); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReadOnly(t.Context(), path); !errors.As(err, &schema) || !strings.Contains(err.Error(), "older") {
		t.Errorf("an older schema, for reading: %v", err)
	}

	other := filepath.Join(t.TempDir(), "other.db")
	if _, err := foreign(t, other).Exec(`CREATE TABLE conversations (id TEXT)`); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), other); !errors.As(err, &schema) {
		t.Errorf("another program's file: %v", err)
	}
	if _, err := OpenReadOnly(t.Context(), filepath.Join(t.TempDir(), "none.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), text); err == nil || !strings.Contains(err.Error(), "not a SQLite database") {
		t.Errorf("a text: %v", err)
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "x.lock")); err == nil {
		t.Error("a database with the name of its lock file was opened")
	}
}

func TestNetworkFilesystem(t *testing.T) {
	if kind := networkFilesystem(t.TempDir()); kind != "" {
		t.Errorf("the temporary directory is on %s", kind)
	}
	mounts := "22 1 0:20 / / rw - ext4 /dev/sda1 rw\n" +
		"30 22 0:30 / /home rw shared:1 - fuse.mergerfs pool rw\n" +
		"31 30 0:31 / /home/a\\040b rw - fuse.sshfs host:/ rw\n"
	for dir, want := range map[string]string{"/": "", "/home": "", "/home/x": "", "/home/a b": "fuse.sshfs", "/home/a b/c": "fuse.sshfs", "/home/a bc": ""} {
		if got := networkFUSE(mounts, dir); got != want {
			t.Errorf("%s is on %q, want %q", dir, got, want)
		}
	}
}

// What a foreign program inserts with the plain columns is numbered, counted and found.
func TestForeignWriter(t *testing.T) {
	s, path := openTest(t)
	ctx := t.Context()
	id := must[string](t)(s.CreateConversation(ctx, "m"))
	must[string](t)(s.AddMessage(ctx, id, "user", "first ours"))
	db := foreign(t, path)
	for range 3 {
		if _, err := db.Exec(`INSERT INTO messages (conversation_id, role, content) VALUES (?, 'user', 'Grüße from abroad')`, id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`INSERT INTO messages (conversation_id, role, content) VALUES (?, 'user', 'x')`, store.NewID()); err == nil {
		t.Error("a message of no conversation was kept")
	}
	if _, err := db.Exec(`INSERT INTO conversations (model) VALUES ('theirs')`); err != nil {
		t.Fatal(err)
	}
	must[string](t)(s.AddMessage(ctx, id, "assistant", "last ours"))
	c := must[*store.Conversation](t)(s.GetConversation(ctx, id))
	if c.Head != 5 || c.MessageCount != 5 || len(c.Messages) != 5 {
		t.Fatalf("head %d, count %d, %d messages, want 5", c.Head, c.MessageCount, len(c.Messages))
	}
	for i, m := range c.Messages {
		if m.Seq != int64(i+1) || !store.IsID(m.ID) || time.Since(m.CreatedAt).Abs() > time.Minute {
			t.Errorf("message %d is %+v", i, m)
		}
	}
	for _, c := range must[[]store.ConversationSummary](t)(s.ListConversations(ctx)) {
		if !store.IsID(c.ID) || time.Since(c.StartedAt).Abs() > time.Minute {
			t.Errorf("conversation %+v", c)
		}
	}
	find := func(want int) {
		t.Helper()
		if hits := must[store.Hits](t)(s.Search(ctx, store.SearchQuery{Text: "GRUßE abro"})).Hits; len(hits) != want {
			t.Errorf("%d hits, want %d", len(hits), want)
		}
	}
	find(3)
	if n := must[int](t)(s.IndexPending(ctx, 2)); n != 2 {
		t.Errorf("indexed %d, want 2", n)
	}
	find(3)
	if err := s.DeleteMessage(ctx, id, c.Messages[1].ID); err != nil { // the one that is still queued
		t.Fatal(err)
	}
	find(2)
	if n := must[int](t)(s.IndexPending(ctx, 2)); n != 0 {
		t.Errorf("indexed %d, want 0", n)
	}
	if err := s.DeleteMessage(ctx, id, c.Messages[2].ID); err != nil {
		t.Fatal(err)
	}
	find(1)
}

// secret is text of words that occur nowhere else, and these words.
func secret(n int) (text string, words []string) {
	for range n {
		words = append(words, fmt.Sprintf("q%016x", rand.Uint64()))
	}
	return strings.Join(words, " "), words
}

func TestDeletionErases(t *testing.T) {
	s, path := openTest(t)
	ctx := t.Context()
	f := must[store.Fence](t)(s.JoinServer(ctx, store.NewID()))
	var words []string
	say := func(n int) string {
		text, w := secret(n)
		words = append(words, w...)
		return text
	}
	keep := must[string](t)(s.CreateConversation(ctx, ""))
	var gone, messages []string
	for i := range 40 {
		kept, _ := secret(1 + rand.IntN(200))
		must[string](t)(s.AddMessage(ctx, keep, "user", kept))
		messages = append(messages, must[string](t)(s.AddMessage(ctx, keep, "user", say(1+rand.IntN(200)))))
		if i%10 == 0 {
			gone = append(gone, must[string](t)(s.CreateConversation(ctx, "")))
		}
		must[string](t)(s.AddMessage(ctx, gone[len(gone)-1], "user", say(1+rand.IntN(200))))
	}
	r := must[store.Response](t)(s.StartResponse(ctx, store.NewResponse{Fence: f, ConversationID: gone[0], Model: "m",
		Input: []store.NewMessage{{Role: "user", Content: say(10)}}}))
	log := []store.Delta{{Kind: store.DeltaItem, Text: "message", ItemID: store.NewID()}, {Kind: store.DeltaPart, Text: "output_text"},
		{Kind: store.DeltaText, Text: say(500)}}
	for i := range log {
		log[i].N, log[i].ResponseID, log[i].ConversationID = i, r.ID, gone[0]
	}
	if err := s.AppendDeltas(ctx, f, log); err != nil {
		t.Fatal(err)
	}
	must[string](t)(s.AddMessage(ctx, gone[1], "user", say(20_000))) // too many words for the index
	messages = append(messages, must[string](t)(s.AddMessage(ctx, keep, "user", say(10_000))))

	for _, id := range messages {
		if err := s.DeleteMessage(ctx, keep, id); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range gone {
		if err := s.DeleteConversation(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if info := must[fs.FileInfo](t)(os.Stat(path + "-wal")); info.Size() != 0 { // opening it would drop SQLite's locks
		t.Errorf("the write-ahead log holds %d bytes", info.Size())
	}
	for _, word := range words[:50] {
		if hits := must[store.Hits](t)(s.Search(ctx, store.SearchQuery{Text: word})).Hits; len(hits) != 0 {
			t.Errorf("%s is found", word)
		}
	}
	err := s.write(ctx, func(t tx) error {
		_, err := t.exec(`INSERT INTO search_index (search_index) VALUES ('integrity-check')`)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	s.Close()
	if n := onDisk(t, path, words); n > 0 {
		t.Errorf("the files hold %d of %d deleted words", n, len(words))
	}
}

// A conversation that is too large for its words to be looked for one by one is erased as well.
func TestALargeDeletionErases(t *testing.T) {
	s, path := openTest(t)
	ctx := t.Context()
	var words, kept []string
	talk := func(n int, words *[]string) string {
		id := must[string](t)(s.CreateConversation(ctx, ""))
		for range n / 100 {
			var in []store.NewMessage
			for range 100 {
				text, w := secret(20)
				in = append(in, store.NewMessage{Role: "user", Content: text + " common words"})
				*words = append(*words, w...)
			}
			if _, _, err := s.AppendMessages(ctx, store.Append{ConversationID: id, Messages: in}); err != nil {
				t.Fatal(err)
			}
		}
		return id
	}
	stays := talk(300, &kept)
	gone := []string{talk(1500, &words), talk(800, &words)}
	if err := s.DeleteConversation(ctx, gone[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.HoldConversation(ctx, gone[1], 0); err != nil {
		t.Fatal(err)
	}
	if n := must[int](t)(s.EraseHeld(ctx)); n != 1 {
		t.Errorf("%d erased", n)
	}
	for _, word := range kept[:50] {
		if hits := must[store.Hits](t)(s.Search(ctx, store.SearchQuery{Text: word[3:]})).Hits; len(hits) != 1 || hits[0].ConversationID != stays {
			t.Errorf("%s is found %d times", word, len(hits))
		}
	}
	s.Close()
	if n := onDisk(t, path, words); n > 0 {
		t.Errorf("the files hold %d of %d deleted words", n, len(words))
	}
}

// onDisk is how many times the files of a closed database hold words that secret made.
func onDisk(t *testing.T, path string, words []string) (n int) {
	t.Helper()
	left := map[string]bool{}
	for _, word := range words {
		left[word] = true
	}
	for _, file := range must[[]string](t)(filepath.Glob(path + "*")) {
		data := must[[]byte](t)(os.ReadFile(file))
		for i := range data { // one pass: every word begins with q and has 17 bytes
			if data[i] == 'q' && i+17 <= len(data) && left[string(data[i:i+17])] {
				n++
			}
		}
	}
	return n
}

// What a process had only marked as deleted in the index when it ended is gone once the file is open again.
func TestALargeDeletionThatWasCutOff(t *testing.T) {
	s, path := openTest(t)
	ctx := t.Context()
	id := must[string](t)(s.CreateConversation(ctx, ""))
	var words []string
	for range 50 {
		text, w := secret(10)
		must[string](t)(s.AddMessage(ctx, id, "user", text))
		words = append(words, w...)
	}
	err := s.write(ctx, func(t tx) error { // a step of takeFromIndex
		if err := t.secureDelete(false); err != nil {
			return err
		}
		if _, _, err := t.requeue(id, 0, 100); err != nil {
			return err
		}
		if _, err := t.exec(`PRAGMA user_version = 1`); err != nil {
			return err
		}
		return t.secureDelete(true)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	marked := onDisk(t, path, words)
	if s, err = Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	if hits := must[store.Hits](t)(s.Search(ctx, store.SearchQuery{Text: words[0]})).Hits; len(hits) != 1 {
		t.Errorf("it is found %d times while it is there", len(hits))
	}
	if err := s.DeleteConversation(ctx, id); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if n := onDisk(t, path, words); n > 0 || marked < 2*len(words) {
		t.Errorf("the files held %d words and hold %d", marked, n)
	}
}

func TestLongText(t *testing.T) {
	s, _ := openTest(t)
	ctx := t.Context()
	id := must[string](t)(s.CreateConversation(ctx, ""))
	var want []string
	for _, text := range []string{strings.Repeat("line of ünïcode\n", 6<<20/17), strings.Repeat("x", 3<<20), "needle"} {
		want = append(want, text)
		must[string](t)(s.AddMessage(ctx, id, "user", text))
	}
	for i, m := range must[*store.Conversation](t)(s.GetConversation(ctx, id)).Messages {
		if m.Content != want[i] {
			t.Errorf("text %d came back changed", i)
		}
	}
	if hits := must[store.Hits](t)(s.Search(ctx, store.SearchQuery{Text: "xxxx"})).Hits; len(hits) != 1 {
		t.Errorf("%d hits", len(hits))
	}
}

func TestWriteErrors(t *testing.T) {
	s, path := openTest(t)
	ctx := t.Context()
	id := must[string](t)(s.CreateConversation(ctx, ""))

	_, err := s.AddMessage(ctx, id, "robot", "x")
	var role *store.InvalidRoleError
	var code *driver.Error
	if !errors.As(err, &role) || role.Role != "robot" || !errors.As(err, &code) || code.Code() != codes.SQLITE_CONSTRAINT_CHECK || !store.Permanent(err) {
		t.Errorf("a bad role: %v", err)
	}
	_, _, err = s.AppendMessages(ctx, store.Append{ConversationID: id, Messages: []store.NewMessage{{Role: "user", Item: []byte("{")}}})
	if errors.As(err, &role) && role.Role == "user" || !store.Permanent(err) {
		t.Errorf("a bad item: %v", err)
	}

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.AddMessage(cancelled, id, "user", "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// A writer that waits for its turn gives up with its context.
	err = s.write(ctx, func(tx) error {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		_, err := s.AddMessage(short, id, "user", "x")
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
	if c := must[store.ConversationSummary](t)(s.Summary(ctx, id)); c.Head != 0 || c.MessageCount != 0 {
		t.Errorf("refused writes left %+v", c)
	}

	err = s.write(ctx, func(t tx) error {
		var pages int
		return errors.Join(t.get(`PRAGMA page_count`, nil, &pages), t.get(fmt.Sprint(`PRAGMA max_page_count = `, pages+1), nil, &pages))
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.AddMessage(ctx, id, "user", strings.Repeat("x", 1<<20))
	if err == nil || !strings.Contains(err.Error(), "is full") || !strings.Contains(err.Error(), filepath.Dir(path)) || store.Permanent(err) {
		t.Errorf("a full disk: %v", err)
	}
	must[store.ConversationSummary](t)(s.Summary(ctx, id))
	must[string](t)(s.AddMessage(ctx, id, "user", "fits"))
}

// What is written to a file that has no name any more would be gone with the process. Brought back it is the same file.
func TestAMovedDatabaseIsNotWrittenTo(t *testing.T) {
	s, path := openTest(t)
	ctx := t.Context()
	id := must[string](t)(s.CreateConversation(ctx, ""))
	aside := path + ".aside"
	for name, c := range map[string]struct{ away, back func() error }{
		"moved": {func() error { return os.Rename(path, aside) }, func() error { return os.Rename(aside, path) }},
		"replaced": {func() error { return errors.Join(os.Rename(path, aside), os.WriteFile(path, nil, 0o600)) },
			func() error { return os.Rename(aside, path) }},
		"in a directory that was": {func() error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".aside") },
			func() error { return os.Rename(filepath.Dir(path)+".aside", filepath.Dir(path)) }},
	} {
		if err := c.away(); err != nil {
			t.Fatal(err)
		}
		_, err := s.AddMessage(ctx, id, "user", name)
		var moved *movedError
		if !errors.As(err, &moved) || !strings.Contains(err.Error(), path) || store.Unknown(err) || store.Permanent(err) || !store.Unavailable(err) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.back(); err != nil {
			t.Fatal(err)
		}
		must[string](t)(s.AddMessage(ctx, id, "user", name))
	}
	if c := must[store.ConversationSummary](t)(s.Summary(ctx, id)); c.MessageCount != 3 {
		t.Errorf("kept is %+v", c)
	}
}

func TestManyWriters(t *testing.T) {
	s, _ := openTest(t)
	ctx := t.Context()
	id := must[string](t)(s.CreateConversation(ctx, ""))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				if _, err := s.AddMessage(ctx, id, "user", fmt.Sprint(i, " ", j)); err != nil {
					t.Error(err)
				}
				if _, err := s.GetConversation(ctx, id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c := must[*store.Conversation](t)(s.GetConversation(ctx, id))
	if c.Head != 320 || len(c.Messages) != 320 {
		t.Fatalf("head %d, %d messages", c.Head, len(c.Messages))
	}
	next := map[string]int{}
	for i, m := range c.Messages {
		writer, n, _ := strings.Cut(m.Content, " ")
		if m.Seq != int64(i+1) || n != fmt.Sprint(next[writer]) {
			t.Fatalf("message %d is %q at %d", i, m.Content, m.Seq)
		}
		next[writer]++
	}
}

// No statement walks a table: what the store prepared while everything was called is asked how it would run.
func TestNoScans(t *testing.T) {
	s, _ := openTest(t)
	ctx := t.Context()
	f := must[store.Fence](t)(s.JoinServer(ctx, store.NewID()))
	id := must[string](t)(s.CreateConversation(ctx, ""))
	message := must[string](t)(s.AddMessage(ctx, id, "user", "hello world"))
	r := must[store.Response](t)(s.StartResponse(ctx, store.NewResponse{Fence: f, ConversationID: id, Model: "m"}))
	finish := store.Finish{Fence: f, ConversationID: id, ResponseID: r.ID, Status: store.ResponseCompleted}
	at := &store.Position{Seq: 1}
	cursor := &store.ListCursor{UpdatedAt: time.Now(), ID: id}
	_, _, logErr := s.ReadLog(ctx, r.ID, 0)
	_, runningErr := s.Running(ctx, f.ServerID)
	cancelErr := s.RequestCancel(ctx, r.ID)
	_, _, unwantedErr := s.Unwanted(ctx, []string{r.ID, store.NewID()})
	_, busyErr := s.BusyServers(ctx)
	_, keysErr := s.ForgetKeys(ctx, time.Now())
	_, _, finishErr := s.FinishResponse(ctx, finish)
	_, _, endedErr := s.ReadLog(ctx, r.ID, 0)
	_, nextErr := s.StartResponse(ctx, store.NewResponse{Fence: f, PreviousID: r.ID, Model: "m", Key: "k",
		Input: []store.NewMessage{{Role: "user", Content: "x"}}})
	_, threadErr := s.Thread(ctx, store.ThreadQuery{ConversationID: id, After: at, Newest: true, Limit: 5})
	_, throughErr := s.Thread(ctx, store.ThreadQuery{ConversationID: id, Through: r.ID, Details: true})
	_, placeErr := s.Place(ctx, id, message)
	_, messageErr := s.Message(ctx, id, message)
	_, listErr := s.ListConversations(ctx)
	_, afterErr := s.List(ctx, store.ListQuery{After: cursor})
	_, beforeErr := s.List(ctx, store.ListQuery{Before: cursor})
	_, pinnedErr := s.List(ctx, store.ListQuery{Pinned: true})
	_, updateErr := s.UpdateConversation(ctx, id, store.ConversationChange{})
	unlisted := must[store.Response](t)(s.StartResponse(ctx, store.NewResponse{Fence: f, Model: "m"}))
	_, unlistedErr := s.DeleteResponse(ctx, unlisted.ID)
	_, searchErr := s.Search(ctx, store.SearchQuery{Text: "hello"})
	_, historyErr := s.History(ctx, r)
	_, deleteErr := s.DeleteResponse(ctx, r.ID)
	if err := errors.Join(logErr, runningErr, finishErr, endedErr, nextErr, threadErr, messageErr, listErr, afterErr, beforeErr, searchErr,
		cancelErr, throughErr, placeErr, pinnedErr, updateErr, unlistedErr, deleteErr, historyErr, unwantedErr, busyErr, keysErr, s.Heartbeat(ctx, f), s.DeleteMessage(ctx, id, message), s.DeleteConversation(ctx, id)); err != nil {
		t.Fatal(err)
	}

	allowed := []string{
		"SCAN search_index VIRTUAL TABLE", "SCAN search_words", // the index is asked for words
		"SCAN search_index_data",                                                                                                                                                                                       // a deletion asks how large the index is
		"SCAN search_queue", "SCAN search_long", "SCAN search_titles USING INDEX search_titles_queued", "SCAN f", "SCAN u VIRTUAL TABLE", "SCAN json_each VIRTUAL TABLE", "SCAN responses USING INDEX responses_owned", // bounded, or short
		"SCAN CONSTANT ROW", "SCAN found", "SCAN top", "SCAN q", "SCAN (subquery", // what a bounded part of the statement found
	}
	seen := 0
	for _, p := range []*pool{s.writer, s.readers} {
		for range cap(p.idle) {
			c := <-p.idle
			for query := range c.stmts {
				if strings.Contains(query, "schema") || strings.Contains(query, "NOT IN (SELECT id FROM responses") { // once a start
					continue
				}
				if first, _, _ := strings.Cut(query, " "); !slices.Contains([]string{"SELECT", "UPDATE", "INSERT", "DELETE"}, first) {
					continue
				}
				seen++
				plan := must[[]string](t)(collect(tx{c, ctx}, func(row scanner) (detail string, err error) {
					err = row.Scan(new(int), new(int), new(int), &detail)
					return detail, err
				}, `EXPLAIN QUERY PLAN `+query, nulls(query)...))
				for _, step := range plan {
					if strings.HasPrefix(step, "SCAN") && !slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(step, p) }) ||
						strings.Contains(step, "AUTOMATIC") || strings.Contains(step, "TEMP B-TREE") && !strings.Contains(query, "search_index MATCH") && !strings.Contains(query, "server_id") {
						t.Errorf("%s\n  %s", query, strings.Join(plan, "\n  "))
						break
					}
				}
			}
			p.idle <- c
		}
	}
	if seen < 40 {
		t.Errorf("only %d statements were looked at", seen)
	}
}

// nulls are arguments for all parameters of a query.
func nulls(query string) []any {
	n := strings.Count(query, "?")
	return make([]any, n)
}

// A file of an older version has another index: all of it is found by parts of words once it was indexed anew.
func TestUpgradeOfTheIndex(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "hwlab.db")
	db := must[*sql.DB](t)(sql.Open("sqlite", path))
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT`)
	for _, m := range must[[]store.Migration](t)(store.ReadMigrations(os.DirFS("."), "migrations"))[:3] {
		exec(m.SQL)
		exec(`INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, 0)`, m.Version, m.Name, m.Checksum)
	}
	id := store.NewID()
	exec(`INSERT INTO conversations (id, title, head, message_count) VALUES (?, 'The oldtitle', 2, 2)`, id)
	for i, text := range []string{"mounted nvsda12", "other xsda1"} {
		exec(`INSERT INTO messages (n, id, conversation_id, role, content, seq) VALUES (?, ?, ?, 'user', ?, ?)`, i+1, store.NewID(), id, text, i+1)
		exec(`INSERT INTO search_index (rowid, words) VALUES (?, ?)`, i+1, words(text))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := must[*Store](t)(Open(ctx, path))
	t.Cleanup(s.Close)
	find := func(text string, want int) {
		t.Helper()
		if hits := must[store.Hits](t)(s.Search(ctx, store.SearchQuery{Text: text})).Hits; len(hits) != want {
			t.Errorf("%q finds %d, want %d", text, len(hits), want)
		}
	}
	for range 2 { // before and after
		find("sda1", 2)
		find("ount", 1)
		find("ldtitl", 1)
		for n := 1; n > 0; {
			n = must[int](t)(s.IndexPending(ctx, 1))
		}
	}
	if err := s.DeleteConversation(ctx, id); err != nil {
		t.Fatal(err)
	}
	find("sda1", 0)
	err := s.write(ctx, func(t tx) error {
		var blocks string
		if _, err := t.exec(`INSERT INTO search_index (search_index) VALUES ('integrity-check')`); err != nil {
			return err
		}
		if err := t.get(`SELECT group_concat(words) FROM search_words`, nil, &blocks); err != nil || strings.Trim(blocks, " ") != "" {
			return fmt.Errorf("the list of words holds %q, %w", strings.Fields(blocks), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
