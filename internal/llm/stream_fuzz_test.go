package llm

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

// Whatever a server sends, a stream ends once, says why, and does not depend on how the bytes arrive.
func FuzzReadFrames(f *testing.F) {
	for _, seed := range []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\xe2\\ud83d\"}}]}\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\ude00\\u0000\x82\"}}]}\n",
		": ping\n\nevent: error\ndata: {\"message\":\"overloaded\"}\n\n",
		"error: {\"code\":400,\"message\":\"too long\"}\n\ndata: [DONE]\n\n",
		"data: {\"error\":\"boom\"}",
		"data: {\"choices\":[{\"delta\":{\"content\":[{\"text\":\"x\"}]}}],\"usage\":{\"prompt_tokens\":1}}\ndata:[DONE]",
		"{\"error\":{\"message\":[\"a\"]}}",
		"data: null\ndata: [1]\ndata: \"\\",
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n" +
			"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\ud83d\"}}]}}]}\n\ndata: [DONE]",
		"{\"choices\":[{\"message\":{\"reasoning\":\"hm\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}},null]},\"finish_reason\":\"tool_calls\"}]}",
		"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"h\\udc00\",\"refusal\":\"no\"}}]}\ndata: {\"choices\":[{\"delta\":{\"reasoning\":7}}]}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		type outcome struct{ text, reasoning, refusal, calls, finish, message string }
		read := func(frames func(func(frame, error) bool)) (o outcome) {
			ended, calls := false, 0
			for d, err := range readFrames(nil, frames) {
				if ended {
					t.Fatalf("went on after the end: %+v, %v", d, err)
				}
				if d == (Delta{}) && err == nil {
					t.Fatal("an empty delta")
				}
				var known *Error
				if err != nil && !errors.As(err, &known) {
					t.Fatalf("an error of an unknown kind: %v", err)
				}
				if err != nil {
					o.message = err.Error()
				}
				o.text, o.reasoning, o.refusal = o.text+d.Text, o.reasoning+d.Reasoning, o.refusal+d.Refusal
				if c := d.Call; c != nil {
					if first := c.Index == calls; first != (c.ID != "") || first != (c.Name != "") || c.Index > calls || len(c.ID) > maxCallID {
						t.Fatalf("after %d calls comes %+v", calls, c)
					} else if first {
						calls++
					}
					o.calls += fmt.Sprint(c.Index, c.Name, c.Arguments, ";")
				}
				o.finish = d.Finish
				ended = err != nil || d.Finish != ""
			}
			if !ended {
				t.Fatal("ended without a reason")
			}
			return o
		}
		atOnce := read(eventStream(strings.NewReader(wire)))
		if slowly := read(eventStream(iotest.OneByteReader(strings.NewReader(wire)))); slowly != atOnce {
			t.Fatalf("at once %+v, byte by byte %+v", atOnce, slowly)
		}
		read(wholeBody(strings.NewReader(wire)))
	})
}
