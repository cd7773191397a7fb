package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func nothing(string) bool { return false }

func TestKillSendsNothingTwice(t *testing.T) {
	b := newBench(t)
	b.write("a-1", 0, line("01", "F", "first"))
	b.sweep()
	b.checkpoint()
	b.write("a-1", os.O_APPEND, line("02", "F", "second"), line("02", "F", "same moment"), line("03", "P", "of "), line("03", "F", "parts"))
	b.write("b", 0, line("02", "F", "of another file"))
	b.sweep()
	b.start()
	b.write("a-1", os.O_APPEND, line("04", "F", "after the kill"))
	b.sweep()
	got := b.messages()
	slices.Sort(got)
	if want := []string{"after the kill", "first", "of another file", "of parts", "same moment", "second"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	b.losses()
}

func TestKillAfterReplacementsSendsNothingTwice(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "one"), line("02", "F", "two"))
	b.sweep()
	b.replace("a", line("03", "F", "six"), line("04", "F", "ten")) // the same offsets
	b.sweep()
	b.write("a", os.O_APPEND, line("05", "F", "new"))
	b.start()
	b.sweep()
	b.expect("one", "two", "six", "ten", "new")
	b.losses()
}

func TestLostAnswerSendsNothingTwice(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"), line("02", "F", "second"))
	b.mute = true
	b.c.sweep(context.Background(), nil)
	b.Lock()
	b.mute = false
	b.Unlock()
	b.sweep()
	b.expect("first", "second")
}

func TestRowsThatTheStoreHasLostAreSentAgain(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"), line("02", "F", "second"), line("03", "F", "third"))
	b.sweep()
	// Rows do not reach the disk in order.
	b.kill(func(message string) bool { return message == "first" || message == "third" })
	b.c.advance(context.Background())
	b.sweep()
	b.expect("second", "first", "third")
}

func TestCheckpointMovesWhileTheStoreIsTheSame(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	where := func() int64 { return load(b.c.checkpointFile())[b.path("a")].Offset }
	b.c.advance(context.Background())
	if where() != 0 {
		t.Fatal("the checkpoint has passed what the store may not have written down")
	}
	b.c.advance(context.Background())
	if where() != int64(len(line("01", "F", "first"))) {
		t.Fatalf("the checkpoint stands at %d", where())
	}
	b.be(true)
	b.write("a", os.O_APPEND, line("02", "F", "second"))
	b.c.advance(context.Background()) // it does not wait for a store that is away
}

func TestKillOfBothSendsWhatIsMissingOnly(t *testing.T) {
	b := newBench(t)
	for i := range 10 {
		b.write("a", os.O_APPEND, line("01", "F", fmt.Sprint(i)))
	}
	b.sweep()
	b.kill(func(message string) bool { return message >= "7" })
	b.start()
	b.sweep()
	b.expect("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	if got := b.rows[9][offsetField]; fmt.Sprint(got) != fmt.Sprint(10*len(line("01", "F", "0"))) {
		t.Fatalf("the last row has the offset %v", got)
	}
}

func TestStoreThatIsAwayAtTheStartIsAwaited(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	b.be(true)
	b.asked = 0
	done := make(chan struct{})
	go func() { b.start(); close(done) }()
	b.await("it does not ask", func() bool { b.Lock(); defer b.Unlock(); return b.asked > 3 })
	b.be(false)
	<-done
	b.sweep()
	b.expect("first")
}

func TestStoreThatAnswersNoQuestionsGetsLinesAgain(t *testing.T) {
	b := newBench(t)
	b.silent = "/"
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	b.c.advance(context.Background())
	b.start()
	b.sweep()
	b.expect("first", "first")
	b.losses()
}

func TestStoreThatFailsQueriesGetsLinesAgainOnce(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	b.silent = "/select/"
	b.start()
	for range 3 {
		b.sweep()
		b.c.advance(context.Background())
	}
	b.expect("first", "first")
	if load(b.c.checkpointFile())[b.path("a")].Offset == 0 {
		t.Fatal("the checkpoint does not move")
	}
}

func TestRowsOfTheFormerCollectorAreSentAgain(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", "first"))
	b.sweep()
	delete(b.rows[0], offsetField)
	b.start()
	b.sweep()
	b.expect("first", "first")
}

func TestStopBeforeTheStoreAnswersLeavesTheCheckpoint(t *testing.T) {
	b := newBench(t)
	b.write("a", 0, line("01", "F", strings.Repeat("x", 10)))
	b.sweep()
	b.be(true)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	b.c.sender.pause = time.Minute
	b.c.run(ctx)
	b.be(false)
	b.start()
	b.sweep()
	b.expect("xxxxxxxxxx")
}
