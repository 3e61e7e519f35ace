package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/sqlite"
)

// Reading needs no server: a reader opens the record beside it. What changes a record that a server holds is asked of that server,
// which the lock file names. With HWLAB_URL all of it is asked of that one.

// listed is a conversation as list --json writes it, a line each.
type listed struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	Model     string    `json:"model"`
	StartedAt time.Time `json:"started_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Messages  int       `json:"messages"`
	Pinned    bool      `json:"pinned"`
	Archived  bool      `json:"archived"`
}

func newListed(c store.ConversationSummary) listed {
	return listed{"conv_" + c.ID, c.Title, c.Model, c.StartedAt, c.UpdatedAt, c.MessageCount, c.Pinned, c.Archived}
}

// writeListed writes a line of list.
func writeListed(w io.Writer, c store.ConversationSummary, asJSON bool) error {
	if asJSON {
		return writeJSON(w, newListed(c))
	}
	_, err := fmt.Fprintf(w, "%s  %s  %4d  %s\n", c.ID, c.UpdatedAt.Local().Format("2006-01-02 15:04"), c.MessageCount, oneLine(c.Title, 80))
	return err
}

func newListCommand() *cobra.Command {
	var asJSON, archived bool
	var limit int
	cmd := recordCommand(&cobra.Command{
		Use:   "list",
		Short: "List conversations, latest activity first",
		Args:  usage(cobra.NoArgs),

		ValidArgsFunction: cobra.NoFileCompletions,
	}, func(cmd *cobra.Command, _ []string, cfg config) error {
		if limit < 1 {
			return &usageError{errors.New("--limit is a number from 1")}
		}
		r, err := openReader(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer r.Close()
		q := store.ListQuery{Archived: archived}
		for left := limit; left > 0; {
			q.Limit = min(left, store.ListLimit)
			page, err := r.List(cmd.Context(), q)
			if err != nil {
				return err
			}
			for _, c := range page.Conversations {
				if err := writeListed(cmd.OutOrStdout(), c, asJSON); err != nil {
					return err
				}
				cursor := c.Cursor()
				q.After = &cursor
			}
			if left -= len(page.Conversations); !page.More {
				return nil
			}
		}
		return nil
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON object a line")
	cmd.Flags().BoolVar(&archived, "archived", false, "the archived ones instead of the others")
	cmd.Flags().IntVarP(&limit, "limit", "l", 20, "how many")
	return cmd
}

// shown is a message as show --json writes it, a line each.
type shown struct {
	ID         string          `json:"id"`
	Role       string          `json:"role"`
	Status     string          `json:"status"`
	CreatedAt  time.Time       `json:"created_at"`
	ResponseID string          `json:"response_id,omitempty"`
	Content    string          `json:"content"`
	Item       json.RawMessage `json:"item,omitempty"`
}

func newShowCommand() *cobra.Command {
	var asJSON bool
	cmd := recordCommand(&cobra.Command{
		Use:               "show ID",
		Short:             "Show a conversation, by its id or a unique beginning of it",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeIDs(1),
	}, func(cmd *cobra.Command, args []string, cfg config) error {
		r, err := openReader(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer r.Close()
		id, err := r.Find(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if !asJSON {
			out := cmd.OutOrStdout()
			if isTerminal(out) {
				out = harmlessWriter{out}
			}
			return archive.Markdown(cmd.Context(), r, out, id)
		}
		c, err := r.GetConversation(cmd.Context(), id)
		if err != nil {
			return err
		}
		for _, m := range c.Messages {
			reply := m.ResponseID
			if reply != "" {
				reply = "resp_" + reply
			}
			if err := writeJSON(cmd.OutOrStdout(), shown{"msg_" + m.ID, m.Role, string(m.Status), m.CreatedAt, reply, m.Content, m.Item}); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON object a message")
	return cmd
}

// hit is what search --json writes, a line each: what the API has for a hit, with the time as the other commands write it.
type hit struct {
	ConversationID string    `json:"conversation_id"`
	Title          string    `json:"title"`
	ItemID         string    `json:"item_id,omitempty"` // absent, as role, of a hit in the title
	Role           string    `json:"role,omitempty"`
	Model          string    `json:"model,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
	Snippet        string    `json:"snippet"`
	Marks          []mark    `json:"marks"`
}

// mark is a run of characters, Unicode code points, of a snippet.
type mark struct {
	Start int `json:"start_index"`
	End   int `json:"end_index"`
}

// newHit is h as search writes it. Of a title the snippet is all of it.
func newHit(h store.Hit) hit {
	o := hit{ConversationID: "conv_" + h.ConversationID, Title: h.Title, Role: h.Role, Model: h.Model, CreatedAt: h.CreatedAt, Snippet: h.Excerpt, Marks: []mark{}}
	if h.ID == "" {
		o.Snippet = h.Title
	} else {
		o.ItemID = "msg_" + h.ID
	}
	for _, m := range h.Marks {
		start := utf8.RuneCountInString(o.Snippet[:m.From])
		o.Marks = append(o.Marks, mark{start, start + utf8.RuneCountInString(o.Snippet[m.From:m.To])})
	}
	return o
}

// errNoHit ends a search that found nothing, as it does grep.
var errNoHit = &exit{code: 1}

func newSearchCommand() *cobra.Command {
	var asJSON, best bool
	var limit int
	var role, model, after, before, archived string
	cmd := recordCommand(&cobra.Command{
		Use:   "search TERM...",
		Short: "Find messages and titles that hold all terms, newest first; the exit code is 1 where there are none",
		Long: "Find messages and titles that hold all terms, newest first. Case and accents do not count. A term of three characters and more\n" +
			"may stand anywhere in a word (10.5.0.109, sda1), a shorter one begins a word, and in double quotes, which the shell must leave,\n" +
			"it may hold spaces: hwlab search '\"device busy\"'. The exit code is 1 where nothing is found.",
		Args: usage(cobra.MinimumNArgs(1)),

		ValidArgsFunction: cobra.NoFileCompletions,
	}, func(cmd *cobra.Command, args []string, cfg config) error {
		q := store.SearchQuery{Text: strings.Join(args, " "), Role: role, Model: model, Best: best}
		var afterErr, beforeErr error
		q.After, afterErr = flagTime("after", after)
		q.Before, beforeErr = flagTime("before", before)
		if err := cmp.Or(afterErr, beforeErr); err != nil {
			return &usageError{err}
		}
		switch archived {
		case "":
		case "true", "false":
			only := archived == "true"
			q.Archived = &only
		default:
			return &usageError{errors.New("--archived is true or false")}
		}
		if !slices.Contains([]string{"", "user", "assistant", "system"}, role) {
			return &usageError{errors.New("--role is one of user, assistant, system")}
		}
		if limit < 1 {
			return &usageError{errors.New("--limit is a number from 1")}
		}
		r, err := openReader(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer r.Close()
		out := cmd.OutOrStdout()
		colour := isTerminal(out) && os.Getenv("NO_COLOR") == ""
		hits := 0
		for left := limit; left > 0; {
			q.Limit = min(left, 100)
			found, err := r.Search(cmd.Context(), q)
			if err != nil {
				return err
			}
			if best && q.Cursor == "" && !found.Back.IsZero() {
				fmt.Fprintf(cmd.ErrOrStderr(), "the best of the newest 2,000 hits, which begin %s\n", found.Back.Local().Format("2006-01-02 15:04"))
			}
			for _, h := range found.Hits {
				hits++
				if asJSON {
					err = writeJSON(out, newHit(h))
				} else {
					_, err = fmt.Fprintln(out, hitLine(h, colour))
				}
				if err != nil {
					return err
				}
			}
			// A page may be short, even empty, and have a next one.
			left -= len(found.Hits)
			if q.Cursor = found.Next; q.Cursor == "" {
				break
			}
		}
		if hits == 0 {
			return errNoHit
		}
		return nil
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON object a hit")
	cmd.Flags().IntVarP(&limit, "limit", "l", 20, "how many")
	cmd.Flags().StringVar(&role, "role", "", "only what one role said: user, assistant or system")
	cmd.Flags().StringVar(&model, "model", "", "only what this model wrote")
	cmd.Flags().StringVar(&after, "after", "", "only from this day or time on: 2026-11-24, or 2026-11-24T08:00:00Z")
	cmd.Flags().StringVar(&before, "before", "", "only before this day or time")
	cmd.Flags().StringVar(&archived, "archived", "", "true: only archived conversations; false: only others")
	cmd.Flags().BoolVar(&best, "best", false, "the best first, among the newest 2,000 hits")
	const none = cobra.ShellCompDirectiveNoFileComp
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]cobra.Completion{"user", "assistant", "system"}, none)) // fails only for a flag that is not there
	_ = cmd.RegisterFlagCompletionFunc("archived", cobra.FixedCompletions([]cobra.Completion{"true", "false"}, none))
	_ = cmd.RegisterFlagCompletionFunc("model", completeModels)
	return cmd
}

// flagTime reads a time: a day, which begins here, or a date and a time with its zone.
func flagTime(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	if err != nil {
		at, err = time.Parse(time.RFC3339, text)
	}
	if err != nil || at.Year() < 1970 {
		return at, fmt.Errorf("--%s is a day such as 2026-11-24, or 2026-11-24T08:00:00Z", name)
	}
	return at, nil
}

// hitLine is a hit on one line: the conversation, the time, its title and what was said.
func hitLine(h store.Hit, colour bool) string {
	title, snippet := oneLine(h.Title, 40), marked(h.Excerpt, h.Marks, colour)
	if h.ID == "" {
		title, snippet = marked(h.Title, h.Marks, colour), "(title)"
	}
	return fmt.Sprintf("%s  %s  %s: %s", h.ConversationID, h.CreatedAt.Local().Format("2006-01-02 15:04"), title, snippet)
}

// marked is text on one line, its marks bold and in colour where a terminal shows that.
func marked(text string, marks []store.Mark, colour bool) string {
	if !colour {
		return oneLine(text, len(text))
	}
	var b strings.Builder
	at := 0
	for _, m := range marks {
		b.WriteString(printable(text[at:m.From]) + "\x1b[1;33m" + printable(text[m.From:m.To]) + "\x1b[0m")
		at = m.To
	}
	b.WriteString(printable(text[at:]))
	return strings.Join(strings.Fields(b.String()), " ")
}

func newRenameCommand() *cobra.Command {
	var asJSON bool
	cmd := recordCommand(&cobra.Command{
		Use:               "rename ID TITLE",
		Short:             "Give a conversation another title",
		Args:              usage(cobra.ExactArgs(2)),
		ValidArgsFunction: completeIDs(1),
	}, func(cmd *cobra.Command, args []string, cfg config) error {
		title := args[1]
		if !utf8.ValidString(title) { // on its way to a server it would be changed
			return &usageError{errors.New("the title is not text: it has a byte that is not UTF-8")}
		}
		var renamed conversationWire
		var c store.ConversationSummary
		id, there, err := change(cmd.Context(), cfg, args[0], func(r keeper, id string) (err error) {
			c, err = r.UpdateConversation(cmd.Context(), id, store.ConversationChange{Title: &title})
			return err
		}, http.MethodPost, map[string]string{"title": title}, &renamed)
		if err != nil || !asJSON {
			return err
		}
		if there {
			c = renamed.summary()
		}
		c.ID = id
		return writeJSON(cmd.OutOrStdout(), newListed(c))
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the conversation as a JSON object, as list does")
	return cmd
}

func newDeleteCommand() *cobra.Command {
	var asJSON bool
	cmd := recordCommand(&cobra.Command{
		Use:               "delete ID",
		Short:             "Erase a conversation, for good",
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeIDs(1),
	}, func(cmd *cobra.Command, args []string, cfg config) error {
		id, _, err := change(cmd.Context(), cfg, args[0], func(r keeper, id string) error { return r.DeleteConversation(cmd.Context(), id) }, http.MethodDelete, nil, nil)
		if err != nil || !asJSON {
			return err
		}
		return writeJSON(cmd.OutOrStdout(), map[string]any{"id": "conv_" + id, "deleted": true})
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON object that says what was deleted")
	return cmd
}

// change changes a conversation in the record or, where a server holds it, by a request to that server, whose answer goes into
// answer then.
func change(ctx context.Context, cfg config, name string, local func(r keeper, id string) error, method string, body, answer any) (id string, there bool, err error) {
	from, err := openReader(ctx, cfg)
	if err != nil {
		return "", false, err
	}
	id, err = from.Find(ctx, name)
	from.Close()
	if err != nil {
		return "", false, err
	}
	path := "/v1/conversations/conv_" + url.PathEscape(id)
	if r, ok := from.(remote); ok {
		return id, true, r.call(ctx, method, path, body, answer)
	}
	r, err := openKeeper(ctx, cfg)
	var locked *sqlite.LockedError
	if errors.As(err, &locked) && locked.URL != "" {
		holder := &client{base: locked.URL, password: cfg.Password}
		defer holder.http.CloseIdleConnections()
		return id, true, holder.call(ctx, method, path, body, answer)
	}
	if err != nil {
		return "", false, err
	}
	defer r.Close()
	return id, false, local(r, id)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// oneLine is the beginning of text, on one line and without what a terminal would act on.
func oneLine(text string, most int) string {
	runes := []rune(strings.Join(strings.Fields(printable(text)), " "))
	if len(runes) > most {
		runes = append(runes[:most-1], '…')
	}
	return string(runes)
}

// printable is text with a space for each character that a terminal would act on.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}
