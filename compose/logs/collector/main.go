// The collector follows the log files that Podman writes (one per container, k8s-file format) and hands every line to
// VictoriaLogs as a row with fields. Podman splits long lines into parts and replaces a file that reached its size
// limit; a general log shipper sees the parts as separate, undecodable lines.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	logDir         = "/var/log/containers"
	checkpointFile = "/var/lib/logs/checkpoint.json"
	insertURL      = "http://127.0.0.1:9427/insert/jsonline"

	pollEvery = time.Second
	// VictoriaLogs keeps fresh rows in memory for five seconds. The checkpoint trails behind that, so that a kill -9 of the
	// container brings some rows twice and loses none.
	checkpointEvery = 10 * time.Second
	// A row of our own that the health check looks for: it proves the way from here through the index to a query.
	heartbeatEvery = 30 * time.Second
	batchRows      = 5000
)

type collector struct {
	tails   map[string]*tail
	saved   map[string]position // the checkpoint on disk
	trailer map[string]position // delivered at the last checkpoint: becomes the next one
	rows    int
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	c := &collector{tails: map[string]*tail{}, saved: load(checkpointFile)}
	c.trailer = c.saved
	c.run(ctx)
}

func (c *collector) run(ctx context.Context) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var heartbeat, checkpoint time.Time
	for {
		if time.Since(heartbeat) >= heartbeatEvery {
			c.beat(ctx)
			heartbeat = time.Now()
		}
		c.sweep(ctx)
		if time.Since(checkpoint) >= checkpointEvery {
			c.checkpoint(c.trailer)
			checkpoint = time.Now()
		}
		select {
		case <-ctx.Done():
			c.checkpoint(c.delivered()) // VictoriaLogs is being stopped in order too and writes down all that it has
			return
		case <-poll.C:
		}
	}
}

// sweep reads every file to its end, at most one read of each in turn so that none starves the others.
func (c *collector) sweep(ctx context.Context) {
	paths, _ := filepath.Glob(filepath.Join(logDir, "*.log"))
	present := map[string]bool{}
	for _, path := range paths {
		present[path] = true
		if c.tails[path] == nil {
			c.tails[path] = newTail(path, c.saved[path])
		}
	}
	var batch []map[string]any
	for more := true; more && ctx.Err() == nil; {
		more = false
		for path, t := range c.tails {
			rows, unread, err := t.read()
			if err != nil && present[path] {
				slog.Error("cannot read log file", "file", path, "error", err.Error())
			}
			more = more || unread
			if batch = append(batch, rows...); len(batch) >= batchRows {
				c.deliver(ctx, batch)
				batch = nil
			}
		}
	}
	c.deliver(ctx, batch)
	for path, t := range c.tails {
		if !present[path] {
			t.close()
			delete(c.tails, path)
		}
	}
}

// deliver does not return before the rows are accepted: the files themselves are the buffer of an outage.
func (c *collector) deliver(ctx context.Context, rows []map[string]any) {
	for wait := time.Second; len(rows) > 0; wait = min(2*wait, 30*time.Second) {
		err := post(ctx, rows)
		if err == nil {
			c.rows += len(rows)
			return
		}
		if ctx.Err() != nil {
			c.tails = nil // what was read is not delivered: the checkpoint must stay behind it
			return
		}
		slog.Warn("rows not accepted, will retry", "rows", len(rows), "error", err.Error())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func post(ctx context.Context, rows []map[string]any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	for _, row := range rows {
		if err := encoder.Encode(row); err != nil {
			return err
		}
	}
	query := url.Values{"_stream_fields": {"service,level"}, "_time_field": {"_time"}, "_msg_field": {"_msg"}}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, insertURL+"?"+query.Encode(), &body)
	if err != nil {
		return err
	}
	// With a form type VictoriaLogs drops every row and still answers 200.
	request.Header.Set("Content-Type", "application/stream+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return fmt.Errorf("HTTP %d: %s", response.StatusCode, text)
	}
	return nil
}

func (c *collector) beat(ctx context.Context) {
	c.deliver(ctx, []map[string]any{{
		"_time": time.Now().UTC().Format(time.RFC3339Nano), "_msg": "collector heartbeat", "service": "logs",
		"level": "debug", "files": len(c.tails), "rows": c.rows,
	}})
}

func (c *collector) delivered() map[string]position {
	if c.tails == nil {
		return c.trailer
	}
	positions := map[string]position{}
	for path, t := range c.tails {
		positions[path] = t.delivered()
	}
	return positions
}

func (c *collector) checkpoint(positions map[string]position) {
	if err := save(checkpointFile, positions); err != nil {
		slog.Error("cannot write the checkpoint", "error", err.Error())
		return
	}
	c.saved, c.trailer = positions, c.delivered()
}

func load(path string) map[string]position {
	positions := map[string]position{}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &positions)
	}
	if err != nil {
		slog.Info("no checkpoint, every file is read from its start", "reason", err.Error())
		return map[string]position{}
	}
	return positions
}

func save(path string, positions map[string]position) error {
	data, err := json.Marshal(positions)
	if err != nil {
		return err
	}
	// Readable: the backup takes it along, under another id.
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
