package web_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// A picture of one pixel, a log and a program, handed over by paste, drop and button.
const handFiles = `(() => {
	const png = Uint8Array.from(atob('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='), c => c.charCodeAt(0));
	const holding = (...files) => { const d = new DataTransfer(); files.forEach(f => d.items.add(f)); return d; };
	const init = { bubbles: true, cancelable: true };
	const box = document.querySelector('#message'), input = document.querySelector('#attach-files');
	box.dispatchEvent(new ClipboardEvent('paste', { ...init, clipboardData: holding(new File([png], 'rack.png', { type: 'image/png' })) }));
	document.body.dispatchEvent(new DragEvent('drop', { ...init, dataTransfer: holding(new File(['ata3: failed'], 'sda.log')) }));
	input.files = holding(new File([new Uint8Array([0, 255])], 'tool.bin')).files;
	input.dispatchEvent(new Event('change'));
})()`

func TestImagesAndFilesGoWithAQuestion(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.wait("document.querySelector('#model')?.options.length")
		b.text(handFiles)
		b.wait("document.querySelectorAll('#files li').length === 2 && document.querySelector('#files-warning').innerText.startsWith('tool.bin is no image')")
		s.model.Script(llmtest.Say("A loose cable.")...)
		b.send("What is it?")
		b.settled(2)
		b.wait("document.querySelector('#files').hidden")
		shown := "document.querySelector('article.user .attached img')?.naturalWidth === 1 && document.querySelector('article.user .attached').innerText.includes('sda.log')"
		b.wait(shown)
		b.checkAccess("a question with files")
		if b.text("document.documentElement.scrollWidth <= innerWidth") != "true" {
			t.Error("the page scrolls sideways")
		}
		told := ""
		requests := s.model.Requests()
		messages := requests[len(requests)-1].Messages
		for _, part := range messages[len(messages)-1].Parts {
			told += part.Text + " " + part.ImageURL[:min(15, len(part.ImageURL))] + " " + part.FileName + "; "
		}
		if !strings.Contains(told, "What is it?") || !strings.Contains(told, "data:image/png;") || !strings.Contains(told, "sda.log") && !strings.Contains(told, "ata3: failed") {
			t.Errorf("the model was told %q", told)
		}
		b.do(chromedp.Reload())
		b.settled(2)
		b.wait(shown)

		// An edited question keeps what came with it.
		b.click(in(0, "Edit"))
		b.click(button("Send again"))
		b.wait("document.querySelector('article.user .versions')?.innerText.includes('2/2')")
		b.wait(shown)
	})
}

func TestWithoutAModelImagesAreWarnedOf(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Fail(errors.New("connection refused"))
		b.open(s.url("/"))
		b.wait("!document.querySelector('#offline-card').hidden")
		b.text(strings.ReplaceAll(handFiles, "input.dispatchEvent(new Event('change'));", ""))
		b.wait("document.querySelector('#files-warning').innerText.includes('does not look at images')")
	})
}
