package web_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/api/apitest"
	"git.georgsen.dk/hwlab/internal/web"
)

// request is one request to a server, as a stranger, a browser or a client would send it.
type request struct {
	method, path, host, body string
	header                   map[string]string
}

func send(t *testing.T, password string, r request) (*http.Response, string) {
	t.Helper()
	v1 := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the API") })
	return sendTo(t, web.New(web.Config{API: v1, Password: password}), r)
}

func sendTo(t *testing.T, handler http.Handler, r request) (*http.Response, string) {
	t.Helper()
	if r.method == "" {
		r.method = "GET"
	}
	if r.host == "" {
		r.host = "127.0.0.1:8080"
	}
	q := httptest.NewRequest(r.method, "http://"+r.host+r.path, strings.NewReader(r.body))
	for name, value := range r.header {
		q.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, q)
	answer := w.Result()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != "the API" { // which is no answer of its
		apitest.Check(t, q, answer, body)
	}
	return answer, string(body)
}

func TestWithoutAPasswordOnlyThisMachineIsServed(t *testing.T) {
	for host, want := range map[string]int{
		"127.0.0.1:8080": 200, "localhost": 200, "LOCALHOST:8080": 200, "[::1]:8080": 200, "127.1.2.3": 200,
		"evil.example": 421, "localhost.evil.example:8080": 421, "192.168.1.5:8080": 421, "127.0.0.1.evil.example": 421,
	} {
		for _, path := range []string{"/", "/v1/models", "/ui/js/app.js", "/healthz"} {
			if answer, body := send(t, "", request{host: host, path: path}); answer.StatusCode != want {
				t.Errorf("%s%s is answered %d %q, not %d", host, path, answer.StatusCode, body, want)
			}
		}
		if answer, _ := send(t, "secret", request{host: host, path: "/healthz"}); answer.StatusCode != 200 {
			t.Errorf("with a password %s is answered %d", host, answer.StatusCode)
		}
	}
	if answer, body := send(t, "", request{path: "/v1/models", header: map[string]string{"Authorization": "Bearer whatever"}}); body != "the API" {
		t.Errorf("a client's token is answered %d %q", answer.StatusCode, body)
	}
}

func TestOtherSitesCannotAct(t *testing.T) {
	for _, r := range []request{
		{method: "POST", path: "/v1/responses", header: map[string]string{"Sec-Fetch-Site": "cross-site"}},
		{method: "POST", path: "/v1/responses", header: map[string]string{"Origin": "http://evil.example"}},
		{method: "DELETE", path: "/v1/conversations/conv_x", header: map[string]string{"Sec-Fetch-Site": "same-site"}},
		{method: "POST", path: "/login", header: map[string]string{"Origin": "null"}},
	} {
		if answer, body := send(t, "", r); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%v is answered %d %q", r, answer.StatusCode, body)
		}
	}
	for _, r := range []request{
		{method: "POST", path: "/v1/responses"}, // a client that is no browser
		{method: "POST", path: "/v1/responses", header: map[string]string{"Sec-Fetch-Site": "same-origin"}},
		{method: "POST", path: "/v1/responses", header: map[string]string{"Origin": "http://127.0.0.1:8080"}},
	} {
		if answer, body := send(t, "", r); body != "the API" {
			t.Errorf("%v is answered %d %q", r, answer.StatusCode, body)
		}
	}
}

func TestEveryAnswerHasThePolicy(t *testing.T) {
	for _, path := range []string{"/", "/c/conv_x", "/login", "/ui/js/app.js", "/v1/models", "/nothing"} {
		answer, _ := send(t, "", request{path: path})
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
	if answer, body := send(t, "", request{path: "/openapi.json"}); answer.Header.Get("Content-Type") != "application/json" || !strings.Contains(body, `"openapi": "3.1.0"`) {
		t.Errorf("the description is answered %d %.40q", answer.StatusCode, body)
	}
	first, _ := send(t, "", request{path: "/ui/js/app.js"})
	etag := first.Header.Get("ETag")
	if again, _ := send(t, "", request{path: "/ui/js/app.js", header: map[string]string{"If-None-Match": etag}}); etag == "" || again.StatusCode != http.StatusNotModified {
		t.Errorf("with the ETag %s a file is answered %d", etag, again.StatusCode)
	}
}

func TestThePasswordIsAskedFor(t *testing.T) {
	v1 := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the API") })
	ready := func(context.Context) error { return nil }
	handler := web.New(web.Config{API: v1, Password: "correct horse", Ready: ready})
	lan := func(r request) request { r.host = "lab.lan:8080"; return r }

	if answer, _ := sendTo(t, handler, lan(request{path: "/c/conv_x"})); answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/login" {
		t.Errorf("a stranger who wants a page is answered %d %s", answer.StatusCode, answer.Header.Get("Location"))
	}
	answer, body := sendTo(t, handler, lan(request{path: "/v1/models"}))
	if answer.StatusCode != http.StatusUnauthorized || !strings.Contains(body, `"invalid_api_key"`) || answer.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("a stranger who wants the API is answered %d %s", answer.StatusCode, body)
	}
	if answer, body := sendTo(t, handler, lan(request{path: "/openapi.json"})); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger who wants the description is answered %d %s", answer.StatusCode, body)
	}
	if answer, body := sendTo(t, handler, lan(request{path: "/metrics"})); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger who wants the metrics is answered %d %s", answer.StatusCode, body)
	}
	for _, path := range []string{"/login", "/ui/css/base.css", "/healthz", "/readyz"} {
		if answer, _ := sendTo(t, handler, lan(request{path: path})); answer.StatusCode != http.StatusOK {
			t.Errorf("a stranger who wants %s is answered %d", path, answer.StatusCode)
		}
	}
	bearer := func(token string) request {
		return lan(request{path: "/v1/models", header: map[string]string{"Authorization": "Bearer " + token}})
	}
	if _, body := sendTo(t, handler, bearer("correct horse")); body != "the API" {
		t.Errorf("the password as a token is answered %q", body)
	}

	if _, body := sendTo(t, handler, lan(request{path: "/v1/models", header: map[string]string{"Authorization": "bearer correct horse"}})); body != "the API" {
		t.Errorf("with another spelling of Bearer it is answered %q", body)
	}
	for _, wrong := range []string{"Bearer correct horse ", "Bearer correct", "Basic correct horse", "correct horse", "Bearer ", ""} {
		if answer, _ := sendTo(t, handler, lan(request{path: "/v1/models", header: map[string]string{"Authorization": wrong}})); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("Authorization %q is answered %d", wrong, answer.StatusCode)
		}
	}

	form := func(password string) request {
		return lan(request{method: "POST", path: "/login", body: url.Values{"password": {password}}.Encode(),
			header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://lab.lan:8080"}})
	}
	if answer, _ := sendTo(t, handler, form("wrong")); answer.Header.Get("Location") != "/login?failed#failed" || len(answer.Cookies()) > 0 {
		t.Errorf("a wrong password leads to %s", answer.Header.Get("Location"))
	}
	answer, _ = sendTo(t, handler, form("correct horse"))
	if answer.Header.Get("Location") != "/" || len(answer.Cookies()) != 1 {
		t.Fatalf("the password leads to %s", answer.Header.Get("Location"))
	}
	cookie := answer.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Secure {
		t.Errorf("the cookie is %v", cookie)
	}
	proxied := form("correct horse")
	proxied.header["X-Forwarded-Proto"], proxied.header["Origin"] = "https", "https://lab.lan:8080"
	if answer, _ := sendTo(t, handler, proxied); len(answer.Cookies()) != 1 || !answer.Cookies()[0].Secure {
		t.Errorf("behind a proxy with TLS the cookies are %v", answer.Cookies())
	}
	with := func(value string) request {
		return lan(request{path: "/v1/models", header: map[string]string{"Cookie": cookie.Name + "=" + value}})
	}
	if _, body := sendTo(t, handler, with(cookie.Value)); body != "the API" {
		t.Errorf("the cookie is answered %q", body)
	}
	restarted := web.New(web.Config{API: v1, Password: "correct horse"})
	if _, body := sendTo(t, restarted, with(cookie.Value)); body != "the API" {
		t.Errorf("after a restart the cookie is answered %q", body)
	}
	changed := web.New(web.Config{API: v1, Password: "another"})
	later := strings.Replace(cookie.Value, "1", "2", 1)
	for name, r := range map[string]struct {
		handler http.Handler
		value   string
	}{"of another password": {changed, cookie.Value}, "with another date": {handler, later}, "that is none": {handler, "x"}, "without a signature": {handler, "9999999999."}} {
		if answer, _ := sendTo(t, r.handler, with(r.value)); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("a cookie %s is answered %d", name, answer.StatusCode)
		}
	}

	refused := 0
	for range 40 {
		if answer, _ := sendTo(t, handler, bearer("guess")); answer.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("of 40 wrong passwords only %d were not looked at", refused)
	}
	if _, body := sendTo(t, handler, with(cookie.Value)); body != "the API" {
		t.Errorf("who has signed in is kept out by somebody's guesses: %q", body)
	}
}

func TestReadyzAsksOnceAtATime(t *testing.T) {
	asked, answers := make(chan context.Context), make(chan error)
	handler := web.New(web.Config{Ready: func(ctx context.Context) error { asked <- ctx; return <-answers }})
	type answer struct {
		code int
		body string
	}
	got := make(chan answer)
	ask := func(ctx context.Context) {
		q := httptest.NewRequestWithContext(ctx, "GET", "http://127.0.0.1:8080/readyz", nil)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, q)
		apitest.Check(t, q, w.Result(), w.Body.Bytes())
		got <- answer{w.Code, w.Body.String()}
	}
	go ask(t.Context())
	ctx := <-asked
	if _, bounded := ctx.Deadline(); !bounded {
		t.Error("the database is waited for without an end")
	}
	left, leave := context.WithCancel(t.Context())
	go ask(left)
	leave()
	if a := <-got; a.code != 503 { // it never came to ask: that would wait for us
		t.Errorf("while another asks it is answered %+v", a)
	}
	go ask(t.Context())
	answers <- errors.New("secret words of the database")
	if a := <-got; a.code != 503 || strings.Contains(a.body, "secret") {
		t.Errorf("a database that takes no write: %+v", a)
	}
	<-asked
	answers <- nil
	if a := <-got; a.code != 200 || a.body != "ok\n" {
		t.Errorf("one that does: %+v", a)
	}
}

func TestCheckListen(t *testing.T) {
	for address, fine := range map[string]bool{"127.0.0.1:8080": true, "localhost:0": true, "[::1]:8080": true,
		":8080": false, "0.0.0.0:8080": false, "192.168.1.5:80": false, "lab.lan:80": false, "8080": false} {
		if err := web.CheckListen(address, ""); (err == nil) != fine {
			t.Errorf("without a password %s: %v", address, err)
		}
		if err := web.CheckListen(address, "secret"); (err == nil) != (address != "8080") {
			t.Errorf("with a password %s: %v", address, err)
		}
	}
}

// A browser that has the files of this build need not ask for them again; it asks for those that no build is named of.
func TestThePageNamesItsFilesByTheirBuild(t *testing.T) {
	build := ""
	for _, path := range []string{"/", "/c/conv_x", "/login"} {
		answer, body := send(t, "", request{path: path})
		named := regexp.MustCompile(`(?:href|src)="/ui/([^/"]+)/`).FindAllStringSubmatch(body, -1)
		if len(named) == 0 || answer.Header.Get("Cache-Control") != "no-cache" {
			t.Fatalf("%s, kept as %q, names no files: %.300s", path, answer.Header.Get("Cache-Control"), body)
		}
		for _, n := range named {
			if build == "" {
				build = n[1]
			}
			if n[1] != build {
				t.Errorf("%s names files of %s, others are of %s", path, n[1], build)
			}
		}
	}
	other := strings.Repeat("0", len(build))
	_, want := send(t, "", request{path: "/ui/js/app.js"})
	for path, cache := range map[string]string{build + "/js/app.js": "public, max-age=31536000, immutable", other + "/js/app.js": "no-cache", "js/app.js": "no-cache"} {
		answer, body := send(t, "", request{path: "/ui/" + path})
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Cache-Control") != cache || body != want {
			t.Errorf("%s is answered %d, kept as %q: %.60q", path, answer.StatusCode, answer.Header.Get("Cache-Control"), body)
		}
	}
	for _, path := range []string{build, build + "/", build + "/js", build + "/nothing.js", build + "/" + build + "/js/app.js", build + "/..%2fweb.go"} {
		if answer, body := send(t, "", request{path: "/ui/" + path}); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered %d %.60q", path, answer.StatusCode, body)
		}
	}
}

func TestNothingButTheFilesOfThePageIsServed(t *testing.T) {
	for _, path := range []string{"/ui/", "/ui/js", "/ui/js/", "/ui/js/app.js/", "/ui/nothing.js", "/ui/..%2fweb.go", "/ui/%2e%2e/%2e%2e/web.go", "/ui/js%2f..%2f..%2fui.go",
		"/ui/%2fetc%2fpasswd", "/ui/..%5cweb.go", "/ui/js/app.js%00"} {
		if answer, body := send(t, "", request{path: path}); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered %d %.60q", path, answer.StatusCode, body)
		}
	}
}

func TestThePageIsSentCompressed(t *testing.T) {
	for _, name := range []string{"/ui/lib/highlight/highlight.js", "/ui/css/app.css", "/ui/icon.svg"} {
		plain, want := send(t, "", request{path: name})
		answer, body := send(t, "", request{path: name, header: map[string]string{"Accept-Encoding": "gzip, deflate"}})
		if answer.Header.Get("Content-Encoding") != "gzip" || answer.Header.Get("Vary") != "Accept-Encoding" || answer.Header.Get("Content-Type") != plain.Header.Get("Content-Type") {
			t.Errorf("%s has the headers %v", name, answer.Header)
			continue
		}
		r, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("%s is another text compressed: %v", name, err)
		}
		again, _ := send(t, "", request{path: name, header: map[string]string{"Accept-Encoding": "gzip", "If-None-Match": plain.Header.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s, which the browser has, is sent again: %s", name, again.Status)
		}
	}
}
