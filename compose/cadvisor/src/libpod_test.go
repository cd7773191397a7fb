package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCgroupNames(t *testing.T) {
	id := "1e5b8b49eb021ba00033a6e90678886e0605021236fe74639e8437f47890173f"
	for name, want := range map[string]string{
		"/libpod_parent/libpod-" + id:                      id, // cgroupfs manager
		"/machine.slice/libpod-" + id + ".scope":           id, // systemd's manager
		"/machine.slice/libpod-conmon-" + id + ".scope":    "",
		"/machine.slice/libpod-" + id + ".scope/container": "", // cgroup v2: counted in its parent already
		"/": "",
	} {
		got := ""
		if m := cgroupName.FindStringSubmatch(name); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestContainersAreThoseOfTheList(t *testing.T) {
	listFile = filepath.Join(t.TempDir(), "containers.json")
	if _, err := lookUp("abc"); !errors.Is(err, errUnknown) {
		t.Fatalf("without a list: %v", err)
	}
	content := `[{"id": "abc", "name": "cc03-redis", "image": "localhost/cc03/redis:1", "pid": 42, "started": 1769860800}]`
	if err := os.WriteFile(listFile, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := lookUp("abc")
	if want := (stored{"abc", "cc03-redis", "localhost/cc03/redis:1", 42, 1769860800}); err != nil || found != want {
		t.Fatalf("got %v %v", found, err)
	}
	if _, err := lookUp("another"); !errors.Is(err, errUnknown) {
		t.Fatalf("of another project: %v", err)
	}
	if err := os.WriteFile(listFile, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lookUp("abc"); err == nil || errors.Is(err, errUnknown) {
		t.Fatalf("a broken list: %v", err)
	}
}

func TestAContainerThatStartsAgainIsMeasuredByItsNewProcess(t *testing.T) {
	listFile = filepath.Join(t.TempDir(), "containers.json")
	before := stored{ID: "abc", Name: "cc03-redis", Pid: 42, Started: 1769860800}
	h := &handler{stored: before}
	if c, _ := h.current(); c != before {
		t.Fatalf("without a list: %v", c)
	}
	content := `[{"id": "abc", "name": "cc03-redis", "pid": 43, "started": 1769860900}]`
	if err := os.WriteFile(listFile, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c, stats := h.current()
	if c.Pid != 43 || c.Started != 1769860900 || stats == nil {
		t.Fatalf("got %v %v", c, stats)
	}
	if _, again := h.current(); again != stats {
		t.Fatal("what has not changed is not made anew")
	}
}
