package llm

import (
	"errors"
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
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		type outcome struct{ text, finish, message string }
		read := func(frames func(func(frame, error) bool)) (o outcome) {
			ended := false
			for d, err := range readFrames(frames) {
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
				o.text += d.Text
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
