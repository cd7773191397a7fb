package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"
)

// watch hears of every replaced file at once, also while the store does not answer: of two that are replaced one after the
// other, the first is opened before it is gone. One that was gone already is counted.
func (c *collector) watch(ctx context.Context, events <-chan string) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-events:
			c.announced(filepath.Join(c.logs, name))
		case <-poll.C:
			c.mu.Lock()
			for _, s := range c.sources {
				c.look(s)
			}
			c.measure() // also while the store does not answer
			c.mu.Unlock()
		}
	}
}

func (c *collector) announced(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.find(nil)
	s := c.sources[path]
	if s == nil {
		return
	}
	c.look(s)
	if s.replacements--; s.replacements < 0 {
		s.replacements = 0
		lost.count(loss{source: s.service, reason: "replaced_unseen", why: "a file was replaced before it could be opened"})
	}
}

// announcements names each file that a fresh one is renamed to, as Podman does (conmon, reopen_k8s_file). None where the kernel
// gives no more watches: then replacements are noticed once a second.
func announcements(folder string) <-chan string {
	events, err := subscribe(folder)
	if err != nil {
		slog.Error("replaced files are noticed once a second only", "error", err.Error())
	}
	return events
}

func subscribe(folder string) (<-chan string, error) {
	descriptor, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	// The kernel makes one event of equal ones that follow each other unread. The other half of each rename stands between them.
	if _, err := syscall.InotifyAddWatch(descriptor, folder, syscall.IN_MOVED_TO|syscall.IN_MOVED_FROM); err != nil {
		syscall.Close(descriptor)
		return nil, err
	}
	names := make(chan string, 1024)
	go func() {
		file := os.NewFile(uintptr(descriptor), "inotify")
		defer file.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := file.Read(buf)
			if err != nil {
				slog.Error("replaced files are noticed once a second only", "error", err.Error())
				return
			}
			for at := 0; at+syscall.SizeofInotifyEvent <= n; {
				event := (*syscall.InotifyEvent)(unsafe.Pointer(&buf[at]))
				at += syscall.SizeofInotifyEvent
				if event.Mask&syscall.IN_MOVED_TO != 0 {
					names <- string(bytes.TrimRight(buf[at:at+int(event.Len)], "\x00"))
				}
				at += int(event.Len)
			}
		}
	}()
	return names, nil
}
