package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrFenced is returned to a server whose replies another server has taken over: it may not write another byte of them.
var ErrFenced = errors.New("store: this server's replies were taken over by another server")

// ErrReplyRunning is returned to a turn of a conversation in which a reply is being written.
var ErrReplyRunning = errors.New("store: a reply is being written in this conversation")

// ErrDiskFull is what an error is when the database has no room left for what it was asked to keep. Nothing of it was kept.
var ErrDiskFull = errors.New("store: the disk of the database is full")

// ErrKeyReused is returned for an idempotency key that came with another request before.
var ErrKeyReused = errors.New("store: this idempotency key was used for another request")

// RepeatedError says that a request with the same idempotency key, and the same content, was kept before.
type RepeatedError struct {
	ResponseID string // what it started
}

func (e *RepeatedError) Error() string { return "store: this request was kept before" }

// InvalidTextError refuses text that cannot be kept byte for byte.
type InvalidTextError struct {
	Field  string // "content", "title", …
	Offset int    // of the first offending byte
	Reason string
}

func (e *InvalidTextError) Error() string {
	return fmt.Sprintf("store: %s cannot be kept: %s at byte %d", e.Field, e.Reason, e.Offset)
}

// InvalidRoleError refuses a role that is not user, assistant or system. It wraps the database's CHECK violation, which
// is what refused it.
type InvalidRoleError struct {
	Role string
	Err  error
}

func (e *InvalidRoleError) Error() string {
	return fmt.Sprintf("store: role %q is not one of user, assistant, system", e.Role)
}

func (e *InvalidRoleError) Unwrap() error { return e.Err }

// ConflictError refuses an append that expected a conversation to end where it no longer does.
type ConflictError struct {
	Head int64 // where it ends now
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("store: the conversation has gone on: it is at %d now", e.Head)
}

// ConnectError says why a database could not be used, without any part of its connection string: a password with an
// unescaped / or @ would otherwise show up as a host or a database name. For the same reason it wraps nothing but a
// context's error.
type ConnectError struct {
	Reason  string
	Code    string // the SQLSTATE, where the server answered
	Unasked bool   // there was no connection, so the server was not asked for anything
	err     error
}

func (e *ConnectError) Error() string {
	return "store: cannot use the database of HWLAB_DATABASE_URL: " + e.Reason
}

func (e *ConnectError) Unwrap() error { return e.err }

// Wrap adds what was being done to an error that is not one of this package's own, unless it says how the database was
// reached: then it becomes a [ConnectError].
func Wrap(doing string, err error) error {
	var conflict *ConflictError
	var role *InvalidRoleError
	var repeated *RepeatedError
	if errors.As(err, &repeated) || errors.Is(err, ErrKeyReused) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrFenced) ||
		errors.Is(err, ErrReplyRunning) || errors.Is(err, ErrCursor) || errors.As(err, &conflict) || errors.As(err, &role) {
		return err
	}
	var dial *pgconn.ConnectError
	var network *net.OpError
	if errors.As(err, &dial) || errors.As(err, &network) {
		return connectError(err)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == codeDiskFull {
		return fmt.Errorf("%w: %s: %w", ErrDiskFull, doing, err)
	}
	return fmt.Errorf("store: %s: %w", doing, err)
}

// SQLSTATEs, https://www.postgresql.org/docs/15/errcodes-appendix.html.
const (
	codeReadOnlyTransaction  = "25006"
	codeCheckViolation       = "23514"
	codeForeignKeyViolation  = "23503"
	codeUniqueViolation      = "23505"
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	codeLockNotAvailable     = "55P03"
	codeIdleTransaction      = "25P03"
	codeDiskFull             = "53100"
)

// connectReasons are the refusals a person can do something about.
var connectReasons = map[string]string{
	"28P01": "the server refused the password",
	"28000": "the server does not let this user in (pg_hba.conf)",
	"3D000": "there is no such database on the server; create it first",
	"53300": "the server has no free connection (max_connections)",
	"57P03": "the server is starting up or shutting down",
	"42501": "the user may not create tables there; make it the owner of the database or of the schema",
}

// connectError turns a failure to reach the server into one that is safe to print.
func connectError(err error) error {
	var dial *pgconn.ConnectError
	e := &ConnectError{Reason: "no answer", Unasked: errors.As(err, &dial)}
	var pg *pgconn.PgError
	var dns *net.DNSError
	switch {
	case errors.As(err, &pg):
		e.Code = pg.Code
		e.Reason = "the server refused"
		if reason, ok := connectReasons[pg.Code]; ok {
			e.Reason = reason
		}
		e.Reason += " (SQLSTATE " + pg.Code + ")"
	case errors.Is(err, context.Canceled):
		e.Reason, e.err = "cancelled", context.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason, e.err = "it did not answer in time", context.DeadlineExceeded
	case errors.As(err, &dns):
		e.Reason = "its host name is not known; check the host, and that @ : / in the password are escaped"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason = "nothing listens at its host and port; is PostgreSQL running?"
	case errors.Is(err, os.ErrNotExist):
		e.Reason = "its socket does not exist; is PostgreSQL running?"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Reason = "the connection broke"
	case strings.Contains(err.Error(), "tls"):
		e.Reason = "TLS could not be agreed on; see sslmode"
	}
	return e
}

// CheckText returns an [InvalidTextError] naming field when text cannot be kept: it is not valid UTF-8, or holds a NUL,
// which PostgreSQL's text cannot.
func CheckText(field, text string) error {
	if i := strings.IndexByte(text, 0); i >= 0 {
		return &InvalidTextError{Field: field, Offset: i, Reason: "a NUL"}
	}
	if utf8.ValidString(text) {
		return nil
	}
	for i, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				return &InvalidTextError{Field: field, Offset: i, Reason: "a byte that is not UTF-8"}
			}
		}
	}
	return nil
}

// CleanText is what is kept of text from a model: what no database can hold is replaced by U+FFFD.
func CleanText(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// BadRole returns the first of roles that the record refuses, or "".
func BadRole(roles ...string) string {
	for _, role := range roles {
		if !slices.Contains([]string{"user", "assistant", "system"}, role) {
			return role
		}
	}
	return ""
}

// rowError translates what a statement that writes messages of roles can be refused with.
func rowError(err error, roles ...string) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == codeCheckViolation && pg.ConstraintName == "messages_role_check" {
		return &InvalidRoleError{Role: BadRole(roles...), Err: err}
	}
	return err
}

// roles are those of messages.
func roles(messages []NewMessage) []string {
	list := make([]string, len(messages))
	for i, m := range messages {
		list[i] = m.Role
	}
	return list
}

// Permanent reports whether err will be the same however often the call is repeated: the database refused the data itself.
// An error of another engine says so by a method Permanent.
func Permanent(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23")
	}
	var other interface{ Permanent() bool }
	var text *InvalidTextError
	return errors.As(err, &other) && other.Permanent() || errors.As(err, &text)
}

// Unavailable reports whether the database cannot be used now, and what was asked of it may be taken later. An error of another engine
// says so by a method Unavailable.
func Unavailable(err error) bool {
	var connect *ConnectError
	var pg *pgconn.PgError
	var other interface{ Unavailable() bool }
	switch {
	case errors.As(err, &other):
		return other.Unavailable()
	case errors.As(err, &pg):
		return Unknown(err) || strings.HasPrefix(pg.Code, "53") // no room for one more
	}
	return errors.As(err, &connect) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) // the connection broke
}

// Unknown reports whether the database may have done what it was asked although err was returned: the connection broke, or no
// answer came in time. Repeating the call is then the way to know.
func Unknown(err error) bool {
	var pg *pgconn.PgError
	var other interface{ Permanent() bool } // an engine's own error, which always says that nothing was done
	var conflict *ConflictError
	var repeated *RepeatedError
	var role *InvalidRoleError
	var text *InvalidTextError
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrFenced), errors.Is(err, ErrReplyRunning), errors.Is(err, ErrKeyReused),
		errors.As(err, &conflict), errors.As(err, &repeated), errors.As(err, &role), errors.As(err, &text), errors.As(err, &other):
		return false
	case errors.As(err, &pg):
		return strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "57") || pg.Code == codeReadOnlyTransaction || pg.Code == codeIdleTransaction
	}
	return true
}
