package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	// A longer message is cut.
	maxMessage = 128 << 10
	// VictoriaLogs drops longer rows without an error (-insert.maxLineSizeBytes, 256 KiB). Escaping makes a row longer than
	// its text, so one that would be too long keeps the start of its text only.
	maxRow   = 250 << 10
	keptText = 32 << 10
)

var (
	slot      = regexp.MustCompile(`^(.+?)(?:-(\d+))?\.log$`)
	levelWord = regexp.MustCompile(`(?i)\b(trace|debug|info|notice|log|warn|warning|error|err|crit|critical|fatal|panic|emerg|alert)\b`)
	logfmtMsg = regexp.MustCompile(`\bmsg=("(?:[^"\\]|\\.)*"|\S+)`)
	redisSign = regexp.MustCompile(`^\d+:[A-Z] \d+ [A-Z][a-z]{2} \d{4} [\d:.]+ ([.*#-]) `)
)

// The levels of syslog, Python, Java, Go and PostgreSQL, told by the five names that one searches for.
var levels = map[string]string{
	"trace": "debug", "debug": "debug",
	"info": "info", "information": "info", "notice": "info", "log": "info",
	"warn": "warn", "warning": "warn",
	"error": "error", "err": "error", "severe": "error",
	"crit": "fatal", "critical": "fatal", "fatal": "fatal", "panic": "fatal", "emerg": "fatal", "alert": "fatal",
}

// Redis writes a sign where others write a word: "1:M 01 Jan 2026 00:00:00.000 * Ready to accept connections".
var redisLevels = map[string]string{".": "debug", "-": "debug", "*": "info", "#": "warn"}

// parseName tells which service and replica a log file belongs to: backend-1.log is replica 1 of backend.
func parseName(file string) (service, replica string) {
	m := slot.FindStringSubmatch(filepath.Base(file))
	if m == nil {
		return strings.TrimSuffix(filepath.Base(file), ".log"), ""
	}
	return m[1], m[2]
}

// part is one line of Podman's k8s-file format: "2026-01-01T00:00:00.0+00:00 stdout F text".
type part struct {
	time, stream string
	whole        bool // F: the line ends here; P: more follows
	text         []byte
	end          int64 // where it ends in its file, from its start
}

func parsePart(line []byte) (part, bool) {
	f := bytes.SplitN(line, []byte(" "), 4)
	if len(f) < 3 || (string(f[2]) != "F" && string(f[2]) != "P") {
		return part{}, false
	}
	p := part{time: string(f[0]), stream: string(f[1]), whole: string(f[2]) == "F"}
	if len(f) == 4 {
		p.text = f[3]
	}
	return p, true
}

// record turns a message into the row that is stored, as JSON. The fields of a JSON line become fields of the row.
func record(service, replica string, p part) []byte {
	fields := map[string]any{}
	text := bytes.TrimRight(p.text, "\r")
	if len(text) > maxMessage {
		text = text[:maxMessage]
		rowsCut.add(1)
	}
	if len(text) > 0 && text[0] == '{' && parse(text, &fields) == nil {
		lift(fields)
		if fields["kind"] == "span" {
			spansRead.add(1)
		}
	} else {
		fields = plain(text)
	}
	line := encode(fields, service, replica, p)
	if len(line) > maxRow {
		rowsCut.add(1)
		line = encode(plain(text[:min(len(text), keptText)]), service, replica, p)
	}
	return line
}

// parse keeps numbers as they are written: as floats, identifiers above 2^53 would be others.
func parse(text []byte, fields *map[string]any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(fields); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("more follows the object")
	}
	return nil
}

func plain(text []byte) map[string]any {
	fields := map[string]any{"_msg": string(text), "level": levelOfText(text)}
	if m := logfmtMsg.FindSubmatch(text); m != nil {
		fields["_msg"] = strings.Trim(string(m[1]), `"`)
		fields["raw"] = string(text)
	}
	return fields
}

func encode(fields map[string]any, service, replica string, p part) []byte {
	fields["_time"], fields["service"], fields["stream"] = p.time, service, p.stream
	if replica != "" {
		fields["replica"] = replica
	}
	if p.end > 0 {
		fields[offsetField] = p.end
	}
	line, err := json.Marshal(fields)
	if err != nil { // no value that was parsed from JSON, or is text, has no form in JSON
		panic(err)
	}
	return append(line, '\n')
}

// lift brings the fields that every query uses to their common names, whatever the program calls them.
func lift(row map[string]any) {
	if _, ok := row["request_id"]; !ok {
		// Keycloak's lines have the trace id, which is the request id (config/nginx/tracing.conf).
		if mdc, ok := row["mdc"].(map[string]any); ok {
			if id := first(mdc, "request_id", "traceId"); id != nil {
				row["request_id"] = id
			}
		}
	}
	level, _ := first(row, "level", "severity", "lvl", "error_severity").(string)
	row["level"] = normal(level)
	for _, key := range []string{"message", "msg", "event"} {
		if text, ok := row[key].(string); ok {
			delete(row, key)
			row["_msg"] = text
			return
		}
	}
	if text, ok := row["request"].(string); ok { // an access log has no message of its own
		row["_msg"] = text
		return
	}
	whole, _ := json.Marshal(row)
	row["_msg"] = string(whole)
}

func first(row map[string]any, keys ...string) any {
	for _, key := range keys {
		if v, ok := row[key]; ok {
			return v
		}
	}
	return nil
}

func normal(level string) string {
	if l, ok := levels[strings.ToLower(level)]; ok {
		return l
	}
	return "unknown"
}

// Only the start of a plain line is searched: the word "error" late in a sentence is not its level.
func levelOfText(text []byte) string {
	if m := redisSign.FindSubmatch(text); m != nil {
		return redisLevels[string(m[1])]
	}
	if len(text) > 120 {
		text = text[:120]
	}
	return normal(string(levelWord.Find(text)))
}
