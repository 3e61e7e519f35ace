package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// SearchQuery asks for messages, and titles of conversations, by what stands in them.
//
// Text is a list of terms, each of which must stand in what is found, case, accents and the kind of white space aside:
// "between quotes" a term holds spaces. A term of one or two characters must begin a word.
type SearchQuery struct {
	Text          string
	Role          string    // of the message; "": any. A title has none.
	Model         string    // that wrote the message; "": any. A title has none.
	After, Before time.Time // from After on, and before Before; zero: unbounded. A title is as old as its conversation.
	Archived      *bool     // only archived conversations, or only others; nil: both
	Best          bool      // the best first, among the newest 2,000; else the newest first
	Cursor        string    // [Hits.Next] of the page before; "": the first page
	Limit         int       // 1 to 100; 0 is 20
}

// Hits is a page of what a search found.
type Hits struct {
	Hits []Hit  // never nil
	Next string // the cursor of the next page; "": this is the last. A page with a next one may be short, even empty.

	// Back is set where the search stopped before it had looked at everything: nothing older was looked at. Where there is a
	// Next, that goes on from there; with [SearchQuery.Best] only the newest 2,000 hits, those since Back, are put in order.
	Back time.Time
}

// Hit is a message that a search found or, where ID is "", a conversation, by its title.
type Hit struct {
	Message        // of a title only ConversationID and CreatedAt, when the conversation was begun
	Title   string // of its conversation
	Model   string // that wrote it; "" for what no reply wrote
	Excerpt string // some of its text around the first of the terms; "" of a title
	Marks   []Mark // where the terms are in Excerpt, or of a title in Title; in order, apart from each other
}

// Mark is a run of bytes, of whole characters.
type Mark struct{ From, To int }

// ErrCursor is returned for a cursor that no search gave.
var ErrCursor = errors.New("store: not a cursor that a search gave")

// What a search looks at, at most. Texts are looked at newest first, so where a limit ends a search it goes on by its cursor.
const (
	searchQueued = 5000       // of what is not indexed yet, the latest
	searchWalked = 5000       // texts by their times alone, where the index cannot say which may hold the terms
	searchAsked  = 5000       // texts of which the index said that they may
	searchBest   = 2000       // hits that are put in order where the best come first
	searchWords  = 500        // words that hold a part of one; a part that more words hold is not asked for
	fewWords     = 6          // of these are asked for in one question
	excerptSize  = 300        // bytes
	maxChunk     = 512 * 1024 // bytes of words in one row of the index; PostgreSQL's limit is 1 MB
	maxBatch     = 4 << 20    // bytes of texts after which no more are indexed in one transaction
)

// Place is where a hit stands in the order of a search: by time, those of one time by id.
type Place struct {
	At time.Time
	ID string // of the message; of a title, of the conversation
}

// Before reports whether p comes before q when the newest come first.
func (p Place) Before(q Place) bool {
	if c := p.At.Compare(q.At); c != 0 {
		return c > 0
	}
	return p.ID > q.ID
}

// Text is what may be a hit.
type Text struct {
	Place
	Title   bool
	Content string
	score   int
}

// Finder is what a search asks of an engine, all of it as of one moment. What it gives is of listed conversations.
type Finder interface {
	// Queued calls f with the texts that the index does not have yet, the latest 5,000 of them, those the query's filters leave. It need
	// not go on when these were the newest that are wanted.
	Queued(want int, f func(Text)) error
	// Newest returns what comes after a place, and is not older than the query wants, newest first, without contents.
	Newest(after Place, limit int) ([]Text, error)
	// Asked returns those of them that the index says may hold parts, or false where it cannot say.
	Asked(pieces []Piece, after Place, limit int) ([]Text, bool, error)
	// Read calls f with the contents of texts, those the query's filters leave.
	Read(texts []Text, f func(Text)) error
	// Hits returns texts as hits, in any order, without excerpts and marks.
	Hits(texts []Text) ([]Hit, error)
}

// Find is the search of both engines.
func (q SearchQuery) Find(in Finder) (Hits, error) {
	match := NewMatcher(q.Text)
	if match.Empty() || CheckText("query", q.Role+q.Model+strings.Join(match.Runs(), "")) != nil { // nothing is kept that has these
		return Hits{Hits: []Hit{}}, nil
	}
	from, err := q.from()
	if err != nil {
		return Hits{}, err
	}
	s := finding{in: in, match: match, want: q.Size() + 1, at: from.place, best: q.Best}
	if q.Best {
		s.want = searchBest + 1
	}
	if err := s.find(); err != nil {
		return Hits{}, err
	}
	slices.SortFunc(s.found, newestFirst)
	s.found = slices.CompactFunc(s.found, func(a, b Text) bool { return a.ID == b.ID })
	if !s.all {
		s.found = slices.DeleteFunc(s.found, func(t Text) bool { return s.at.Before(t.Place) })
	}
	if q.Best {
		if len(s.found) > searchBest {
			s.found, s.all = s.found[:searchBest], false
			s.at = s.found[searchBest-1].Place
		}
		if from.last == nil && len(s.found) > 0 { // what comes later is not to change what the next pages are of
			from.place = Place{At: s.found[0].At.Add(time.Microsecond), ID: zeroID}
		}
		slices.SortFunc(s.found, bestFirst)
		if from.last != nil {
			s.found = slices.DeleteFunc(s.found, func(t Text) bool { return bestFirst(t, *from.last) <= 0 })
		}
	}
	var page Hits
	if !s.all {
		page.Back = s.at.At
	}
	found := s.found[:min(len(s.found), q.Size())]
	switch {
	case len(found) == len(s.found) && q.Best:
	case len(found) == len(s.found) && !s.all:
		page.Next = cursor{place: s.at}.String()
	case len(found) < len(s.found) && q.Best:
		from.last = &found[len(found)-1]
		page.Next = from.String()
	case len(found) < len(s.found):
		page.Next, page.Back = cursor{place: found[len(found)-1].Place}.String(), time.Time{}
	}
	page.Hits, err = s.hits(found)
	return page, err
}

// finding is a search under way.
type finding struct {
	in    Finder
	match Matcher
	want  int  // how many hits
	best  bool // with scores
	found []Text
	seen  int   // how many texts were read
	at    Place // how far everything has been looked at
	all   bool  // there is nothing after it
}

// find looks for the newest hits after a place until there are enough, or it has looked at enough.
func (s *finding) find() error {
	err := s.in.Queued(s.want, s.look)
	if err != nil {
		return err
	}
	// What is common is found among the newest; what is not is asked for, as the index has no order.
	pieces := s.match.Pieces()
	walked, most := 0, min(32*s.want, searchWalked)
	for n := 64; ; n = min(4*n, 500) {
		limit := min(n, most-walked)
		have := len(s.found)
		texts, err := s.in.Newest(s.at, limit)
		if err == nil {
			err = s.read(texts, limit)
		}
		if err != nil || s.all || s.full() {
			return err
		}
		walked += len(texts)
		have = len(s.found) - have
		if need := s.want - s.ready(); walked >= most || have*(most-walked) < need*len(texts) {
			break
		}
	}
	for asked, limit := 0, 2*s.want; ; { // mostly a few are enough
		limit = min(limit, searchAsked-asked)
		have := s.ready()
		texts, ok, err := s.in.Asked(pieces, s.at, limit)
		if err == nil && !ok {
			limit = searchWalked
			texts, err = s.in.Newest(s.at, limit)
		}
		if err == nil {
			err = s.read(texts, limit)
		}
		if asked += limit; err != nil || s.all || s.full() || asked >= searchAsked {
			return err
		}
		have = s.ready() - have
		limit = max(4*s.want, min(20*limit, 2*limit*(s.want-s.ready())/max(have, 1)))
	}
}

// look keeps a text if it is a hit.
func (s *finding) look(t Text) {
	if !s.match.Match(t.Content) {
		return
	}
	if s.best {
		t.score = s.match.Score(t.Content)
		if t.Title {
			t.score *= 2
		}
	}
	t.Content = ""
	s.found = append(s.found, t)
}

// read looks at texts, in steps, until there are enough hits. Fewer than limit are the last.
func (s *finding) read(texts []Text, limit int) error {
	for rest := texts; len(rest) > 0; {
		n := s.seen * (s.want - len(s.found)) / max(len(s.found), 1) // will do if hits are as frequent as until now
		step := rest[:min(len(rest), max(n, 2*s.want, 64), max(4*s.seen, 64), 1000)]
		if err := s.in.Read(step, s.look); err != nil {
			return err
		}
		s.seen, s.at = s.seen+len(step), step[len(step)-1].Place
		if rest = rest[len(step):]; s.full() {
			s.all = false
			return nil
		}
	}
	s.all = len(texts) < limit
	return nil
}

// ready is how many hits there are as far as everything has been looked at; full that this is enough.
func (s *finding) ready() int {
	n := 0
	for _, t := range s.found {
		if !s.at.Before(t.Place) {
			n++
		}
	}
	return n
}

func (s *finding) full() bool { return len(s.found) >= s.want && s.ready() >= s.want }

func newestFirst(a, b Text) int {
	switch {
	case a.Before(b.Place):
		return -1
	case b.Before(a.Place):
		return 1
	}
	return 0
}

func bestFirst(a, b Text) int { return cmp.Or(b.score-a.score, newestFirst(a, b)) }

// hits are texts as hits, in the same order.
func (s *finding) hits(texts []Text) ([]Hit, error) {
	if len(texts) == 0 {
		return []Hit{}, nil
	}
	read, err := s.in.Hits(texts)
	if err != nil {
		return nil, err
	}
	of := make(map[string]Hit, len(read))
	for _, h := range read {
		of[cmp.Or(h.ID, h.ConversationID)] = h
	}
	list := make([]Hit, 0, len(texts))
	for _, t := range texts {
		h, ok := of[t.ID]
		if !ok {
			continue
		}
		if t.Title {
			h.Marks = s.match.Marks(h.Title)
		} else {
			h.Excerpt, h.Marks = s.match.Excerpt(h.Content, excerptSize)
		}
		list = append(list, h)
	}
	return list, nil
}

// cursor is where a page begins: after a place or, best first, after a hit among those after a place.
type cursor struct {
	place Place
	last  *Text
}

func (c cursor) String() string {
	text := fmt.Sprintf("%d_%s", c.place.At.UnixMicro(), c.place.ID)
	if c.last != nil {
		text += fmt.Sprintf("_%d_%d_%s", c.last.score, c.last.At.UnixMicro(), c.last.ID)
	}
	return text
}

const (
	zeroID = "00000000-0000-0000-0000-000000000000"
	lastID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
)

// latest is after every time.
var latest = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// from is where q's page begins.
func (q SearchQuery) from() (c cursor, err error) {
	if q.Cursor == "" {
		c.place = Place{latest, lastID}
		if !q.Before.IsZero() {
			c.place = Place{q.Before, zeroID}
		}
		return c, nil
	}
	parts := strings.Split(q.Cursor, "_")
	if len(parts) != 2 && len(parts) != 5 || len(parts) == 5 != q.Best {
		return c, ErrCursor
	}
	place := func(at, id string) (Place, error) {
		micros, err := strconv.ParseInt(at, 10, 64)
		if p := (Place{time.UnixMicro(micros).UTC(), id}); err == nil && p.At.Year() >= -4000 && p.At.Year() <= 9999 && IsID(id) {
			return p, nil
		}
		return Place{}, ErrCursor
	}
	if c.place, err = place(parts[0], parts[1]); err == nil && q.Best {
		c.last = &Text{}
		if c.last.Place, err = place(parts[3], parts[4]); err == nil {
			if c.last.score, err = strconv.Atoi(parts[2]); err != nil {
				err = ErrCursor
			}
		}
	}
	return c, err
}

// Start is the place after which q's page begins.
func (q SearchQuery) Start() (Place, error) {
	from, err := q.from()
	return from.place, err
}

// Size is how many hits q gives at most.
func (q SearchQuery) Size() int {
	if q.Limit <= 0 {
		return 20
	}
	return min(q.Limit, 100)
}

// Search returns a page of the messages and titles of listed conversations that hold all terms of q; none is an empty page, also
// when q holds nothing to look for. Any characters are allowed in q. What is written is found as soon as that has returned; only
// of what waits to be indexed, after the adoption of a database, more than the latest 5,000 must be indexed first. It returns
// ErrCursor for a cursor that is none.
func (s *Store) Search(ctx context.Context, q SearchQuery) (page Hits, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Every statement is to go by the indexes it is written for, whatever the planner thinks of the number of finds, and one
		// that reads many rows is not to be compiled first.
		_, err := tx.Exec(ctx, `SELECT set_config(name, value, true) FROM (VALUES ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'),
			('enable_seqscan', 'off'), ('jit', 'off'), ('max_parallel_workers_per_gather', '0'), ('work_mem', '32MB')) v(name, value)`)
		if err == nil {
			page, err = q.Find(&finder{ctx: ctx, tx: tx, q: q, queued: &s.queued})
		}
		return err
	})
	if err != nil {
		return Hits{}, Wrap("search", err)
	}
	return page, nil
}

// finder is the [Finder] of a search in a transaction.
type finder struct {
	ctx    context.Context
	tx     pgx.Tx
	q      SearchQuery
	queued *queuedTexts
	level  int     // of the last period that was asked for
	none   bool    // nothing was found in it
	dense  float64 // how many finds a second there were in it; 0: none was asked for

	queries, groups []string // what the index was asked; none before that
}

// What is in the index, or waits for it, is of listed conversations, which they are from the beginning; so to read a text nothing else
// is read, unless the query wants it. What an older version has indexed of others is left out of the hits.
const (
	readTexts = `SELECT m.id, false, m.created_at, m.content FROM unnest($1::uuid[]) u(id) JOIN messages m ON m.id = u.id WHERE m.status <> 'deleted'
		UNION ALL
		SELECT c.id, true, c.started_at, c.title FROM unnest($2::uuid[]) u(id) JOIN conversations c ON c.id = u.id WHERE c.title <> ''`
	readFiltered = `SELECT m.id, false, m.created_at, m.content FROM unnest($1::uuid[]) u(id) JOIN messages m ON m.id = u.id
		  JOIN conversations c ON c.id = m.conversation_id AND ($3::bool IS NULL OR c.archived = $3::bool)
		  LEFT JOIN responses r ON r.id = m.response_id
		 WHERE m.status <> 'deleted' AND ($4::text = '' OR m.role = $4::text) AND ($5::text = '' OR r.model = $5::text)
		UNION ALL
		SELECT c.id, true, c.started_at, c.title FROM unnest($2::uuid[]) u(id) JOIN conversations c ON c.id = u.id
		 WHERE c.title <> '' AND ($3::bool IS NULL OR c.archived = $3::bool) AND $4::text = '' AND $5::text = ''`
)

func (in finder) Read(texts []Text, f func(Text)) error {
	if len(texts) == 0 {
		return nil
	}
	messages, titles := split(texts)
	sql, args := readTexts, []any{messages, titles}
	if in.q.Archived != nil || in.q.Role != "" || in.q.Model != "" {
		sql, args = readFiltered, append(args, in.q.Archived, in.q.Role, in.q.Model)
	}
	rows, err := in.tx.Query(in.ctx, sql, args...)
	if err != nil {
		return err
	}
	var t Text
	_, err = pgx.ForEachRow(rows, []any{(*uuidText)(&t.ID), &t.Title, &t.At, &t.Content}, func() error {
		f(t)
		return nil
	})
	return err
}

// split are the ids of texts.
func split(texts []Text) (messages, titles uuids) {
	for _, t := range texts {
		if t.Title {
			titles = append(titles, newUUID(t.ID))
		} else {
			messages = append(messages, newUUID(t.ID))
		}
	}
	return messages, titles
}

func (in finder) Queued(want int, f func(Text)) error {
	after, err := in.q.Start()
	if err != nil {
		return err
	}
	queued, err := in.queued.after(in.ctx, in.tx, NewMatcher(in.q.Text), after)
	if err != nil {
		return err
	}
	titles, err := in.places(`SELECT id, true, started_at, '' FROM search_titles t JOIN conversations c ON c.id = t.conversation_id AND c.listed LIMIT $1::int`, searchQueued)
	if err != nil {
		return err
	}
	late := func(t Text) {
		if after.Before(t.Place) && !t.At.Before(in.q.After) {
			f(t)
		}
	}
	if err := in.Read(titles, late); err != nil {
		return err
	}
	var step []Text
	n := max(want, 64)
	for t := range queued { // each of them holds the terms
		if step = append(step, t); len(step) < n {
			continue
		}
		if err := in.Read(step, func(t Text) { want--; late(t) }); err != nil || want <= 0 {
			return err
		}
		step, n = step[:0], 2*n
	}
	return in.Read(step, late)
}

func (in finder) Newest(after Place, limit int) ([]Text, error) {
	return in.places(`SELECT message_id, message_id = conversation_id, created_at, '' FROM search_index
		WHERE chunk = 0 AND (created_at, message_id) < ($1::timestamptz, $2::uuid) AND created_at >= $3::timestamptz
		ORDER BY created_at DESC, message_id DESC LIMIT $4::int`, after.At, after.ID, in.q.After, limit)
}

func (in finder) places(sql string, args ...any) ([]Text, error) {
	rows, err := in.tx.Query(in.ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanPlace)
}

func scanPlace(row pgx.CollectableRow) (t Text, err error) {
	err = row.Scan((*uuidText)(&t.ID), &t.Title, &t.At, &t.Content)
	return t, err
}

// Asked asks by the index of words alone, whatever the planner would rather walk, for one period after another: the index has the
// periods of a text, too. The next period is longer as long as little is found, and one in which too much is found is asked for in
// parts. The words of a very long text stand in several rows; such texts are looked through one by one.
func (in *finder) Asked(pieces []Piece, after Place, limit int) (list []Text, ok bool, err error) {
	if in.groups == nil {
		var old bool // rows without pairs
		if err := in.tx.QueryRow(in.ctx, `SELECT EXISTS (SELECT FROM search_index WHERE chunk = 0 AND version < 2)`).Scan(&old); err != nil {
			return nil, false, err
		}
		if !old {
			pieces = NewMatcher(in.q.Text).Paired()
		}
		if in.queries, in.groups, err = in.ask(pieces); err != nil || in.groups == nil {
			return nil, false, err
		}
	}
	longest, end := maxLevel, hoursOf(after.At)+1
	for len(in.queries) > 0 {
		// So long that it has as many as are wanted, and twice that to be sure, if there are as many as in the last; after one without any
		// one much longer.
		level := 0
		if in.none {
			level = min(in.level+2, longest)
		} else {
			for n := 16 * hours * in.dense; in.dense > 0 && level < longest && n <= float64(4*(limit-len(list))); n *= 8 {
				level++
			}
		}
		in.level = level
		within, from := period(end, level)
		most := searchAsked
		if level == 0 {
			most = math.MaxInt32 - 1 // there is no shorter one
		}
		since, until := latestOf(time.Unix(from*hours, 0), in.q.After), time.Unix(end*hours, 0)
		found, err := in.asked(within, after, since, until, limit-len(list), most)
		if err != nil {
			return nil, false, err
		}
		span := max(1, min(until.Sub(since), after.At.Sub(since)).Seconds())
		if level > 0 && len(found) > 0 && found[0].ID == zeroID {
			longest, in.none, in.dense = level-1, false, 1/span // an eighth of it is likely to be little enough, and may well be empty
			continue
		}
		in.none = len(found) == 0
		if dense := max(float64(len(found)), 0.25) / span; len(list)+len(found) < limit {
			in.dense = dense
		} else { // there may be more
			in.dense = max(in.dense, dense)
		}
		if list = append(list, found...); len(list) >= limit || level == maxLevel {
			break
		}
		next, err := in.Newest(Place{since, zeroID}, 1)
		if err != nil {
			return nil, false, err
		}
		if len(next) == 0 {
			break
		}
		end = hoursOf(next[0].At) + 1
	}
	return list, true, nil
}

// The index has of each text which three hours it is of, and which 8, 64 and 512 times as much, counted from 1970. At the level after
// that it is asked for all times.
const (
	hours    = 3 * 60 * 60 // seconds
	maxLevel = 4
)

func hoursOf(at time.Time) int64 { return (at.Unix() - (at.Unix()%hours+hours)%hours) / hours }

// period is what the index is asked for to find texts of before end: those of the period of a level in which that is, and of the one
// before. from is when they begin. Later texts are found, too, but there are few where so long a period is asked for. Asking for just
// those before would take many short periods, and of each text in them the index would look whether it has the words.
func period(end int64, level int) (query string, from int64) {
	last := (end - 1) >> (3 * level)
	switch level {
	case 0:
		return fmt.Sprintf(" & '@0:%d'", last), last
	case maxLevel:
		return "", hoursOf(time.Time{})
	}
	return fmt.Sprintf(" & ('@%d:%d' | '@%[1]d:%[3]d')", level, last, last-1), (last - 1) << (3 * level)
}

func latestOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// asked are the newest finds of a period or, if there are more than most, one text of [zeroID].
func (in finder) asked(period string, after Place, since, until time.Time, limit, most int) ([]Text, error) {
	const plan = `SELECT set_config('enable_indexscan', $1::text, true), set_config('plan_cache_mode', $2::text, true)`
	var ask pgx.Batch
	ask.Queue(plan, "off", "force_generic_plan")
	ask.Queue(`WITH rows AS MATERIALIZED (
			SELECT i.* FROM unnest($1::text[]) query CROSS JOIN LATERAL (
				SELECT message_id AS id, conversation_id, created_at AS at FROM search_index
				 WHERE hwlab_dated(words, created_at) @@ (query || $3::text)::tsquery AND chunk = 0 AND created_at + '0'::interval >= $6::timestamptz
				   AND (created_at + '0'::interval, message_id) < ($4::timestamptz, $5::uuid) OFFSET 0) i
			 LIMIT $8::int + 1
		)
		SELECT $9::uuid, false, now(), '' WHERE (SELECT count(*) FROM rows) > $8::int
		UNION ALL
		(SELECT id, id = conversation_id, at, '' FROM (
			SELECT * FROM rows WHERE (SELECT count(*) FROM rows) <= $8::int
			UNION
			SELECT message_id, conversation_id, created_at FROM search_index i
			 WHERE message_id IN (SELECT message_id FROM search_index WHERE chunk > 0) AND (SELECT count(*) FROM rows) <= $8::int
			   AND created_at < $10::timestamptz AND created_at >= $6::timestamptz AND (created_at, message_id) < ($4::timestamptz, $5::uuid)
			 GROUP BY message_id, conversation_id, created_at
			HAVING (SELECT bool_and(EXISTS (SELECT FROM search_index j WHERE j.message_id = i.message_id AND j.conversation_id = i.conversation_id
			                                   AND j.words @@ w::tsquery)) FROM unnest($2::text[]) w)
		) found ORDER BY at DESC, id DESC LIMIT $7::int)`, in.queries, in.groups, period, after.At, after.ID, since, limit, most, zeroID, until)
	ask.Queue(plan, "on", "auto")
	answers := in.tx.SendBatch(in.ctx, &ask)
	defer answers.Close()
	if _, err := answers.Exec(); err != nil {
		return nil, err
	}
	rows, err := answers.Query()
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanPlace)
	return list, errors.Join(err, answers.Close())
}

// ask returns what to ask the index for, each by itself, to find all that may hold pieces: none where nothing can. groups are
// the parts of that, each of which must be in what is found; nil where the index cannot say. Where a piece is within many words each
// of those is asked for by itself: the index takes one question with many words ten times as long.
func (in finder) ask(pieces []Piece) (queries, groups []string, err error) {
	const most = 2000
	var sets [][]string
	for _, ends := range []bool{false, true} { // what follows the end of a word says more
		words := searchWords
		if len(sets) > 0 { // with pairs it says enough, else the end helps if few words have it
			if words = fewWords; slices.ContainsFunc(pieces, func(p Piece) bool { return p.Pair }) {
				break
			}
		}
		for _, p := range pieces {
			if ends != (p.Ends && !p.Begins) || words == fewWords && len(p.Text) <= minPart {
				continue
			}
			set, ok, err := in.alternatives(p, words)
			if err != nil {
				return nil, nil, err
			}
			if ok {
				sets = append(sets, set)
			}
		}
	}
	for _, p := range pieces { // better than nothing
		if len(sets) == 0 && p.Begins {
			sets = [][]string{{lexeme(p.Text) + ":*"}}
		}
	}
	slices.SortStableFunc(sets, func(a, b []string) int { return cmp.Compare(len(a), len(b)) })
	asked := 1
	for i, set := range sets {
		if asked *= len(set); i > 0 && asked > most {
			break
		}
		if groups = append(groups, "("+strings.Join(set, " | ")+")"); len(set) > fewWords {
			queries = set
		}
	}
	switch {
	case len(groups) == 0:
		return nil, nil, nil
	case asked == 0: // no word has one of them
		return nil, groups, nil
	case queries == nil:
		return []string{strings.Join(groups, " & ")}, groups, nil
	}
	rest := append([]string{""}, groups[:len(groups)-1]...)
	var list []string
	for few := range slices.Chunk(queries, fewWords) {
		rest[0] = "(" + strings.Join(few, " | ") + ")"
		list = append(list, strings.Join(rest, " & "))
	}
	return list, groups, nil
}

// lexeme is text as what a tsquery asks for.
func lexeme(text string) string {
	return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(text) + "'"
}

// isPair reports whether the index has text as a pair of words: one character in it is part of neither.
func isPair(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { part, _ := inWord(r); return !part })
}

// alternatives are what to ask the index for to find a piece, or false where they are more than most. Words hold only letters, digits and
// marks. Of what an older version indexed search_words does not know the words.
func (in finder) alternatives(p Piece, most int) ([]string, bool, error) {
	text, like := lexeme(p.Text), p.Text
	switch {
	case p.Begins && p.Ends:
		return []string{text}, true, nil
	case p.Pair:
		return []string{text + ":*"}, true, nil
	}
	if !p.Begins {
		like = "%" + like
	}
	if !p.Ends {
		like, text = like+"%", text+":*"
	}
	rows, err := in.tx.Query(in.ctx, `(SELECT quote_literal(word) FROM search_words WHERE grams @> coalesce($1::text[], '{}') AND word LIKE $2::text LIMIT $3::int)
		UNION ALL SELECT $4::text WHERE EXISTS (SELECT FROM search_index WHERE chunk = 0 AND version = 0)`,
		pgx.QueryExecModeExec, Grams(p.Text), like, most+1, text)
	if err != nil {
		return nil, false, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return list, len(list) <= most, err
}

func (in finder) Hits(texts []Text) ([]Hit, error) {
	messages, titles := split(texts)
	rows, err := in.tx.Query(in.ctx, `SELECT m.*, c.title, coalesce(r.model, '') FROM (
			SELECT `+messageColumns+` FROM unnest($1::uuid[]) u(u) JOIN messages ON id = u
			UNION ALL
			SELECT NULL, id, '', '', started_at, 0, 0, NULL, '', NULL, NULL FROM unnest($2::uuid[]) u(u) JOIN conversations ON id = u
		  ) m
		  JOIN conversations c ON c.id = m.conversation_id AND c.listed
		  LEFT JOIN responses r ON r.id = m.response_id`, messages, titles)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (h Hit, err error) {
		h.Message, err = scanMessageAnd(row, &h.Title, &h.Model)
		return h, err
	})
}

// indexLock keeps those apart who add words to the index and who take words out of it: an indexer and a deletion, so that no words
// of an erased message are indexed after its erasure, and none of another that the deletion thinks nobody has any more.
const indexLock = migrationLock + 1

// holdIndex keeps indexers out until the transaction ends. A deletion calls it first.
func holdIndex(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::bigint)`, int64(indexLock))
	return err
}

// unindex takes messages of a conversation, or nil for all of it, out of the index, and the words that only they had. The caller
// holds the index.
func unindex(ctx context.Context, tx pgx.Tx, conversationID string, messageIDs []string) error {
	rows, err := tx.Query(ctx, `WITH gone AS (
			DELETE FROM search_index WHERE conversation_id = $1::uuid AND ($2::uuid[] IS NULL OR message_id = ANY($2::uuid[])) RETURNING words
		)
		SELECT DISTINCT w FROM gone, unnest(tsvector_to_array(words)) w`, conversationID, newUUIDs(messageIDs))
	if err != nil {
		return err
	}
	words, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if words = slices.DeleteFunc(words, isPair); err != nil || len(words) == 0 {
		return err
	}
	// Most words are common and stand in one of the newest texts.
	rows, err = tx.Query(ctx, `SELECT w FROM unnest($1::text[]) w
		EXCEPT SELECT unnest(tsvector_to_array(words)) FROM (SELECT words FROM search_index ORDER BY created_at DESC, message_id DESC LIMIT 200) newest`, words)
	if err != nil {
		return err
	}
	if words, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(words) == 0 {
		return err
	}
	// Each of the rest is asked for, by the index of words alone.
	const plan = `SELECT set_config(name, CASE WHEN $1::bool THEN 'off' ELSE reset_val END, true) FROM pg_settings
		WHERE name IN ('enable_seqscan', 'enable_indexscan', 'enable_indexonlyscan', 'jit')`
	if _, err := tx.Exec(ctx, plan, true); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `SELECT w FROM unnest($1::text[]) w
		WHERE NOT EXISTS (SELECT FROM search_index WHERE hwlab_dated(words, created_at) @@ ('''' || w || '''')::tsquery OFFSET 0)`, pgx.QueryExecModeExec, words)
	if err != nil {
		return err
	}
	if words, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, plan, false); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM search_words WHERE word = ANY($1::text[])`, words)
	return err
}

// Waiting returns how many messages wait to be indexed. Nothing is to depend on it but what is told of progress.
func (s *Store) Waiting(ctx context.Context) (n int, err error) {
	if err := s.pool.QueryRow(ctx, `SELECT count(*) FROM search_queue`).Scan(&n); err != nil {
		return 0, Wrap("waiting", err)
	}
	return n, nil
}

// IndexPending puts up to limit texts, the latest first, into the search index: messages from the queue or, where none is left, what an
// older version of the program indexed, or titles. It takes fewer when they are long. It returns how many it took: 0 when there are
// none. Any number of processes may call it at once. It holds no lock that an append would wait for.
func (s *Store) IndexPending(ctx context.Context, limit int) (taken int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1::bigint)`, int64(indexLock)); err != nil {
			return err
		}
		taken, err = indexRows(ctx, tx, `WITH waiting AS MATERIALIZED (
				SELECT id, message_id FROM search_queue ORDER BY id DESC LIMIT $1::int FOR UPDATE SKIP LOCKED
			), next AS (
				SELECT id FROM (SELECT w.id, sum(octet_length(m.content)) OVER (ORDER BY w.id DESC) - octet_length(m.content) AS before
				                  FROM waiting w LEFT JOIN messages m ON m.id = w.message_id) b WHERE coalesce(before, 0) < $2::bigint
			), taken AS (
				DELETE FROM search_queue q USING next WHERE q.id = next.id RETURNING q.message_id
			)
			SELECT coalesce(m.conversation_id::text, ''), t.message_id::text, m.created_at, coalesce(m.content, '')
			  FROM taken t LEFT JOIN (messages m JOIN conversations c ON c.id = m.conversation_id AND c.listed) ON m.id = t.message_id AND m.status <> 'deleted'`, limit, maxBatch)
		if err != nil || taken > 0 {
			return err
		}
		taken, err = indexRows(ctx, tx, `WITH waiting AS MATERIALIZED (
				SELECT conversation_id, message_id, version, created_at FROM search_index WHERE chunk = 0 AND version < 2 ORDER BY version, created_at DESC
				 LIMIT $1::int FOR UPDATE SKIP LOCKED
			), next AS (
				SELECT conversation_id, message_id FROM (
					SELECT w.*, sum(octet_length(m.content)) OVER (ORDER BY w.version, w.created_at DESC, w.message_id) - octet_length(m.content) AS before
					  FROM waiting w LEFT JOIN messages m ON m.id = w.message_id) b WHERE coalesce(before, 0) < $2::bigint
			), taken AS (
				DELETE FROM search_index i USING next n WHERE i.conversation_id = n.conversation_id AND i.message_id = n.message_id
				RETURNING i.message_id, i.chunk
			)
			SELECT coalesce(c.id::text, ''), t.message_id::text, CASE WHEN m.id IS NULL THEN c.started_at WHEN c.id IS NOT NULL THEN m.created_at END, coalesce(m.content, c.title, '')
			  FROM taken t LEFT JOIN messages m ON m.id = t.message_id AND m.status <> 'deleted'
			  LEFT JOIN conversations c ON c.id = coalesce(m.conversation_id, t.message_id) AND c.listed
			 WHERE t.chunk = 0`, limit, maxBatch)
		return err
	})
	if err == nil && taken == 0 {
		taken, err = s.indexTitles(ctx, limit)
	}
	if err != nil {
		return 0, Wrap("index", err)
	}
	return taken, nil
}

// indexTitles indexes titles. The words of an older title go, so it holds the index.
func (s *Store) indexTitles(ctx context.Context, limit int) (taken int, err error) {
	var some bool
	if err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM search_titles)`).Scan(&some); err != nil || !some {
		return 0, err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if err := holdIndex(ctx, tx); err != nil {
			return err
		}
		// Not before: another server may index them while this one waits for the index.
		rows, err := tx.Query(ctx, `SELECT conversation_id::text FROM search_titles LIMIT $1::int`, limit)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := unindex(ctx, tx, id, []string{id}); err != nil {
				return err
			}
		}
		taken, err = indexRows(ctx, tx, `WITH taken AS (DELETE FROM search_titles WHERE conversation_id = ANY($1::uuid[]) RETURNING conversation_id)
			SELECT t.conversation_id::text, t.conversation_id::text, c.started_at, coalesce(c.title, '') FROM taken t LEFT JOIN conversations c ON c.id = t.conversation_id AND c.listed`, newUUIDs(ids))
		return err
	})
	return taken, err
}

// indexRows indexes the rows of a statement: conversation, message, time and text. It returns how many there were.
func indexRows(ctx context.Context, tx pgx.Tx, sql string, args ...any) (int, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	var conversations, messages, wordLists []string
	var times []time.Time
	var chunks []int32
	var conversation, message, content string
	var at *time.Time
	seen := map[string]struct{}{}
	tag, err := pgx.ForEachRow(rows, []any{&conversation, &message, &at, &content}, func() error {
		if at == nil {
			return nil // erased since it was queued, or not listed
		}
		if content == "" {
			return nil
		}
		words := IndexWords(content)
		for _, word := range words {
			seen[word] = struct{}{}
		}
		for i, list := range chunked(append(words, IndexPairs(content)...), maxChunk) {
			conversations, messages, wordLists = append(conversations, conversation), append(messages, message), append(wordLists, list)
			times, chunks = append(times, *at), append(chunks, int32(i))
		}
		return nil
	})
	if err != nil || len(messages) == 0 {
		return int(tag.RowsAffected()), err
	}
	if err := addWords(ctx, tx, seen); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO search_index (conversation_id, message_id, chunk, created_at, version, words)
		SELECT u.conversation_id, u.message_id, u.chunk, u.at, 2, array_to_tsvector(string_to_array(u.words, ' '))
		  FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::timestamptz[], $5::text[]) u(conversation_id, message_id, chunk, at, words)
		ON CONFLICT DO NOTHING`, newUUIDs(conversations), newUUIDs(messages), chunks, times, wordLists)
	if err == nil {
		_, err = tx.Exec(ctx, `SELECT gin_clean_pending_list('search_words_grams'), gin_clean_pending_list('search_index_words')`)
	}
	return int(tag.RowsAffected()), err
}

// addWords adds to the list of words those that it does not have, in their order: two indexers cannot deadlock.
func addWords(ctx context.Context, tx pgx.Tx, words map[string]struct{}) error {
	rows, err := tx.Query(ctx, `SELECT word FROM search_words WHERE word = ANY($1::text[])`, slices.Collect(maps.Keys(words)))
	if err != nil {
		return err
	}
	var word string
	if _, err := pgx.ForEachRow(rows, []any{&word}, func() error {
		delete(words, word)
		return nil
	}); err != nil || len(words) == 0 {
		return err
	}
	list := slices.Sorted(maps.Keys(words))
	gramLists := make([]string, len(list))
	for i, word := range list {
		gramLists[i] = strings.Join(Grams(word), " ")
	}
	_, err = tx.Exec(ctx, `INSERT INTO search_words (word, grams) SELECT u.word, string_to_array(u.grams, ' ') FROM unnest($1::text[], $2::text[]) u(word, grams)
		ON CONFLICT DO NOTHING`, list, gramLists)
	return err
}

// chunked joins words with spaces into as many texts as it takes for none to be longer than size, at least one.
func chunked(words []string, size int) []string {
	var list []string
	for len(words) > 0 || list == nil {
		n, length := 0, 0
		for n < len(words) && (n == 0 || length+1+len(words[n]) <= size) {
			length += 1 + len(words[n])
			n++
		}
		list = append(list, strings.Join(words[:n], " "))
		words = words[n:]
	}
	return list
}
