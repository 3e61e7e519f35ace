// Package lab reads what a person has written down about their lab: the Markdown notes under one folder, as
// instructions for a model and as a small library to look things up in.
//
// Always true here: a note is taken whole or not at all, [Notes.Instructions] never exceeds the budget, and every note
// found is either included or named as omitted with a reason. The files are only read, and nothing outside the folder
// is: links that lead out of it are not followed.
//
// What it may not do: write, watch or start anything, read the environment, log, or import another package of hwlab.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// DefaultBudget is how many bytes of instructions the notes may make: about 12,000 tokens, which leaves room for a
	// conversation in the context of a small local model.
	DefaultBudget = 48_000

	// maxNote is the size in bytes above which a file is not read: no person wrote it.
	maxNote = 1 << 20

	// maxAll bounds the bytes of all notes held in memory.
	maxAll = 32 << 20

	// settled is how old a file's time has to be, when it is read, to show every later change: clocks of file systems
	// are coarse, and a second change within one tick leaves time and size as they were.
	settled = 2 * time.Second
)

// Lab is a folder of notes. It is safe for concurrent use.
type Lab struct {
	dir    string
	budget int
	now    func() time.Time

	mu    sync.Mutex
	files map[string]file // by name, as last read
	notes *Notes          // made of files; nil before the first look
}

// file is a note's file as it was when last looked at.
type file struct {
	size    int64
	changed time.Time
	read    time.Time
	text    string
	reason  string // why there is no text; "" if there is
}

// equals tells whether two looks at a file make the same note.
func (f file) equals(g file) bool {
	return f.size == g.size && f.text == g.text && f.reason == g.reason
}

// New returns the lab in the folder dir, of whose notes at most budget bytes become instructions (0: DefaultBudget).
// An empty dir is a lab without notes. Nothing is read yet.
func New(dir string, budget int) *Lab {
	return &Lab{dir: dir, budget: cmp.Or(budget, DefaultBudget), now: time.Now}
}

// Read returns the notes as they are on disk now. It looks at every file's time and size, and reads what has changed;
// if nothing has, it returns the same Notes as before. A folder that cannot be read is an error that names the setting;
// a file that cannot is an omission.
func (l *Lab) Read(ctx context.Context) (*Notes, error) {
	if l.dir == "" {
		return &Notes{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return nil, unreadable(l.dir, err)
	}
	defer root.Close()

	files := make(map[string]file)
	same := l.notes != nil
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && name == "." {
			return err
		}
		if name != "." && ignored(entry.Name()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err != nil { // a folder that cannot be listed: name it, and go on
			files[name] = file{reason: "the folder cannot be read; check its permissions"}
			same = same && files[name].equals(l.files[name])
			return nil
		}
		if entry.IsDir() || !isMarkdown(name) {
			return nil
		}
		known := l.files[name]
		files[name] = look(root, name, known, l.now())
		same = same && files[name].equals(known)
		return nil
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, unreadable(l.dir, err)
	}
	if !same || len(files) != len(l.files) {
		l.notes = choose(files, l.budget)
	}
	l.files = files
	return l.notes, nil
}

// Find looks a question up in the notes as they are now; see [Notes.Find].
func (l *Lab) Find(ctx context.Context, question string, limit int) ([]Passage, error) {
	notes, err := l.Read(ctx)
	if err != nil {
		return nil, err
	}
	return notes.Find(question, limit), nil
}

func unreadable(dir string, err error) error {
	why := err
	var inner *fs.PathError
	if errors.As(err, &inner) {
		why = inner.Err // without the path, which is named already
	}
	return fmt.Errorf("the lab notes' folder %q (HWLAB_LAB_DIR) cannot be read: %w; make it or correct the setting", dir, why)
}

// ignored tells what is nobody's note: hidden files, and the READMEs of other people's programs.
func ignored(base string) bool {
	return strings.HasPrefix(base, ".") || base == "node_modules"
}

func isMarkdown(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".md" || ext == ".markdown"
}

// look returns what is known of a file if that still holds, and else reads it.
func look(root *os.Root, name string, known file, now time.Time) file {
	info, err := root.Stat(name) // follows a link, but never out of the folder
	if err != nil {
		return file{reason: "it cannot be opened; check its permissions, or its link: nothing outside the folder is read"}
	}
	f := file{size: info.Size(), changed: info.ModTime(), read: now}
	switch {
	case !info.Mode().IsRegular(): // opening a pipe would wait for ever
		return file{reason: "it is not a file (links to folders are not followed)"}
	case known.reason == "" && f.size == known.size && f.changed.Equal(known.changed) &&
		known.read.Sub(known.changed) > settled:
		return known // a failure is tried again: permissions change without a mark
	case f.size > maxNote:
		f.reason = "it is larger than 1 MiB; split it"
	default:
		f.text, f.reason = read(root, name)
	}
	return f
}

// read returns a file's text, or why there is none.
func read(root *os.Root, name string) (text, reason string) {
	in, err := root.Open(name)
	if err != nil {
		return "", "it cannot be opened; check its permissions"
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxNote+1))
	switch {
	case err != nil:
		return "", "it cannot be read: " + err.Error()
	case len(data) > maxNote:
		return "", "it is larger than 1 MiB; split it"
	}
	text = strings.TrimPrefix(string(data), "\uFEFF")
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return "", "it is not UTF-8 text; save it as UTF-8"
	}
	return text, ""
}

// inOrder sorts the names as a person reads them: folder by folder, README and index before what they introduce.
func inOrder(files map[string]file) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.CompareFunc(strings.Split(a, "/"), strings.Split(b, "/"), func(a, b string) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
		})
	})
	return names
}

func rank(base string) int {
	stem := strings.ToLower(strings.TrimSuffix(base, path.Ext(base)))
	switch {
	case !isMarkdown(base):
	case stem == "readme":
		return 0
	case stem == "index":
		return 1
	}
	return 2
}
