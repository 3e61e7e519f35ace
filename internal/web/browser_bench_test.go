package web_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/testrecord"
	"git.georgsen.dk/hwlab/internal/web/ui"
)

// number is what a JavaScript expression gives, once it does.
func (b *tab) number(expression string) (n float64) {
	b.t.Helper()
	b.wait("(" + expression + ") !== undefined")
	if err := json.Unmarshal([]byte(b.text(expression)), &n); err != nil {
		b.t.Fatal(expression, err)
	}
	return n
}

// BenchmarkPage measures the page in Chromium, each figure as the median of some runs.
func BenchmarkPage(b *testing.B) {
	median := func(n int, measure func() float64) float64 {
		var all []float64
		for range n {
			all = append(all, measure())
		}
		slices.Sort(all)
		return all[n/2]
	}
	// A mark is set in the frame that shows it.
	const marks = `(() => {
		const mark = (name, so) => {
			const look = () => so() ? requestAnimationFrame(() => setTimeout(() => window[name] ??= performance.now())) : setTimeout(look, 2);
			look();
		};
		mark('usable', () => document.querySelector('#message') && !document.querySelector('#message').disabled && document.querySelector('#title')?.textContent);
		mark('opened', () => document.querySelectorAll('[role=log] article').length >= 60);
	})()`

	b.Run("load", func(b *testing.B) {
		s := newServer(b, testrecord.SQLite(b), "", "")
		s.thread("One", 4)
		t := browser(b)()
		if _, err := chromedp.Call(t.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: marks}); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			t.open(s.url("/"))
			b.ReportMetric(median(11, func() float64 {
				t.do(chromedp.Reload())
				return t.number("window.usable")
			}), "ms-interactive")
		}
		fetched := strings.Split(t.text("performance.getEntriesByType('resource').map(e => new URL(e.name).pathname).filter(p => p.startsWith('/ui/')).map(p => p.replace(/^.ui.[0-9a-f]{24}/, '/ui')).join()"), ",")
		first, all := 0, 0
		for name, size := range weights(b) {
			all += size
			if slices.Contains(fetched, "/ui/"+name) {
				first += size
			}
		}
		b.ReportMetric(float64(first)/1000, "kB-first")
		b.ReportMetric(float64(all)/1000, "kB-all")
		b.ReportMetric(0, "ns/op")
	})

	b.Run("thread", func(b *testing.B) {
		s := newServer(b, testrecord.SQLite(b), "", "")
		id := s.conversation("Long")
		for i := range 2000 {
			text := "What about disk " + fmt.Sprint(i) + "?"
			if i%2 == 1 {
				text = rich
			}
			if _, err := s.record.AddMessage(b.Context(), id, []string{"user", "assistant"}[i%2], text); err != nil {
				b.Fatal(err)
			}
		}
		t := browser(b)()
		if _, err := chromedp.Call(t.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: marks}); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			t.open(s.url("/c/conv_" + id))
			b.ReportMetric(median(7, func() float64 {
				t.do(chromedp.Reload())
				return t.number("window.opened")
			}), "ms-opened")
			// As a person comes to it: from another conversation, by the list.
			b.ReportMetric(median(7, func() float64 {
				t.click(button("New conversation"))
				t.wait("location.pathname === '/' && !document.querySelector('[role=log] article')")
				t.text(`(() => {
					delete window.clicked;
					const from = performance.now();
					new MutationObserver((_, o) => document.querySelectorAll('[role=log] article').length >= 60 && (o.disconnect(), requestAnimationFrame(() => setTimeout(() => window.clicked = performance.now() - from))))
						.observe(document.querySelector('#thread'), { childList: true });
					document.querySelector('nav a').click();
				})()`)
				return t.number("window.clicked")
			}), "ms-clicked")

			t.wait("(((s) => s.scrollTop = s.scrollTop > 1000 ? 0 : 1500)(document.querySelector('#scroller')), document.querySelectorAll('[role=log] article').length >= 600)")
			t.text(`(() => {
				const scroller = document.querySelector('#scroller');
				let frames = 0, begun;
				const step = (now) => {
					begun ??= now;
					scroller.scrollTop += Math.floor(frames / 60) % 2 ? -45 : 60;
					if (now - begun < 4000) frames++, requestAnimationFrame(step);
					else window.rate = frames * 1000 / (now - begun);
				};
				requestAnimationFrame(step);
			})()`)
			b.ReportMetric(t.number("window.rate"), "frames/s")
		}
		b.ReportMetric(0, "ns/op")
	})

	// What each delta costs is the least of some runs: what else the machine did is left out.
	b.Run("stream", func(b *testing.B) {
		s := newServer(b, testrecord.SQLite(b), "", "")
		t := browser(b)()
		t.open(s.url("/"))
		t.wait("document.querySelector('#model')?.options.length")
		text := strings.Repeat("The pool is **degraded**: one disk has dropped out, see `zpool status -v`, and *replace* it soon. ", 60) + "\n\n"
		for i := range 110 {
			text += fmt.Sprintf("%d. Find disk %d with `lsblk` and **label** it before it is pulled.\n", i+1, i)
		}
		text += "\n| Disk | State | Reallocated |\n|---|---|---|\n"
		for i := range 170 {
			text += fmt.Sprintf("| sd%d | **ONLINE** | %d sectors |\n", i, i*7)
		}
		text += "\n```bash\n" + strings.Repeat("zpool replace tank sdc /dev/disk/by-id/ata-NEW # the long name\n", 95) + "```\n"
		if len(text) < 24_000 {
			b.Fatalf("%d bytes", len(text))
		}
		data, _ := json.Marshal(text)
		for b.Loop() {
			t.text(`(async () => {
				const { ReplyView } = await import('/ui/js/message.js');
				const text = ` + string(data) + `;
				const costs = [];
				for (let run = 0; run < 6; run++) {
					const view = new ReplyView('resp_x');
					document.querySelector('#thread').replaceChildren(view.element);
					for (let at = 0; at < text.length; at += 40) {
						const begun = performance.now();
						view.apply({ type: 'response.output_text.delta', output_index: 0, content_index: 0, delta: text.slice(at, at + 40) });
						view.part('0:0').render();
						const cost = performance.now() - begun;
						costs[at / 40] = Math.min(costs[at / 40] ?? Infinity, cost);
						if (at % 400 === 0) await new Promise(requestAnimationFrame);
					}
				}
				costs.sort((a, b) => a - b);
				window.half = costs[Math.floor(costs.length / 2)];
				window.most = costs[Math.floor(costs.length * 0.95)];
			})().catch((problem) => window.half = String(problem))`)
			b.ReportMetric(t.number("window.half"), "ms/delta")
			b.ReportMetric(t.number("window.most"), "ms-p95/delta")
		}
		b.ReportMetric(0, "ns/op")
	})
}

// weights are the compressed sizes of the page's scripts and styles.
func weights(b *testing.B) map[string]int {
	sizes := map[string]int{}
	for _, pattern := range []string{"js/*.js", "lib/*.js", "lib/highlight/*.js", "css/*.css"} {
		names, err := fs.Glob(ui.Files(), pattern)
		if err != nil || len(names) == 0 {
			b.Fatal(pattern, err)
		}
		for _, name := range names {
			text, err := ui.Files().Open(name)
			if err != nil {
				b.Fatal(err)
			}
			var out counter
			w := gzip.NewWriter(&out)
			if _, err := io.Copy(w, text); err != nil {
				b.Fatal(err)
			}
			w.Close()
			text.Close()
			sizes[name] = int(out)
		}
	}
	return sizes
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
