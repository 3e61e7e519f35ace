package ui_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/web/ui"
)

// each calls f for every embedded file.
func each(t *testing.T, f func(name, text string)) {
	t.Helper()
	err := fs.WalkDir(ui.Files(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(ui.Files(), name)
		f(name, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func exists(name string) bool {
	_, err := fs.Stat(ui.Files(), name)
	return err == nil
}

// The page's Content-Security-Policy forbids inline scripts, inline styles and
// import maps; a page that has them fails only in a browser.
func TestNothingInline(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<script(>|\s[^>]*>\s*\S)|<style|\sstyle=|\son\w+=|javascript:`)
	script := regexp.MustCompile(`(?is)<script[^>]*\ssrc="[^"]+"[^>]*></script>`)
	each(t, func(name, text string) {
		if path.Ext(name) != ".html" {
			return
		}
		if found := inline.FindString(script.ReplaceAllString(text, "")); found != "" {
			t.Errorf("%s: %q is inline", name, found)
		}
	})
}

// Every file that another one names is there.
func TestReferences(t *testing.T) {
	attribute := regexp.MustCompile(`(?:href|src)="/ui/([^"]+)"`)
	comment := regexp.MustCompile(`(?s)/\*.*?\*/`)
	module := regexp.MustCompile(`(?m)(?:^import\s[^;]*?|^\} from |\bimport\()"([^"]+)"`)
	each(t, func(name, text string) {
		switch {
		case path.Ext(name) == ".html":
			for _, found := range attribute.FindAllStringSubmatch(text, -1) {
				if !exists(found[1]) {
					t.Errorf("%s names %s, which is not embedded", name, found[1])
				}
			}
		case strings.HasPrefix(name, "js/"):
			for _, found := range module.FindAllStringSubmatch(comment.ReplaceAllString(text, ""), -1) {
				if !strings.HasPrefix(found[1], ".") {
					t.Errorf("%s imports %s, which is not relative", name, found[1])
				} else if target := path.Join(path.Dir(name), found[1]); !exists(target) {
					t.Errorf("%s imports %s, which is not embedded", name, target)
				}
			}
		}
	})
}

// What a browser fetches stays small on a slow line.
func TestCompressedSize(t *testing.T) {
	const limit = 150_000
	total := 0
	each(t, func(name, text string) {
		switch path.Ext(name) {
		case ".js", ".css", ".html", ".svg":
		default:
			return
		}
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		total += out.Len()
	})
	t.Logf("%d bytes compressed", total)
	if total > limit {
		t.Errorf("the page weighs %d bytes compressed, more than %d", total, limit)
	}
}

// A vendored module that was changed by hand is no longer what VERSIONS.md says.
func TestVendoredModulesAreListed(t *testing.T) {
	list, err := fs.ReadFile(ui.Files(), "lib/VERSIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(name, text string) {
		if !strings.HasPrefix(name, "lib/") || path.Ext(name) != ".js" {
			return
		}
		row := "| " + strings.TrimPrefix(name, "lib/") + " | " + digest(text) + " |"
		if !strings.Contains(string(list), row) {
			t.Errorf("lib/VERSIONS.md has no row %q", row)
		}
	})
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
