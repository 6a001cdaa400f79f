package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

const (
	// commandsAtOnce bounds the commands that run at the same time: somebody
	// else decides how many offers come.
	commandsAtOnce = 4
	// commandsWaiting bounds the offers that wait for their command: as many
	// as one person may make in one room.
	commandsWaiting = 256
	// commandGrace is how long a command has to end by itself at the end of
	// the mount.
	commandGrace = 2 * time.Second
	// groupsEvery is how often a mount looks what is left of its commands, if
	// anything is.
	groupsEvery = 10 * time.Second
)

// offerCommand runs a command for each new offer. What comes from the network
// is in its environment, never in what the shell reads.
type offerCommand struct {
	command string
	watch   *offerWatch
	places  offerPlaces
	output  io.Writer
	log     *slog.Logger

	ctx      context.Context
	cancel   context.CancelFunc
	running  sync.WaitGroup // run, which begins the commands
	commands sync.WaitGroup // one for each command under way
	ended    chan struct{}  // gets a value for each command that has ended
	groups   processGroups  // of the commands, and of what they leave behind
}

// startOfferCommand begins to run command for the offers of x. Close ends it.
func startOfferCommand(command string, x *transfer.Exchange, places offerPlaces, output io.Writer, log *slog.Logger) *offerCommand {
	c := &offerCommand{
		command: command, watch: watchOffers(x), places: places, output: output, log: log,
		ended: make(chan struct{}, commandsAtOnce),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.running.Go(c.run)
	return c
}

// Close ends the commands, with all that they started, and waits for them.
func (c *offerCommand) Close() {
	c.cancel()
	c.running.Wait()
	c.groups.end()
	c.commands.Wait()
}

// abandon ends them at once, and does not wait.
func (c *offerCommand) abandon() { c.groups.signal(syscall.SIGKILL) }

// run is the goroutine that starts the commands.
func (c *offerCommand) run() {
	defer c.watch.stop()
	var waiting []*transfer.Incoming
	running := 0
	for {
		arrived, _ := c.watch.look()
		for _, in := range arrived {
			if len(waiting) == commandsWaiting {
				c.log.Warn("too many offers wait for their command: this one gets none", "transfer", in.ID())
				continue
			}
			waiting = append(waiting, in)
		}
		for running < commandsAtOnce && len(waiting) > 0 {
			if c.begin(waiting[0]) {
				running++
			}
			waiting = waiting[1:]
		}
		var look <-chan time.Time
		if c.groups.left() > 0 {
			look = time.After(groupsEvery)
		}
		select {
		case <-c.watch.changes:
		case <-look:
		case <-c.ended:
			running--
		case <-c.ctx.Done():
			return
		}
	}
}

// begin starts the command for an offer, unless that is over.
func (c *offerCommand) begin(in *transfer.Incoming) bool {
	s := in.Status()
	path := c.places.path(in)
	if s.State != transfer.Offered || path == "" {
		return false
	}
	// Not looked up in PATH: that could lead into the mount, where this process
	// must open nothing.
	command := exec.Command("/bin/sh", "-c", c.command)
	command.Env = append(commandEnvironment(), offerEnvironment(s, path)...)
	command.Stdout, command.Stderr = c.output, c.output
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that all of it can be ended
	command.WaitDelay = commandGrace                          // for output that a child of it keeps open
	if err := command.Start(); err != nil {
		c.log.Error("the command for an offer can't be started", "transfer", s.ID, "error", err)
		return false
	}
	c.groups.add(command.Process.Pid)
	c.commands.Go(func() {
		if err := command.Wait(); err != nil && c.ctx.Err() == nil {
			c.log.Warn("the command for an offer failed", "file", path, "transfer", s.ID, "error", err)
		}
		c.ended <- struct{}{} // has room for all that run
	})
	return true
}

// commandEnvironment is what a command has of the mount's own environment. What
// the service manager listens on is for the mount only.
func commandEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
}

// offerEnvironment is what the command of an offer is told. Everything in it is
// safe: no control characters, and a name that is only a name.
func offerEnvironment(s transfer.Status, path string) []string {
	s = safeStatus(s)
	size := ""
	if s.Size >= 0 {
		size = strconv.FormatInt(s.Size, 10)
	}
	return []string{
		"MATRIXFS_FILE=" + path,
		"MATRIXFS_NAME=" + s.Name,
		"MATRIXFS_SIZE=" + size,
		"MATRIXFS_MIMETYPE=" + s.MIMEType,
		"MATRIXFS_SENDER=" + string(s.Peer.User),
		"MATRIXFS_ROOM=" + string(s.Room),
		"MATRIXFS_TRUST=" + s.Trust.String(),
		"MATRIXFS_TRANSFER_ID=" + string(s.ID),
	}
}
