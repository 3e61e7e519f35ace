package archive

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"git.georgsen.dk/hwlab/internal/store"
)

// ZIPMagic is how a ZIP file begins that holds anything.
const ZIPMagic = "PK\x03\x04"

// ZIP is a ZIP file that another program has exported: ChatGPT's and Claude's hold conversations.json among other things,
// that of llama.cpp's page a file a conversation.
type ZIP struct{ files []*zip.File }

// OpenZIP looks what is in a ZIP file.
func OpenZIP(in io.ReaderAt, size int64) (*ZIP, error) {
	r, err := zip.NewReader(in, size)
	if err != nil {
		return nil, errors.New("the ZIP file has no end, where it says what is in it; unpack what can be saved of it, and import that")
	}
	z := &ZIP{}
	for _, f := range r.File {
		name := strings.ToLower(path.Base(f.Name))
		if strings.HasPrefix(name, "conversations") && strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".jsonl") {
			z.files = append(z.files, f)
		}
	}
	if z.files == nil {
		return nil, errUnknown
	}
	slices.SortFunc(z.files, func(a, b *zip.File) int { return cmp.Compare(a.Name, b.Name) })
	return z, nil
}

// Size is how much is read of it.
func (z *ZIP) Size() (n int64) {
	for _, f := range z.files {
		n += int64(f.UncompressedSize64)
	}
	return n
}

// ImportZIP adds what is in a ZIP file to a record, as [Import] does. count is told of all that is read.
func ImportZIP(ctx context.Context, to Record, z *ZIP, count func(n int), o Options) (Result, error) {
	from := &zipOrigin{files: z.files, count: count}
	defer from.close()
	return take(ctx, to, from, o)
}

// zipOrigin gives the conversations of one file after another. One that is damaged spoils no other.
type zipOrigin struct {
	files []*zip.File
	count func(n int)
	in    io.ReadCloser // of the first
	from  origin
}

func (z *zipOrigin) next(sum *encoder, f func(store.ArchiveRow) error) (place string, err error) {
	for len(z.files) > 0 {
		if z.from == nil {
			if z.in, err = z.files[0].Open(); err == nil {
				z.from, err = detect(Counting(z.in, z.count))
			}
		}
		if err == nil {
			place, err = z.from.next(sum, f)
		}
		name := z.files[0].Name
		var damage *badError
		switch {
		case err == nil, errors.As(err, &damage):
			return name + ": " + place, err
		case !errors.Is(err, io.EOF):
			err = bad("%v", err)
		default:
			if _, err = io.Copy(io.Discard, z.in); err != nil { // its checksum is looked at where it ends
				err = bad("%v; what was taken from it may be damaged", err)
			}
		}
		z.close()
		z.files = z.files[1:]
		if err != nil {
			return name, err
		}
	}
	return "", io.EOF
}

func (z *zipOrigin) close() {
	if z.in != nil {
		z.in.Close()
	}
	z.in, z.from = nil, nil
}

// Counting is in, of which count is told how much is read.
func Counting(in io.Reader, count func(n int)) io.Reader { return counting{in, count} }

type counting struct {
	io.Reader
	count func(n int)
}

func (r counting) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.count(n)
	return n, err
}
