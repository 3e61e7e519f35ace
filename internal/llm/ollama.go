package llm

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// OllamaBaseURL turns the value of OLLAMA_HOST into the base URL of Ollama's Chat Completions, by Ollama's own rules:
// the scheme, the port (11434; 80 or 443 after an explicit scheme) and the host may be left out, and "" means
// 127.0.0.1:11434. The unspecified address, which Ollama is told to listen on, is reached on the loopback one.
func OllamaBaseURL(host string) (string, error) {
	scheme, rest, explicit := strings.Cut(strings.Trim(strings.TrimSpace(host), `"'`), "://")
	port := "11434"
	if !explicit {
		scheme, rest = "http", scheme
	} else if scheme == "http" {
		port = "80"
	} else {
		port = "443"
	}
	hostport, path, _ := strings.Cut(rest, "/")
	name, given, err := net.SplitHostPort(hostport)
	if err != nil {
		name = strings.Trim(hostport, "[]")
	} else if given != "" {
		port = given
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || scheme != "http" && scheme != "https" || strings.ContainsAny(name, " @") {
		return "", errors.New("OLLAMA_HOST must look like host:port or http://host:port")
	}
	switch ip := net.ParseIP(name); {
	case name == "" || ip.Equal(net.IPv4zero):
		name = "127.0.0.1"
	case ip.Equal(net.IPv6unspecified):
		name = "::1"
	}
	base := url.URL{Scheme: scheme, Host: net.JoinHostPort(name, port)}
	return base.JoinPath(path, "v1").String(), nil
}
