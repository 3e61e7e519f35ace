// Package web is the server around /v1 and the page: who may come in, from where, and with which headers.
//
// What is always true in it: without a password only this machine is served, by its loopback names; with one, nothing but
// the sign-in page, the page's own static files, /healthz and /readyz is answered to a stranger; a request that another site makes a
// browser send changes nothing; and no page loads anything from elsewhere.
package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"git.georgsen.dk/hwlab/internal/api"
	"git.georgsen.dk/hwlab/internal/web/ui"
)

// Config is what a server is made of.
type Config struct {
	API      http.Handler                    // /v1
	Password string                          // "" admits everybody on this machine
	Ready    func(ctx context.Context) error // why no question could be kept now, for /readyz
	Metrics  *Metrics                        // nil: new ones
}

// contentPolicy lets the page load its own files and nothing else.
const contentPolicy = "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// New returns the handler of everything.
func New(cfg Config) http.Handler {
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	mux := http.NewServeMux()
	for pattern, handler := range routes(cfg) {
		mux.Handle(pattern, handler)
	}
	ownSite := http.NewCrossOriginProtection()
	ownSite.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.WriteError(w, &api.Error{Status: http.StatusForbidden, Code: "other_site", Message: "another site made this request; it is refused"})
	}))
	return cfg.Metrics.count(headers(hosts(cfg.Password != "", ownSite.Handler(mux))))
}

// routes are all there is. openapi.json describes each.
func routes(cfg Config) map[string]http.Handler {
	door := newDoor(cfg.Password)
	build := fingerprint(ui.Files())
	small := sync.OnceValue(func() map[string][]byte { return compressed(ui.Files()) })
	// A page names its files by its build, so a browser that has them need not ask. A page of an older build gets what there is now.
	static := func(w http.ResponseWriter, r *http.Request) {
		name, cache := r.PathValue("file"), "no-cache"
		if of, rest, _ := strings.Cut(name, "/"); len(of) == len(build) {
			if name = rest; of == build {
				cache = "public, max-age=31536000, immutable"
			}
		}
		if info, err := fs.Stat(ui.Files(), name); err != nil || info.IsDir() { // a file server would list a folder
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", cache)
		w.Header().Set("ETag", `W/"`+build+`"`) // the files have no times
		w.Header().Set("Vary", "Accept-Encoding")
		if text := small()[name]; text != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
			return
		}
		http.ServeFileFS(w, r, ui.Files(), name)
	}
	page := func(name string) http.HandlerFunc {
		text, _ := fs.ReadFile(ui.Files(), name) // it is embedded
		text = bytes.ReplaceAll(text, []byte(`"/ui/`), []byte(`"/ui/`+build+"/"))
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
		}
	}

	return map[string]http.Handler{
		"GET /healthz":      http.HandlerFunc(health),
		"GET /readyz":       readiness(cfg.Ready),
		"GET /metrics":      door.api(cfg.Metrics.handler()),
		"GET /openapi.json": door.api(http.HandlerFunc(api.SendDescription)),
		"GET /ui/{file...}": http.HandlerFunc(static),
		"GET /login":        page("login.html"),
		"POST /login":       http.HandlerFunc(door.login),
		"POST /logout":      http.HandlerFunc(door.logout),
		"GET /{$}":          door.page(page("index.html")),
		"GET /c/{id}":       door.page(page("index.html")),
		"/v1/":              door.api(cfg.API),
	}
}

// health is GET /healthz: it does not ask the database.
func health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// readyTimeout is how long the database may take to keep something before nothing is sent here.
const readyTimeout = 3 * time.Second

// readiness is GET /readyz: the database is asked for a write. One at a time, since strangers may ask.
func readiness(ready func(ctx context.Context) error) http.Handler {
	turn := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		var err error
		select {
		case turn <- struct{}{}:
			err = ready(ctx)
			<-turn
		case <-ctx.Done():
			err = ctx.Err()
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err != nil { // the log says why; a stranger need not know
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, "the record takes no write now")
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// headers sets what every answer carries.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // with no-referrer a form is posted with Origin: null, which is refused
		next.ServeHTTP(w, r)
	})
}

// hosts refuses requests for a host name that is not this machine's loopback, unless there is a password: a site that
// points its own name at 127.0.0.1 would be let in by the browser otherwise (DNS rebinding).
func hosts(password bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !password && !isLoopback(r.Host) {
			api.WriteError(w, &api.Error{Status: http.StatusMisdirectedRequest, Code: "wrong_host", Message: fmt.Sprintf(
				"without a password hwlab is only served as localhost, not as %q; set HWLAB_PASSWORD to reach it by other names", r.Host)})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback reports whether host, with or without a port, is a name or an address of the loopback interface.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// CheckListen returns an error when a server without a password would listen beyond the loopback interface.
func CheckListen(address, password string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("HWLAB_LISTEN: %q is not an address like 127.0.0.1:8080", address)
	}
	if password == "" && !isLoopback(host) {
		return fmt.Errorf("HWLAB_LISTEN: %s is reachable from other machines; set HWLAB_PASSWORD first, or listen on 127.0.0.1", address)
	}
	return nil
}

// compressed are the files of text, for slow lines.
func compressed(files fs.FS) map[string][]byte {
	small := map[string][]byte{}
	fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if ext := path.Ext(name); err != nil || d.IsDir() || ext != ".js" && ext != ".css" && ext != ".svg" {
			return err
		}
		text, err := fs.ReadFile(files, name)
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(text)
		w.Close()
		small[name] = out.Bytes()
		return err
	})
	return small
}

// fingerprint is a hash of all files' names and contents.
func fingerprint(files fs.FS) string {
	sum := sha256.New()
	fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		fmt.Fprintf(sum, "%s %d ", path, len(text))
		sum.Write(text)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:12])
}
