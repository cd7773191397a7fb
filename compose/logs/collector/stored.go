package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// Each row says where its line ends in the file it was read from. With its time that tells it from every other row of the
	// source, also from one of a file that was replaced or truncated.
	offsetField = "log.offset"
	startMetric = "process_start_time_seconds "
	askFor      = 30 * time.Second
)

// place identifies a row of a source.
type place struct{ time, offset int64 }

// denied is the answer of a store that does not answer this sender's questions.
type denied struct{ error }

// reconcile goes back to the checkpoint and asks the store which of the lines after it are stored already: those are not sent
// again. What the store took may be unknown (this process has just started, an answer was lost), or what it said may hold no more
// (another process of it runs now, without the rows that the last one had in memory). Waits for a store that is away: nothing can
// be delivered meanwhile.
func (c *collector) reconcile(ctx context.Context) {
	var since time.Time
	for wait := c.sender.pause; ctx.Err() == nil; wait = min(2*wait, 30*c.sender.pause) {
		stored, started, err := c.ask(ctx)
		if err == nil {
			c.rewind(stored)
			c.started = started
			return
		}
		var no denied
		if errors.As(err, &no) && since.IsZero() {
			since = time.Now()
		}
		if ctx.Err() == nil && !since.IsZero() && time.Since(since) > c.askFor {
			slog.Warn("lines after the checkpoint are sent again: the store does not say which of them it has", "error", err.Error())
			c.rewind(nil)
			c.started = started
			return
		}
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, long time.Duration) {
	select {
	case <-time.After(long):
	case <-ctx.Done():
	}
}

// ask returns the places that the store has after the checkpoint, by path, and which process of it said so.
func (c *collector) ask(ctx context.Context) (stored map[string]map[place]bool, started string, err error) {
	if started, err = c.sender.started(ctx); err != nil {
		return nil, "", err
	}
	for before := -1; ; {
		stored, found := map[string]map[place]bool{}, 0
		for path, question := range c.questions() {
			if stored[path], err = c.sender.places(ctx, question); err != nil {
				return nil, started, err
			}
			found += len(stored[path])
		}
		// A request that broke off may still be at work in the store.
		if found == before {
			return stored, started, nil
		}
		before = found
		sleep(ctx, c.sender.pause)
	}
}

// questions are the queries for what may be stored after the checkpoint, by path.
func (c *collector) questions() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]string{}
	for path, s := range c.sources {
		if first := s.firstTime(c.saved[path]); first != "" {
			all[path] = fmt.Sprintf("_time:>=%s {service=%q} replica:=%q %q:* | fields _time, %q",
				first, s.service, s.replica, offsetField, offsetField)
		}
	}
	return all
}

// firstTime is when the first line after a place was written.
func (s *source) firstTime(at mark) string {
	for _, g := range s.files[max(0, slices.Index(s.files, at.in)):] {
		offset := g.Base
		if g == at.in {
			offset = at.offset
		}
		data, err := g.read(offset)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if p, ok := parsePart([]byte(line)); ok && nanoseconds(p.time) != 0 {
				return p.time
			}
		}
	}
	return ""
}

// nanoseconds since 1970 of a line's time; 0 if it has none.
func nanoseconds(text string) int64 {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0
	}
	return at.UnixNano()
}

// get asks the store something besides its address for rows.
func (s *sender) get(ctx context.Context, path string, query url.Values, read func(io.Reader) error) error {
	if err := s.renew(); err != nil {
		return err
	}
	base, _, _ := strings.Cut(s.url, "/insert/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		err := fmt.Errorf("%s: HTTP %d", path, response.StatusCode)
		switch response.StatusCode {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return err
		}
		return denied{err}
	}
	return read(response.Body)
}

// started tells one process of the store from the next.
func (s *sender) started(ctx context.Context) (found string, err error) {
	err = s.get(ctx, "/metrics", nil, func(body io.Reader) error {
		for lines := bufio.NewScanner(body); lines.Scan(); {
			if value, is := strings.CutPrefix(lines.Text(), startMetric); is {
				found = value
				return nil
			}
		}
		return errors.New("the store does not say when it was started")
	})
	return found, err
}

// places are those of the rows that a query finds, of all that the store has accepted until now.
func (s *sender) places(ctx context.Context, query string) (map[place]bool, error) {
	// A row can be found a second or two after it was accepted, or after this.
	if err := s.get(ctx, "/internal/force_flush", nil, func(io.Reader) error { return nil }); err != nil {
		return nil, err
	}
	found := map[place]bool{}
	return found, s.get(ctx, "/select/logsql/query", url.Values{"query": {query}}, func(body io.Reader) error {
		for decoder := json.NewDecoder(body); ; {
			row := map[string]string{}
			if err := decoder.Decode(&row); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if offset, err := strconv.ParseInt(row[offsetField], 10, 64); err == nil {
				found[place{nanoseconds(row["_time"]), offset}] = true
			}
		}
	})
}
