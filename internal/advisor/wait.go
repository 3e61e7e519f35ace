package advisor

import (
	"time"

	"git.georgsen.dk/hwlab/internal/llm"
)

// Wait is what a reply waits for until its model begins. It is known in memory alone, to the readers at the server that writes it.
type Wait struct {
	llm.Wait
	Since time.Time // when the loading began
}

// waitInterval is how often who waits for a reply's beginning looks whether what it waits for has changed.
const waitInterval = 250 * time.Millisecond

// waitFor says what a reply waits for.
func (r *reply) waitFor(w llm.Wait) {
	if r.wait == nil {
		return
	}
	was := r.wait.Load()
	if was == nil || was.Wait == w {
		return
	}
	next := &Wait{Wait: w}
	if w.Loading {
		next.Since = time.Now()
	}
	r.wait.Store(next)
}

// begun says that it waits no more.
func (r *reply) begun() {
	if r.wait != nil {
		r.wait.Store(nil)
	}
}

// waitsFor returns what a reply waits for, and false where it does not, or is written elsewhere.
func (a *Advisor) waitsFor(responseID string) (*Wait, bool) {
	r := a.writes(responseID)
	if r == nil {
		return nil, false
	}
	w := r.wait.Load()
	return w, w != nil
}
