// cAdvisor's manager with the two things this stack needs from it: a /metrics page and a /healthz page.
// Upstream's own command is not used: its module has no version, it links every cloud's SDK, and it learns the names of
// Podman's containers through an API socket that would give this container full control of the host.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/google/cadvisor/cache/memory"
	"github.com/google/cadvisor/container"
	"github.com/google/cadvisor/container/raw"
	v2 "github.com/google/cadvisor/info/v2"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/metrics"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	listen = ":8080"
	// Key and chain in one file, replaced by one rename.
	certificate = "/etc/tls/tls.pem"
	roots       = "/etc/tls/ca.pem"
	// The scrape interval: reading the counters more often costs CPU and shows nothing more.
	housekeeping = 30 * time.Second
	// Two readings are enough, the history is kept in Prometheus.
	keep = time.Minute
)

// Who is served, by the names on their certificates. cadvisor itself is its health check.
var clients = []string{"prometheus", "cadvisor"}

var included = container.MetricSet{
	container.CpuUsageMetrics:     {},
	container.MemoryUsageMetrics:  {},
	container.NetworkUsageMetrics: {},
	container.DiskIOMetrics:       {},
}

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	klog.SetSlogLogger(log)
	if err := run(log); err != nil {
		log.Error("cadvisor stops", "error", err.Error())
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	*raw.DockerOnly = true // of the raw cgroups only the root, which stands for the whole host
	if err := container.RegisterPlugin("libpod", plugin{}); err != nil {
		return err
	}
	interval, dynamic := housekeeping, false
	*manager.HousekeepingInterval = housekeeping
	// A container is told of by the kernel as it starts, before it is on the list: it is found at the next look at all of them.
	if err := flag.Set("global_housekeeping_interval", housekeeping.String()); err != nil {
		return err
	}
	m, err := manager.New(memory.New(keep, nil), sysfs.NewRealSysFs(),
		manager.HousekeepingConfig{Interval: &interval, AllowDynamic: &dynamic}, included, http.DefaultClient, []string{""}, nil, "", 0)
	if err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return err
	}
	server := &http.Server{Addr: listen, Handler: routes(m), ReadHeaderTimeout: 5 * time.Second, TLSConfig: renewed(certificate, roots)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	log.Info("cadvisor listens", "address", listen)
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// renewed reads both files at each handshake, of which there are a few a minute: a new certificate or root needs no reload.
func renewed(file, roots string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			pair, err := tls.LoadX509KeyPair(file, file)
			if err != nil {
				return nil, err
			}
			trusted, err := os.ReadFile(roots)
			if err != nil {
				return nil, err
			}
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(trusted) {
				return nil, fmt.Errorf("%s holds no certificate", roots)
			}
			return &tls.Config{
				MinVersion:       tls.VersionTLS13,
				Certificates:     []tls.Certificate{pair},
				ClientAuth:       tls.RequireAndVerifyClientCert,
				ClientCAs:        pool,
				VerifyConnection: declared,
			}, nil
		},
	}
}

// declared refuses a client whose certificate is in order and bears none of the names that are served.
func declared(state tls.ConnectionState) error {
	names := state.PeerCertificates[0].DNSNames
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(clients, name) }) {
		return fmt.Errorf("a client named %v is not served", names)
	}
	return nil
}

func routes(m manager.Manager) http.Handler {
	options := v2.RequestOptions{IdType: v2.TypeName, Count: 1, Recursive: true}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.NewPrometheusCollector(m, metrics.BaseContainerLabels(nil), included, clock.RealClock{}, options),
		metrics.NewPrometheusMachineCollector(m, included),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := fresh(m, options); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// fresh tells whether a container other than the host's root was measured within the last three readings: the port alone
// would stay open when the host's cgroups or Podman's files cannot be read.
func fresh(m manager.Manager, options v2.RequestOptions) error {
	infos, err := m.GetRequestedContainersInfo("/", options)
	if err != nil && len(infos) == 0 {
		return err
	}
	for name, info := range infos {
		if name != "/" && len(info.Stats) > 0 && time.Since(info.Stats[len(info.Stats)-1].Timestamp) < 3*housekeeping {
			return nil
		}
	}
	return errors.New("no container has been measured lately")
}
