package sqlite

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"

	"git.georgsen.dk/hwlab/internal/store"
)

const (
	searchFound = 10000 // more finds of the index are not put in the order of their times: texts are looked at by time instead
	searchQueue = 5000  // how much of what is not indexed yet, latest first, a search looks at
	searchLong  = 500   // how many of the very long texts, latest first, a search looks through
	searchWords = 500   // words that hold a part of one; a part that more words hold is not asked for
	longWords   = 65536 // bytes of words that make a text a very long one
)

// Search returns a page of the messages and titles of listed conversations that hold all terms of q; none is an empty page, also
// when q holds nothing to look for. Any characters are allowed in q. What is written is found as soon as that has returned. It looks
// at the latest 500 very long texts, and at the latest 5,000 that a foreign program inserted and that are not indexed yet. It
// returns [store.ErrCursor] for a cursor that is none.
func (s *Store) Search(ctx context.Context, q store.SearchQuery) (page store.Hits, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		page, err = q.Find(finder{t, q})
		return err
	})
	if err != nil {
		return store.Hits{}, wrap("search", err)
	}
	return page, nil
}

// finder is the [store.Finder] of a search in a transaction.
type finder struct {
	tx
	q store.SearchQuery
}

// In all of these the index is asked first, and texts are read last; CROSS JOIN is SQLite's way to say so.
const (
	messagesOf = ` CROSS JOIN conversations c ON c.id = m.conversation_id AND c.listed AND (?1 IS NULL OR c.archived = ?1)
		LEFT JOIN responses r ON r.id = m.response_id
		WHERE m.status <> 'deleted' AND (?2 = '' OR m.role = ?2) AND (?3 = '' OR r.model = ?3)`
	titlesOf = ` CROSS JOIN conversations c ON c.id = f.id AND c.listed AND c.title <> '' AND (?1 IS NULL OR c.archived = ?1) WHERE ?2 = '' AND ?3 = '' `
	inRange  = `(created_at, id) < (?1, ?2) AND created_at >= ?3`
	titleIn  = `(started_at, id) < (?1, ?2) AND started_at >= ?3`
)

func scanPlace(row scanner) (t store.Text, err error) {
	err = row.Scan(&t.ID, &t.Title, (*micros)(&t.At))
	return t, err
}

// texts calls f with the rows of a statement that begins with the query's filters.
func (in finder) texts(f func(store.Text), query string, args ...any) error {
	return in.each(func(row scanner) error {
		var t store.Text
		err := row.Scan(&t.ID, &t.Title, (*micros)(&t.At), &t.Content)
		if err == nil {
			f(t)
		}
		return err
	}, query, append([]any{in.q.Archived, in.q.Role, in.q.Model}, args...)...)
}

func (in finder) Queued(_ int, f func(store.Text)) error {
	after, err := in.q.Start()
	if err != nil {
		return err
	}
	late := func(t store.Text) {
		if after.Before(t.Place) && !t.At.Before(in.q.After) {
			f(t)
		}
	}
	if err := in.texts(late, `SELECT m.id, 0, m.created_at, m.content FROM (SELECT n FROM search_queue ORDER BY n DESC LIMIT ?4) f
		CROSS JOIN messages m ON m.n = f.n`+messagesOf, searchQueue); err != nil {
		return err
	}
	return in.texts(late, `SELECT c.id, 1, c.started_at, c.title FROM (SELECT conversation_id AS id FROM search_titles INDEXED BY search_titles_queued
		WHERE queued LIMIT ?4) f`+titlesOf, searchQueue)
}

func (in finder) Read(texts []store.Text, f func(store.Text)) error {
	messages, titles := split(texts)
	if err := in.texts(f, `SELECT m.id, 0, m.created_at, m.content FROM json_each(?4) f CROSS JOIN messages m ON m.id = f.value`+messagesOf, messages); err != nil {
		return err
	}
	return in.texts(f, `SELECT c.id, 1, c.started_at, c.title FROM (SELECT value AS id FROM json_each(?4)) f`+titlesOf, titles)
}

// split are the ids of texts as JSON.
func split(texts []store.Text) (messages, titles string) {
	ids := [2][]string{{}, {}}
	for _, t := range texts {
		if t.Title {
			ids[1] = append(ids[1], t.ID)
		} else {
			ids[0] = append(ids[0], t.ID)
		}
	}
	return `["` + strings.Join(ids[0], `","`) + `"]`, `["` + strings.Join(ids[1], `","`) + `"]`
}

func (in finder) Newest(after store.Place, limit int) ([]store.Text, error) {
	return in.merged(limit, after, `SELECT id, 0, created_at FROM messages INDEXED BY messages_by_time WHERE `+inRange+`
			ORDER BY created_at DESC, id DESC LIMIT ?4`,
		`SELECT id, 1, started_at FROM conversations INDEXED BY conversations_by_start WHERE listed = 1 AND `+titleIn+`
			ORDER BY started_at DESC, id DESC LIMIT ?4`, limit)
}

// merged puts the rows of two statements in the order of a search.
func (in finder) merged(limit int, after store.Place, messages, titles string, args ...any) ([]store.Text, error) {
	args = append([]any{after.At.UnixMicro(), after.ID, in.q.After.UnixMicro()}, args...)
	list, err := collect(in.tx, scanPlace, messages, args...)
	if err != nil {
		return nil, err
	}
	more, err := collect(in.tx, scanPlace, titles, args...)
	return latest(append(list, more...), limit), err
}

func latest(list []store.Text, limit int) []store.Text {
	slices.SortFunc(list, func(a, b store.Text) int {
		switch {
		case a.Before(b.Place):
			return -1
		case b.Before(a.Place):
			return 1
		}
		return 0
	})
	return list[:min(len(list), limit)]
}

func (in finder) Asked(pieces []store.Piece, after store.Place, limit int) ([]store.Text, bool, error) {
	var queries []string
	for _, p := range pieces {
		query, ok, err := in.match(p)
		if err != nil {
			return nil, false, err
		}
		if ok {
			queries = append(queries, query)
		}
	}
	if len(queries) == 0 {
		return nil, false, nil
	}
	match := strings.Join(queries, " AND ")
	var n int
	if err := in.get(`SELECT count(*) FROM (SELECT 1 FROM search_index WHERE search_index MATCH ?1 LIMIT ?2)`, []any{match, searchFound + 1}, &n); err != nil || n > searchFound {
		return nil, false, err
	}
	list, err := in.merged(limit, after, `SELECT m.id, 0, m.created_at FROM (SELECT rowid AS n FROM search_index WHERE search_index MATCH ?5 AND rowid > 0 ORDER BY rowid DESC) found
			CROSS JOIN messages m ON m.n = found.n WHERE `+inRange+` ORDER BY created_at DESC, id DESC LIMIT ?4`,
		`SELECT c.id, 1, c.started_at FROM (SELECT rowid AS n FROM search_index WHERE search_index MATCH ?5 AND rowid < 0 ORDER BY rowid DESC) found
			CROSS JOIN search_titles t ON t.n = -found.n CROSS JOIN conversations c ON c.id = t.conversation_id WHERE `+titleIn+`
			ORDER BY started_at DESC, c.id DESC LIMIT ?4`, limit, match)
	if err != nil {
		return nil, false, err
	}
	err = in.each(func(row scanner) error {
		var n int64
		var words string
		err := row.Scan(&n, &words)
		if words += " "; err != nil || slices.ContainsFunc(pieces, func(p store.Piece) bool {
			word := p.Text
			if p.Begins {
				word = " " + word
			}
			if p.Ends {
				word += " "
			}
			return !strings.Contains(words, word)
		}) {
			return err
		}
		found, err := collect(in.tx, scanPlace, `SELECT id, 0, created_at FROM messages WHERE n = ?4 AND `+inRange, after.At.UnixMicro(), after.ID, in.q.After.UnixMicro(), n)
		list = append(list, found...)
		return err
	}, `SELECT n, words FROM search_long ORDER BY n DESC LIMIT ?`, searchLong)
	return latest(list, limit), true, err
}

// match asks for the words that have a piece, or returns false where those are too many to name. Words hold only letters, digits
// and marks.
func (in finder) match(p store.Piece) (string, bool, error) {
	query := `"` + p.Text + `"`
	if p.Begins && p.Ends {
		return query, true, nil
	}
	if p.Begins {
		return query + " *", true, nil
	}
	if !p.Ends {
		query += " *"
	}
	list, err := in.holding(p)
	if err != nil || len(list) > searchWords {
		return "", false, err
	}
	for _, word := range list {
		query += ` OR "` + word + `"`
	}
	return "(" + query + ")", true, nil
}

// holding are the words that have a piece within them; more than searchWords are too many.
func (in finder) holding(p store.Piece) (list []string, err error) {
	err = in.each(func(row scanner) error {
		var block string
		if err := row.Scan(&block); err != nil {
			return err
		}
		for at := 0; len(list) <= searchWords; {
			i := strings.Index(block[at:], p.Text)
			if i < 0 {
				break
			}
			from, to := strings.LastIndexByte(block[:at+i], ' ')+1, strings.IndexByte(block[at+i:]+" ", ' ')+at+i
			if word := block[from:to]; strings.Contains(word[1:], p.Text) && (!p.Ends || strings.HasSuffix(word, p.Text)) {
				list = append(list, word)
			}
			at = to
		}
		return nil
	}, `SELECT words FROM search_words`)
	return list, err
}

func (in finder) Hits(texts []store.Text) ([]store.Hit, error) {
	messages, titles := split(texts)
	list, err := collect(in.tx, func(row scanner) (h store.Hit, err error) {
		h.Message, err = scanMessageAnd(row, &h.Title, &h.Model)
		return h, err
	}, `SELECT `+messageColumns+`, c.title, coalesce(r.model, '') FROM (SELECT value AS one FROM json_each(?)) f CROSS JOIN messages m ON m.id = f.one
		CROSS JOIN conversations c ON c.id = m.conversation_id LEFT JOIN responses r ON r.id = m.response_id`, messages)
	if err != nil {
		return nil, err
	}
	more, err := collect(in.tx, func(row scanner) (h store.Hit, err error) {
		err = row.Scan(&h.ConversationID, (*micros)(&h.CreatedAt), &h.Title)
		return h, err
	}, `SELECT c.id, c.started_at, c.title FROM (SELECT value AS one FROM json_each(?)) f CROSS JOIN conversations c ON c.id = f.one`, titles)
	return append(list, more...), err
}

// Waiting returns how many messages wait to be indexed. Nothing is to depend on it but what is told of progress.
func (s *Store) Waiting(ctx context.Context) (n int, err error) {
	err = s.read(ctx, func(t tx) error { return t.get(`SELECT count(*) FROM search_queue`, nil, &n) })
	return n, wrap("waiting", err)
}

// IndexPending moves up to limit messages that a foreign program inserted, the latest first, from the queue to the search index,
// and titles, and returns how many it took: 0 when there are none. Our own messages are indexed as they are appended.
func (s *Store) IndexPending(ctx context.Context, limit int) (int, error) {
	if s.deleting.Load() > 0 { // the next call comes
		return 0, nil
	}
	if err := s.finishRewriting(ctx); err != nil {
		return 0, wrap("index", err)
	}
	if s.unerased.Load() {
		s.emptyLog(ctx)
	}
	var list []queued
	err := s.read(ctx, func(t tx) (err error) { // first, so that nothing is folded while others wait to write
		list, err = collect(t, scanQueued, `SELECT q.n, m.content FROM search_queue q CROSS JOIN messages m ON m.n = q.n ORDER BY q.n DESC LIMIT ?`, limit)
		return err
	})
	if err != nil {
		return 0, wrap("index", err)
	}
	if len(list) == 0 {
		return s.indexTitles(ctx, limit)
	}
	taken := 0
	err = s.write(ctx, func(t tx) error {
		for _, m := range list {
			result, err := t.exec(`DELETE FROM search_queue WHERE n = ?`, m.n)
			if err != nil {
				return err
			}
			if left, err := result.RowsAffected(); err != nil || left == 0 { // taken or erased meanwhile
				if err != nil {
					return err
				}
				continue
			}
			if err := t.index(m.n, m.words); err != nil {
				return err
			}
			taken++
		}
		return nil
	})
	if err != nil {
		return 0, wrap("index", err)
	}
	return taken, nil
}

// indexTitles puts up to limit titles into the index, in the place of older ones.
func (s *Store) indexTitles(ctx context.Context, limit int) (int, error) {
	var list []queued
	queue := func(t tx) error {
		list = nil
		return t.each(func(row scanner) error {
			var q queued
			err := row.Scan(&q.n, &q.title, &q.words)
			list = append(list, q)
			return err
		}, `SELECT s.n, CASE WHEN c.listed THEN c.title ELSE '' END, s.title FROM search_titles s INDEXED BY search_titles_queued CROSS JOIN conversations c ON c.id = s.conversation_id
			WHERE s.queued ORDER BY s.n LIMIT ?`, limit)
	}
	if err := s.read(ctx, queue); err != nil || len(list) == 0 {
		return 0, wrap("index", err)
	}
	err := s.write(ctx, func(t tx) error {
		if err := queue(t); err != nil {
			return err
		}
		for i := range list {
			list[i].n, list[i].words = -list[i].n, words(list[i].words)
		}
		if err := t.unindexAll(list); err != nil {
			return err
		}
		for _, q := range list {
			if err := t.index(q.n, words(q.title)); err != nil {
				return err
			}
			if _, err := t.exec(`UPDATE search_titles SET title = ?, queued = 0 WHERE n = ?`, q.title, -q.n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, wrap("index", err)
	}
	return len(list), nil
}

// queued is a message of the queue, or a title.
type queued struct {
	title string
	n     int64
	words string
}

func scanQueued(row scanner) (q queued, err error) {
	var content string
	err = row.Scan(&q.n, &content)
	q.words = words(content)
	return q, err
}

// words are what the index gets of a text; no words are not indexed.
func words(content string) string { return strings.Join(store.IndexWords(content), " ") }

func (t tx) index(n int64, words string) error {
	if words == "" {
		return nil
	}
	insert := `INSERT INTO search_index (rowid, words) VALUES (?, ?)`
	if len(words) > longWords {
		insert, words = `INSERT INTO search_long (n, words) VALUES (?, ?)`, " "+words
	}
	if _, err := t.exec(insert, n, words); err != nil || len(words) > longWords {
		return err
	}
	return t.addWords(words)
}

const blockSize = 4000 // bytes of a row of search_words

// wordList knows where the words of search_words are, by their hashes. Only the connection that writes has one.
type wordList struct {
	rows map[uint64]int64
	last int64  // the row that words are added to
	tail string // what it holds, without the spaces at its end
}

var wordSeed = maphash.MakeSeed()

// wordList reads it when it is first needed, and after a transaction that failed.
func (t tx) wordList() (*wordList, error) {
	if t.words != nil {
		return t.words, nil
	}
	list := &wordList{rows: map[uint64]int64{}}
	err := t.each(func(row scanner) error {
		err := row.Scan(&list.last, &list.tail)
		for word := range strings.FieldsSeq(list.tail) {
			list.rows[maphash.String(wordSeed, word)] = list.last
		}
		return err
	}, `SELECT n, words FROM search_words ORDER BY n`)
	list.tail = strings.TrimRight(list.tail, " ")
	if err == nil {
		t.words = list
	}
	return list, err
}

// writeTail writes the row that words are added to.
func (t tx) writeTail(list *wordList) error {
	_, err := t.exec(`INSERT INTO search_words (n, words) VALUES (?1, ?2) ON CONFLICT (n) DO UPDATE SET words = ?2`,
		list.last, list.tail+strings.Repeat(" ", blockSize-len(list.tail)))
	return err
}

// addWords adds to the list of words those of a text that it does not have.
func (t tx) addWords(words string) error {
	list, err := t.wordList()
	if err != nil {
		return err
	}
	changed := false
	for word := range strings.FieldsSeq(words) {
		hash := maphash.String(wordSeed, word)
		if _, ok := list.rows[hash]; ok {
			continue
		}
		if len(list.tail)+1+len(word) > blockSize {
			if err := t.writeTail(list); err != nil {
				return err
			}
			list.last, list.tail = list.last+1, ""
		}
		list.rows[hash] = list.last
		list.tail += " " + word
		changed = true
	}
	if !changed {
		return nil
	}
	return t.writeTail(list)
}

// removeWords takes words out of the list of words.
func (t tx) removeWords(words []string) error {
	list, err := t.wordList()
	if err != nil {
		return err
	}
	rows := map[int64]string{}
	for _, word := range words {
		hash := maphash.String(wordSeed, word)
		n, ok := list.rows[hash]
		if !ok {
			continue
		}
		delete(list.rows, hash)
		block, read := rows[n]
		if !read {
			if err := t.get(`SELECT words FROM search_words WHERE n = ?`, []any{n}, &block); err != nil {
				return err
			}
		}
		block = strings.Replace(block+" ", " "+word+" ", strings.Repeat(" ", len(word)+2), 1)
		rows[n] = block[:len(block)-1]
	}
	for n, block := range rows {
		if n == list.last {
			list.tail = strings.TrimRight(block, " ")
		}
		if _, err := t.exec(`UPDATE search_words SET words = ? WHERE n = ?`, block, n); err != nil {
			return err
		}
	}
	return nil
}

// unindexAll takes texts out of the index, and the words that only they had.
func (t tx) unindexAll(list []queued) error {
	if err := t.unindexTexts(list); err != nil {
		return err
	}
	words, err := t.unused(wordsOf(list))
	if err == nil {
		err = t.removeWords(words)
	}
	return err
}

// unindexTexts takes texts out of the index. FTS5 has to be told the words again.
func (t tx) unindexTexts(list []queued) error {
	for _, m := range list {
		var err error
		if len(m.words) > longWords {
			_, err = t.exec(`DELETE FROM search_long WHERE n = ?`, m.n)
		} else if m.words != "" {
			_, err = t.exec(`INSERT INTO search_index (search_index, rowid, words) VALUES ('delete', ?, ?)`, m.n, m.words)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wordsOf are the words of texts that the index can have.
func wordsOf(list []queued) (words []string) {
	seen := map[string]struct{}{}
	for _, m := range list {
		if len(m.words) > longWords {
			continue
		}
		for word := range strings.FieldsSeq(m.words) {
			if _, ok := seen[word]; !ok {
				seen[word] = struct{}{}
				words = append(words, word)
			}
		}
	}
	return words
}

// unused are those of words that no text of the index has.
func (t tx) unused(words []string) (list []string, err error) {
	for _, word := range words {
		var used bool
		if err := t.get(`SELECT EXISTS (SELECT 1 FROM search_index WHERE search_index MATCH ?)`, []any{`"` + word + `"`}, &used); err != nil {
			return nil, err
		}
		if !used {
			list = append(list, word)
		}
	}
	return list, nil
}

// indexed selects the messages that are in the index; a condition follows.
const indexed = `SELECT n, content FROM messages m WHERE status <> 'deleted' AND NOT EXISTS (SELECT 1 FROM search_queue WHERE n = m.n) AND `

// unindex takes the messages of the condition out of the index and the queue.
func (t tx) unindex(where string, args ...any) error {
	list, err := collect(t, scanQueued, indexed+where, args...)
	if err == nil {
		err = t.unindexAll(list)
	}
	if err == nil {
		_, err = t.exec(`DELETE FROM search_queue WHERE n IN (SELECT n FROM messages WHERE `+where+`)`, args...)
	}
	return err
}

// unindexConversation takes what is left of a conversation, and its title, out of the index and the queue, and removes words that
// takeFromIndex has found to be unused, unless they are used again.
func (t tx) unindexConversation(id string, gone []string) error {
	gone, err := t.unused(gone)
	if err == nil {
		err = t.removeWords(gone)
	}
	if err != nil {
		return err
	}
	list, err := collect(t, func(row scanner) (q queued, err error) {
		err = row.Scan(&q.n, &q.words)
		q.n, q.words = -q.n, words(q.words)
		return q, err
	}, `SELECT n, title FROM search_titles WHERE conversation_id = ?`, id)
	if err == nil {
		err = t.unindexAll(list)
	}
	if err == nil {
		_, err = t.exec(`DELETE FROM search_titles WHERE conversation_id = ?`, id)
	}
	if err == nil {
		err = t.unindex(`conversation_id = ?`, id)
	}
	return err
}

// takeFromIndex moves the messages of a conversation from the index to the queue, where they are found until all of it goes, and
// returns the words that no text has then: they are to be removed with it. It is done in steps, between which others write.
//
// To take a text out of the index at once costs some milliseconds, since each of its words is looked for. Where that would take
// longer than to write the index anew, the texts are only marked as deleted, and then it is written anew. Until that is done the
// file says so, and Open goes on with it if the process ends meanwhile.
func (s *Store) takeFromIndex(ctx context.Context, id string) (unused []string, err error) {
	var messages, pages int
	err = s.read(ctx, func(t tx) error {
		if err := t.get(`SELECT count(*) FROM messages WHERE conversation_id = ? AND status <> 'deleted'`, []any{id}, &messages); err != nil {
			return err
		}
		return t.get(`SELECT count(*) FROM search_index_data`, nil, &pages)
	})
	if err != nil {
		return nil, err
	}
	step, anew := 20, messages > 500 && 4*messages > pages
	if anew {
		s.rewriting.Lock()
		defer s.rewriting.Unlock()
		step = 500
	}
	for after, more := int64(0), true; more; {
		err := s.write(ctx, func(t tx) (err error) {
			if anew {
				if err = t.secureDelete(false); err != nil {
					return err
				}
			}
			if after, more, err = t.requeue(id, after, step); err != nil || !anew {
				return err
			}
			if _, err := t.exec(`PRAGMA user_version = 1`); err != nil {
				return err
			}
			return t.secureDelete(true)
		})
		if err != nil {
			return nil, err
		}
	}
	if anew {
		if err := s.rewriteIndex(ctx); err != nil {
			return nil, err
		}
	}
	var words []string
	seen := map[string]struct{}{}
	err = s.read(ctx, func(t tx) error {
		err := t.each(func(row scanner) error {
			m, err := scanQueued(row)
			for _, word := range wordsOf([]queued{m}) {
				if _, ok := seen[word]; !ok {
					seen[word] = struct{}{}
					words = append(words, word)
				}
			}
			return err
		}, `SELECT n, content FROM messages WHERE conversation_id = ? AND status <> 'deleted' AND content <> ''`, id)
		if err == nil {
			unused, err = t.unused(words)
		}
		return err
	})
	return unused, err
}

// secureDelete says whether what is taken out of the index is erased at once.
func (t tx) secureDelete(on bool) error {
	_, err := t.exec(`INSERT INTO search_index (search_index, rank) VALUES ('secure-delete', ?)`, on)
	return err
}

// rewriteIndex writes the index anew, without what is marked as deleted, in steps between which others write. The caller holds
// s.rewriting.
func (s *Store) rewriteIndex(ctx context.Context) error {
	pages := -100 // the first step begins to merge everything; the others go on with it
	for done := false; !done; pages = 100 {
		err := s.write(ctx, func(t tx) error {
			var before, after int64
			if err := t.get(`SELECT total_changes()`, nil, &before); err != nil {
				return err
			}
			if _, err := t.exec(`INSERT INTO search_index (search_index, rank) VALUES ('merge', ?)`, pages); err != nil {
				return err
			}
			if err := t.get(`SELECT total_changes()`, nil, &after); err != nil {
				return err
			}
			if done = after-before < 2; !done { // FTS5's way to say that there was nothing to merge
				return nil
			}
			_, err := t.exec(`PRAGMA user_version = 0`)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// finishRewriting goes on with what a process that ended had begun.
func (s *Store) finishRewriting(ctx context.Context) error {
	var marked int
	if err := s.read(ctx, func(t tx) error { return t.get(`PRAGMA user_version`, nil, &marked) }); err != nil || marked == 0 {
		return err
	}
	s.rewriting.Lock()
	defer s.rewriting.Unlock()
	if err := s.rewriteIndex(ctx); err != nil {
		return err
	}
	s.emptyLog(ctx)
	return nil
}

// requeue moves up to step messages of a conversation from the index back to the queue, those after the place after first. It
// returns the place it got to, and whether there may be more. Their words are left for takeFromIndex.
func (t tx) requeue(conversation string, after int64, step int) (int64, bool, error) {
	list, err := collect(t, scanQueued, indexed+`conversation_id = ? AND seq > ? ORDER BY seq LIMIT ?`, conversation, after, step)
	if err == nil {
		err = t.unindexTexts(list)
	}
	for _, m := range list {
		if err == nil {
			_, err = t.exec(`INSERT INTO search_queue (n) VALUES (?)`, m.n)
		}
	}
	if err == nil && len(list) == step {
		err = t.get(`SELECT seq FROM messages WHERE n = ?`, []any{list[step-1].n}, &after)
	}
	return after, len(list) == step, err
}
