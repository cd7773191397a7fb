package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A line whose end does not come is passed on as it stands after this time: its container has ended in the middle of it.
const unfinishedFor = time.Minute

// mark is a place in one of the files of a source.
type mark struct {
	in     *generation
	offset int64
}

// source follows one path through replacement and truncation, and joins the parts of split lines. Its files are kept, oldest
// first, until the checkpoint on disk has passed them.
type source struct {
	path             string
	service, replica string
	files            []*generation
	at               *generation // the one that is being read
	rest             []byte      // bytes after the last complete line
	pending          map[string]part
	began            time.Time      // when the oldest of the pending parts was read
	safe             mark           // the last place where nothing was pending
	stored           map[place]bool // rows ahead that the store has already
	replacements     int            // files opened in place of another one, less those that inotify has announced
	gone             bool           // the path exists no more
}

func newSource(path string) *source {
	s := &source{path: path, pending: map[string]part{}}
	s.service, s.replica = parseName(path)
	return s
}

// resume opens the files that the checkpoint names. Returns what cannot be read any more.
func (s *source) resume(from position, known bool, folder string) (lost []loss) {
	for _, earlier := range from.Earlier {
		g, err := openHeld(folder, earlier)
		if err != nil {
			lost = append(lost, loss{source: s.service, reason: "copy_missing", why: err.Error()})
			continue
		}
		s.files = append(s.files, g)
	}
	g, err := openGeneration(s.path)
	if err != nil {
		s.gone = errors.Is(err, os.ErrNotExist)
		if len(s.files) > 0 {
			s.rewind(mark{s.files[0], s.files[0].Offset})
		}
		return lost
	}
	s.files = append(s.files, g)
	// The collector up to release 1 wrote a character that was cut at the end of the head as U+FFFD.
	want := bytes.TrimRight([]byte(from.Head), "\ufffd")
	if head, err := g.head(); known && (g.Inode != from.Inode || err != nil || !bytes.HasPrefix([]byte(head), want) || g.size < from.Offset) {
		if held, found := findHeld(folder, filepath.Base(s.path), from); found {
			if earlier, err := openHeld(folder, held); err == nil {
				s.files = slices.Insert(s.files, len(s.files)-1, earlier)
			}
		} else {
			lost = append(lost, loss{source: s.service, reason: "replaced_while_away", why: "the file that was read stands there no more"})
		}
	} else if known {
		g.Offset, g.Head = from.Offset, string(want)
	}
	s.rewind(mark{s.files[0], s.files[0].Offset})
	return lost
}

// rewind has everything after a place read again.
func (s *source) rewind(to mark) {
	begun := slices.Index(s.files, to.in)
	for _, g := range s.files[begun+1:] {
		g.Offset = g.Base
	}
	s.at, s.safe, s.rest = to.in, to, nil
	to.in.Offset = to.offset
	clear(s.pending)
}

// look notices a replacement: the new file is opened, and the old one kept. Returns the one that was replaced.
func (s *source) look() (replaced *generation, err error) {
	info, err := os.Stat(s.path)
	if err != nil {
		s.gone = errors.Is(err, os.ErrNotExist)
		return nil, err
	}
	s.gone = false
	var last *generation
	if len(s.files) > 0 {
		if last = s.files[len(s.files)-1]; last.Held == "" && last.Inode == inode(info) {
			_, err := last.truncated() // what of it is unread, should it be cut
			return nil, err
		}
	}
	g, err := openGeneration(s.path)
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, g)
	if last == nil {
		s.rewind(mark{g, 0})
		return nil, nil
	}
	s.replacements++
	return last, nil
}

// read returns the next rows; more tells that there is more to read at once.
func (s *source) read() (rows []row, lost []loss, more bool, err error) {
	if s.at == nil {
		return nil, nil, false, nil
	}
	unread := s.at.size - s.at.Offset - int64(len(s.rest))
	cut, err := s.at.truncated()
	if err != nil {
		return nil, nil, false, err
	}
	if cut {
		if unread > 0 {
			lost = append(lost, loss{source: s.service, reason: "truncated", bytes: unread, why: "the file was cut"})
		}
		s.at.Head, s.at.size = "", 0
		s.rewind(mark{s.at, 0})
	}
	data, err := s.at.read(s.at.Offset + int64(len(s.rest)))
	if err != nil {
		return nil, lost, false, err
	}
	if len(data) > 0 {
		return s.lines(data), lost, len(data) == readSize, nil
	}
	if next := slices.Index(s.files, s.at) + 1; next < len(s.files) {
		// The last line of a replaced file may have its end, or its further parts, in the next one.
		rows = s.unfinishedBytes()
		s.at = s.files[next]
		s.settle()
		return rows, lost, true, nil
	}
	return s.flush(), lost, false, nil
}

// unfinishedBytes passes on a line that a replaced file ends with and that has no end: Podman never writes one in two files.
func (s *source) unfinishedBytes() []row {
	line := s.rest
	s.rest = nil
	s.at.Offset += int64(len(line))
	return s.add(nil, line)
}

// lines consumes the complete lines of rest+data.
func (s *source) lines(data []byte) (rows []row) {
	data = append(s.rest, data...)
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			break
		}
		s.at.Offset += int64(end + 1)
		rows = s.add(rows, data[:end])
		data = data[end+1:]
		s.settle()
	}
	s.rest = bytes.Clone(data)
	if len(s.rest) > 2*maxMessage { // no line of Podman's is that long
		rows = append(rows, s.unfinishedBytes()...)
		s.settle()
	}
	return rows
}

func (s *source) add(rows []row, line []byte) []row {
	if p, ok := s.join(line); ok {
		rows = s.pass(rows, p)
	}
	return rows
}

// pass makes a row of a line, unless the store has it.
func (s *source) pass(rows []row, p part) []row {
	if len(s.stored) > 0 {
		if at := (place{nanoseconds(p.time), p.end}); s.stored[at] {
			delete(s.stored, at)
			rowsStored.add(1)
			return rows
		}
	}
	return append(rows, row{source: s.service, line: record(s.service, s.replica, p)})
}

func (s *source) settle() {
	if len(s.pending) == 0 {
		s.safe = mark{s.at, s.at.Offset}
	}
}

// join keeps the parts of a line until its end; what is not in Podman's format is passed on as it stands.
func (s *source) join(line []byte) (part, bool) {
	p, ok := parsePart(line)
	p.end = s.at.Offset
	if !ok {
		return part{time: "0", stream: "raw", text: line}, len(line) > 0
	}
	if begun, ok := s.pending[p.stream]; ok {
		p.time, p.text = begun.time, append(begun.text, p.text...)
	} else {
		p.text = bytes.Clone(p.text)
	}
	if !p.whole && len(p.text) < maxMessage {
		if len(s.pending) == 0 {
			s.began = time.Now()
		}
		s.pending[p.stream] = p
		return part{}, false
	}
	delete(s.pending, p.stream)
	return p, true
}

// flush passes on lines whose end has not come for long.
func (s *source) flush() (rows []row) {
	if len(s.pending) == 0 || time.Since(s.began) < unfinishedFor {
		return nil
	}
	for _, p := range s.pending {
		rows = s.pass(rows, p)
	}
	clear(s.pending)
	s.settle()
	return rows
}

// after is how many bytes of its files, when they were last looked at, lie after a place.
func (s *source) after(at mark) (bytes int64) {
	for _, g := range s.files[max(0, slices.Index(s.files, at.in)):] {
		begin := g.Base
		if g == at.in {
			begin = at.offset
		}
		bytes += max(0, g.size-begin)
	}
	return bytes
}

// prune lets go of the files before a place that the checkpoint on disk has recorded.
func (s *source) prune(to mark, folder string) {
	for s.has(to.in) && s.files[0] != to.in {
		s.files[0].discard(folder)
		s.files = s.files[1:]
	}
}

// position is what the checkpoint says of a place: that of the newest file, and of those before it that are still needed.
func (s *source) position(at mark) position {
	begun := max(0, slices.Index(s.files, at.in))
	var all []position
	for i, g := range s.files[begun:] {
		p := g.position
		p.Offset = p.Base
		if i == 0 {
			p.Offset = at.offset
		}
		all = append(all, p)
	}
	last := all[len(all)-1]
	for _, p := range all[:len(all)-1] {
		if p.Held != "" { // one that could not be copied ends with this process
			last.Earlier = append(last.Earlier, p)
		}
	}
	return last
}

// drop gives up the oldest file: there is no room to keep it.
func (s *source) drop(folder string) loss {
	g := s.files[0]
	unread := max(0, g.size-g.Offset)
	s.files = s.files[1:]
	if s.at == g || s.safe.in == g {
		s.rewind(mark{s.files[0], s.files[0].Base})
	}
	g.discard(folder)
	return loss{source: s.service, reason: "no_room", bytes: unread, why: filepath.Base(s.path) + " was replaced, and its copies are as large as they may be"}
}

func (s *source) close(folder string) {
	for _, g := range s.files {
		g.discard(folder)
	}
}

func (s *source) has(g *generation) bool { return slices.Contains(s.files, g) }

func logLoss(l loss) {
	slog.Error("log lines are lost", "source", l.source, "reason", l.reason, "bytes", l.bytes, "error", l.why)
}
