package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

const (
	sans = `-apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif`
	mono = `ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", "Liberation Mono", Consolas, monospace`
)

// face is what text looks like: family, size, height of a line, weight.
func face(family, size, line, weight string) string {
	return strings.Join([]string{family, size + "px", line + "px", weight}, " / ")
}

// colours of the page by theme, in the order of the names in paints.
var paints = map[string]map[string]string{
	"light": {"ground": "#fbfaf7", "panel": "#f3f1ec", "question": "#eef1ed", "text": "#1d2021", "muted": "#5c6266", "accent": "#0b6470", "error": "#a1261d",
		"warning": "#7a5100", "good": "#236b3b", "field": "#8b8a84"},
	"dark": {"ground": "#15181a", "panel": "#1b1f21", "question": "#1f2726", "text": "#e3e5e2", "muted": "#9aa3a5", "accent": "#6bc4cc", "error": "#ff9b8e",
		"warning": "#e3b768", "good": "#82cf9b", "field": "#70797d"},
}

// measure puts on the page what the tests below ask it.
const measure = `(() => {
	const seen = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible' && !e.closest('.offscreen, .skip');
	const own = (e) => e.innerText !== undefined && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
	const name = (e) => e.tagName + (e.id && '#' + e.id) + (e.classList.length ? '.' + e.classList.value.replaceAll(' ', '.') : '');
	const parse = (c) => { const [r, g, b, a = 1] = c.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
	const over = (top, a, under) => ({ r: top.r * a + under.r * (1 - a), g: top.g * a + under.g * (1 - a), b: top.b * a + under.b * (1 - a), a: 1 });
	const light = ({ r, g, b }) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
	const ground = (e) => {
		const c = e ? parse(getComputedStyle(e).backgroundColor) : { r: 255, g: 0, b: 255, a: 1 };
		return c.a === 1 ? c : over(c, c.a, ground(e.parentElement));
	};
	// What is shown only while it is pointed at counts as shown.
	const opacity = (e) => e ? (Number(getComputedStyle(e).opacity) || 1) * opacity(e.parentElement) : 1;
	const all = () => [...document.querySelectorAll('body, body *')].filter(seen);
	window.look = {
		face: (s) => { const c = getComputedStyle(document.querySelector(s)); return [c.fontFamily, c.fontSize, c.lineHeight, c.fontWeight].join(' / '); },
		style: (s, p) => getComputedStyle(document.querySelector(s))[p],
		weak: () => all().flatMap((e) => ['', '::after', '::placeholder'].flatMap((pseudo) => {
			const s = getComputedStyle(e, pseudo || null);
			if (pseudo === '' && !own(e) && e.tagName !== 'SELECT' && !e.value) return [];
			if (pseudo === '::after' && !/\w/.test(s.content.replace(/none|normal/, ''))) return [];
			if (pseudo === '::placeholder' && !e.placeholder) return [];
			const back = ground(e), c = parse(s.color), ratio = contrast(over(c, c.a * opacity(e), back), back);
			return ratio < 5.4 ? [name(e) + pseudo + ' ' + ratio.toFixed(2) + ' ' + s.color] : [];
		})),
		faint: () => all().filter((e) => e.matches('.field, button, select, textarea, input:not([type=checkbox])')).flatMap((e) => {
			const s = getComputedStyle(e), c = parse(s.borderTopColor);
			if (parseFloat(s.borderTopWidth) === 0 || c.a === 0) return [];
			const least = Math.min(contrast(c, ground(e.parentElement)), e.matches('.primary:enabled') ? 21 : contrast(c, ground(e)));
			return least < 3 ? [name(e) + ' ' + least.toFixed(2)] : [];
		}),
		odd: () => all().flatMap((e) => {
			const s = getComputedStyle(e), odd = [];
			for (const corner of [s.borderTopLeftRadius, s.borderTopRightRadius, s.borderBottomLeftRadius, s.borderBottomRightRadius])
				if (!['0px', '4px', '6px', '10px'].includes(corner)) odd.push('corner ' + corner);
			if (e.matches('button:not(.unfold), select, .md :not(pre) > code') && s.borderTopLeftRadius !== '4px') odd.push('corner ' + s.borderTopLeftRadius);
			if (s.backgroundImage !== 'none' || s.textShadow !== 'none') odd.push('drawn ' + s.backgroundImage + s.textShadow);
			if (s.boxShadow !== 'none' && !/^[^()]*\([^()]*\)[^,]* inset$/.test(s.boxShadow) && !e.closest('[popover], dialog, .toast')) odd.push('shadow ' + s.boxShadow);
			const moves = s.transitionProperty.split(', '), times = s.transitionDuration.split(', ');
			moves.forEach((move, i) => {
				const time = times[i % times.length];
				if (time !== '0s' && (time !== '0.12s' || !['opacity', 'color', 'background-color', 'visibility'].includes(move))) odd.push('moves ' + move + ' ' + time);
			});
			if (s.animationName !== 'none') odd.push('moves ' + s.animationName);
			if (own(e) && !['12px', '13.5px', '14px', '16px', '18px', '20px'].includes(s.fontSize)) odd.push('size ' + s.fontSize);
			if (e.matches('code, pre') && own(e) && s.fontSize !== '13.5px') odd.push('code of ' + s.fontSize);
			if (e.matches('button') && !['14px', '12px'].includes(s.fontSize)) odd.push('button of ' + s.fontSize);
			for (const side of ['columnGap', 'rowGap', 'marginTop', 'marginBottom'])
				if (s[side].endsWith('px') && ![0, 4, 8, 12, 16, 24, 32].includes(Math.abs(parseFloat(s[side]))) && !e.matches('dialog, [popover], .field > button')) odd.push(side + ' ' + s[side]);
			if (e.textContent.match(/[\u2728\u{1F300}-\u{1FAFF}]/u) && e.children.length === 0) odd.push('picture');
			return odd.map((o) => name(e) + ': ' + o);
		}),
	};
})()`

// The page is drawn as its notebook says: type, measures, colours by the system's theme, contrast, lines and motion.
func TestTheLook(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		wide := strings.HasSuffix(t.Name(), "/1280")
		if !wide {
			b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
		}
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.conversation("The NAS")
		s.said("UPS", "Does a power cut harm the pool?", "No.")
		wideCode := "```bash\n" + strings.Repeat("echo a long line ", 20) + "\n```\n\n|" + strings.Repeat(" a wide cell of some words |", 12) + "\n|" + strings.Repeat("-|", 12) + "\n|" + strings.Repeat(" x |", 12) + "\n\n"
		text := "# First\n\n" + rich + "\n\n### Third\n\n" + strings.Repeat("Words that fill the column to its edge. ", 8) + "[manual](https://docs.test/)\n\n" + wideCode
		for range 2 {
			s.model.Script(append([]llmtest.Step{{Reasoning: "Let me see."}, {Text: text}},
				llmtest.Step{Usage: &llm.Usage{InputTokens: 11, OutputTokens: 7}, Finish: llm.FinishStop})...)
		}
		s.model.Script(llmtest.Step{Text: "Half of"}, llmtest.Step{Break: true})
		b.open(s.url("/"))
		b.send("Why is my pool degraded?")
		b.settled(2)
		b.click(in(1, "Regenerate"))
		b.wait("document.querySelector('article.assistant .versions')?.innerText.includes('2/2')")
		b.settled(2)
		b.send("And then?")
		b.settled(4)
		b.wait("document.querySelector('.hljs-comment') && document.querySelector('.end') && document.querySelectorAll('.facts time').length === 2")
		b.text("document.querySelector('.reasoning').open = true")
		b.text(measure)

		for selector, want := range map[string]string{
			"body": face(sans, "14", "20", "400"), ".user .plain": face(sans, "16", "26", "400"), ".md > p": face(sans, "16", "26", "400"), ".md li": face(sans, "16", "26", "400"),
			"#message": face(sans, "16", "26", "400"), "#new": face(sans, "14", "20", "400"), "nav a": face(sans, "14", "20", "600"), "#title": face(sans, "14", "20", "600"),
			".md pre code": face(mono, "13.5", "20", "400"), ".meta": face(mono, "12", "16", "400"), ".meta time": face(mono, "12", "16", "400"), ".facts": face(mono, "12", "16", "400"),
			".code-bar": face(mono, "12", "16", "400"), "nav h2": face(mono, "12", "16", "400"), "#attach": face(mono, "12", "16", "400"),
			".md h2": face(sans, "20", "28", "600"), ".md h3": face(sans, "18", "26", "600"), ".md h4": face(sans, "16", "24", "600"),
		} {
			if got := b.text(fmt.Sprintf("look.face(%q)", selector)); got != want {
				t.Errorf("%s is written in %s, not %s", selector, got, want)
			}
		}
		row, column, code := "32px", "704", "944" // of 1280 the list takes 272 and the edges 64
		if !wide {
			row, column, code = "44px", "358", "358"
		}
		for _, m := range [][3]string{{".md > p", "maxWidth", "704px"}, {".plain", "maxWidth", "704px"}, {".md .code", "maxWidth", "960px"}, {".message", "paddingBottom", "32px"},
			{".message", "maxWidth", "960px"}, {"nav li", "height", row}, {"#new", "minHeight", row}, {".user .plain", "borderLeftWidth", "3px"}, {".md .code", "borderTopLeftRadius", "6px"}, {".field", "borderTopLeftRadius", "10px"}, {"#send", "borderTopLeftRadius", "4px"},
			{".meta", "fontVariantNumeric", "tabular-nums"}, {"[role=log]", "marginLeft", "0px"}} {
			if got := b.text(fmt.Sprintf("look.style(%q, %q)", m[0], m[1])); got != m[2] {
				t.Errorf("%s of %s is %s, not %s", m[1], m[0], got, m[2])
			}
		}
		for of, want := range map[string]string{".md > p": column, ".md > h3": column, ".plain": column, ".field": map[bool]string{true: "704", false: "366"}[wide], ".md .code": code} {
			if got := b.text(fmt.Sprintf("Math.max(...[...document.querySelectorAll(%q)].map(e => e.getBoundingClientRect().width))", of)); got != want {
				t.Errorf("%s is %s px wide, not %s", of, got, want)
			}
		}
		if got := b.text("[...document.querySelectorAll('.md .table')].at(-1).getBoundingClientRect().width"); got != code {
			t.Errorf("a wide table takes %s px", got)
		}
		if got := b.text("document.querySelector('#sidebar').offsetWidth"); wide && got != "272" {
			t.Errorf("the list is %s px wide", got)
		}

		for _, theme := range []string{"light", "dark"} {
			if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "no-preference"}}}); err != nil {
				t.Fatal(err)
			}
			paint := paints[theme]
			b.wait(fmt.Sprintf("getComputedStyle(document.documentElement).getPropertyValue('--ground').trim() === %q", paint["ground"]))
			b.still("getComputedStyle(document.querySelector('#send')).color") // colours take 120 ms
			for _, c := range [][3]string{{"body", "backgroundColor", "ground"}, {"#sidebar", "backgroundColor", "panel"}, {".md .code", "backgroundColor", "panel"},
				{".user .plain", "backgroundColor", "question"}, {".user .plain", "borderLeftColor", "accent"}, {".md > p", "color", "text"}, {".meta", "color", "muted"},
				{".md a", "color", "accent"}, {".end", "color", "warning"}, {".field", "borderTopColor", "field"}} {
				if got, want := b.text(fmt.Sprintf("look.style(%q, %q)", c[0], c[1])), rgb(paint[c[2]]); got != want {
					t.Errorf("%s: %s of %s is %s, not %s", theme, c[1], c[0], got, want)
				}
			}
			for name, value := range paint {
				if got := b.text(fmt.Sprintf("getComputedStyle(document.documentElement).getPropertyValue('--%s').trim()", name)); got != value {
					t.Errorf("%s: --%s is %s, not %s", theme, name, got, value)
				}
			}
			check := func(when string) {
				t.Helper()
				for what, expression := range map[string]string{"text of little contrast": "look.weak()", "borders of little contrast": "look.faint()", "drawn otherwise": "look.odd()"} {
					if got := b.text("[...new Set(" + expression + ")].join('\\n')"); got != "" {
						t.Errorf("%s, %s, %s:\n%s", theme, when, what, got)
					}
				}
			}
			check("a conversation")
			b.sidebar()
			b.text("document.querySelector('nav li button').focus(), document.querySelector('nav li button').click()")
			b.wait("document.querySelector('#row-menu:popover-open')")
			b.still("getComputedStyle(document.querySelector('#sidebar')).opacity")
			check("the menu of a row")
			b.key("Escape", "Escape", 27, 0)
			b.wait("!document.querySelector('#row-menu:popover-open')")
			b.key("Escape", "Escape", 27, 8)
			b.wait("document.activeElement === " + box)
			b.still("getComputedStyle(document.querySelector('#sidebar')).opacity + getComputedStyle(document.querySelector('#sidebar')).visibility")
			b.click(in(0, "Edit"))
			check("an edit")
			b.key("Escape", "Escape", 27, 0)
			b.text("document.querySelector('#search-open').click()")
			b.do(chromedp.KeyEvent("pool"))
			b.wait("document.querySelectorAll('[role=option]').length > 2")
			check("the search")
			b.key("Escape", "Escape", 27, 0)
			b.wait("!document.querySelector('#search').open")
		}
		b.text(box + ".blur()")
		b.tabTo("e.id === 'send' || e.id === 'attach'", 0)
		if got, want := b.text("(s => [s.outlineWidth, s.outlineStyle, s.outlineColor, s.outlineOffset].join(' '))(getComputedStyle(document.activeElement))"), "2px solid "+rgb(paints["dark"]["accent"])+" 2px"; got != want {
			t.Errorf("the focus is shown by %s, not %s", got, want)
		}
	})
}

// rgb is a colour as a browser tells it.
func rgb(hex string) string {
	var r, g, b int
	fmt.Sscanf(hex, "#%02x%02x%02x", &r, &g, &b)
	return fmt.Sprintf("rgb(%d, %d, %d)", r, g, b)
}
