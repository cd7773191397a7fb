package main

import "testing"

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

func TestImageComesFromTheMetadata(t *testing.T) {
	c := stored{Names: []string{"cc03-redis"}, Metadata: `{"image-name":"localhost/cc03/redis:1"}`}
	if c.image() != "localhost/cc03/redis:1" || c.name() != "cc03-redis" {
		t.Fatalf("got %q %q", c.image(), c.name())
	}
	if (stored{}).image() != "" || (stored{}).name() != "" {
		t.Fatal("an infra container has neither")
	}
}
