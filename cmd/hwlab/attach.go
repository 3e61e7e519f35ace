package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"
)

// mostAttached is how many bytes can go with a question, as in the page.
const mostAttached = 20_000_000

// attachments reads files as parts of a message; - is in, and readsInput says that it was among them.
func attachments(names []string, in io.Reader) (parts []any, readsInput bool, err error) {
	left := int64(mostAttached)
	for _, name := range names {
		from := in
		if name != "-" {
			file, err := os.Open(name)
			if err != nil {
				return nil, false, fmt.Errorf("-a: %w", err)
			}
			defer file.Close()
			from = file
		} else if readsInput {
			return nil, false, &usageError{errors.New("-a - can be given once: there is one standard input")}
		} else {
			readsInput = true
		}
		data, err := io.ReadAll(io.LimitReader(from, left+1))
		if err != nil {
			return nil, false, fmt.Errorf("-a: %w", err)
		}
		if left -= int64(len(data)); left < 0 {
			return nil, false, fmt.Errorf("-a: %s is too much; up to 20 MB can be sent together", name)
		}
		part, err := attachment(name, data)
		if err != nil {
			return nil, false, err
		}
		parts = append(parts, part)
	}
	return parts, readsInput, nil
}

func attachment(name string, data []byte) (map[string]any, error) {
	if name = filepath.Base(name); name == "-" {
		name = "stdin"
	}
	url := func(media string) string {
		return "data:" + media + ";base64," + base64.StdEncoding.EncodeToString(data)
	}
	switch media := http.DetectContentType(data); {
	case slices.Contains([]string{"image/png", "image/jpeg", "image/gif", "image/webp"}, media):
		return map[string]any{"type": "input_image", "image_url": url(media)}, nil
	case bytes.HasPrefix(data, []byte("%PDF-")):
		return map[string]any{"type": "input_file", "filename": name, "file_data": url("application/pdf")}, nil
	case utf8.Valid(data) && !bytes.ContainsRune(data, 0):
		return map[string]any{"type": "input_file", "filename": name, "file_data": url("text/plain")}, nil
	}
	return nil, fmt.Errorf("-a: %s is no image (PNG, JPEG, GIF, WebP), text or PDF", name)
}
