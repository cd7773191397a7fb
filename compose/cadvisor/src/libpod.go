package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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
	procRoot = "/rootfs"         // the host's /proc is mounted below it
	graphDir = "/host/graph"     // Podman's <graphroot>/overlay-containers: names and images
	runDir   = "/host/run"       // Podman's <runroot>/overlay-containers: process ids
	nameEnv  = "CADVISOR_NAMES"  // only containers whose name matches it are measured
)

// With the cgroupfs manager /libpod_parent/libpod-<id>, with systemd's /machine.slice/libpod-<id>.scope.
var cgroupName = regexp.MustCompile(`/libpod-([0-9a-f]{64})(?:\.scope)?$`)

// plugin names the cgroups of Podman's containers after Podman's own files, so that no API socket is needed.
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
func (f *factory) wanted(c stored) bool           { return f.names.MatchString(c.name()) }

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
	pid, started := process(c)
	return &handler{
		name: name, stored: c, started: started, paths: paths, machine: f.machine,
		stats: libcontainer.NewHandler(cgroup, procRoot, pid, f.included),
	}, nil
}

var errUnknown = errors.New("container is not in Podman's storage")

// stored is an entry of containers.json, the index that containers/storage replaces atomically on each change.
type stored struct {
	ID       string    `json:"id"`
	Names    []string  `json:"names"`
	Metadata string    `json:"metadata"`
	Created  time.Time `json:"created"`
}

func (c stored) name() string {
	if len(c.Names) == 0 {
		return ""
	}
	return c.Names[0]
}

func (c stored) image() string {
	var meta struct {
		Image string `json:"image-name"`
	}
	_ = json.Unmarshal([]byte(c.Metadata), &meta) // an infra container has none
	return meta.Image
}

func lookUp(id string) (stored, error) {
	data, err := os.ReadFile(filepath.Join(graphDir, "containers.json"))
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

// process tells the container's first process, for the network counters of its namespace, and when it started: a restart
// keeps the container but writes the pid file anew. Without the file: no such counters, and the time of creation.
func process(c stored) (pid int, started time.Time) {
	path := filepath.Join(runDir, c.ID, "userdata", "pidfile")
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, c.Created
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, c.Created
	}
	pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
	return pid, info.ModTime()
}

type handler struct {
	stored  stored
	name    string
	started time.Time
	paths   map[string]string
	machine info.MachineInfoFactory
	stats   *libcontainer.Handler
}

func (h *handler) ContainerReference() (info.ContainerReference, error) {
	return info.ContainerReference{
		Id: h.stored.ID, Name: h.name, Namespace: "podman", Aliases: []string{h.stored.name(), h.stored.ID},
	}, nil
}

func (h *handler) GetSpec() (info.ContainerSpec, error) {
	spec, err := common.GetSpec(h.paths, h.machine, true, false)
	spec.Image, spec.CreationTime = h.stored.image(), h.started
	return spec, err
}

func (h *handler) GetStats() (*info.ContainerStats, error) { return h.stats.GetStats() }

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
func (h *handler) ListProcesses(container.ListType) ([]int, error) { return h.stats.GetProcesses() }
func (h *handler) GetContainerLabels() map[string]string           { return nil }
func (h *handler) GetContainerIPAddress() string                   { return "" }
func (h *handler) GetExitCode() (int, error)                       { return -1, errors.New("not supported") }
func (h *handler) Exists() bool                                    { return common.CgroupExists(h.paths) }
func (h *handler) Cleanup()                                        {}
func (h *handler) Start()                                          {}
func (h *handler) Type() container.ContainerType                   { return container.ContainerTypePodman }
