package llm

import (
	"encoding/json"
	"strings"
	"testing"
)

// wordsOf are pieces with the text " word", as the servers in use send them.
var wordsOf = []struct{ server, piece string }{
	{"OpenAI", `{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-2025-04-14",` +
		`"service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],` +
		`"usage":null,"obfuscation":"aK3x9"}`},
	{"llama.cpp", `{"choices":[{"finish_reason":null,"index":0,"delta":{"content":" word"}}],"created":1741569952,"id":"chatcmpl-Hk9zB0mJwYQ1",` +
		`"model":"qwen3","system_fingerprint":"b5200-ab12","object":"chat.completion.chunk"}`},
	{"vLLM", `{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1741569952,"model":"Qwen/Qwen3-8B","choices":[{"index":0,` +
		`"delta":{"content":" word","reasoning_content":null},"logprobs":null,"finish_reason":null,"token_ids":null}]}`},
	{"Ollama", `{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1741569952,"model":"qwen3","system_fingerprint":"fp_ollama",` +
		`"choices":[{"index":0,"delta":{"role":"assistant","content":" word"},"finish_reason":null}]}` + "\n"},
}

func TestWordsOfTheServersInUseAreReadTheShortWay(t *testing.T) {
	for _, w := range wordsOf {
		var p plain
		if !p.read([]byte(w.piece)) || string(p.text) != " word" || p.thought() != nil {
			t.Errorf("%s: %q", w.server, p.text)
		}
	}
	var p plain
	if !p.read([]byte(`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"hm","reasoning":"hm"}}]}`)) || string(p.thought()) != "hm" {
		t.Errorf("a thought: %q", p.thought())
	}
}

// What is read the short way is what encoding/json reads.
func FuzzPlain(f *testing.F) {
	for _, w := range wordsOf {
		f.Add(w.piece)
	}
	for _, seed := range []string{
		`{"choices":[{"index":0,"delta":{"content":"a\"\\\/\b\f\n\r\t\u00e9\ud83d","content":"b"}}]}`,
		`{"choices":[{"delta":{"reasoning_content":"","reasoning":"hm","Content":"x"},"message":{"content":"y"}}],"error":null}`,
		`{"choices":[{"index":0,"delta":{"reasoning":"x","reasoning":""}}],"choices":[{"index":1}]}`,
		`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`,
		`{"choices":[{"index":0,"delta":{"content":"x","tool_calls":[{"index":0}],"refusal":"no"}}],"created":1.5e3}`,
		"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]} x", `{"choices":[{"index":00}],"a":true,"b":false,"c":nul}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		var p plain
		if !p.read([]byte(data)) {
			return
		}
		var c chunk
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if len(c.Choices) != 1 || c.Usage != nil || isError(c.Error) {
			t.Fatalf("it is %+v", c)
		}
		choice := c.Choices[0]
		d, m := choice.Delta, choice.Message
		if choice.Index != 0 || choice.FinishReason != "" || len(d.Refusal) > 0 || d.ToolCalls != nil ||
			len(m.Content.text) > 0 || len(m.Refusal) > 0 || m.ToolCalls != nil || len(m.reasoning()) > 0 {
			t.Fatalf("it is %+v", c)
		}
		if text, thought := string(unquote(nil, p.text)), string(unquote(nil, p.thought())); text != string(d.Content.text) || thought != string(d.reasoning()) {
			t.Fatalf("text %q and thought %q for %q and %q", text, thought, d.Content.text, d.reasoning())
		}
	})
}

// What a word of a reply takes.
func BenchmarkReadFrames(b *testing.B) {
	for _, w := range append(wordsOf, struct{ server, piece string }{"a call", `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":" word"}}]}}]}`}) {
		b.Run(w.server, func(b *testing.B) {
			body := strings.NewReader(strings.Repeat("data: "+strings.TrimSpace(w.piece)+"\n\n", b.N) + "data: [DONE]\n\n")
			b.ReportAllocs()
			b.ResetTimer()
			for _, err := range readFrames(nil, eventStream(body)) {
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
