#!/bin/bash
# Waits to be stopped. The first process of a container ignores signals that it does not handle, hence the trap; `wait` is
# what a trapped signal breaks off at once.
trap 'exit 0' TERM INT
sleep infinity &
wait
