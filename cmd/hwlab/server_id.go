package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"git.georgsen.dk/hwlab/internal/store"
)

// serverID is who this server is to the record. It lies in the data directory under a lock that is held while the process
// lives, so a reply that carries it and is not being written by us is being written by nobody. The file's second line is
// where the process serves.
type serverID struct {
	ID   string
	file *os.File
}

// claimServerID takes the id in dir, making both if need be. It is refused while another process holds it.
func claimServerID(dir string) (*serverID, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("HWLAB_DATA_DIR: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "server-id"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("HWLAB_DATA_DIR: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			text, _ := io.ReadAll(file)
			_, url, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
			return nil, &inUseError{dir, url}
		}
		return nil, fmt.Errorf("HWLAB_DATA_DIR: lock %s: %w", file.Name(), err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("HWLAB_DATA_DIR: %w", err)
	}
	id, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if id == "" {
		id = store.NewID()
	}
	if _, err := uuid.Parse(id); err != nil {
		file.Close()
		return nil, fmt.Errorf("HWLAB_DATA_DIR: %s does not hold an id; remove it, and a new one is made", file.Name())
	}
	s := &serverID{ID: id, file: file}
	if err := s.SetURL(""); err != nil {
		file.Close()
		return nil, err
	}
	return s, nil
}

// inUseError is a data directory that another process has.
type inUseError struct {
	dir string
	url string // where it serves; "" while it does not
}

func (e *inUseError) Error() string {
	if e.url == "" {
		return fmt.Sprintf("another hwlab, which does not serve, is running with the data directory %s; wait for its end, "+
			"or start hwlab serve instead of it, which many can use at once", e.dir)
	}
	return fmt.Sprintf("another hwlab is running with the data directory %s and serves %s; stop it, or give this one its own with HWLAB_DATA_DIR", e.dir, e.url)
}

// SetURL writes where this process serves, for who finds the directory in use.
func (s *serverID) SetURL(url string) error {
	text := s.ID + "\n" + url + "\n"
	_, err := s.file.WriteAt([]byte(text), 0) // the id stays where it is, so that a crash cannot lose it
	if err == nil {
		err = s.file.Truncate(int64(len(text)))
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("HWLAB_DATA_DIR: %w", err)
	}
	return nil
}

// Release lets another process take the id.
func (s *serverID) Release() { s.file.Close() }
