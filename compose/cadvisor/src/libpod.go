package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/google/cadvisor/container"
	"github.com/google/cadvisor/container/common"
	"github.com/google/cadvisor/container/libcontainer"
	"github.com/google/cadvisor/fs"
	info "github.com/google/cadvisor/info/v1"
	"github.com/google/cadvisor/watcher"
	"github.com/opencontainers/cgroups"
)

const (
	procRoot = "/rootfs"        // the host's /proc is mounted below it
	nameEnv  = "CADVISOR_NAMES" // only containers whose name matches it are measured
)

// With the cgroupfs manager /libpod_parent/libpod-<id>, with systemd's /machine.slice/libpod-<id>.scope.
var cgroupName = regexp.MustCompile(`/libpod-([0-9a-f]{64})(?:\.scope)?$`)

// What the health ticker knows of the containers, written anew in one rename each half minute and whenever a deploy starts one
// (ops/engines/podman/supervisor.py). Podman's own files say the same, to root only, and hold its sockets and the containers' memory besides.
var listFile = "/run/cc03/metrics/containers.json"

// plugin names the cgroups of Podman's containers, without Podman's API socket.
type plugin struct{}

func (plugin) InitializeFSContext(*fs.Context) error { return nil }

func (plugin) Register(machine info.MachineInfoFactory, _ fs.FsInfo, included container.MetricSet) (watcher.ContainerWatcher, error) {
	subsystems, err := libcontainer.GetCgroupSubsystems(included)
	if err != nil {
		return nil, err
	}
	names, err := regexp.Compile(os.Getenv(nameEnv))
	if err != nil {
		return nil, err
	}
	f := &factory{machine: machine, subsystems: subsystems, included: included, names: names}
	container.RegisterContainerHandlerFactory(f, []watcher.ContainerWatchSource{watcher.Raw})
	return nil, nil
}

type factory struct {
	machine    info.MachineInfoFactory
	subsystems map[string]string
	included   container.MetricSet
	names      *regexp.Regexp
}

func (f *factory) String() string                 { return "libpod" }
func (f *factory) DebugInfo() map[string][]string { return nil }
func (f *factory) wanted(c stored) bool           { return f.names.MatchString(c.Name) }

func (f *factory) CanHandleAndAccept(name string) (handle, accept bool, err error) {
	m := cgroupName.FindStringSubmatch(name)
	if m == nil {
		return false, false, nil
	}
	c, err := lookUp(m[1])
	if errors.Is(err, errUnknown) { // a build step or a container of another storage
		return true, false, nil
	}
	return true, err == nil && f.wanted(c), err
}

func (f *factory) NewContainerHandler(name string, _ []string, _ bool) (container.ContainerHandler, error) {
	m := cgroupName.FindStringSubmatch(name)
	if m == nil {
		return nil, fmt.Errorf("%s is not a container of Podman", name)
	}
	c, err := lookUp(m[1])
	if err != nil {
		return nil, err
	}
	paths := common.MakeCgroupPaths(f.subsystems, name)
	cgroup, err := libcontainer.NewCgroupManager(name, paths)
	if err != nil {
		return nil, err
	}
	return &handler{
		name: name, stored: c, paths: paths, machine: f.machine, cgroup: cgroup, included: f.included,
		stats: libcontainer.NewHandler(cgroup, procRoot, c.Pid, f.included),
	}, nil
}

var errUnknown = errors.New("container is not in the health ticker's list")

type stored struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Image   string `json:"image"`
	Pid     int    `json:"pid"`     // first process, for the network counters of its namespace; 0: it does not run
	Started int64  `json:"started"` // seconds since 1970
}

func lookUp(id string) (stored, error) {
	data, err := os.ReadFile(listFile)
	if errors.Is(err, os.ErrNotExist) { // the health ticker has not looked yet
		return stored{}, errUnknown
	}
	if err != nil {
		return stored{}, err
	}
	var all []stored
	if err := json.Unmarshal(data, &all); err != nil {
		return stored{}, err
	}
	for _, c := range all {
		if c.ID == id {
			return c, nil
		}
	}
	return stored{}, errUnknown
}

type handler struct {
	name     string
	paths    map[string]string
	machine  info.MachineInfoFactory
	cgroup   cgroups.Manager
	included container.MetricSet

	mutex  sync.Mutex // of what follows
	stored stored
	stats  *libcontainer.Handler
}

// current takes up what the list says by now: Podman starts a container again at once, and the list knows its new first
// process, whose network is measured, only at the ticker's next round.
func (h *handler) current() (stored, *libcontainer.Handler) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if c, err := lookUp(h.stored.ID); err == nil && c != h.stored {
		if c.Pid != h.stored.Pid {
			h.stats = libcontainer.NewHandler(h.cgroup, procRoot, c.Pid, h.included)
		}
		h.stored = c
	}
	return h.stored, h.stats
}

func (h *handler) ContainerReference() (info.ContainerReference, error) {
	c, _ := h.current()
	return info.ContainerReference{Id: c.ID, Name: h.name, Namespace: "podman", Aliases: []string{c.Name, c.ID}}, nil
}

func (h *handler) GetSpec() (info.ContainerSpec, error) {
	c, _ := h.current()
	spec, err := common.GetSpec(h.paths, h.machine, true, false)
	spec.Image, spec.CreationTime = c.Image, time.Unix(c.Started, 0)
	return spec, err
}

func (h *handler) GetStats() (*info.ContainerStats, error) {
	_, stats := h.current()
	return stats.GetStats()
}

func (h *handler) GetCgroupPath(resource string) (string, error) {
	if cgroups.IsCgroup2UnifiedMode() {
		resource = ""
	}
	path, ok := h.paths[resource]
	if !ok {
		return "", fmt.Errorf("%s has no cgroup for %q", h.name, resource)
	}
	return path, nil
}

func (h *handler) ListContainers(container.ListType) ([]info.ContainerReference, error) {
	return nil, nil
}
func (h *handler) ListProcesses(container.ListType) ([]int, error) {
	_, stats := h.current()
	return stats.GetProcesses()
}
func (h *handler) GetContainerLabels() map[string]string { return nil }
func (h *handler) GetContainerIPAddress() string         { return "" }
func (h *handler) GetExitCode() (int, error)             { return -1, errors.New("not supported") }
func (h *handler) Exists() bool                          { return common.CgroupExists(h.paths) }
func (h *handler) Cleanup()                              {}
func (h *handler) Start()                                {}
func (h *handler) Type() container.ContainerType         { return container.ContainerTypePodman }
