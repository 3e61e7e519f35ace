package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/store"
)

// Metrics are what GET /metrics tells, in Prometheus's text format.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	replies  *prometheus.CounterVec
	commits  prometheus.Histogram
}

// NewMetrics returns metrics in which nothing has happened.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwlab_http_requests_total",
			Help: "Requests that were answered, streams when they ended; 499 where the client had left."}, []string{"route", "code"}),
		replies: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hwlab_replies_total",
			Help: "Replies in the record that this server ended, by how."}, []string{"status"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hwlab_commit_duration_seconds",
			Help:    "How long the database took to keep new words of the replies being written, all of them at once; none is shown before.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15)}), // to 8 s
	}
	for _, status := range []store.ResponseStatus{store.ResponseCompleted, store.ResponseIncomplete, store.ResponseFailed, store.ResponseCancelled} {
		m.replies.WithLabelValues(string(status)) // a rate needs to see the 0 before the first
	}
	m.registry.MustRegister(m.requests, m.replies, m.commits, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Describe says what program this is and what it keeps its record in.
func (m *Metrics) Describe(version string, kept store.Info) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hwlab_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version, "database": kept.Engine}}, func() float64 { return 1 }))
}

// Writing says how to learn how many replies are being written.
func (m *Metrics) Writing(count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hwlab_replies_running",
		Help: "Replies that this server writes now."}, func() float64 { return float64(count()) }))
}

// Record is record, and what is kept of replies through it is counted.
func (m *Metrics) Record(record advisor.Record) advisor.Record { return counted{record, m} }

type counted struct {
	advisor.Record
	metrics *Metrics
}

func (c counted) AppendDeltas(ctx context.Context, f store.Fence, deltas []store.Delta) error {
	begun := time.Now()
	err := c.Record.AppendDeltas(ctx, f, deltas)
	if err == nil {
		c.metrics.commits.Observe(time.Since(begun).Seconds())
	}
	return err
}

func (c counted) FinishResponse(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error) {
	ended, log, err := c.Record.FinishResponse(ctx, f)
	if err == nil {
		c.metrics.replies.WithLabelValues(string(ended.Status)).Inc()
	}
	return ended, log, err
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// count counts what next answers.
func (m *Metrics) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &coded{ResponseWriter: w}
		defer func() {
			route := r.Pattern // not the path, of which there is no end
			if route == "" {
				route = "none"
			}
			switch {
			case answer.code != 0:
			case r.Context().Err() != nil:
				answer.code = 499 // as nginx has it
			default:
				answer.code = http.StatusOK
			}
			m.requests.WithLabelValues(route, strconv.Itoa(answer.code)).Inc()
		}()
		next.ServeHTTP(answer, r)
	})
}

// coded knows the status of its answer, 0 before there is one.
type coded struct {
	http.ResponseWriter
	code int
}

func (c *coded) WriteHeader(code int) {
	if c.code == 0 {
		c.code = code
	}
	c.ResponseWriter.WriteHeader(code)
}

func (c *coded) Write(p []byte) (int, error) {
	if c.code == 0 {
		c.code = http.StatusOK
	}
	return c.ResponseWriter.Write(p)
}

func (c *coded) Unwrap() http.ResponseWriter { return c.ResponseWriter }
