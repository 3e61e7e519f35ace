package archive

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// errUnknown is returned for a file that is nothing Import reads.
var errUnknown = errors.New("this is no export that can be imported")

// detect finds out whose export in is by how it begins.
func detect(in io.Reader) (origin, error) {
	r := bufio.NewReaderSize(in, 1<<16)
	l := &lines{in: r}
	start, err := r.Peek(10)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte(ZIPMagic)) {
		return nil, errors.New("a ZIP file is read from its end: give its name instead of what is in it")
	}
	if string(start) != `{"archive"` {
		if isSessions(r) {
			return &sessions{lines: l}, nil
		}
		return newDocument(r)
	}
	text, err := l.read()
	if err != nil {
		return nil, err
	}
	var h header
	if err := json.Unmarshal(text, &h); err != nil || h.Archive != "hwlab" {
		return nil, errUnknown
	}
	if h.Version != Version {
		return nil, fmt.Errorf("the archive is of version %d; this program reads version %d", h.Version, Version)
	}
	return l, nil
}
