package advisor

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// NotesLibrary lets the offline advisor look things up in the lab's notes.
type NotesLibrary struct {
	Notes interface {
		Find(ctx context.Context, question string, limit int) ([]lab.Passage, error)
	}
}

// Find implements [llm.Library].
func (l NotesLibrary) Find(ctx context.Context, question string, limit int) ([]llm.Passage, error) {
	found, err := l.Notes.Find(ctx, question, limit)
	if err != nil {
		return nil, err
	}
	list := make([]llm.Passage, len(found))
	for i, p := range found {
		list[i] = llm.Passage{Title: p.Note, Text: p.Text, Source: llm.SourceNote}
		if p.Heading != "" {
			list[i].Title += " › " + p.Heading
		}
	}
	return list, nil
}

// ConversationLibrary lets the offline advisor look things up in what was said before.
type ConversationLibrary struct {
	Record interface {
		Search(ctx context.Context, q store.SearchQuery) (store.Hits, error)
	}
}

// Find implements [llm.Library]. A message counts for more the more of the question's words it has, and rare words count for
// more than common ones. What the offline advisor itself said is not quoted again, nor is the question.
func (l ConversationLibrary) Find(ctx context.Context, question string, limit int) ([]llm.Passage, error) {
	type scored struct {
		store.Hit
		score float64
	}
	const looked = 50
	found := map[string]*scored{}
	for _, word := range store.IndexWords(question) {
		if len(word) < 3 && isLower(word) {
			continue // is, to, my
		}
		page, err := l.Record.Search(ctx, store.SearchQuery{Text: word, Limit: looked})
		if err != nil {
			return nil, err
		}
		for _, h := range page.Hits {
			if h.ID == "" || h.Model == llm.OfflineModel || strings.EqualFold(strings.TrimSpace(h.Content), strings.TrimSpace(question)) {
				continue
			}
			if found[h.ID] == nil {
				found[h.ID] = &scored{Hit: h}
			}
			found[h.ID].score += 1 / float64(len(page.Hits)+1)
		}
	}
	best := make([]*scored, 0, len(found))
	for _, s := range found {
		best = append(best, s)
	}
	slices.SortFunc(best, func(a, b *scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	list := []llm.Passage{}
	matcher := store.NewMatcher(strings.Join(store.IndexWords(question), " "))
	for _, s := range best[:min(limit, len(best))] {
		text, _ := matcher.Excerpt(s.Content, 600)
		list = append(list, llm.Passage{Title: cmp.Or(s.Title, "A conversation without a title"),
			Link: "/c/conv_" + s.ConversationID, Text: text, Source: llm.SourceConversation})
	}
	return list, nil
}

// isLower reports whether word is letters only, unlike an address or a device.
func isLower(word string) bool { return strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") == "" }
