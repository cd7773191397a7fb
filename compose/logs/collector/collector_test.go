package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// store takes rows and answers questions as VictoriaLogs does. It can be away, refuse some of the rows, lose its answers, and lose what
// it has not written down.
type store struct {
	sync.Mutex
	*httptest.Server
	away    bool
	mute    bool   // it takes rows, and the answer is lost
	silent  string // questions below this path are not answered
	refuses string
	rows    []map[string]any
	largest int
	asked   int
	process int
}

func newStore(t *testing.T) *store {
	s := &store{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.Lock()
	defer s.Unlock()
	switch {
	case s.away:
		s.asked++
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	case !strings.HasPrefix(r.URL.Path, "/insert/"):
		s.answer(w, r)
		return
	}
	s.largest = max(s.largest, len(body))
	s.asked++
	switch {
	case s.mute:
		defer http.Error(w, "the answer is lost", http.StatusGatewayTimeout)
	case s.refuses != "" && bytes.Contains(body, []byte(s.refuses)):
		http.Error(w, "not this one", http.StatusBadRequest)
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	for {
		fields := map[string]any{}
		if decoder.Decode(&fields) != nil {
			return
		}
		s.rows = append(s.rows, fields)
	}
}

// question has the form of those that the collector asks.
var question = regexp.MustCompile(`^_time:>=(\S+) \{service="(.*)"\} replica:="(.*)" "log.offset":\* \| fields _time, "log.offset"$`)

func (s *store) answer(w http.ResponseWriter, r *http.Request) {
	if s.silent != "" && strings.HasPrefix(r.URL.Path, s.silent) {
		http.Error(w, "not for you", http.StatusForbidden)
		return
	}
	switch r.URL.Path {
	case "/metrics":
		fmt.Fprintf(w, "a 1\n%s%d\nz 1\n", startMetric, s.process)
	case "/select/logsql/query":
		asked := question.FindStringSubmatch(r.FormValue("query"))
		if asked == nil {
			http.Error(w, "not understood: "+r.FormValue("query"), http.StatusBadRequest)
			return
		}
		for _, row := range s.rows {
			replica, _ := row["replica"].(string)
			at, _ := row["_time"].(string)
			if row["service"] == asked[2] && replica == asked[3] && nanoseconds(at) >= nanoseconds(asked[1]) && row[offsetField] != nil {
				fmt.Fprintf(w, "{\"_time\":%q,%q:\"%s\"}\n", at, offsetField, row[offsetField])
			}
		}
	}
}

// kill ends the store's process: the rows that match are lost, and another process begins with the others.
func (s *store) kill(lost func(message string) bool) {
	s.Lock()
	defer s.Unlock()
	s.rows = slices.DeleteFunc(s.rows, func(row map[string]any) bool { return lost(row["_msg"].(string)) })
	s.process++
}

func (s *store) be(away bool) {
	s.Lock()
	defer s.Unlock()
	s.away = away
}

func (s *store) messages() (all []string) {
	s.Lock()
	defer s.Unlock()
	for _, r := range s.rows {
		all = append(all, r["_msg"].(string))
	}
	return all
}

// bench is a folder of logs, a state that outlives a collector, and a store.
type bench struct {
	*testing.T
	*store
	logs, state string
	c           *collector
}

func newBench(t *testing.T) *bench {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	lost = losses{counts: map[[2]string]*lossCount{}}
	b := &bench{T: t, store: newStore(t), logs: t.TempDir(), state: t.TempDir()}
	b.start()
	return b
}

// start makes a new collector, as after a kill -9 of the one before: only what is on the disk is left.
func (b *bench) start() {
	b.Helper()
	sender := newSender(b.URL+"/insert/jsonline", "")
	sender.pause = time.Millisecond
	b.c = &collector{logs: b.logs, state: b.state, room: 1 << 20, sender: sender, askFor: 10 * time.Millisecond}
	if err := b.c.open(); err != nil {
		b.Fatal(err)
	}
	b.c.reconcile(context.Background())
}

func (b *bench) sweep() {
	for range 20 {
		b.c.sweep(context.Background(), nil)
	}
}

// outage has the collector try for a moment, with no answer, while something happens to the files.
func (b *bench) outage(what func()) {
	b.be(true)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.c.sweep(ctx, nil); close(done) }()
	b.await("it does not try", func() bool { b.Lock(); defer b.Unlock(); return b.asked > 0 })
	what()
	b.be(false)
	<-done
	cancel()
	b.sweep()
}

func (b *bench) await(otherwise string, done func() bool) {
	b.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatal(otherwise)
		}
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.logs, name+".log") }

func (b *bench) write(name string, flag int, lines ...string) {
	b.Helper()
	f, err := os.OpenFile(b.path(name), os.O_CREATE|os.O_WRONLY|flag, 0o640)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "")); err != nil {
		b.Fatal(err)
	}
}

// replace does what conmon does with a file that is full.
func (b *bench) replace(name string, lines ...string) {
	b.Helper()
	fresh := b.path(name) + ".tmp"
	if err := os.WriteFile(fresh, []byte(strings.Join(lines, "")), 0o640); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(fresh, b.path(name)); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) look() {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	for _, s := range b.c.sources {
		b.c.look(s)
	}
}

func (b *bench) checkpoint() {
	b.c.checkpoint(b.c.marks())
}

func (b *bench) expect(want ...string) {
	b.Helper()
	if got := b.messages(); !slices.Equal(got, want) {
		b.Fatalf("got %q, want %q", got, want)
	}
}

func (b *bench) losses(want ...string) {
	b.Helper()
	got := []string{}
	for key, c := range lost.counts {
		got = append(got, fmt.Sprintf("%s %s %d", key[0], key[1], c.events))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.Fatalf("counted %q, want %q", got, want)
	}
}

func line(second, flag, text string) string {
	return "2026-01-01T00:00:" + second + ".000000001+00:00 stdout " + flag + " " + text + "\n"
}

func TestPartsAreJoinedPerStream(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "P", "one "), "2026-01-01T00:00:01.000000001+00:00 stderr F between\n", line("01", "P", "two "), line("01", "F", "three"))
	b.sweep()
	b.expect("between", "one two three")
}

func TestLineThatIsStillBeingWritten(t *testing.T) {
	b := newBench(t)
	whole := line("01", "F", "hello")
	b.write("a", 0, whole[:30])
	b.sweep()
	b.expect()
	b.write("a", os.O_APPEND, whole[30:])
	b.sweep()
	b.expect("hello")
}

func TestLineWithoutAnEndIsPassedOnAfterAWhile(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "P", "begun"))
	b.sweep()
	b.expect()
	b.c.sources[b.path("a")].began = time.Now().Add(-2 * unfinishedFor)
	b.sweep()
	b.expect("begun")
}

func TestTruncationIsNoticedEvenAfterRegrowth(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "old"))
	b.sweep()
	b.write("a", os.O_TRUNC, line("02", "F", "new, and longer than what stood here"))
	b.sweep()
	b.expect("old", "new, and longer than what stood here")
	b.losses()
}

func TestTruncationOfWhatWasNotReadIsCounted(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "old"))
	b.sweep()
	b.write("a", os.O_APPEND, line("02", "F", "unread"))
	b.look()
	b.write("a", os.O_TRUNC, line("03", "F", "new"))
	b.sweep()
	b.expect("old", "new")
	b.losses("a truncated 1")
}

func TestReplacedFileIsReadToItsEndFirst(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	b.write("a", os.O_APPEND, line("02", "F", "last of the old"))
	b.replace("a", line("03", "F", "of the new"))
	b.sweep()
	b.expect("first", "last of the old", "of the new")
}

func TestTwoReplacementsDuringAnOutageLoseNothing(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.outage(func() {
		b.replace("a", line("02", "F", "second"))
		b.look()
		b.replace("a", line("03", "F", "third"))
		b.look()
		b.c.mu.Lock()
		b.c.measure()
		b.c.mu.Unlock()
		if want := int64(len(line("01", "F", "first") + line("02", "F", "second") + line("03", "F", "third"))); backlogBytes.value.Load() != want {
			t.Errorf("a backlog of %d bytes, not %d", backlogBytes.value.Load(), want)
		}
	})
	b.expect("first", "second", "third")
	if left := backlogBytes.value.Load(); left != 0 {
		t.Errorf("a backlog of %d bytes when all is delivered", left)
	}
	b.losses()
}

func TestReplacedFilesSurviveAKillDuringAnOutage(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.c.read(nil) // read, and never accepted
	b.replace("a", line("02", "F", "second"))
	b.look()
	b.replace("a", line("03", "F", "third"))
	b.look()
	b.start()
	b.sweep()
	b.expect("first", "second", "third")
	b.losses()
	b.checkpoint()
	if left, _ := os.ReadDir(b.c.held()); len(left) != 0 {
		t.Fatalf("copies are left: %v", left)
	}
}

func TestCopyThatTheCheckpointDoesNotNameYetIsFound(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	b.checkpoint()
	before, _ := os.ReadFile(b.c.checkpointFile())
	b.write("a", os.O_APPEND, line("02", "F", "second"))
	b.replace("a", line("03", "F", "third"))
	b.look()
	if err := os.WriteFile(b.c.checkpointFile(), before, 0o644); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.sweep()
	b.expect("first", "second", "third")
	b.losses()
}

func TestLineThatIsSplitOverAReplacementIsJoined(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "before"), line("02", "P", "half "))
	b.sweep()
	b.replace("a", line("03", "F", "whole"), line("04", "F", "after"))
	b.sweep()
	b.expect("before", "half whole", "after")
}

func TestLineThatIsSplitOverAReplacementSurvivesAKill(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "before"), line("02", "P", "half "))
	b.sweep()
	b.checkpoint()
	b.replace("a")
	b.look()
	b.start()
	b.write("a", os.O_APPEND, line("03", "F", "whole"))
	b.sweep()
	b.expect("before", "half whole")
}

func TestCheckpointStandsBeforeAnUnfinishedLine(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "done"), line("02", "P", "half "))
	b.sweep()
	b.checkpoint()
	b.write("a", os.O_APPEND, line("03", "F", "whole"))
	b.start()
	b.sweep()
	b.expect("done", "half whole")
}

func TestCheckpointOfAnotherContentIsNotUsed(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "old"))
	b.sweep()
	b.checkpoint()
	b.write("a", os.O_TRUNC, line("02", "F", "new line"), line("03", "F", "next"))
	b.start()
	b.sweep()
	b.expect("old", "new line", "next")
	b.losses("a replaced_while_away 1")
}

func TestRestartWithACharacterThatTheHeadCutsReadsNothingTwice(t *testing.T) {
	b := newBench(t)
	prefix := line("01", "F", "")
	text := strings.Repeat("a", headSize-len(prefix)) + "ä"
	b.write("a", 0, line("01", "F", text))
	b.sweep()
	b.checkpoint()
	if saved, _ := os.ReadFile(b.c.checkpointFile()); bytes.Contains(saved, []byte("\ufffd")) || bytes.Contains(saved, []byte(`\ufffd`)) {
		t.Fatal("the checkpoint does not say what the file begins with") // nor could the former collector use it
	}
	b.start()
	b.sweep()
	b.expect(text)
}

func TestCheckpointOfTheFormerCollectorIsTakenUp(t *testing.T) {
	b := newBench(t)
	first, second := line("01", "F", "aaä was delivered"), line("02", "F", "new")
	b.write("a", 0, first, second)
	info, err := os.Stat(b.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	// Its head ends with the replacement character, where it has cut a character in two.
	head := strings.ToValidUTF8(first[:headSize], "\ufffd")
	old := fmt.Sprintf(`{%q:{"inode":%d,"offset":%d,"head":%q}}`, b.path("a"), inode(info), len(first), head)
	if err := os.WriteFile(b.c.checkpointFile(), []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.sweep()
	b.expect("new")
	b.losses()
}

func TestFileThatWasReplacedWhileNobodyReadIsCounted(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	b.checkpoint()
	b.replace("a", line("02", "F", "never seen"))
	b.replace("a", line("03", "F", "last"))
	b.start()
	b.sweep()
	b.expect("first", "last")
	b.losses("a replaced_while_away 1")
}

func TestFileThatWasReplacedUnseenIsCounted(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	b.replace("a", line("02", "F", "never seen"))
	b.replace("a", line("03", "F", "last"))
	b.c.announced(b.path("a"))
	b.c.announced(b.path("a"))
	b.sweep()
	b.expect("first", "last")
	b.losses("a replaced_unseen 1")
}

func TestEveryReplacementIsDeliveredOrCounted(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events := announcements(b.logs)
	go b.c.watch(ctx, events)
	const replaced = 20
	for range replaced {
		b.replace("a", line("02", "F", "of another file"))
	}
	seen, unseen := 0, 0
	b.await("some replacement is neither delivered nor counted", func() bool {
		b.sweep()
		seen, unseen = len(b.messages())-1, 0
		lost.Lock()
		defer lost.Unlock()
		if c := lost.counts[[2]string{"a", "replaced_unseen"}]; c != nil {
			unseen = int(c.events)
		}
		return seen+unseen >= replaced
	})
	if seen+unseen != replaced {
		t.Fatalf("%d were delivered and %d counted, of %d", seen, unseen, replaced)
	}
}

func TestOldestCopyIsGivenUpAndCountedWhereThereIsNoRoom(t *testing.T) {
	b := newBench(t)
	b.c.room = 100
	b.write("a", 0, line("01", "F", "first"), line("01", "F", strings.Repeat("x", 60)))
	b.c.find(nil)
	b.replace("a", line("02", "F", "second"))
	b.look()
	b.sweep()
	b.expect("second")
	b.losses("a no_room 1")
	if bytes := lost.counts[[2]string{"a", "no_room"}].bytes; bytes < 100 {
		t.Fatalf("only %d bytes are counted", bytes)
	}
}

func TestRefusedRowIsFoundAndCountedAndTheOthersAreStored(t *testing.T) {
	b := newBench(t)
	b.refuses = "poison"
	for i := range 40 {
		b.write("a", os.O_APPEND, line("01", "F", map[bool]string{true: "poison", false: "good"}[i == 17]))
	}
	b.sweep()
	if got := b.messages(); len(got) != 39 || slices.Contains(got, "poison") {
		t.Fatalf("stored %d rows", len(got))
	}
	b.losses("a refused 1")
}

func TestRequestsAreBoundedInBytesAndRows(t *testing.T) {
	b := newBench(t)
	large := strings.Repeat("y", maxMessage)
	var rows []row
	for i := range 40 + 2*batchRows {
		text := map[bool]string{true: large, false: "small"}[i < 40]
		rows = append(rows, row{"a", record("a", "", part{time: "2026-01-01T00:00:00Z", text: []byte(text)})})
	}
	if err := b.c.sender.deliver(context.Background(), rows); err != nil {
		t.Fatal(err)
	}
	if got := len(b.messages()); got != len(rows) {
		t.Fatalf("stored %d rows", got)
	}
	if b.largest > batchBytes || b.largest < batchBytes/2 {
		t.Fatalf("a request had %d bytes", b.largest)
	}
	if b.asked > 40/7+4 {
		t.Fatalf("%d requests for 40 large and %d small rows", b.asked, 2*batchRows)
	}
}

func TestStopDuringAnOutageEndsAtOnceAndLosesNothing(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.be(true)
	b.c.sender.pause = time.Minute
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.c.run(ctx); close(done) }()
	b.await("it does not try", func() bool { b.Lock(); defer b.Unlock(); return b.asked > 0 })
	stop()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("it does not stop")
	}
	b.be(false)
	b.start()
	b.sweep()
	b.expect("first")
}

func TestFileThatIsRemovedIsForgottenOnceItIsDelivered(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	if err := os.Remove(b.path("a")); err != nil {
		t.Fatal(err)
	}
	b.sweep()
	b.checkpoint()
	if len(b.c.sources) != 0 {
		t.Fatal("it is still followed")
	}
	b.expect("first")
}

func TestMetricsSayWhatIsLost(t *testing.T) {
	b := newBench(t)
	lost.count(loss{source: "backend", reason: "no_room", bytes: 7})
	said := httptest.NewRecorder()
	serveMetrics(said, nil)
	for _, want := range []string{
		`collector_losses_total{source="backend",reason="no_room"} 1`, `collector_lost_bytes_total{source="backend",reason="no_room"} 7`,
		fmt.Sprintf(`collector_last_loss_timestamp_seconds{source="backend",reason="no_room"} %d`, time.Now().Unix()),
		"# TYPE collector_rows_total counter",
	} {
		if !strings.Contains(said.Body.String(), want) {
			t.Errorf("%s is missing in\n%s", want, said.Body)
		}
	}
	b.losses("backend no_room 1")
}
