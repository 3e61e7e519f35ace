package chaos

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy is a bad network between the server and its database.
type proxy struct {
	listener net.Listener
	target   string
	fault    atomic.Pointer[fault]
	faults   atomic.Int64 // how many answers were lost and connections went dead
	work     sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	open   map[*link]bool
	closed bool
}

// fault is what the network does to data. The zero value does nothing.
type fault struct {
	latency time.Duration // up to so much before each piece
	bytes   bool          // one byte at a time
	reset   float64       // how likely it is that an answer is lost, and the connection with it, once the server has had the request
	freezes bool          // at one moment all connections there are go dead, and nobody is told
}

// link is one connection.
type link struct {
	client, server *net.TCPConn
	frozen         chan struct{} // closed when nothing goes on
	freeze         func()
	gone           chan struct{} // closed when it is cut
	cut            func()
}

// newProxy puts a proxy before a database and returns it with the URL that leads through it.
func newProxy(t *testing.T, random *rand.Rand, databaseURL string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	p := &proxy{listener: listener, target: u.Host, random: random, open: map[*link]bool{}}
	p.fault.Store(&fault{})
	p.work.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		listener.Close()
		p.cut()
		p.work.Wait()
	})
	u.Host = listener.Addr().String()
	return p, u.String()
}

// cut cuts all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.open {
		l.cut()
	}
}

// freeze makes all connections go dead. Neither side is told, not even when the other closes.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.open {
		l.freeze()
		p.faults.Add(1)
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp4", p.target)
		if err != nil {
			client.Close()
			continue
		}
		l := &link{client: client.(*net.TCPConn), server: server.(*net.TCPConn), frozen: make(chan struct{}), gone: make(chan struct{})}
		l.freeze = sync.OnceFunc(func() { close(l.frozen) })
		l.cut = sync.OnceFunc(func() {
			close(l.gone)
			l.client.SetLinger(0) // a reset
			l.client.Close()
			l.server.Close()
		})
		p.mu.Lock()
		p.open[l] = true
		if p.closed {
			l.cut()
		}
		p.mu.Unlock()
		p.work.Go(func() {
			var both sync.WaitGroup
			both.Go(func() { p.pump(l, l.client, l.server, false) })
			both.Go(func() { p.pump(l, l.server, l.client, true) })
			both.Wait()
			p.mu.Lock()
			delete(p.open, l)
			p.mu.Unlock()
		})
	}
}

// chance is true with a probability, latency a random part of a duration.
func (p *proxy) chance(probability float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.Float64() < probability
}

func (p *proxy) part(d time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.random.Int64N(int64(d) + 1))
}

// pump takes data from one side to the other, as the fault of the moment has it.
func (p *proxy) pump(l *link, from, to *net.TCPConn, answers bool) {
	defer l.cut()
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if err != nil {
			select {
			case <-l.frozen: // the other side has given up; this one is not told
				<-l.gone
			default:
			}
			return
		}
		f := p.fault.Load()
		if f.latency > 0 {
			timer := time.NewTimer(p.part(f.latency))
			select {
			case <-timer.C:
			case <-l.gone:
			}
			timer.Stop()
		}
		if answers && p.chance(f.reset) {
			p.faults.Add(1)
			return
		}
		select {
		case <-l.frozen:
			<-l.gone
			return
		default:
		}
		step := n
		if f.bytes {
			step = 1
		}
		for i := 0; i < n; i += step {
			if _, err := to.Write(piece[i:min(i+step, n)]); err != nil {
				return
			}
		}
	}
}

// insist asks with an idempotency key until there is an answer of 200, as clients do, and reads it.
func (r *reply) insist(t *testing.T, p *process) {
	t.Helper()
	key := http.Header{"Idempotency-Key": {r.Tag}}
	deadline := time.Now().Add(60 * time.Second)
	for {
		status, o, err := p.try("POST", "/v1/responses", r.body(object{"background": true}), key)
		if status == http.StatusOK {
			r.id = o.str("id")
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("asking is answered %d %v %v", status, o, err)
			return
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestABadNetworkToTheDatabase(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name         string
		asking, then fault
	}{
		{"latency", fault{latency: 60 * time.Millisecond}, fault{latency: 60 * time.Millisecond}},
		{"one byte at a time", fault{bytes: true}, fault{bytes: true}},
		{"answers are lost", fault{reset: 0.07}, fault{reset: 0.03}},
		{"answers are late or lost", fault{reset: 0.07, latency: 20 * time.Millisecond}, fault{reset: 0.03, latency: 20 * time.Millisecond}},
		{"connections go dead", fault{}, fault{freezes: true}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			random := dice(t)
			network, through := newProxy(t, rand.New(rand.NewPCG(random.Uint64(), 0)), sharedURL(t))
			p := serve(t, t.TempDir(), append(model(t), "HWLAB_DATABASE_URL="+through)...)
			for round := range times(1, 10) {
				var replies []*reply
				for i := range 8 {
					s := speech{Tag: fmt.Sprintf("%s %d.%d", f.name, round, i), Words: 300 + random.IntN(200), Pace: between(random, 2*time.Millisecond, 6*time.Millisecond)}
					replies = append(replies, &reply{speech: s, conversation: p.conversation()})
				}
				network.fault.Store(&f.asking)
				var asking sync.WaitGroup
				for _, r := range replies {
					asking.Go(func() { r.insist(t, p) })
				}
				asking.Wait()
				if t.Failed() {
					return
				}
				network.fault.Store(&f.then)
				for _, r := range replies {
					r.joinAtLast(t, p)
				}
				if f.then.freezes {
					moment := time.NewTimer(between(random, 0, 400*time.Millisecond))
					<-moment.C
					network.freeze()
				}
				for _, r := range replies {
					r.completes(t, 90*time.Second)
				}
				network.fault.Store(&fault{})
				network.cut()
				for _, r := range replies {
					r.joinAtLast(t, p) // the server learns which of its connections were cut
					r.kept(t, p, random)
					r.goesOn(t, p)
				}
			}
			t.Logf("%d faults", network.faults.Load())
			p.stop()
		})
	}
}

// joinAtLast adds a reader. One whose first look at the record fails gets an error; it comes again, as clients do.
func (r *reply) joinAtLast(t *testing.T, p *process) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; {
		reader := p.read("GET", "/v1/responses/"+r.id+"?stream=true", nil, nil)
		wait(t, "a reader sees the reply", reader.begun, 60*time.Second)
		if len(reader.events()) > 0 {
			r.readers = append(r.readers, reader)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("reading fails: %v", reader.err)
		}
	}
}
