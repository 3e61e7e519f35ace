package llm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	dialTimeout = 10 * time.Second

	// headerTimeout bounds the wait for the first byte of an answer. A local server may load tens of gigabytes or read
	// a long prompt before it; a reply that has begun has no bound, since models may think for long.
	headerTimeout = 10 * time.Minute

	// pingEvery is how soon the silent death of an HTTP/2 server is noticed. On HTTP/1 TCP's keep-alive does that.
	pingEvery = 30 * time.Second

	maxErrorBody  = 64 << 10
	maxModelsBody = 16 << 20 // the longest lists in use are about 1 MB
)

// ClientConfig says where a Chat Completions server is.
type ClientConfig struct {
	BaseURL   string            // up to and with /v1, as in OPENAI_BASE_URL
	APIKey    string            // "" sends none
	Remedy    string            // what to do when nobody answers, as an imperative: "start Ollama or set OLLAMA_HOST"
	Transport http.RoundTripper // nil: one of its own, which honours the standard proxy variables as net/http does
}

// Client speaks Chat Completions. It takes the types of the wire from go-openai but reads the stream itself: go-openai
// 1.43 loses an error that follows a comment, errors that are a plain string, "error:" lines and a last line without
// its newline, gives up after 300 pings, and decodes text in a way that breaks a character split between two frames.
type Client struct {
	base   *url.URL
	key    string
	remedy string
	http   *http.Client

	abilities abilities
}

// NewClient checks the configuration; it does not connect. The error says what is wrong with the base URL and never
// repeats it, as it may hold a password.
func NewClient(cfg ClientConfig) (*Client, error) {
	base, err := url.Parse(strings.TrimSpace(cfg.BaseURL))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, errors.New("the base URL of a model server must look like http://host:port/v1")
	}
	transport := cfg.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: headerTimeout,
			IdleConnTimeout:       time.Minute,
			ForceAttemptHTTP2:     true,
			HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingEvery},
			DisableCompression:    true, // a compressed stream arrives in lumps
		}
	}
	remedy := cfg.Remedy
	if remedy == "" {
		remedy = "start it or correct its address"
	}
	return &Client{base: base, key: strings.TrimSpace(cfg.APIKey), remedy: remedy, http: &http.Client{Transport: transport}}, nil
}

// BaseURL is the server's address as it may be shown: without user, password, query or fragment.
func (c *Client) BaseURL() string {
	shown := url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: c.base.Path}
	return strings.TrimSuffix(shown.String(), "/")
}

// Close drops the idle connections. Streams under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Models implements [Provider]. The caller's context is its only bound short of ten minutes.
func (c *Client) Models(ctx context.Context) ([]Info, error) {
	resp, err := c.do(ctx, http.MethodGet, "models", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	// Narrower than go-openai's type: what is not read cannot be of the wrong type.
	var list struct {
		Data []modelEntry `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxModelsBody)).Decode(&list); err != nil {
		if ctx.Err() != nil {
			return nil, c.failed(ctx, err)
		}
		return nil, c.explain(&Error{Code: CodeBadResponse, Message: "the list of models is not what Chat Completions " +
			"servers send; check the base URL, which usually ends in /v1"})
	}
	models := make([]Info, 0, len(list.Data))
	kinds := map[string]kind{}
	for _, m := range list.Data {
		if m.ID == "" {
			continue
		}
		info := Info{ID: m.ID, OwnedBy: m.OwnedBy}
		if m.Created > 0 {
			info.Created = time.Unix(int64(m.Created), 0).UTC()
		}
		info.learn(m.raw)
		kinds[m.ID] = kindOf(info, m.raw)
		info.Continues = kinds[m.ID].takesContinue()
		models = append(models, info)
	}
	if isOllama(models) {
		for id := range kinds {
			kinds[id] = kindOllama
		}
	}
	c.ask(ctx, models)
	c.abilities.mu.Lock()
	defer c.abilities.mu.Unlock()
	c.abilities.kinds = kinds
	for i := range models {
		models[i].Continues = models[i].Continues && !c.abilities.refused[models[i].ID]
	}
	return models, nil
}

// modelEntry is an entry of a list of models.
type modelEntry struct {
	ID      string  `json:"id"`
	OwnedBy string  `json:"owned_by"`
	Created float64 `json:"created"`
	raw     json.RawMessage
}

// UnmarshalJSON keeps the rest, too.
func (m *modelEntry) UnmarshalJSON(raw []byte) error {
	type plain modelEntry
	m.raw = bytes.Clone(raw)
	return json.Unmarshal(raw, (*plain)(m))
}

// Stream implements [Provider]. All comes as the server sends it; usage comes with the finish.
func (c *Client) Stream(ctx context.Context, req Request) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		resp, err := c.begin(ctx, req)
		if err != nil {
			yield(Delta{}, err)
			return
		}
		defer resp.Body.Close()
		if req.Pace != nil {
			resp.Body = paced{resp.Body, req.Pace}
		}
		for delta, err := range c.read(resp, req.Waiting) {
			if err != nil {
				var known *Error
				if errors.As(err, &known) && ctx.Err() == nil {
					err = c.explain(known)
				} else {
					err = c.failed(ctx, err)
				}
			}
			if !yield(delta, err) || err != nil {
				return
			}
		}
	}
}

// paced is a body that is read when it is time to.
type paced struct {
	io.ReadCloser
	pace func()
}

func (p paced) Read(b []byte) (int, error) {
	p.pace()
	return p.ReadCloser.Read(b)
}

// read gives what is in an answer with status 200, whatever form it has.
func (c *Client) read(resp *http.Response, waiting func(Wait)) iter.Seq2[Delta, error] {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch kind {
	case "text/html":
		return func(yield func(Delta, error) bool) {
			yield(Delta{}, &Error{Code: CodeBadResponse,
				Message: "it answers with a web page; check the base URL, which usually ends in /v1"})
		}
	case "application/json": // a server that does not stream, or an error in a 200
		return readFrames(waiting, wholeBody(resp.Body))
	}
	return readFrames(waiting, eventStream(resp.Body))
}

// begin posts the request. A server that refuses a parameter which not every server knows is asked once more without, and one that
// loads its model until it has.
func (c *Client) begin(ctx context.Context, req Request) (*http.Response, error) {
	wire := newWireRequest(req)
	c.abilities.mu.Lock()
	k := c.abilities.kinds[req.Model]
	c.abilities.mu.Unlock()
	tell := func(w Wait) {
		if req.Waiting != nil {
			req.Waiting(w)
		}
	}
	loading := req.Waiting != nil && c.loads(ctx, k, req.Model)
	if loading {
		tell(Wait{Loading: true})
	}
	wire.ReturnProgress = req.Waiting != nil && k.readsAloud()
	switch { // a model that has begun to answer has thought
	case req.Continue && k.takesContinue():
		wire.AddGenerationPrompt, wire.ContinueFinalMessage = new(false), true
		wire.ReasoningEffort, wire.ChatTemplateKwargs = "", withoutThinking
	case req.Continue:
		wire.ReasoningEffort, wire.ChatTemplateKwargs = "none", nil
	}
	for patient := time.Now().Add(headerTimeout); ; {
		resp, err := c.do(ctx, http.MethodPost, "chat/completions", wire)
		if err == nil && loading {
			tell(Wait{})
		}
		var refused *Error
		if errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable && refused.Code == codeLoading && k.readsAloud() &&
			time.Now().Before(patient) {
			loading = true
			tell(Wait{Loading: true})
			if !pause(ctx, loadEvery) {
				return nil, c.failed(ctx, ctx.Err())
			}
			continue
		}
		if !errors.As(err, &refused) || refused.Code == CodeContextExceeded ||
			refused.Status != http.StatusBadRequest && refused.Status != http.StatusUnprocessableEntity {
			if refused != nil && refused.Status == http.StatusInternalServerError { // of a template, too
				c.refusesToContinue(req)
			}
			return resp, err
		}
		switch {
		case refused.param == "max_tokens" && wire.MaxTokens != nil: // OpenAI's reasoning models
			wire.MaxTokens, wire.MaxCompletionTokens = nil, req.MaxOutputTokens
		case wire.ReturnProgress:
			wire.ReturnProgress = false
		case wire.StreamOptions != nil:
			wire.StreamOptions, wire.ReasoningEffort, wire.ChatTemplateKwargs = nil, req.ReasoningEffort, nil
		default:
			c.refusesToContinue(req)
			return resp, err
		}
	}
}

// refusesToContinue remembers that a model was asked to go on with a reply and could not.
func (c *Client) refusesToContinue(req Request) {
	if !req.Continue {
		return
	}
	c.abilities.mu.Lock()
	defer c.abilities.mu.Unlock()
	if c.abilities.refused == nil {
		c.abilities.refused = map[string]bool{}
	}
	c.abilities.refused[req.Model] = true
}

// pause returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// do sends one request. The answer has a status of 2xx and its body must be closed; anything else is an error.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding the request for a model: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), payload)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "text/event-stream")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // half an explanation is better than none
	code, param, message := explanation(text)
	if message == "" {
		message = http.StatusText(resp.StatusCode)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		message += "; check the API key"
	case http.StatusNotFound:
		if code == "" {
			message += "; check the base URL, which usually ends in /v1"
		}
	}
	if exceedsContext(resp.StatusCode, code, message) {
		code = CodeContextExceeded
	}
	return nil, c.explain(&Error{Status: resp.StatusCode, Code: code, Message: message, param: param})
}

// failed turns an error of the network into one for a person. The cause's own text can hold the whole URL.
func (c *Client) failed(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("model server at %s: %w", c.BaseURL(), ctx.Err())
	}
	var dns *net.DNSError
	var timeout net.Error
	why := "the connection failed"
	switch {
	case errors.Is(cause, syscall.ECONNREFUSED):
		why = "connection refused"
	case errors.As(cause, &dns):
		why = "no such host: " + dns.Name
	case errors.As(cause, &timeout) && timeout.Timeout():
		why = "no answer in time"
	default:
		var inner *url.Error
		if errors.As(cause, &inner) {
			why = inner.Err.Error()
		}
	}
	return c.explain(&Error{Code: CodeUnreachable, Message: why + "; " + c.remedy, cause: cause})
}

// explain says where an error happened, and makes its text safe: servers like to repeat the key they were sent.
func (c *Client) explain(e *Error) *Error {
	secrets := []string{c.key}
	if c.base.User != nil {
		password, _ := c.base.User.Password()
		secrets = append(secrets, password)
	}
	for _, secret := range secrets {
		if secret != "" {
			e.Message, e.Code = hide(e.Message, secret), hide(e.Code, secret)
		}
	}
	e.Where = c.BaseURL()
	return e
}

// hide hides a secret in a text. A short one is often no secret but what a local server is given that takes any key, such as x: it is
// hidden where it stands alone, not inside of words, of which a code is one.
func hide(text, secret string) string {
	const short = 8
	if len(secret) >= short {
		return strings.ReplaceAll(text, secret, "[hidden]")
	}
	alone := regexp.QuoteMeta(secret)
	if wordBegins.MatchString(secret) {
		alone = `\b` + alone
	}
	if wordEnds.MatchString(secret) {
		alone += `\b`
	}
	return regexp.MustCompile(alone).ReplaceAllLiteralString(text, "[hidden]")
}

var wordBegins, wordEnds = regexp.MustCompile(`^\w`), regexp.MustCompile(`\w$`)
