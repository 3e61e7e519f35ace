package llm

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
)

// wireCallPart is a piece of a call as servers send it: in pieces with an index, of which the first has id and name; or whole,
// and then often without index, without id, or with the arguments as an object.
type wireCallPart struct {
	Index    *int   `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      string        `json:"name"`
		Arguments wireArguments `json:"arguments"`
	} `json:"function"`
}

// wireArguments are the arguments of a call, or a piece of them.
type wireArguments wireText

// UnmarshalJSON takes a string, null, or the arguments as an object.
func (a *wireArguments) UnmarshalJSON(raw []byte) error {
	if raw[0] == '{' {
		var b bytes.Buffer
		err := json.Compact(&b, raw)
		*a = b.Bytes()
		return err
	}
	return (*wireText)(a).UnmarshalJSON(raw)
}

// callJoiner tells the pieces of calls apart. The zero callJoiner is ready.
type callJoiner struct {
	calls []*joinedCall
}

type joinedCall struct {
	key       *int   // the server's index
	id        string // the server's
	name      string // "" until it is known: so long nothing of the call is told
	told      bool
	text      joiner
	arguments strings.Builder
}

// The longest id and name of a call that the specification allows.
const (
	maxCallID   = 64
	maxCallName = 64
)

// add returns the delta of a piece; it is empty while nothing can be told.
func (j *callJoiner) add(p wireCallPart) Delta {
	i := j.find(p)
	call := j.calls[i]
	if call.id == "" {
		call.id = p.ID
	}
	if call.name == "" {
		call.name = callName(p.Function.Name)
	}
	return j.tell(i, call.text.add(wireText(p.Function.Arguments)))
}

// callName is a name as the specification allows it. Tools have only such; another is one that the model made up.
func callName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '_'
	}, strings.TrimSpace(name))
	return name[:min(len(name), maxCallName)]
}

// tell returns the delta of more arguments of a call.
func (j *callJoiner) tell(index int, arguments string) Delta {
	c := j.calls[index]
	c.arguments.WriteString(arguments)
	if c.name == "" || c.told && arguments == "" {
		return Delta{}
	}
	if c.told {
		return Delta{Call: &Call{Index: index, Arguments: arguments}}
	}
	c.told = true
	id := c.id
	taken := slices.ContainsFunc(j.calls, func(other *joinedCall) bool { return other != c && other.told && other.id == id })
	if id == "" || len(id) > maxCallID || taken {
		id = "call_" + rand.Text()
	}
	return Delta{Call: &Call{Index: index, ID: id, Name: c.name, Arguments: c.arguments.String()}}
}

// find returns the number of the call that p is a piece of, which may be a new one.
func (j *callJoiner) find(p wireCallPart) int {
	for i := len(j.calls) - 1; i >= 0; i-- {
		call := j.calls[i]
		if p.Index != nil && (call.key == nil || *call.key != *p.Index) {
			continue
		}
		named := p.ID == "" && p.Function.Name != "" && call.name != "" // it may be a name again, or the next call
		another := p.ID != "" && call.id != "" && p.ID != call.id || named && p.Index == nil ||
			named && len(p.Function.Arguments) > 0 && json.Valid([]byte(call.arguments.String()))
		if !another {
			return i
		}
		break
	}
	j.calls = append(j.calls, &joinedCall{key: p.Index, id: p.ID})
	return len(j.calls) - 1
}

// rest returns what was held of the calls.
func (j *callJoiner) rest() (list []Delta) {
	for i, call := range j.calls {
		if d := j.tell(i, call.text.rest()); d != (Delta{}) {
			list = append(list, d)
		}
	}
	return list
}
