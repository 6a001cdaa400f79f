package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/matrixfs/matrixfs/transfer"
)

// mountCommand mounts the rooms and stays in the foreground.
type mountCommand struct {
	stateFlag
	Lifetime        time.Duration `default:"10m" placeholder:"TIME" help:"How long an offer waits for somebody to accept it (default 10m)."`
	CacheSize       byteSize      `default:"4GiB" placeholder:"SIZE" help:"Disk space for received files, all together (default 4GiB, at least 64MiB)."`
	Accept          string        `enum:"read,ask" default:"read" placeholder:"read|ask" help:"What accepts an offer: reading it, or only setfattr -n user.matrix.accept (default read)."`
	Readers         string        `type:"path" placeholder:"FILE" help:"Which programs accept by reading and which never (default: matrixfs/readers.conf in $$XDG_CONFIG_HOME or ~/.config)."`
	Spool           bool          `help:"Write files to disk before they are offered, up to --cache-size more: programs can then write in any order, and the offer has size and checksum. Nothing is offered before the file is closed."`
	AllowPublic     bool          `help:"Also use rooms that anybody can join or read."`
	RequireVerified bool          `help:"Deal with verified devices only (see matrixfs verify), and only in encrypted rooms."`
	RelayOnly       bool          `help:"Hide our network address from the other side: connect through the homeserver's TURN server only."`
	KeepEvents      bool          `help:"Leave our messages in the rooms; they are redacted otherwise, once a transfer is over."`
	AllowOther      bool          `help:"Let every user of this machine use the mount."`
	Notify          string        `default:"auto" enum:"auto,off" placeholder:"WHEN" help:"Show new offers as notifications of the desktop: auto (where there is one, the default) or off."`
	OnOffer         string        `placeholder:"CMD" help:"Run this command of the shell for each new offer (see the README)."`
	Verbose         bool          `short:"v" help:"Say what is going on."`
	DebugFUSE       bool          `name:"debug-fuse" help:"Log every file system operation."`
	Background      bool          `hidden:"" help:"For the helper of mount(8)."`
	CheckLeaks      bool          `hidden:"" env:"MATRIXFS_CHECK_LEAKS" help:"Fail if goroutines are left at the end."`
	Mountpoint      string        `arg:"" help:"An empty directory."`
}

// minLifetime: an answer needs a second or two to get here.
const minLifetime = time.Second

// Run mounts, says so, and serves until a signal, or until somebody else
// unmounts. A second signal makes it leave at once.
func (c *mountCommand) Run(ctx context.Context, con *console) error {
	options, err := c.options(con)
	if err != nil {
		return err
	}
	if c.AllowOther {
		fmt.Fprintln(con.err, "matrixfs: warning: --allow-other lets every user of this machine read what is offered to you, and send files in your name")
	}
	mounted := func() error {
		_, err := fmt.Fprintf(con.out, "mounted %s\n", c.Mountpoint)
		return err
	}
	if c.Background {
		unix.CloseOnExec(readyFD)
		mounted = func() error { return goToBackground(options.stateDir) }
	}
	d := newDaemon(options)
	ctx, stop := untilSignal(ctx, func() {
		d.abandon()
		os.Exit(exitFailed)
	})
	defer stop()
	if err = d.run(ctx, mounted); err != nil {
		return alreadyMounted(context.Background(), options.stateDir, err)
	}
	if c.CheckLeaks {
		stop()
		return checkLeaks(con)
	}
	return nil
}

// options checks the flags.
func (c *mountCommand) options(con *console) (daemonOptions, error) {
	var o daemonOptions
	dir, err := c.dir()
	if err != nil {
		return o, err
	}
	if c.Lifetime < minLifetime || c.Lifetime > transfer.MaxLifetime {
		return o, usageError(fmt.Sprintf("--lifetime must be between %v and %v", minLifetime, transfer.MaxLifetime))
	}
	if c.Mountpoint == "" {
		return o, usageError("the mount point is empty")
	}
	point, err := filepath.Abs(c.Mountpoint)
	if err != nil {
		return o, err
	}
	readers, err := loadReaders(c.Readers, os.Getenv)
	if err != nil {
		return o, err
	}
	level := slog.LevelWarn
	switch {
	case c.DebugFUSE:
		level = slog.LevelDebug
	case c.Verbose:
		level = slog.LevelInfo
	}
	return daemonOptions{
		stateDir:        dir,
		mountpoint:      point,
		lifetime:        c.Lifetime,
		cacheSize:       int64(c.CacheSize),
		readers:         readers,
		ask:             c.Accept == "ask",
		spool:           c.Spool,
		allowPublic:     c.AllowPublic,
		requireVerified: c.RequireVerified,
		relayOnly:       c.RelayOnly,
		keepEvents:      c.KeepEvents,
		allowOther:      c.AllowOther,
		notify:          c.Notify,
		onOffer:         c.OnOffer,
		output:          con.err,
		debugFUSE:       c.DebugFUSE,
		log:             slog.New(slog.NewTextHandler(con.err, &slog.HandlerOptions{Level: level})),
	}, nil
}

// byteSize is a number of bytes on the command line: "500MB", "4GiB".
type byteSize int64

// minCache holds a few windows; less would make every transfer crawl.
const minCache = 64 << 20

// UnmarshalText reads a size. K, M, G and T are powers of 1000, Ki, Mi, Gi
// and Ti of 1024.
func (b *byteSize) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n > 1<<60 {
		return fmt.Errorf("%q is not a size such as 500MB or 4GiB", text)
	}
	if n < minCache {
		return fmt.Errorf("%q is too small: at least %s are needed", text, humanize.IBytes(minCache))
	}
	*b = byteSize(n)
	return nil
}
