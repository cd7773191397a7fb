// pause holds the namespaces of a pod until it is told to end. With "-a create" or "-a delete" it is the helper of the
// local-path provisioner instead: it makes or removes the folder of a volume.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	action := flag.String("a", "", "create or delete the folder of a volume")
	folder := flag.String("p", "", "the folder")
	flag.String("s", "", "its size, not enforced")
	flag.String("m", "", "its mode, not used")
	flag.Parse()
	var problem error
	switch *action {
	case "create":
		if problem = os.MkdirAll(*folder, 0o777); problem == nil {
			problem = os.Chmod(*folder, 0o777)
		}
	case "delete":
		problem = os.RemoveAll(*folder)
	default:
		wait()
	}
	if problem != nil {
		fmt.Fprintln(os.Stderr, problem)
		os.Exit(1)
	}
}

// wait returns at SIGINT or SIGTERM. As process 1 of a pod that shares its process namespace, it collects the dead.
func wait() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
}
