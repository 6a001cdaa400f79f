package main

import (
	sd "github.com/coreos/go-systemd/v22/daemon"
)

// What a service manager is told (sd_notify(3)).
const (
	ready    = sd.SdNotifyReady
	stopping = sd.SdNotifyStopping
)

// tellManager tells the service manager, where there is one, what state the
// program is in, and what to show of it. Whether that arrives changes nothing.
func tellManager(state, status string) {
	if status != "" {
		state += "\nSTATUS=" + oneLine(status)
	}
	_, _ = sd.SdNotify(false, state)
}
