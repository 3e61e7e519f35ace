package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"git.georgsen.dk/hwlab/internal/api"
)

// door lets in who knows the password: a browser by the cookie it got when it signed in, a client by a Bearer token that is
// the password. Sessions are not kept anywhere: a cookie is a signed date, so it outlives a restart and dies with the
// password that it was signed with.
type door struct {
	password string // "": everybody may come in
	key      []byte

	mu       sync.Mutex
	failures float64 // wrong passwords, forgotten one a second
	counted  time.Time
}

const (
	sessionCookie = "hwlab_session"
	sessionLength = 30 * 24 * time.Hour
	mostFailures  = 20 // wrong passwords at once before no password is looked at for a while
)

func newDoor(password string) *door {
	key := sha256.Sum256([]byte("hwlab session\x00" + password))
	return &door{password: password, key: key[:]}
}

// api admits clients of /v1, or answers 401 or 429.
func (d *door) api(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.signedIn(r) {
			next.ServeHTTP(w, r)
			return
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		right, tooMany := false, false
		if strings.EqualFold(scheme, "Bearer") {
			right, tooMany = d.try(token)
		}
		switch {
		case right:
			next.ServeHTTP(w, r)
		case tooMany:
			api.WriteError(w, &api.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts",
				Headers: map[string]string{"Retry-After": "10"}, Message: "too many wrong passwords; wait a little"})
		default:
			api.WriteError(w, &api.Error{Status: http.StatusUnauthorized, Code: "invalid_api_key",
				Headers: map[string]string{"WWW-Authenticate": "Bearer"}, Message: "send the password of HWLAB_PASSWORD as a Bearer token, or sign in"})
		}
	})
}

// page admits browsers, or sends them to the sign-in page.
func (d *door) page(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.signedIn(r) {
			next.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})
}

func (d *door) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	right, tooMany := d.try(r.PostFormValue("password"))
	if tooMany {
		http.Redirect(w, r, "/login?failed#wait", http.StatusSeeOther)
		return
	}
	if !right {
		http.Redirect(w, r, "/login?failed#failed", http.StatusSeeOther)
		return
	}
	expires := time.Now().Add(sessionLength)
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: d.sign(expires), Path: "/", Expires: expires, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: r.Header.Get("X-Forwarded-Proto") == "https"}) // a proxy says so; hwlab itself has no TLS
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (d *door) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// signedIn reports whether there is nobody to keep out or the request has a cookie of a session that has not expired.
func (d *door) signedIn(r *http.Request) bool {
	if d.password == "" {
		return true
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	date, _, _ := strings.Cut(cookie.Value, ".")
	unix, err := strconv.ParseInt(date, 10, 64)
	if err != nil {
		return false
	}
	expires := time.Unix(unix, 0)
	return hmac.Equal([]byte(cookie.Value), []byte(d.sign(expires))) && time.Now().Before(expires)
}

// sign returns the cookie of a session that ends at expires.
func (d *door) sign(expires time.Time) string {
	date := strconv.FormatInt(expires.Unix(), 10)
	mac := hmac.New(sha256.New, d.key)
	mac.Write([]byte(date))
	return date + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// try reports whether password is the right one, or that too many wrong ones came for any to be looked at.
func (d *door) try(password string) (right, tooMany bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.failures = max(0, d.failures-now.Sub(d.counted).Seconds())
	d.counted = now
	if d.failures >= mostFailures {
		return false, true
	}
	tried, want := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(d.password)) // of one length, whatever was tried
	if subtle.ConstantTimeCompare(tried[:], want[:]) == 1 {
		return true, false
	}
	d.failures++
	return false, false
}
