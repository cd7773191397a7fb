// The collector follows the log files that Podman writes (one per container, in the format of the Kubernetes CRI) and hands
// every line to VictoriaLogs as a row with fields. Podman replaces a file that is full and keeps no older one, so the collector
// keeps what it has not delivered. docs/adr/0042-log-collector.md
// compares it with the general ones.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	pollEvery = time.Second
	// VictoriaLogs has a row on its disk 12 seconds after it was accepted: two until it can be found, five in memory, five until the
	// next look for such rows. The checkpoint trails behind that, so that a kill -9 of the store loses none.
	checkpointEvery = 15 * time.Second
	// A row of our own that the health check looks for: it proves the way from here through the index to a query.
	heartbeatEvery = 30 * time.Second
	metricsAddress = "127.0.0.1:9426"
)

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	room, err := strconv.ParseInt(setting("COLLECTOR_HELD_MB", "512"), 10, 32)
	if err != nil {
		slog.Error("COLLECTOR_HELD_MB is no number", "error", err.Error())
		os.Exit(2)
	}
	c := &collector{
		logs:   setting("COLLECTOR_LOGS", "/var/log/containers"),
		state:  setting("COLLECTOR_STATE", "/var/lib/logs"),
		room:   room << 20,
		askFor: askFor,
		sender: newSender(setting("COLLECTOR_URL", "http://127.0.0.1:9427/insert/jsonline"), setting("COLLECTOR_TLS", "/etc/tls")),
	}
	events := announcements(c.logs)
	if err := c.open(); err != nil {
		slog.Error("the collector cannot start", "error", err.Error())
		os.Exit(1)
	}
	http.HandleFunc("GET /metrics", serveMetrics)
	go func() {
		server := http.Server{Addr: setting("COLLECTOR_METRICS", metricsAddress), ReadTimeout: 10 * time.Second}
		slog.Error("metrics are not served", "error", server.ListenAndServe().Error())
	}()
	go c.watch(ctx, events)
	c.run(ctx)
}

func (c *collector) run(ctx context.Context) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	c.reconcile(ctx)
	var heartbeat time.Time
	checkpoint := time.Now()
	for {
		var first []row
		if time.Since(heartbeat) >= heartbeatEvery {
			first, heartbeat = append(first, c.beat()), time.Now()
		}
		more := c.sweep(ctx, first)
		if time.Since(checkpoint) >= checkpointEvery {
			c.advance(ctx)
			checkpoint = time.Now()
		}
		if ctx.Err() == nil && more {
			continue
		}
		select {
		case <-ctx.Done():
			// VictoriaLogs is being stopped in order too and writes down all that it has accepted.
			c.checkpoint(c.accepted)
			return
		case <-poll.C:
		}
	}
}

func (c *collector) beat() row {
	fields := map[string]any{"_msg": "collector heartbeat", "level": "debug", "files": filesFollowed.value.Load(), "rows": rowsAccepted.value.Load()}
	at := time.Now().UTC().Format(time.RFC3339Nano)
	return row{source: "logs", line: encode(fields, "logs", "", part{time: at, stream: "collector"})}
}

func (c *collector) checkpointFile() string { return filepath.Join(c.state, "checkpoint.json") }

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

// save survives a power cut: without it the old file, or none, is what a reboot finds.
func save(path string, positions map[string]position) error {
	data, err := json.Marshal(positions)
	if err != nil {
		return err
	}
	fresh, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer fresh.Close()
	// Readable: the backup takes it along, under another id.
	if err := fresh.Chmod(0o644); err != nil {
		return err
	}
	if _, err := fresh.Write(data); err != nil {
		return err
	}
	if err := fresh.Sync(); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
