package llm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"
	"unicode"

	openai "github.com/sashabaranov/go-openai"
)

// maxFrame bounds the memory that one line of a stream can take. Frames with all log probabilities reach some 100 kB.
const maxFrame = 16 << 20

// maxMessage bounds what is shown of a server's explanation, in bytes.
const maxMessage = 2000

// frame is one payload of a stream.
type frame struct {
	data   []byte
	failed bool // the server marked it as an error outside its JSON
}

// eventStream gives the payloads of server-sent events: each "data:" line is one, whether or not a blank line follows,
// as all Chat Completions servers send them and some forget the blank line. Comments, pings and ids are passed over.
// The end of the body is the end of the sequence; a last line without its newline counts.
func eventStream(body io.Reader) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		lines := bufio.NewReaderSize(body, 32<<10)
		event := ""
		for {
			line, err := readLine(lines)
			if err != nil && (err != io.EOF || len(line) == 0) {
				if err != io.EOF {
					yield(frame{}, err)
				}
				return
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimSpace(value)
			switch {
			case len(line) == 0:
				event = ""
			case string(field) == "event":
				event = string(value)
			case string(field) == "error": // llama.cpp until late 2025
				if !yield(frame{value, true}, nil) {
					return
				}
			case string(field) == "data" && len(value) > 0:
				if !yield(frame{value, event == "error"}, nil) {
					return
				}
			case line[0] == '{': // an error as bare JSON amid the events
				if !yield(frame{line, false}, nil) {
					return
				}
			}
		}
	}
}

// readLine reads up to a newline, which it drops. At the end of the input it returns what is left with io.EOF. The line is
// good until the next one is read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	for long := false; err == bufio.ErrBufferFull; long = true {
		if len(line) > maxFrame {
			return nil, &Error{Code: CodeBadResponse, Message: "it sent a line of more than 16 MB"}
		}
		if !long {
			line = bytes.Clone(line)
		}
		var part []byte
		part, err = r.ReadSlice('\n')
		line = append(line, part...)
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// wholeBody gives a JSON body as the only payload.
func wholeBody(body io.Reader) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		data, err := io.ReadAll(io.LimitReader(body, maxFrame))
		yield(frame{data: data}, err)
	}
}

// chunk is what is read of a payload. go-openai's type decodes text into strings, which loses bytes, and fails on
// fields nobody here needs.
type chunk struct {
	Choices []struct {
		Index        int    `json:"index"`
		Delta        part   `json:"delta"`
		Message      part   `json:"message"` // in place of Delta where the server does not stream
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage    *openai.Usage   `json:"usage"`
	Error    json.RawMessage `json:"error"`
	Progress *progress       `json:"prompt_progress"`
}

// progress is what llama.cpp says, when it is asked to, while the model reads what it is told. What is in its cache counts as read.
type progress struct {
	Total     float64 `json:"total"`
	Cache     float64 `json:"cache"`
	Processed float64 `json:"processed"`
}

func (p progress) percent() int {
	if p.Total <= p.Cache {
		return 100
	}
	return int(100 * min(1, max(0, (p.Processed-p.Cache)/(p.Total-p.Cache))))
}

// part is a piece of an answer. Servers have one of two names for what the model thinks, or both with the same in them.
type part struct {
	Content          wireContent    `json:"content"`
	Refusal          wireText       `json:"refusal"` // the model's own words, in place of content
	ReasoningContent wireThought    `json:"reasoning_content"`
	Reasoning        wireThought    `json:"reasoning"`
	ToolCalls        []wireCallPart `json:"tool_calls"`
}

func (p part) reasoning() wireText {
	if len(p.ReasoningContent) > 0 {
		return wireText(p.ReasoningContent)
	}
	if len(p.Reasoning) > 0 {
		return wireText(p.Reasoning)
	}
	return p.Content.thinking
}

// readFrames turns payloads into the deltas of one reply. Finish and usage come in the last one, with nothing after it:
// some servers count after they finish, and some send text after they said they had. waiting may be nil.
func readFrames(waiting func(Wait), frames iter.Seq2[frame, error]) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		var (
			text, refusal, reasoning joiner
			calls                    callJoiner
			deltas                   []Delta
			simple                   plain
			scratch                  []byte
			last                     Delta
			ended                    bool
		)
		rest := func() bool { // yields what was held; what is left for the last delta is Finish and Usage
			for _, d := range append([]Delta{{Reasoning: reasoning.rest()}, {Text: text.rest()}, {Refusal: refusal.rest()}}, calls.rest()...) {
				if d != (Delta{}) && !yield(d, nil) {
					return false
				}
			}
			return true
		}
		fail := func(err error) {
			if !rest() {
				return
			}
			if last.Usage != nil && !yield(Delta{Usage: last.Usage}, nil) {
				return
			}
			yield(Delta{}, err)
		}
		for f, err := range frames {
			if err != nil {
				if last.Finish != "" {
					break // the reply was whole; how the connection ends does not matter
				}
				var known *Error
				if !errors.As(err, &known) {
					const broke = "the connection broke in the middle of the reply; ask again"
					err = &Error{Code: CodeTruncated, Message: broke, cause: err}
				}
				fail(err)
				return
			}
			if string(f.data) == "[DONE]" {
				ended = true
				break
			}
			if !f.failed && simple.read(f.data) {
				scratch = unquote(scratch[:0], simple.thought())
				if thought := reasoning.add(scratch); thought != "" && !yield(Delta{Reasoning: thought}, nil) {
					return
				}
				scratch = unquote(scratch[:0], simple.text)
				if words := text.add(scratch); words != "" && !yield(Delta{Text: words}, nil) {
					return
				}
				continue
			}
			var c chunk
			if err := json.Unmarshal(f.data, &c); f.failed || err == nil && isError(c.Error) {
				code, _, message := explanation(f.data)
				if exceedsContext(0, code, message) {
					code = CodeContextExceeded
				}
				fail(&Error{Code: code, Message: message})
				return
			} else if err != nil {
				const odd = "it sent something that is not a piece of a reply: "
				fail(&Error{Code: CodeBadResponse, Message: odd + presentable(f.data)})
				return
			}
			if c.Progress != nil && waiting != nil {
				waiting(Wait{Reading: true, Percent: c.Progress.percent()})
			}
			if c.Usage != nil {
				last.Usage = usageOf(c.Usage) // some send it with every chunk; the last is the sum
			}
			deltas = deltas[:0]
			for _, choice := range c.Choices {
				if choice.Index != 0 {
					continue
				}
				for _, p := range []part{choice.Delta, choice.Message} {
					deltas = append(deltas, Delta{Reasoning: reasoning.add(p.reasoning())}, Delta{Text: text.add(p.Content.text)},
						Delta{Refusal: refusal.add(p.Refusal)})
					for _, call := range p.ToolCalls {
						deltas = append(deltas, calls.add(call))
					}
				}
				if reason := choice.FinishReason; reason != "" && reason != "null" && last.Finish == "" {
					last.Finish = reason
				}
			}
			for _, delta := range deltas {
				if delta != (Delta{}) && !yield(delta, nil) {
					return
				}
			}
		}
		if last.Finish == "" && !ended {
			fail(&Error{Code: CodeTruncated, Message: "the stream ended in the middle of the reply; ask again"})
			return
		}
		if last.Finish == "" {
			last.Finish = FinishStop // [DONE] says as much
		}
		if rest() {
			yield(last, nil)
		}
	}
}

func usageOf(u *openai.Usage) *Usage {
	usage := &Usage{InputTokens: int64(u.PromptTokens), OutputTokens: int64(u.CompletionTokens)}
	if u.PromptTokensDetails != nil {
		usage.CachedTokens = int64(u.PromptTokensDetails.CachedTokens)
	}
	if u.CompletionTokensDetails != nil {
		usage.ReasoningTokens = int64(u.CompletionTokensDetails.ReasoningTokens)
	}
	return usage
}

// isError tells an error from the empty ones that some servers put into every chunk.
func isError(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", `""`, "{}", "false":
		return false
	}
	return true
}

// explanation finds what a server says about an error, in any of the forms in use: {"error":{…}}, {"error":"text"}, the
// object alone, {"detail":…} or plain text. The message of an error page in HTML is "". param is the parameter it
// blames, mostly "".
func explanation(body []byte) (code, param, message string) {
	var said struct {
		Error   json.RawMessage `json:"error"`
		Code    json.RawMessage `json:"code"`
		Type    string          `json:"type"`
		Param   string          `json:"param"`
		Message json.RawMessage `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	body = bytes.TrimSpace(body)
	var text string
	switch {
	case len(body) == 0 || body[0] == '<':
		return "", "", ""
	case json.Unmarshal(body, &text) == nil:
		return "", "", presentable([]byte(text))
	case json.Unmarshal(body, &said) != nil && said.Error == nil && said.Message == nil:
		return "", "", presentable(body)
	case isError(said.Error):
		return explanation(said.Error)
	}
	if json.Unmarshal(said.Code, &code) != nil || code == "" {
		code = said.Type // a number repeats the status; the type is the word
	}
	for _, candidate := range []json.RawMessage{said.Message, said.Detail, body} {
		if len(candidate) == 0 || string(candidate) == "null" {
			continue
		}
		if json.Unmarshal(candidate, &text) != nil {
			text = string(candidate)
		}
		return code, said.Param, presentable([]byte(text))
	}
	return code, said.Param, ""
}

// presentable makes foreign bytes fit to be shown: valid, on one line, and not too long.
func presentable(b []byte) string {
	if len(b) > maxMessage {
		b = append(b[:maxMessage:maxMessage], "…"...)
	}
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(string(b), "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
}
