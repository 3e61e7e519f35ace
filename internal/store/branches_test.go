package store_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

func at(seq int64, idx int) store.Position { return store.Position{Seq: seq, Idx: idx} }

func stretches(line []store.Stretch) string {
	var list []string
	for _, s := range line {
		to := fmt.Sprintf("%d.%d", s.To.Seq, s.To.Idx)
		if s.To.Seq == math.MaxInt64 {
			to = "end"
		}
		list = append(list, fmt.Sprintf("%d.%d-%s", s.From.Seq, s.From.Idx, to))
	}
	return strings.Join(list, " ")
}

func TestLine(t *testing.T) {
	// 1 2 3 4; 5 continues 2; 7 continues 6; 9 continues 4.
	forks := []store.Fork{{At: at(5, 0), Parent: at(2, 1)}, {At: at(7, 0), Parent: at(6, 0)}, {At: at(9, 0), Parent: at(4, 0)}}
	for _, c := range []struct {
		tip  *store.Position
		want string
	}{
		{nil, "0.0-4.0 9.0-end"},
		{new(at(10, 2)), "0.0-4.0 9.0-10.2"},
		{new(at(9, 0)), "0.0-4.0 9.0-9.0"},
		{new(at(8, 0)), "0.0-2.1 5.0-6.0 7.0-8.0"},
		{new(at(6, 3)), "0.0-2.1 5.0-6.3"},
		{new(at(5, 0)), "0.0-2.1 5.0-5.0"},
		{new(at(4, 9)), "0.0-4.9"},
		{new(at(0, 0)), "0.0-0.0"},
	} {
		if got := stretches(store.Line(forks, c.tip)); got != c.want {
			t.Errorf("the line to %v is %s, want %s", c.tip, got, c.want)
		}
	}
	if got := stretches(store.Line(nil, nil)); got != "0.0-end" {
		t.Errorf("without forks the line is %s", got)
	}
}

func TestRangesCutTheLine(t *testing.T) {
	line := []store.Stretch{{From: at(0, 0), To: at(2, 1)}, {From: at(5, 0), To: at(8, 0)}}
	for _, c := range []struct {
		q    store.ThreadQuery
		want string
	}{
		{store.ThreadQuery{}, "0.0-2.1 5.0-8.0"},
		{store.ThreadQuery{Newest: true}, "5.0-8.0 0.0-2.1"},
		{store.ThreadQuery{After: new(at(1, 3))}, "1.4-2.1 5.0-8.0"},
		{store.ThreadQuery{After: new(at(2, 1))}, "5.0-8.0"},
		{store.ThreadQuery{After: new(at(3, 0))}, "5.0-8.0"},
		{store.ThreadQuery{After: new(at(8, 0))}, ""},
		{store.ThreadQuery{Before: new(at(6, 0))}, "0.0-2.1 5.0-6.-1"},
		{store.ThreadQuery{Before: new(at(5, 0))}, "0.0-2.1"},
		{store.ThreadQuery{Before: new(at(0, 0))}, ""},
		{store.ThreadQuery{After: new(at(1, 0)), Before: new(at(6, 2))}, "1.1-2.1 5.0-6.1"},
		{store.ThreadQuery{After: new(at(6, 0)), Before: new(at(6, 0))}, ""},
	} {
		if got := stretches(c.q.Ranges(line)); got != c.want {
			t.Errorf("%+v asks for %q, want %q", c.q, got, c.want)
		}
	}
}

// A line is what following each row to the one it continues gives, and its stretches are in order and apart.
func TestLineIsTheWalkBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "rows")
		continues := make([]int, n+1)
		var forks []store.Fork
		for seq := 1; seq <= n; seq++ {
			continues[seq] = seq - 1
			if seq > 2 && rapid.IntRange(0, 3).Draw(t, "fork") == 0 {
				continues[seq] = rapid.IntRange(1, seq-2).Draw(t, "parent")
				forks = append(forks, store.Fork{At: at(int64(seq), 0), Parent: at(int64(continues[seq]), 0)})
			}
		}
		tip := rapid.IntRange(1, n).Draw(t, "tip")
		var want []int
		for seq := tip; seq > 0; seq = continues[seq] {
			want = append(want, seq)
		}
		slices.Reverse(want)
		line := store.Line(forks, new(at(int64(tip), 0)))
		var got []int
		for seq := 1; seq <= n; seq++ {
			p := at(int64(seq), 0)
			for _, s := range line {
				if !p.Before(s.From) && !s.To.Before(p) {
					got = append(got, seq)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the line to %d is %v, want %v; its stretches are %s", tip, got, want, stretches(line))
		}
		for i := 1; i < len(line); i++ {
			if !line[i-1].To.Before(line[i].From) {
				t.Errorf("stretches out of order: %s", stretches(line))
			}
		}
	})
}

func TestAPageIsCutAtItsLimit(t *testing.T) {
	rows := func(n int) (list []store.Message) {
		for i := range n {
			list = append(list, store.Message{Position: at(int64(i), 0)})
		}
		return list
	}
	for _, c := range []struct{ limit, read, want int }{{0, 5, 5}, {5, 5, 5}, {4, 5, 4}, {1, 2, 1}, {3, 0, 0}} {
		for _, newest := range []bool{false, true} {
			page := store.ThreadQuery{Limit: c.limit, Newest: newest}.Cut(rows(c.read))
			if len(page.Messages) != c.want || page.More != (c.read > c.want) {
				t.Errorf("%+v, newest %v: %d messages, More %v", c, newest, len(page.Messages), page.More)
			}
			if n := len(page.Messages); n > 1 && page.Messages[0].Seq < page.Messages[1].Seq == newest {
				t.Errorf("%+v, newest %v: out of order", c, newest)
			}
		}
	}
	for limit, want := range map[int]int{-1: 100, 0: 100, 1: 1, 99: 99, 100: 100, 101: 100} {
		if got := (store.ListQuery{Limit: limit}).Size(); got != want {
			t.Errorf("a list page with limit %d has %d, want %d", limit, got, want)
		}
	}
}
