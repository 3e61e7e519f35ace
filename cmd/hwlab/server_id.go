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
// lives, so a reply that carries it and is not being written by us is being written by nobody.
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
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another hwlab is running with the data directory %s; stop it, or give this one its own with HWLAB_DATA_DIR", dir)
		}
		return nil, fmt.Errorf("HWLAB_DATA_DIR: lock %s: %w", file.Name(), err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("HWLAB_DATA_DIR: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if id == "" {
		id = store.NewID()
		if _, err := file.WriteAt([]byte(id+"\n"), 0); err == nil {
			err = file.Sync()
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("HWLAB_DATA_DIR: %w", err)
		}
	}
	if _, err := uuid.Parse(id); err != nil {
		file.Close()
		return nil, fmt.Errorf("HWLAB_DATA_DIR: %s does not hold an id; remove it, a new one is made", file.Name())
	}
	return &serverID{ID: id, file: file}, nil
}

// Release lets another process take the id.
func (s *serverID) Release() { s.file.Close() }
