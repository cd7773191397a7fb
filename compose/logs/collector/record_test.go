package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const stamp = "2026-01-01T00:00:00.000000001+00:00"

func recorded(t *testing.T, service string, p part) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(record(service, "", p)))
	decoder.UseNumber()
	row := map[string]any{}
	if err := decoder.Decode(&row); err != nil {
		t.Fatal(err)
	}
	return row
}

func TestNameOfAFile(t *testing.T) {
	for file, want := range map[string][2]string{
		"/x/backend-1.log": {"backend", "1"}, "/x/nginx.log": {"nginx", ""}, "/x/a-b-12.log": {"a-b", "12"},
	} {
		if service, replica := parseName(file); service != want[0] || replica != want[1] {
			t.Errorf("%s: got %s %s", file, service, replica)
		}
	}
}

func TestJSONFieldsAreLifted(t *testing.T) {
	text := `{"level":"WARNING","message":"slow","mdc":{"request_id":"r-1"},"n":1}`
	row := recorded(t, "keycloak", part{time: stamp, stream: "stdout", text: []byte(text)})
	for key, want := range map[string]any{"_msg": "slow", "level": "warn", "request_id": "r-1", "_time": stamp} {
		if row[key] != want {
			t.Errorf("%s: got %v, want %v", key, row[key], want)
		}
	}
}

func TestTraceOfALineIsItsRequest(t *testing.T) {
	text := `{"level":"INFO","message":"m","mdc":{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"1"}}`
	if row := recorded(t, "keycloak", part{time: stamp, text: []byte(text)}); row["request_id"] != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Fatalf("got %v", row)
	}
}

func TestSpansAreCounted(t *testing.T) {
	before := spansRead.value.Load()
	row := recorded(t, "backend", part{time: stamp, text: []byte(`{"kind":"span","level":"info","message":"GET","span_id":"1"}`)})
	if spansRead.value.Load() != before+1 || row["_msg"] != "GET" || row["span_id"] != "1" {
		t.Fatalf("got %v", row)
	}
}

func TestPlainTextKeepsItsText(t *testing.T) {
	row := recorded(t, "postgres", part{time: stamp, text: []byte("FATAL: no such role")})
	if row["_msg"] != "FATAL: no such role" || row["level"] != "fatal" {
		t.Fatalf("got %v", row)
	}
	if row = recorded(t, "x", part{text: []byte("{not json")}); row["_msg"] != "{not json" || row["level"] != "unknown" {
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
		row := recorded(t, "redis", part{time: stamp, text: []byte(text)})
		if row["level"] != want || row["_msg"] != text {
			t.Errorf("%s: got %v", text, row)
		}
	}
}

func TestNumbersStayAsTheyAreWritten(t *testing.T) {
	row := recorded(t, "x", part{time: stamp, text: []byte(`{"message":"m","id":12345678901234567890,"part":9007199254740993,"f":1.50}`)})
	for key, want := range map[string]string{"id": "12345678901234567890", "part": "9007199254740993", "f": "1.50"} {
		if got := row[key].(json.Number).String(); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

func TestWhatFollowsAnObjectIsNotLeftOut(t *testing.T) {
	if row := recorded(t, "x", part{text: []byte(`{"message":"m"} and more`)}); row["_msg"] != `{"message":"m"} and more` {
		t.Fatalf("got %v", row)
	}
}

func TestRowIsNeverLongerThanTheStoreTakes(t *testing.T) {
	for _, text := range []string{strings.Repeat("\x01", maxMessage), `{"message":"` + strings.Repeat("<", maxMessage-20) + `"}`} {
		if size := len(record("x", "", part{time: stamp, text: []byte(text)})); size > maxRow || size < keptText {
			t.Errorf("a row of %d bytes", size)
		}
	}
}
