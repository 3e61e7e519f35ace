package llm_test

import (
	"testing"

	"git.georgsen.dk/hwlab/internal/llm"
)

func TestOllamaBaseURLFollowsOllamasRules(t *testing.T) {
	for host, want := range map[string]string{
		"":                            "http://127.0.0.1:11434/v1",
		"192.0.2.7":                   "http://192.0.2.7:11434/v1",
		"nas.lan":                     "http://nas.lan:11434/v1",
		"nas.lan:8080":                "http://nas.lan:8080/v1",
		":8080":                       "http://127.0.0.1:8080/v1",
		"0.0.0.0":                     "http://127.0.0.1:11434/v1",
		"0.0.0.0:8080":                "http://127.0.0.1:8080/v1",
		"[::]:11434":                  "http://[::1]:11434/v1",
		"[2001:db8::1]":               "http://[2001:db8::1]:11434/v1",
		"http://nas.lan":              "http://nas.lan:80/v1",
		"https://nas.lan/ollama/":     "https://nas.lan:443/ollama/v1",
		` "http://nas.lan:11434/" `:   "http://nas.lan:11434/v1",
		"ftp://nas.lan":               "",
		"nas.lan:port":                "",
		"http://user:hunter2@nas.lan": "",
	} {
		got, err := llm.OllamaBaseURL(host)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", host, got, err, want)
		}
	}
}
