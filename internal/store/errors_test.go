package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

func TestTextIsKeepableOrCleaned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("a\x00\xc3\xa9\xed\xa0\x80\xf4\x90")))).Draw(t, "text"))
		clean := store.CleanText(text)
		if err := store.CheckText("x", clean); err != nil {
			t.Errorf("%q is cleaned to %q: %v", text, clean, err)
		}
		err := store.CheckText("field", text)
		if (err == nil) != (clean == text) {
			t.Errorf("%q: %v, cleaned to %q", text, err, clean)
		}
		var invalid *store.InvalidTextError
		if errors.As(err, &invalid) {
			before, rest := text[:invalid.Offset], text[invalid.Offset:]
			r, size := utf8.DecodeRuneInString(rest)
			if invalid.Field != "field" || rest[0] != 0 && (r != utf8.RuneError || size != 1) {
				t.Errorf("%q: %+v", text, invalid)
			}
			if rest[0] != 0 && !utf8.ValidString(before) {
				t.Errorf("%q: an earlier byte than %d is wrong", text, invalid.Offset)
			}
		}
	})
}

func TestPermanent(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("x"), false},
		{context.Canceled, false},
		{store.ErrNotFound, false},
		{store.ErrFenced, false},
		{&store.InvalidTextError{}, true},
		{&pgconn.PgError{Code: "22P02"}, true},
		{&pgconn.PgError{Code: "23505"}, true},
		{&store.InvalidRoleError{Err: &pgconn.PgError{Code: "23514"}}, true},
		{&pgconn.PgError{Code: "40001"}, false},
		{&pgconn.PgError{Code: "53300"}, false},
		{&pgconn.PgError{Code: "57P01"}, false},
		{&pgconn.PgError{Code: "25006"}, false},
	} {
		if got := store.Permanent(c.err); got != c.want {
			t.Errorf("Permanent(%v) is %v", c.err, got)
		}
		if c.err != nil && store.Permanent(fmt.Errorf("wrapped: %w", c.err)) != c.want {
			t.Errorf("Permanent of a wrapped %v is %v", c.err, !c.want)
		}
	}
}

func TestMetadataIsSortedJSON(t *testing.T) {
	got, err := store.MetadataJSON(map[string]string{"b": "2", "a": `"`})
	if err != nil || got != `{"a":"\"","b":"2"}` {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := store.MetadataJSON(nil); err != nil || got != "{}" {
		t.Errorf("nil: %s, %v", got, err)
	}
}

func TestIDs(t *testing.T) {
	last := ""
	for range 1000 {
		id := store.NewID()
		if !store.IsID(id) || id <= last {
			t.Fatalf("the id %s after %s", id, last)
		}
		last = id
	}
}

func TestUnavailable(t *testing.T) {
	for _, c := range []struct {
		err                  error
		unavailable, unknown bool
	}{
		{nil, false, false},
		{errors.New("x"), false, true},
		{io.ErrUnexpectedEOF, true, true},
		{store.ErrNotFound, false, false},
		{&store.ConnectError{}, true, true},
		{&pgconn.PgError{Code: "57P01"}, true, true},
		{&pgconn.PgError{Code: "25P03"}, true, true}, // a server that stood still in a transaction
		{&pgconn.PgError{Code: "25006"}, true, true},
		{&pgconn.PgError{Code: "53300"}, true, false},
		{&pgconn.PgError{Code: "23505"}, false, false},
		{&pgconn.PgError{Code: "42601"}, false, false},
	} {
		err := c.err
		for range 2 {
			if unavailable, unknown := store.Unavailable(err), store.Unknown(err); unavailable != c.unavailable || unknown != c.unknown {
				t.Errorf("%v: unavailable %v, unknown %v", err, unavailable, unknown)
			}
			if err != nil {
				err = fmt.Errorf("wrapped: %w", err)
			}
		}
	}
}
