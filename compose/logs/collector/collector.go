package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const heldDir = "held"

type collector struct {
	logs, state string
	room        int64 // bytes that copies of replaced files may take
	sender      *sender
	started     string        // the process of the store that has accepted what is not in the checkpoint
	askFor      time.Duration // how long a store that answers, and does not say what it has, is asked
	failures    int           // requests in a row that were not accepted

	mu       sync.Mutex
	sources  map[string]*source
	accepted map[string]mark // what the store has accepted
	trailer  map[string]mark // accepted at the last checkpoint: becomes the next one
	saved    map[string]mark // the checkpoint on disk
}

func (c *collector) held() string { return filepath.Join(c.state, heldDir) }

// open takes up the checkpoint, and removes copies that it does not need.
func (c *collector) open() error {
	c.sources, c.accepted, c.saved = map[string]*source{}, map[string]mark{}, map[string]mark{}
	if err := os.MkdirAll(c.held(), 0o700); err != nil {
		return err
	}
	positions := load(c.checkpointFile())
	for path := range positions {
		c.add(path, positions)
	}
	c.find(positions)
	needed := map[string]bool{}
	for _, s := range c.sources {
		for _, g := range s.files {
			needed[g.Held] = true
		}
	}
	copies, _ := os.ReadDir(c.held())
	for _, one := range copies {
		if !needed[one.Name()] {
			os.Remove(filepath.Join(c.held(), one.Name()))
		}
	}
	c.trailer = c.marks()
	return nil
}

// find takes up files that are new.
func (c *collector) find(positions map[string]position) {
	paths, _ := filepath.Glob(filepath.Join(c.logs, "*.log"))
	for _, path := range paths {
		if c.sources[path] == nil {
			c.add(path, positions)
		}
	}
}

func (c *collector) add(path string, positions map[string]position) {
	s := newSource(path)
	from, known := positions[path]
	for _, l := range s.resume(from, known, c.held()) {
		lost.count(l)
	}
	if s.at != nil {
		c.sources[path] = s
		c.accepted[path], c.saved[path] = s.safe, s.safe
	}
}

// marks is a copy of what has been accepted.
func (c *collector) marks() map[string]mark {
	all := map[string]mark{}
	for path, at := range c.accepted {
		all[path] = at
	}
	return all
}

// look notices a replaced file and keeps what is not delivered of it.
func (c *collector) look(s *source) {
	replaced, err := s.look()
	if err != nil && !s.gone {
		slog.Error("cannot read log file", "file", s.path, "error", err.Error())
	}
	if replaced == nil {
		return
	}
	from := replaced.Base
	if at := c.saved[s.path]; at.in == replaced {
		from = at.offset
	}
	if err := replaced.hold(c.held(), filepath.Base(s.path), from); err != nil {
		slog.Error("a replaced log file cannot be kept, its lines are lost if the collector ends before they are delivered",
			"file", s.path, "error", err.Error())
		return
	}
	c.makeRoom()
	c.write(c.saved)
}

// makeRoom gives up the oldest copies where all of them take more than they may.
func (c *collector) makeRoom() {
	for {
		var total int64
		var oldest *source
		var since time.Time
		for _, s := range c.sources {
			for i, g := range s.files {
				if g.Held == "" {
					continue
				}
				info, err := g.file.Stat()
				if err != nil {
					continue
				}
				total += info.Size()
				if i == 0 && len(s.files) > 1 && (oldest == nil || info.ModTime().Before(since)) {
					oldest, since = s, info.ModTime()
				}
			}
		}
		heldBytes.set(total)
		if total <= c.room || oldest == nil {
			return
		}
		given := oldest.files[0]
		lost.count(oldest.drop(c.held()))
		for _, marks := range []map[string]mark{c.accepted, c.trailer, c.saved} {
			if marks[oldest.path].in == given {
				marks[oldest.path] = mark{oldest.files[0], oldest.files[0].Base}
			}
		}
	}
}

// sweep reads what is new of every file, one piece of each, and delivers it. `rows`: what is to be delivered first. Returns
// whether there is more to read.
func (c *collector) sweep(ctx context.Context, rows []row) (more bool) {
	rows, reached, more := c.read(rows)
	if err := c.sender.deliver(ctx, rows); err != nil {
		c.retry(ctx, len(rows), err)
		return true
	}
	c.failures = 0
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, at := range reached {
		// Given up meanwhile: there was no room for it.
		if s := c.sources[path]; s != nil && s.has(at.in) {
			c.accepted[path] = at
		}
	}
	c.measure()
	return more
}

// retry waits, and has read again what the store has not taken. Where the context has ended, the checkpoint stays behind that.
func (c *collector) retry(ctx context.Context, rows int, err error) {
	if ctx.Err() != nil {
		return
	}
	batchesRetried.add(1)
	slog.Warn("rows not accepted, will retry", "rows", rows, "error", err.Error())
	sleep(ctx, min(c.sender.pause<<c.failures, 30*c.sender.pause))
	c.failures = min(c.failures+1, 5)
	c.reconcile(ctx)
}

func (c *collector) read(rows []row) (all []row, reached map[string]mark, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.find(nil)
	reached = map[string]mark{}
	for path, s := range c.sources {
		c.look(s)
		found, gone, unread, err := s.read()
		if err != nil && !s.gone {
			slog.Error("cannot read log file", "file", path, "error", err.Error())
		}
		for _, l := range gone {
			lost.count(l)
		}
		rows = append(rows, found...)
		reached[path] = s.safe
		more = more || unread
	}
	return rows, reached, more
}

// measure sets what the metrics say of the files.
func (c *collector) measure() {
	var backlog int64
	for path, s := range c.sources {
		backlog += s.after(c.accepted[path])
	}
	backlogBytes.set(backlog)
	filesFollowed.set(int64(len(c.sources)))
}

// rewind goes back to the checkpoint. `stored`: what the store has of the lines after it, by path.
func (c *collector) rewind(stored map[string]map[place]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, s := range c.sources {
		if at := c.saved[path]; s.has(at.in) {
			s.rewind(at)
			c.accepted[path] = at
		}
		s.stored = stored[path]
	}
	c.trailer = c.marks()
}

// advance moves the checkpoint to what the store has on its disk: what it had accepted at the last one, as long as it is the same
// process. Another one may have begun without it.
func (c *collector) advance(ctx context.Context) {
	started, err := c.sender.started(ctx)
	var no denied
	switch {
	case errors.As(err, &no), err == nil && started == c.started:
		c.checkpoint(c.trailer)
	case err == nil:
		c.reconcile(ctx)
	}
}

// checkpoint writes how far every file is delivered, and lets go of what lies before.
func (c *collector) checkpoint(to map[string]mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.write(to) {
		return
	}
	c.saved, c.trailer = to, c.marks()
	for path, s := range c.sources {
		s.prune(c.saved[path], c.held())
		if s.gone && s.at == s.files[len(s.files)-1] && s.after(c.saved[path]) == 0 {
			s.close(c.held())
			delete(c.sources, path)
			delete(c.accepted, path)
		}
	}
	c.makeRoom()
}

func (c *collector) write(to map[string]mark) bool {
	positions := map[string]position{}
	for path, s := range c.sources {
		at, ok := to[path]
		if !ok || !s.has(at.in) {
			at = mark{s.files[0], s.files[0].Base}
		}
		positions[path] = s.position(at)
	}
	if err := save(c.checkpointFile(), positions); err != nil {
		slog.Error("cannot write the checkpoint", "error", err.Error())
		return false
	}
	return true
}
