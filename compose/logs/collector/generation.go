package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
)

const (
	readSize = 128 << 10
	// The first line of a file starts with its nanosecond time stamp, so these bytes tell one content from another.
	headSize = 48
)

// position is how far a file has been delivered, as the checkpoint file records it. Head tells a file that was truncated and
// has grown past Offset again. Earlier lists files that stood at the same path before and are not delivered to their end.
// The first three fields are those of the collector up to release 1: either reads the other's file.
type position struct {
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
	Head   string `json:"head"`
	// Of a replaced file: its copy in the folder heldDir, which begins at this offset of the original.
	Held    string     `json:"held,omitempty"`
	Base    int64      `json:"base,omitempty"`
	Earlier []position `json:"earlier,omitempty"`
}

// generation is one of the files that stand, or stood, at a path. Podman replaces a file that is full by an empty one under
// the same name and keeps no older one; the open descriptor is all that is left of it then.
type generation struct {
	position // Inode, Head, Held and Base; Offset is where the next read begins
	file     *os.File
	size     int64 // when last looked at, as long as it began with the same bytes
}

func inode(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

func openGeneration(path string) (*generation, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &generation{file: f, position: position{Inode: inode(info)}, size: info.Size()}, nil
}

// head reads the bytes that identify a content. Only valid text: the checkpoint is JSON, which replaces anything else, and a
// head that no longer compares equal would have the whole file delivered again.
func (g *generation) head() (string, error) {
	buf := make([]byte, headSize)
	n, err := g.file.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return validPrefix(string(buf[:n])), nil
}

func validPrefix(text string) string {
	for i, r := range text {
		if _, width := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && width <= 1 {
			return text[:i]
		}
	}
	return text
}

// truncated tells whether the file no longer begins with what was read of it.
func (g *generation) truncated() (bool, error) {
	info, err := g.file.Stat()
	if err != nil {
		return false, err
	}
	if g.Held != "" {
		g.size = info.Size() + g.Base
		return false, nil
	}
	head, err := g.head()
	if err != nil {
		return false, err
	}
	if info.Size() < g.Offset || !strings.HasPrefix(head, g.Head) {
		return true, nil
	}
	g.Head, g.size = head, info.Size()
	return false, nil
}

// read returns up to readSize bytes at an offset of the original file.
func (g *generation) read(offset int64) ([]byte, error) {
	buf := make([]byte, readSize)
	n, err := g.file.ReadAt(buf, offset-g.Base)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buf[:n], nil
}

// hold copies what is not delivered of a replaced file, so that it outlives this process. `from`: an offset of the original.
func (g *generation) hold(folder, name string, from int64) error {
	name = heldName(name, g.Inode, from)
	path := filepath.Join(folder, name)
	out, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(g.file, from, 1<<62))
	if err == nil {
		err = out.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		out.Close()
		os.Remove(path + ".new")
		return err
	}
	g.file.Close()
	// Opened for writing; reads are all that follows.
	g.file, g.Held, g.Base = out, name, from
	if info, err := out.Stat(); err == nil {
		g.size = from + info.Size()
	}
	return nil
}

func heldName(name string, inode uint64, base int64) string {
	return fmt.Sprintf("%s.%d.%d", name, inode, base)
}

// findHeld looks for the copy of a file that was replaced after the checkpoint was written.
func findHeld(folder, name string, of position) (position, bool) {
	found, _ := filepath.Glob(filepath.Join(folder, fmt.Sprintf("%s.%d.*", name, of.Inode)))
	for _, path := range found {
		base, err := strconv.ParseInt(strings.TrimPrefix(filepath.Ext(path), "."), 10, 64)
		if err == nil && base <= of.Offset {
			of.Held, of.Base, of.Earlier = filepath.Base(path), base, nil
			return of, true
		}
	}
	return of, false
}

// openHeld opens the copy of a replaced file that the checkpoint names.
func openHeld(folder string, at position) (*generation, error) {
	f, err := os.Open(filepath.Join(folder, filepath.Base(at.Held)))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	at.Earlier = nil
	return &generation{file: f, position: at, size: at.Base + info.Size()}, nil
}

// discard closes the file and removes its copy.
func (g *generation) discard(folder string) {
	g.file.Close()
	if g.Held != "" {
		os.Remove(filepath.Join(folder, g.Held))
	}
}
