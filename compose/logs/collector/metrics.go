package main

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// number is a counter or a gauge.
type number struct{ value atomic.Int64 }

func (n *number) add(by int64) { n.value.Add(by) }
func (n *number) set(to int64) { n.value.Store(to) }

var (
	rowsAccepted   number
	rowsCut        number
	rowsStored     number
	spansRead      number
	batchesRetried number
	lastAccepted   number
	backlogBytes   number
	heldBytes      number
	filesFollowed  number
)

// loss is what was not delivered and never will be. The bytes are what is known of it: nobody has seen a whole file that came
// and went.
type loss struct {
	source, reason string
	bytes          int64
	why            string
}

type lossCount struct {
	events, bytes int64
	last          time.Time
}

// losses are counted by source and reason.
type losses struct {
	sync.Mutex
	counts map[[2]string]*lossCount
}

var lost = losses{counts: map[[2]string]*lossCount{}}

func (l *losses) count(one loss) {
	logLoss(one)
	l.Lock()
	defer l.Unlock()
	key := [2]string{one.source, one.reason}
	if l.counts[key] == nil {
		l.counts[key] = &lossCount{}
	}
	c := l.counts[key]
	c.events++
	c.bytes += one.bytes
	c.last = time.Now()
}

func writeMetrics(w io.Writer) {
	for _, m := range []struct {
		name, kind, help string
		value            *number
	}{
		{"collector_rows_total", "counter", "Rows that the store has accepted.", &rowsAccepted},
		{"collector_rows_cut_total", "counter", "Rows of which the store has the beginning only.", &rowsCut},
		{"collector_rows_stored_total", "counter", "Rows that were read again, and not sent: the store has them.", &rowsStored},
		{"collector_spans_total", "counter", "Spans of traces among the lines that were read.", &spansRead},
		{"collector_batches_retried_total", "counter", "Requests that the store did not accept; what it has not stored of them is repeated.", &batchesRetried},
		{"collector_last_accepted_timestamp_seconds", "gauge", "When the store last accepted rows.", &lastAccepted},
		{"collector_backlog_bytes", "gauge", "Bytes of the log files that the store has not accepted.", &backlogBytes},
		{"collector_held_bytes", "gauge", "Bytes of replaced log files that are kept until they are delivered.", &heldBytes},
		{"collector_files", "gauge", "Log files that are followed.", &filesFollowed},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", m.name, m.help, m.name, m.kind, m.name, m.value.value.Load())
	}
	lost.write(w)
}

func (l *losses) write(w io.Writer) {
	l.Lock()
	defer l.Unlock()
	keys := make([][2]string, 0, len(l.counts))
	for key := range l.counts {
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool { return strings.Join(keys[i][:], " ") < strings.Join(keys[j][:], " ") })
	for _, m := range []struct {
		name, kind, help string
		of               func(*lossCount) int64
	}{
		{"collector_losses_total", "counter", "Events by which lines were lost.", func(c *lossCount) int64 { return c.events }},
		{"collector_lost_bytes_total", "counter", "What is known of their size.", func(c *lossCount) int64 { return c.bytes }},
		// A counter that begins with 1 has not increased for Prometheus: this is what the alert looks at.
		{"collector_last_loss_timestamp_seconds", "gauge", "When lines were last lost.", func(c *lossCount) int64 { return c.last.Unix() }},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for _, key := range keys {
			fmt.Fprintf(w, "%s{source=%q,reason=%q} %d\n", m.name, key[0], key[1], m.of(l.counts[key]))
		}
	}
}

func serveMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	writeMetrics(w)
}
