package archive

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	_ "git.georgsen.dk/hwlab/internal/store/sqlite" // the driver

	"git.georgsen.dk/hwlab/internal/store"
)

// SQLiteMagic is how an SQLite file begins.
const SQLiteMagic = "SQLite format 3\x00"

// ImportLLM adds the conversations of the log of the command llm, an SQLite file, to a record, as [Import] does. progress is told how
// many of how many answers were read.
//
// Until version 0.32 llm wrote a row of responses for every answer, with what was attached in tables beside it. Since then it keeps
// messages in a tree that all conversations share: a row of threads is a conversation, one of turns is an answer and the messages it
// consists of. An upgrade leaves the old rows where they are; a conversation that goes on after it has some of both.
func ImportLLM(ctx context.Context, to Record, path string, progress func(done, of int64), o Options) (Result, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Result{}, err
	}
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "mode=ro&_pragma=query_only(1)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return Result{}, err
	}
	defer db.Close()
	l := &llmLog{ctx: ctx, db: db, progress: progress}
	if err := l.open(); err != nil {
		return Result{}, err
	}
	return take(ctx, to, l, o)
}

// llmLog gives the conversations of llm's log.
type llmLog struct {
	ctx      context.Context
	db       *sql.DB
	progress func(done, of int64)

	columns        map[string]bool     // "table.column"
	answers        map[string][]string // ids in responses, by conversation
	calls, results map[string][]int64  // rows of tool_calls and tool_results, by answer
	turned         map[string]bool     // answers that are turns as well
	list           []string            // conversations that are to come
	damaged        []string            // answers whose rows cannot be read
	read, all      int64               // answers
}

// open finds out which conversations there are.
func (l *llmLog) open() error {
	l.columns, l.answers, l.turned = map[string]bool{}, map[string][]string{}, map[string]bool{}
	err := l.rows(`SELECT t.value || '.' || c.name FROM json_each(?) t, pragma_table_info(t.value) c`, []any{`["responses", "conversations", "prompt_fragments",
		"system_fragments", "prompt_attachments", "tool_calls", "tool_results", "threads", "turns", "messages", "parts"]`}, func(scan scan) error {
		var name string
		err := scan(&name)
		l.columns[name] = true
		return err
	})
	if err != nil {
		return err
	}
	old, now := true, true
	for _, name := range []string{"id", "model", "prompt", "system", "response", "conversation_id", "datetime_utc"} {
		old = old && l.columns["responses."+name]
	}
	for _, name := range []string{"turns.tip_message_hash", "turns.parent_message_hash", "turns.thread_id", "threads.tip_message_hash", "messages.parent_hash", "parts.payload"} {
		now = now && l.columns[name]
	}
	if !old && !now {
		return errUnknown
	}
	conversations := map[string]bool{}
	one := func(into func(id string)) func(scan) error {
		return func(scan scan) error {
			var id string
			err := scan(&id)
			into(id)
			return err
		}
	}
	if now {
		if err := l.rows(`SELECT id FROM threads`, nil, one(func(id string) { conversations[id] = true })); err != nil {
			return err
		}
		if err := l.rows(`SELECT id FROM turns`, nil, one(func(id string) { l.turned[id] = true })); err != nil {
			return err
		}
	}
	if old {
		var ids []string // an index has them, so a damaged row hides no other
		if err := l.rows(`SELECT id FROM responses ORDER BY id`, nil, one(func(id string) { ids = append(ids, id) })); err != nil {
			return err
		}
		for _, id := range ids {
			conversation := ""
			err := l.db.QueryRowContext(l.ctx, `SELECT coalesce(conversation_id, id) FROM responses WHERE id = ?`, id).Scan(&conversation)
			switch {
			case l.ctx.Err() != nil:
				return l.ctx.Err()
			case err != nil:
				l.damaged = append(l.damaged, fmt.Sprintf("answer %s: %v", id, err)) // of whichever conversation
			case !l.turned[id]:
				l.answers[conversation] = append(l.answers[conversation], id)
				conversations[conversation] = true
				l.all++
			}
		}
	}
	l.all += int64(len(l.turned))
	if l.calls, err = l.byAnswer("tool_calls"); err != nil {
		return err
	}
	if l.results, err = l.byAnswer("tool_results"); err != nil {
		return err
	}
	l.list = slices.Sorted(maps.Keys(conversations)) // in the order of time: theirs are ULIDs
	return nil
}

// byAnswer is which rows of a table belong to which answer, for which it has no index.
func (l *llmLog) byAnswer(table string) (map[string][]int64, error) {
	found := map[string][]int64{}
	if !l.columns[table+".response_id"] {
		return found, nil
	}
	return found, l.rows(`SELECT coalesce(response_id, ''), id FROM `+table+` ORDER BY id`, nil, func(scan scan) error {
		var answer string
		var row int64
		err := scan(&answer, &row)
		found[answer] = append(found[answer], row)
		return err
	})
}

type scan = func(into ...any) error

// rows gives the rows that a query finds to f.
func (l *llmLog) rows(query string, args []any, f func(scan) error) error {
	found, err := l.db.QueryContext(l.ctx, query, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := f(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}

func (l *llmLog) next(_ *encoder, f func(store.ArchiveRow) error) (string, error) {
	if len(l.damaged) > 0 {
		what := l.damaged[0]
		l.damaged = l.damaged[1:]
		return "the log", bad("%s", what)
	}
	if len(l.list) == 0 {
		return "", io.EOF
	}
	id := l.list[0]
	l.list = l.list[1:]
	place := "conversation " + id
	c, err := l.conversation(id)
	if err != nil {
		if l.ctx.Err() != nil {
			return place, l.ctx.Err()
		}
		return place, bad("%v", err) // a damaged page; the rest may be whole
	}
	l.progress(l.read, l.all)
	if len(c.nodes) == 0 {
		return place, nil
	}
	return place, c.give(f)
}

// conversation reads one conversation.
func (l *llmLog) conversation(id string) (foreign, error) {
	c := foreign{source: "llm", id: id}
	if l.columns["conversations.id"] {
		err := l.db.QueryRowContext(l.ctx, `SELECT coalesce(name, ''), coalesce(model, '') FROM conversations WHERE id = ?`, id).Scan(&c.title, &c.model)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return c, err
		}
	}
	var before []answer
	for _, answerID := range l.answers[id] {
		a, err := l.answer(answerID)
		l.read++
		if l.ctx.Err() != nil {
			return c, l.ctx.Err()
		}
		if err != nil {
			l.damaged = append(l.damaged, fmt.Sprintf("answer %s: %v", answerID, err))
			continue
		}
		before = append(before, a)
	}
	slices.SortStableFunc(before, func(a, b answer) int { return a.at.Compare(b.at) })
	if l.columns["threads.id"] {
		if err := l.thread(&c, &before); err != nil {
			return c, err
		}
	}
	// What only the old tables have comes first.
	system, last := "", ""
	var nodes []node
	for _, a := range before {
		for _, n := range a.nodes(&system) {
			n.parent, n.at = last, a.at
			last = n.id
			nodes = append(nodes, n)
		}
	}
	for i := range c.nodes {
		if c.nodes[i].parent == "" {
			c.nodes[i].parent = last
		}
	}
	c.nodes = append(nodes, c.nodes...)
	c.current = cmp.Or(c.current, last)
	if c.model == "" {
		for _, n := range c.nodes {
			c.model = cmp.Or(c.model, n.model)
		}
	}
	return c, nil
}

// answer is a row of responses, with what belongs to it.
type answer struct {
	id, model                           string
	prompt, system, response, reasoning string
	parts                               []store.Part
	calls, results                      string // of tools, in words
	usage                               store.Usage
	at                                  time.Time
}

func (l *llmLog) answer(id string) (a answer, err error) {
	or := func(column, otherwise string) string { // older logs do not have them
		if l.columns["responses."+column] {
			return "coalesce(" + column + ", " + otherwise + ")"
		}
		return otherwise
	}
	at := ""
	a.id = id
	err = l.db.QueryRowContext(l.ctx, `SELECT coalesce(model, ''), coalesce(prompt, ''), coalesce(system, ''), coalesce(response, ''), coalesce(datetime_utc, ''), `+
		or("input_tokens", "0")+`, `+or("output_tokens", "0")+`, `+or("reasoning", "''")+` FROM responses WHERE id = ?`, id).
		Scan(&a.model, &a.prompt, &a.system, &a.response, &at, &a.usage.InputTokens, &a.usage.OutputTokens, &a.reasoning)
	if err != nil {
		return a, err
	}
	a.at = llmTime(at)
	// As llm puts them together: fragments come first.
	for _, f := range []struct {
		table, between string
		into           *string
	}{{"prompt_fragments", "\n", &a.prompt}, {"system_fragments", "\n\n", &a.system}} {
		if !l.columns[f.table+".fragment_id"] {
			continue
		}
		var texts []string
		err := l.rows(`SELECT f.content FROM `+f.table+` p JOIN fragments f ON f.id = p.fragment_id WHERE p.response_id = ? ORDER BY p."order"`, []any{id}, func(scan scan) error {
			text := ""
			err := scan(&text)
			texts = append(texts, text)
			return err
		})
		if err != nil {
			return a, err
		}
		if *f.into != "" {
			texts = append(texts, *f.into)
		}
		*f.into = strings.Join(texts, f.between)
	}
	if l.columns["prompt_attachments.attachment_id"] {
		a.parts, err = l.attachments(`SELECT coalesce(a.type, ''), coalesce(a.path, ''), coalesce(a.url, ''), a.content FROM prompt_attachments p
			JOIN attachments a ON a.id = p.attachment_id WHERE p.response_id = ? ORDER BY p."order"`, id)
		if err != nil {
			return a, err
		}
	}
	for _, row := range l.calls[id] {
		var name, arguments string
		if err := l.db.QueryRowContext(l.ctx, `SELECT coalesce(name, ''), coalesce(arguments, '') FROM tool_calls WHERE id = ?`, row).Scan(&name, &arguments); err != nil {
			return a, err
		}
		a.calls = joined(a.calls, called(name, arguments))
	}
	for _, row := range l.results[id] {
		output := ""
		if err := l.db.QueryRowContext(l.ctx, `SELECT coalesce(output, '') FROM tool_results WHERE id = ?`, row).Scan(&output); err != nil {
			return a, err
		}
		a.results = joined(a.results, fenced("", output))
	}
	return a, nil
}

// nodes are what was said: instructions where they are others than before, what tools had said, the question and the answer.
func (a answer) nodes(system *string) (list []node) {
	if a.system != "" && a.system != *system {
		list = append(list, node{id: a.id + " system", role: "system", text: a.system})
		*system = a.system
	}
	if a.results != "" {
		list = append(list, node{id: a.id + " tools", role: "assistant", text: a.results, model: a.model})
	}
	if a.prompt != "" || len(a.parts) > 0 || a.results == "" {
		list = append(list, node{id: a.id + " prompt", role: "user", text: a.prompt, parts: a.parts})
	}
	said := node{id: a.id, role: "assistant", text: joined(a.response, a.calls), reasoning: a.reasoning, model: a.model}
	if a.usage != (store.Usage{}) {
		said.usage = &a.usage
	}
	return append(list, said)
}

// thread adds the messages of a row of threads, if there is one. Of the answers before it those are taken out that are among them.
func (l *llmLog) thread(c *foreign, before *[]answer) error {
	title := ""
	err := l.db.QueryRowContext(l.ctx, `SELECT coalesce(name, ''), coalesce(tip_message_hash, '') FROM threads WHERE id = ?`, c.id).Scan(&title, &c.current)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	c.title = cmp.Or(title, c.title)
	number := map[string]int{} // of nodes
	err = l.rows(`WITH RECURSIVE chain (hash) AS (
			SELECT tip_message_hash FROM threads WHERE id = ?1
			UNION SELECT tip_message_hash FROM turns WHERE thread_id = ?1
			UNION SELECT m.parent_hash FROM chain JOIN messages m ON m.hash = chain.hash)
		SELECT m.hash, coalesce(m.parent_hash, ''), coalesce(m.role, '') FROM chain JOIN messages m ON m.hash = chain.hash ORDER BY m.rowid`, []any{c.id}, func(scan scan) error {
		var n node
		err := scan(&n.id, &n.parent, &n.role)
		number[n.id] = len(c.nodes)
		c.nodes = append(c.nodes, n)
		return err
	})
	if err != nil {
		return err
	}
	for i := range c.nodes {
		if err := l.message(&c.nodes[i]); err != nil {
			return err
		}
	}
	turned := map[string]bool{} // messages that a turn has written
	err = l.rows(`SELECT coalesce(parent_message_hash, ''), coalesce(tip_message_hash, ''), coalesce(model, ''), coalesce(datetime_utc, ''),
		coalesce(input_tokens, 0), coalesce(output_tokens, 0) FROM turns WHERE thread_id = ? ORDER BY id`, []any{c.id}, func(scan scan) error {
		var parent, tip, model, at string
		var usage store.Usage
		if err := scan(&parent, &tip, &model, &at, &usage.InputTokens, &usage.OutputTokens); err != nil {
			return err
		}
		l.read++
		asked := false
		for id := tip; ; {
			i, there := number[id]
			if asked = asked || id == parent; !there || asked && (turned[id] || !c.nodes[i].at.IsZero()) {
				return nil
			}
			n := &c.nodes[i]
			n.at = llmTime(at)
			if !asked {
				turned[id], n.model = true, model
			}
			if id == tip && usage != (store.Usage{}) {
				n.usage = &usage
			}
			id = n.parent
		}
	})
	if err != nil {
		return err
	}
	// What stood before the first turn is what the old tables have.
	*before = slices.DeleteFunc(*before, func(a answer) bool {
		for i := range c.nodes {
			n := &c.nodes[i]
			if n.role == "assistant" && !turned[n.id] && n.text == joined(a.response, a.calls) {
				turned[n.id] = true
				n.at, n.model = a.at, a.model
				if a.usage != (store.Usage{}) {
					n.usage = &a.usage
				}
				for p, there := number[n.parent]; there && !turned[c.nodes[p].id] && c.nodes[p].role != "assistant"; p, there = number[c.nodes[p].parent] {
					turned[c.nodes[p].id], c.nodes[p].at = true, a.at
				}
				return true
			}
		}
		return false
	})
	return nil
}

// message reads what a message of a thread says.
func (l *llmLog) message(n *node) error {
	type part struct {
		id                  int64
		kind, name, payload string
		text                sql.NullString
	}
	var parts []part
	err := l.rows(`SELECT id, coalesce(type, ''), coalesce(tool_name, ''), text, coalesce(payload, '{}') FROM parts WHERE message_hash = ? ORDER BY position`, []any{n.id},
		func(scan scan) error {
			var p part
			err := scan(&p.id, &p.kind, &p.name, &p.text, &p.payload)
			parts = append(parts, p)
			return err
		})
	if err != nil {
		return err
	}
	tool := false // said something just before
	for _, p := range parts {
		var payload struct {
			Pieces []struct {
				Fragment int64
				Literal  string
			} `json:"text_ref"`
			Arguments json.RawMessage
			Output    string
		}
		if err := json.Unmarshal([]byte(p.payload), &payload); err != nil {
			return fmt.Errorf("a part of message %s: %w", n.id, err)
		}
		text := p.text.String
		for _, piece := range payload.Pieces {
			if piece.Fragment != 0 {
				if err := l.db.QueryRowContext(l.ctx, `SELECT content FROM fragments WHERE id = ?`, piece.Fragment).Scan(&piece.Literal); err != nil {
					return err
				}
			}
			text += piece.Literal
		}
		switch p.kind {
		case "reasoning":
			n.reasoning = joined(n.reasoning, text)
		case "tool_call":
			n.text = joined(n.text, called(p.name, string(payload.Arguments)))
		case "tool_result":
			n.text, n.role = joined(n.text, fenced("", cmp.Or(payload.Output, text))), "assistant" // who says that in llm is the user
		case "text":
			if tool {
				text = "\n\n" + text
			}
			n.text += text
		}
		tool = strings.HasPrefix(p.kind, "tool_")
		files, err := l.attachments(`SELECT coalesce(a.type, ''), coalesce(a.path, ''), coalesce(a.url, ''), a.content FROM part_attachments p
			JOIN attachments a ON a.id = p.attachment_id WHERE p.part_id = ? ORDER BY p."order"`, p.id)
		if err != nil {
			return err
		}
		n.parts = append(n.parts, files...)
	}
	return nil
}

// attachments are what a query finds of them. Those that are in a file are named.
func (l *llmLog) attachments(query string, arg any) (parts []store.Part, err error) {
	err = l.rows(query, []any{arg}, func(scan scan) error {
		var media, path, url string
		var content []byte
		if err := scan(&media, &path, &url, &content); err != nil {
			return err
		}
		data := "data:" + media + ";base64," + base64.StdEncoding.EncodeToString(content)
		switch {
		case len(content) == 0 && strings.HasPrefix(media, "image/"):
			parts = append(parts, imagePart(url, cmp.Or(path, "?")))
		case len(content) == 0:
			parts = append(parts, named("file", cmp.Or(url, path, media)))
		case strings.HasPrefix(media, "image/"):
			parts = append(parts, imagePart(data, ""))
		case media == "application/pdf":
			parts = append(parts, store.Part{Type: store.PartInputFile, Filename: "attachment.pdf", FileData: data})
		case utf8.Valid(content):
			parts = append(parts, filePart(cmp.Or(media, "attachment"), string(content)))
		default:
			parts = append(parts, named("file", media))
		}
		return nil
	})
	return parts, err
}

// llmTime is a time as llm writes it.
func llmTime(text string) time.Time {
	at, _ := time.Parse("2006-01-02T15:04:05.999999999", strings.Replace(strings.TrimSuffix(text, "+00:00"), " ", "T", 1))
	return at
}
