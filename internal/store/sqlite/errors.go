package sqlite

import (
	"errors"
	"fmt"
	"slices"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"git.georgsen.dk/hwlab/internal/store"
)

// engineError is a refusal of SQLite's, with what a person can do about it.
type engineError struct {
	dir string // of the database
	err *driver.Error
}

// reasons are by primary result code. %s is the database's directory.
var reasons = map[int]string{
	codes.SQLITE_FULL:     "the disk of %s is full",
	codes.SQLITE_IOERR:    "the disk of %s cannot be read or written; it is full or broken",
	codes.SQLITE_CANTOPEN: "the database in %s, or a file SQLite keeps beside it, cannot be opened; check the permissions",
	codes.SQLITE_READONLY: "the database in %s may not be written; check the permissions",
	codes.SQLITE_CORRUPT:  "the database in %s is damaged; restore a backup",
	codes.SQLITE_NOTADB:   "the file in %s is not a SQLite database",
	codes.SQLITE_BUSY:     "another program keeps the database in %s locked",
}

func (e *engineError) primary() int { return e.err.Code() & 0xff }

func (e *engineError) Error() string {
	if reason, ok := reasons[e.primary()]; ok {
		return fmt.Sprintf(reason+" (SQLite: %v)", e.dir, e.err)
	}
	return e.err.Error()
}

func (e *engineError) Unwrap() error { return e.err }

// Is makes the error a [store.ErrDiskFull].
func (e *engineError) Is(target error) bool {
	return target == store.ErrDiskFull && e.primary() == codes.SQLITE_FULL
}

// Permanent reports that SQLite refused the data itself; see [store.Permanent].
func (e *engineError) Permanent() bool {
	return slices.Contains([]int{codes.SQLITE_CONSTRAINT, codes.SQLITE_TOOBIG, codes.SQLITE_MISMATCH}, e.primary())
}

// Unavailable reports that the same may be taken later; see [store.Unavailable].
func (e *engineError) Unavailable() bool {
	return slices.Contains([]int{codes.SQLITE_BUSY, codes.SQLITE_IOERR, codes.SQLITE_CANTOPEN, codes.SQLITE_READONLY}, e.primary())
}

// movedError refuses to write to a database that is not where it was.
type movedError struct{ path string }

func (e *movedError) Error() string {
	return e.path + " was moved or removed while it was in use: bring it back, or stop hwlab and restore a backup; until then nothing is kept"
}

// Permanent says that nothing was done, and that it may be later.
func (e *movedError) Permanent() bool { return false }

// Unavailable says so, too.
func (e *movedError) Unavailable() bool { return true }

// plain puts an error of SQLite's in plain words.
func (c *conn) plain(err error) error {
	if e, ok := err.(*driver.Error); ok {
		return &engineError{dir: c.dir, err: e}
	}
	return err
}

// roleError translates what the insert of a message with this role was refused with.
func roleError(err error, role string) error {
	var e *engineError
	if errors.As(err, &e) && e.err.Code() == codes.SQLITE_CONSTRAINT_CHECK && store.BadRole(role) == role {
		return &store.InvalidRoleError{Role: role, Err: err}
	}
	return err
}

// wrap adds what was being done to an error that is neither store's own nor this package's.
func wrap(doing string, err error) error {
	var locked *LockedError
	var schema *store.SchemaError
	if err == nil || errors.As(err, &locked) || errors.As(err, &schema) || errors.Is(err, errClosed) || errors.Is(err, errReadOnly) {
		return err
	}
	return store.Wrap(doing, err)
}
