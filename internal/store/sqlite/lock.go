package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// LockedError refuses to open a database for writing that is open for writing already.
type LockedError struct {
	Path string // of the database
	URL  string // where the server that holds it answers; "" before it does, or if it is none
}

func (e *LockedError) Error() string {
	if e.URL == "" {
		return fmt.Sprintf("store: %s is in use by another hwlab; wait for it to end, or stop it", e.Path)
	}
	return fmt.Sprintf("store: %s is in use by the hwlab at %s; use that one, or stop it", e.Path, e.URL)
}

// lock is the lock file beside a database: hwlab.lock for hwlab.db. It holds the URL of the server that has it locked. It is
// never removed: a file that another process is waiting for would no longer be the one that a third one finds.
type lock struct{ file *os.File }

// acquire takes the lock of the database at path. The kernel releases it when the process ends, however it ends.
func acquire(path string) (*lock, error) {
	name := strings.TrimSuffix(path, filepath.Ext(path)) + ".lock"
	if name == path {
		return nil, fmt.Errorf("%s: .lock is the ending of the lock file; name the database otherwise", path)
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	l := &lock{file}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = &LockedError{Path: path, URL: l.read()}
	} else if err == nil {
		err = l.write("") // what stands there is a dead server's
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return l, nil
}

// read returns the first line of the file.
func (l *lock) read() string {
	text := make([]byte, 1024)
	n, _ := l.file.ReadAt(text, 0)
	line, _, _ := strings.Cut(string(text[:n]), "\n")
	return line
}

// write makes text the first line of the file in one step, then its only one.
func (l *lock) write(text string) error {
	text += "\n"
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return l.file.Truncate(int64(len(text)))
}

func (l *lock) release() {
	l.write("") // whoever has it next starts without; a failure harms nobody
	l.file.Close()
}
