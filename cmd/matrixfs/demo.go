package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/matrixfs/matrixfs/matrix/matrixtest"
)

// demoCommand shows the main job on one machine, with a real homeserver and
// real programs, and leaves everything running to play with.
type demoCommand struct {
	Once bool `help:"Clean up and exit after the check instead of waiting for Ctrl-C."`
}

const (
	demoSize = 20 << 20 // bytes of the file: a few seconds' worth
	demoRoom = "Holiday"
	demoFile = "photos.zip"
	// demoPatience bounds each wait. The first sync of a slow machine takes
	// seconds.
	demoPatience = time.Minute
)

// demo is what is running.
type demo struct {
	stage
	con    *console
	server *matrixtest.Homeserver
}

// demoPerson is one of the two.
type demoPerson struct {
	name  string
	user  *matrixtest.User
	state string // their state directory
	mount string // their mount point
}

// Run plays the demo. Everything it makes is in one temporary directory, and
// gone at the end.
func (c *demoCommand) Run(ctx context.Context, con *console) (err error) {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("can't find the program itself: %w", err)
	}
	dir, err := os.MkdirTemp("", "matrixfs-demo-")
	if err != nil {
		return err
	}
	d := &demo{con: con, stage: stage{dir: dir, program: program, out: con.out}}
	ctx, stop := untilSignal(ctx, d.hurry)
	defer stop()
	defer func() {
		fmt.Fprintln(con.out, "\nCleaning up.")
		err = errors.Join(err, d.clean())
	}()
	err = d.play(ctx)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil || c.Once:
		return err
	}
	fmt.Fprintf(con.out, "\nBoth mounts are yours to play with: %s and %s.\n", d.path("alice"), d.path("bob"))
	fmt.Fprintln(con.out, "Ctrl-C ends the demo and removes everything.")
	<-ctx.Done()
	return nil
}

// play makes the homeserver, the people and the mounts, and sends the file.
func (d *demo) play(ctx context.Context) error {
	fmt.Fprintf(d.con.out, "Starting a homeserver on this machine, with its data in %s.\n", d.path("homeserver"))
	var err error
	if d.server, err = matrixtest.Run(ctx, d.path("homeserver"), d.con.out); err != nil {
		return fmt.Errorf("the demo needs a homeserver: %w", err)
	}
	alice, bob := d.person("alice"), d.person("bob")
	for _, p := range []*demoPerson{alice, bob} {
		if p.user, err = d.server.Register(ctx, p.name); err != nil {
			return err
		}
	}
	if _, err := alice.user.CreateRoom(ctx, []*matrixtest.User{bob.user}, matrixtest.Named(demoRoom)); err != nil {
		return err
	}
	fmt.Fprintf(d.con.out, "Made alice and bob there, and a private room of theirs, %q.\n", demoRoom)
	for _, p := range []*demoPerson{alice, bob} {
		if err := d.enter(ctx, p); err != nil {
			return err
		}
	}
	return d.send(ctx, alice, bob)
}

// person gives the places of a person.
func (d *demo) person(name string) *demoPerson {
	return &demoPerson{name: name, state: d.path(name + "-state"), mount: d.path(name)}
}

// enter logs a person in and mounts their rooms, as they would.
func (d *demo) enter(ctx context.Context, p *demoPerson) error {
	fmt.Fprintf(d.con.out, "\n%s logs in and mounts:\n", p.name)
	password := d.path(p.name + "-password")
	if err := os.WriteFile(password, []byte(p.user.Password+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(p.mount, 0o700); err != nil {
		return err
	}
	_, err := d.do(ctx, `matrixfs login --state "$1" --homeserver "$2" --user "$3" --password-file "$4"`,
		p.state, d.server.URL(), p.name, password)
	if err != nil {
		return err
	}
	if err := d.keep(ctx, p.state, p.mount); err != nil {
		return err
	}
	return d.await(ctx, filepath.Join(p.mount, demoRoom))
}

// send has alice write a file into the room and bob read it, and compares.
func (d *demo) send(ctx context.Context, alice, bob *demoPerson) error {
	source, copied := d.path(demoFile), d.path("received-"+demoFile)
	offer := filepath.Join(bob.mount, "incoming", demoFile)
	if err := writeRandom(source, demoSize); err != nil {
		return err
	}
	fmt.Fprintln(d.con.out, "\nalice offers a file to the room; cp ends when somebody has it:")
	cp, err := d.begin(ctx, `cp "$1" "$2"`, source, filepath.Join(alice.mount, demoRoom)+"/")
	if err != nil {
		return err
	}
	if err := d.await(ctx, offer); err != nil {
		return err
	}
	fmt.Fprintln(d.con.out, "\nbob sees it, and takes it by reading it:")
	for _, script := range []string{`ls -l "$1"`, `cat "$1" > "$2"`} {
		if _, err := d.do(ctx, script, offer, copied); err != nil {
			return err
		}
	}
	if err := cp.wait(ctx); err != nil {
		return err
	}
	fmt.Fprintln(d.con.out, "cp ended with status 0.")
	return d.compare(source, copied)
}

// compare makes sure that both files are the same, and says how it knows.
func (d *demo) compare(source, copied string) error {
	fmt.Fprintln(d.con.out, "\nThe same bytes:")
	want, err := fileDigest(source)
	if err != nil {
		return err
	}
	got, err := fileDigest(copied)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.con.out, "  sha256 %s  %s\n  sha256 %s  %s\n", want, source, got, copied)
	if got != want {
		return errors.New("the received file is not the one that was sent")
	}
	return nil
}

// clean ends everything in reverse, and removes it.
func (d *demo) clean() error {
	err := d.end()
	if d.server != nil {
		err = errors.Join(err, d.server.Close())
	}
	if err != nil {
		// Something may still be mounted: removing could remove through it.
		return fmt.Errorf("%w; left as it is: %s", err, d.dir)
	}
	return os.RemoveAll(d.dir)
}

func writeRandom(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, rand.Reader, size)
	return errors.Join(err, file.Close())
}

func fileDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
