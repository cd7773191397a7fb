package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	readSize = 256 << 10
	// The first line of a file starts with its nanosecond time stamp, so these bytes tell one content from another.
	headSize = 48
)

// position is how far a file has been delivered. Head tells a file that was truncated and has grown past Offset again.
type position struct {
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
	Head   string `json:"head"`
}

// tail follows one path through truncation and replacement, and joins the parts of split lines.
type tail struct {
	path             string
	service, replica string
	file             *os.File
	at               position        // everything before at.Offset has become rows
	rest             []byte          // bytes after the last complete line
	pending          map[string]part // stream -> the parts of an unfinished line
	safe             int64           // the last offset where nothing was pending
}

func newTail(path string, from position) *tail {
	t := &tail{path: path, at: from, safe: from.Offset, pending: map[string]part{}}
	t.service, t.replica = source(path)
	return t
}

// delivered is what may be written to the checkpoint once the rows read so far have been accepted.
func (t *tail) delivered() position {
	return position{Inode: t.at.Inode, Offset: t.safe, Head: t.at.Head}
}

func inode(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

func (t *tail) open() error {
	f, err := os.Open(t.path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	t.file = f
	if id := inode(info); id != t.at.Inode {
		t.restart(id)
	} else { // parts of a line that was unfinished at the checkpoint are read once more
		t.at.Offset = t.safe
	}
	return nil
}

func (t *tail) restart(id uint64) {
	t.at, t.safe, t.rest = position{Inode: id}, 0, nil
	clear(t.pending)
}

// truncated tells whether the open file no longer is the one that was read so far.
func (t *tail) truncated() (bool, error) {
	info, err := t.file.Stat()
	if err != nil {
		return false, err
	}
	head := make([]byte, headSize)
	n, err := t.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	head = head[:n]
	if info.Size() < t.at.Offset+int64(len(t.rest)) || !bytes.HasPrefix(head, []byte(t.at.Head)) {
		return true, nil
	}
	t.at.Head = string(head)
	return false, nil
}

// read returns the next rows; more tells that the file has not been read to its end.
func (t *tail) read() (rows []map[string]any, more bool, err error) {
	if t.file == nil {
		if err := t.open(); err != nil {
			return nil, false, err
		}
	}
	cut, err := t.truncated()
	if err != nil {
		return nil, false, err
	}
	if cut {
		t.restart(t.at.Inode)
	}
	buf := make([]byte, readSize)
	n, err := t.file.ReadAt(buf, t.at.Offset+int64(len(t.rest)))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if n == 0 {
		return nil, false, t.followReplacement()
	}
	return t.lines(buf[:n]), n == readSize, nil
}

// lines consumes the complete lines of rest+data.
func (t *tail) lines(data []byte) (rows []map[string]any) {
	data = append(t.rest, data...)
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			break
		}
		if p, ok := t.join(data[:end]); ok {
			rows = append(rows, record(t.service, t.replica, p))
		}
		t.at.Offset += int64(end + 1)
		data = data[end+1:]
		if len(t.pending) == 0 {
			t.safe = t.at.Offset
		}
	}
	t.rest = bytes.Clone(data)
	return rows
}

// join keeps the parts of a line until its end; what is not in Podman's format is passed on as it stands.
func (t *tail) join(line []byte) (part, bool) {
	p, ok := parsePart(line)
	if !ok {
		return part{time: "0", stream: "raw", text: line}, len(line) > 0
	}
	if begun, ok := t.pending[p.stream]; ok {
		p.time, p.text = begun.time, append(begun.text, p.text...)
	} else {
		p.text = bytes.Clone(p.text)
	}
	if !p.whole && len(p.text) < maxMessage {
		t.pending[p.stream] = p
		return part{}, false
	}
	delete(t.pending, p.stream)
	return p, true
}

// followReplacement moves on when the path names another file than the one that is open and read to its end.
func (t *tail) followReplacement() error {
	info, err := os.Stat(t.path)
	if err == nil && inode(info) == t.at.Inode {
		return nil
	}
	t.file.Close()
	t.file = nil
	return err
}

func (t *tail) close() {
	if t.file != nil {
		t.file.Close()
	}
}
