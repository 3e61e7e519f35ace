package archive

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	_ "git.georgsen.dk/hwlab/internal/store/sqlite" // the driver

	"git.georgsen.dk/hwlab/internal/store"
)

// SQLiteMagic is how an SQLite file begins.
const SQLiteMagic = "SQLite format 3\x00"

// ImportLLM adds the conversations of the log of the command llm, an SQLite file, to a record, as [Import] does.
func ImportLLM(ctx context.Context, to Record, path string, o Options) (Result, error) {
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
	columns := map[string]bool{}
	rows, err := db.QueryContext(ctx, `SELECT name FROM pragma_table_info('responses')`)
	if err != nil {
		return Result{}, err
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			rows.Close()
			return Result{}, err
		}
		columns[name] = true
	}
	if err := rows.Close(); err != nil {
		return Result{}, err
	}
	for _, name := range []string{"id", "model", "prompt", "system", "response", "conversation_id", "datetime_utc"} {
		if !columns[name] {
			return Result{}, errUnknown
		}
	}
	tokens := `0, 0` // older logs have none
	if columns["input_tokens"] && columns["output_tokens"] {
		tokens = `coalesce(r.input_tokens, 0), coalesce(r.output_tokens, 0)`
	}
	found, err := db.QueryContext(ctx, `SELECT coalesce(r.conversation_id, r.id), coalesce(c.name, ''), coalesce(c.model, r.model, ''), r.id, coalesce(r.model, ''),
		coalesce(r.prompt, ''), coalesce(r.system, ''), coalesce(r.response, ''), coalesce(r.datetime_utc, ''), `+tokens+`
		FROM responses r LEFT JOIN conversations c ON c.id = r.conversation_id ORDER BY 1, r.datetime_utc, r.id`)
	if err != nil {
		return Result{}, err
	}
	defer found.Close()
	return take(ctx, to, &llmLog{rows: found}, o)
}

// llmLog gives the conversations of llm's log, whose rows are answers with their questions.
type llmLog struct {
	rows   *sql.Rows
	begun  foreign // begun
	system string  // of it, as last said
	ended  bool
}

func (l *llmLog) next(_ *encoder, f func(store.ArchiveRow) error) (string, error) {
	for !l.ended {
		if !l.rows.Next() {
			l.ended = true
			if err := l.rows.Err(); err != nil {
				return "the log", err
			}
			break
		}
		var id, name, model, answer, by, prompt, system, response, at string
		var usage store.Usage
		if err := l.rows.Scan(&id, &name, &model, &answer, &by, &prompt, &system, &response, &at, &usage.InputTokens, &usage.OutputTokens); err != nil {
			return "the log", err
		}
		was := l.begun
		if was.id != id {
			l.begun, l.system = foreign{source: "llm", id: id, title: name, model: model}, ""
		}
		when, _ := time.Parse("2006-01-02T15:04:05.999999999", strings.TrimSuffix(at, "+00:00"))
		c := &l.begun
		add := func(n node) {
			if len(c.nodes) > 0 {
				n.parent = c.nodes[len(c.nodes)-1].id
			}
			n.at = when
			c.nodes = append(c.nodes, n)
		}
		if system != "" && system != l.system {
			add(node{id: answer + " system", role: "system", text: system})
			l.system = system
		}
		add(node{id: answer + " prompt", role: "user", text: prompt})
		add(node{id: answer, role: "assistant", text: response, model: cmp.Or(by, model)})
		if usage != (store.Usage{}) {
			c.nodes[len(c.nodes)-1].usage = &usage
		}
		if was.id != "" && was.id != id {
			return give(was, f)
		}
	}
	last := l.begun
	if l.begun = (foreign{}); last.id == "" {
		return "", io.EOF
	}
	return give(last, f)
}

// give gives the rows of a conversation to f.
func give(c foreign, f func(store.ArchiveRow) error) (string, error) {
	place := fmt.Sprintf("conversation %s", c.id)
	rows, err := c.rows()
	for _, row := range rows {
		if err == nil {
			err = f(row)
		}
	}
	return place, err
}
