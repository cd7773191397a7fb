package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const stamp = "2026-01-01T00:00:00.000000001+00:00"

func write(t *testing.T, path string, flag int, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flag, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "")); err != nil {
		t.Fatal(err)
	}
}

func line(second, flag, text string) string {
	return "2026-01-01T00:00:" + second + ".000000001+00:00 stdout " + flag + " " + text + "\n"
}

// messages reads until the file yields nothing new, as the sweeps of some seconds would.
func messages(t *testing.T, tl *tail) (out []string) {
	t.Helper()
	for range 3 {
		rows, _, err := tl.read()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			out = append(out, row["_msg"].(string))
		}
	}
	return out
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestSource(t *testing.T) {
	for file, want := range map[string][2]string{
		"/x/backend-1.log": {"backend", "1"}, "/x/nginx.log": {"nginx", ""}, "/x/a-b-12.log": {"a-b", "12"},
	} {
		if service, replica := source(file); service != want[0] || replica != want[1] {
			t.Errorf("%s: got %s %s", file, service, replica)
		}
	}
}

func TestJSONFieldsAreLifted(t *testing.T) {
	text := `{"level":"WARNING","message":"slow","mdc":{"request_id":"r-1"},"n":1}`
	row := record("keycloak", "", part{time: stamp, stream: "stdout", text: []byte(text)})
	for key, want := range map[string]any{"_msg": "slow", "level": "warn", "request_id": "r-1", "_time": stamp} {
		if row[key] != want {
			t.Errorf("%s: got %v, want %v", key, row[key], want)
		}
	}
}

func TestPlainTextKeepsItsText(t *testing.T) {
	row := record("postgres", "", part{time: stamp, text: []byte("FATAL: no such role")})
	if row["_msg"] != "FATAL: no such role" || row["level"] != "fatal" {
		t.Fatalf("got %v", row)
	}
	if row = record("x", "", part{text: []byte("{not json")}); row["_msg"] != "{not json" || row["level"] != "unknown" {
		t.Fatalf("got %v", row)
	}
}

func TestRedisTellsTheLevelByASign(t *testing.T) {
	for text, want := range map[string]string{
		"1:M 24 Nov 2026 10:00:00.000 . 3 clients connected (0 replicas)":               "debug",
		"1:M 24 Nov 2026 10:00:00.000 - Accepted 10.0.0.2:4242":                         "debug",
		"1:M 24 Nov 2026 10:00:00.000 * Ready to accept connections":                    "info",
		"17:C 24 Nov 2026 10:00:00.000 * RDB: 0 MB of memory used by copy-on-write":     "info",
		"1:S 24 Nov 2026 10:00:00.000 # Error condition on socket for SYNC: (null)":     "warn",
		"1:X 24 Nov 2026 10:00:00.000 # the word error does not make this warning one":  "warn",
		"1:signal-handler (1795514400) Received SIGTERM scheduling shutdown...":         "unknown",
		"1:M 24 Nov 2026 10:00:00.000 ! another sign":                                   "unknown",
		"at 1:M 24 Nov 2026 10:00:00.000 * stands in the middle of another's line":      "unknown",
		"1:M 24 Nov 2026 10:00:00.000 * MASTER <-> REPLICA sync: error, said as a note": "info",
	} {
		row := record("redis", "", part{time: stamp, text: []byte(text)})
		if row["level"] != want || row["_msg"] != text {
			t.Errorf("%s: got %v", text, row)
		}
	}
}

func TestPartsAreJoinedPerStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	write(t, path, 0, stamp+" stdout P one \n", stamp+" stderr F between\n", stamp+" stdout P two \n", stamp+" stdout F three\n")
	expect(t, messages(t, newTail(path, position{})), "between", "one two three")
}

func TestLineThatIsStillBeingWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	whole := line("01", "F", "hello")
	write(t, path, 0, whole[:30])
	tl := newTail(path, position{})
	expect(t, messages(t, tl))
	write(t, path, os.O_APPEND, whole[30:])
	expect(t, messages(t, tl), "hello")
}

func TestTruncationIsNoticedEvenAfterRegrowth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	write(t, path, 0, line("01", "F", "old"))
	tl := newTail(path, position{})
	expect(t, messages(t, tl), "old")
	write(t, path, os.O_TRUNC, line("02", "F", "new, and longer than what stood here"))
	expect(t, messages(t, tl), "new, and longer than what stood here")
}

func TestReplacedFileIsReadToItsEndFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	write(t, path, 0, line("01", "F", "first"))
	tl := newTail(path, position{})
	expect(t, messages(t, tl), "first")
	write(t, path, os.O_APPEND, line("02", "F", "last of the old"))
	write(t, path+".tmp", 0, line("03", "F", "of the new"))
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
	expect(t, messages(t, tl), "last of the old", "of the new")
}

func TestCheckpointStandsBeforeAnUnfinishedLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	write(t, path, 0, line("01", "F", "done"), line("02", "P", "half "))
	tl := newTail(path, position{})
	expect(t, messages(t, tl), "done")
	write(t, path, os.O_APPEND, line("03", "F", "whole"))
	expect(t, messages(t, newTail(path, tl.delivered())), "half whole")
}

func TestCheckpointOfAnotherContentIsNotUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	write(t, path, 0, line("01", "F", "old"))
	tl := newTail(path, position{})
	expect(t, messages(t, tl), "old")
	write(t, path, os.O_TRUNC, line("02", "F", "new line"), line("03", "F", "next"))
	expect(t, messages(t, newTail(path, tl.delivered())), "new line", "next")
}
