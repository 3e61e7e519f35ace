package web_test

import (
	"encoding/json"
	"testing"

	"git.georgsen.dk/hwlab/internal/testrecord"
)

// growing are texts whose beginnings look like something else; the test adds lines put together at random.
var growing = []string{
	rich,
	"A line\n- \n\nmore",
	"A line\n-\nmore",
	"Options\n- one\n- two\n---\nafter\n===\nend",
	"Title\n=====\n\nand\n-----\n\ntext",
	"1. one\n2. two\n   - inner\n   - more\n\n     a paragraph in it\n3. three\n\n10) other\n",
	"- a\n- b\n\n- c, and now it has gaps\n\nEnd.",
	"* * *\n\n***\n\n**bold** and *leaning* and ***both*** and `code` and ``co`de`` and ~~gone~~ ~5 GB, ~6 GB.",
	"- [ ] open\n- [x] done\n- [link](http://example.test/a_b_(c)) and text\n- [not a link] text",
	"> quoted\n> - a list\n> - in it\n>\n> ```sh\n> ls\n> ```\n\nAfter.",
	"```\nplain fence\n\n\n  indented\n```\n\n~~~yaml\na: ``` b\n~~~\n\n````md\n```sh\nls\n```\n````\nEnd",
	"- step\n  ```bash\n  zfs list\n\n  zfs get all\n  ```\n- next\n\n      indented code\n",
	"| a | b |\n|---|:-:|\n| 1 | 2 |\n| `x|y` | **3** |\n| only\n\nA | bar in a sentence.\n\na | b\n--|--\n1 | 2\n",
	"# One\n\n## Two ##\n\n#hashtag\n\n###### Six\n",
	"Use <details> or ssh root@<host>, 5 < 6 && 7 > 3, &amp; &nbsp;x, C:\\dir\\*, \\*not\\*.",
	"[ref]: http://example.test/ \"t\"\n\nA [ref] and [ref][] and ![pic](http://example.test/x.png).\n",
	"Maths: $a_1 * b_2 * c$, $$\\sum_{i=1}^n x_i^2$$ and \\(x_{1}\\), \\[ y = \\frac{a}{b} \\]\n\nE = mc^2, 2 * 3 * 4 = 24, a_b_c.",
	"Line one  \nline two\\\nline three\nhttp://example.test/path_(x), www.example.test and me@example.test\r\nwindows line\r\n\r\n- item\r\n",
	"1.\n2.\n\n-\n- a\n+ b\n* c\n",
	"مرحبا **عالم**\n\n- واحد\n- اثنان\n\n日本語のテキスト、**太字**です。👩‍👩‍👧‍👦\n",
	"Text\n    continued\n\n    code block\n    more\n\n\ttab code\n",
}

// What stands on the page keeps its element and its type while a text grows, for every beginning of it; and in the end it
// is what the whole text gives at once.
func TestNothingFlickers(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.wait("document.querySelector('#model')?.options.length")
		texts, err := json.Marshal(growing)
		if err != nil {
			t.Fatal(err)
		}
		b.text(`(async () => {
			const { Markdown } = await import('/ui/js/markdown.js');
			const problems = [];
			const host = document.querySelector('#thread');
			// All elements but those inside a line of text, with the place each stands at.
			const blocks = 'p,h2,h3,h4,h5,h6,ul,ol,li,blockquote,hr,.code,.table,tr,td,th';
			const shape = (el) => el.innerHTML.replace(/ class="(tip)?"/g, '').replace(/ tip"/g, '"').replace(/ data-(grew|closed)="yes"/g, '')
				.replace(/<button type="button" class="unfold".*?<\/button>/g, '').replace(/<span class="hljs[^>]*>/g, '');
			const lines = ['word', 'two words', 'a **bold** b', 'x | y', '- item', '  - inner', '1. one', '   deeper', '', '', '', '# head', '---', '***',
				'- ', '+', '> quote', '> - q', '>', '|a|b|', '|-|-|', '|1|2|', '~~~', '  ~~~', '   ~~~', '> ~~~', '    code', '===', '* star',
				'- [ ] open', '- [x] done', '[l](http://x.test)', '[', '1986. A year', '-5 degrees', '*lean* text', '<div>'];
			let seed = innerWidth;
			const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648, Math.floor(seed / 2147483648 * n));
			const made = Array.from({ length: 300 }, () => Array.from({ length: 2 + random(7) }, () => lines[random(lines.length)]).join('\n'));
			for (const text of [...` + string(texts) + `, ...made]) for (const size of [1, 3]) {
				const md = new Markdown();
				host.replaceChildren(md.element);
				let before = [];
				for (let end = 0; end < text.length + size; end += size) {
					md.append(text.slice(end, end + size));
					md.render();
					const now = [...md.element.querySelectorAll(blocks)];
					const lost = before.find((el) => !now.includes(el));
					if (lost) problems.push(JSON.stringify(text.slice(0, end + size)) + ' lost <' + lost.tagName + '> ' + JSON.stringify(lost.textContent));
					before = now;
				}
				md.finish();
				const now = [...md.element.querySelectorAll(blocks)];
				const lost = before.find((el) => !now.includes(el));
				if (lost) problems.push(JSON.stringify(text) + ' lost at its end <' + lost.tagName + '> ' + JSON.stringify(lost.textContent));
				const whole = new Markdown();
				whole.finish(text);
				if (shape(md.element) !== shape(whole.element)) problems.push('grown and whole differ:\n' + shape(md.element) + '\n' + shape(whole.element));
			}
			return problems;
		})().then((problems) => window.problems = problems, (problem) => window.problems = [String(problem)])`)
		b.wait("window.problems")
		if problems := b.text("window.problems.slice(0, 12).join('\\n')"); problems != "" {
			t.Errorf("%s problems, among them:\n%s", b.text("window.problems.length"), problems)
		}
	})
}
