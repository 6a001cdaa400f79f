package matrixtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Where Synapse comes from: of Debian's suites only sid has it. sid moves, so
// the version is what it had when the chroot was made; to take a new one,
// remove the chroot. It can't be pinned, because sid keeps no old versions.
const (
	// synapseEnv names a directory to use instead of making one.
	synapseEnv   = "MATRIXFS_SYNAPSE"
	synapseSuite = "sid"
	// synapseVersionName is a file in the chroot with Synapse's version.
	synapseVersionName = "synapse-version"
)

// synapseHook runs while the chroot ($1) is made, before packages are installed:
// it keeps them from starting services.
const synapseHook = `mkdir -p "$1/usr/sbin" && printf '#!/bin/sh\nexit 101\n' > "$1/usr/sbin/policy-rc.d" && ` +
	`chmod 755 "$1/usr/sbin/policy-rc.d"`

// synapseDone runs when the packages are installed: it fails if Synapse does
// not run, and notes its version.
const synapseDone = `chroot "$1" python3 -c "import synapse.app.homeserver" && ` +
	`chroot "$1" dpkg-query --show --showformat '${Version}' matrix-synapse > "$1/` + synapseVersionName + `"`

// synapseRecipe are the arguments of mmdebstrap, without the directory.
func synapseRecipe() []string {
	return []string{
		"--mode=root", "--variant=apt", "--include=matrix-synapse",
		// The clock of the machine, or the mirror, may be behind.
		`--aptopt=Acquire::Check-Valid-Until "false"`,
		`--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=force-unsafe-io", // half a chroot is removed anyway
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		"--setup-hook=" + synapseHook, "--customize-hook=" + synapseDone,
		synapseSuite,
	}
}

// SynapseRoot gives the directory of a small Debian with Synapse in it, and
// makes it first if that has not been done before on this machine, which takes
// a minute, 400 MB, root, mmdebstrap and a Debian mirror; progress, which may
// be nil, is told so. Processes that ask at once wait for the one that makes
// it. The environment variable MATRIXFS_SYNAPSE names another such directory to
// use.
func SynapseRoot(ctx context.Context, progress io.Writer) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("the homeserver Synapse runs in a chroot, which needs root: run this as root")
	}
	if progress == nil {
		progress = io.Discard
	}
	if root := os.Getenv(synapseEnv); root != "" {
		if _, err := os.Stat(filepath.Join(root, "usr/bin/python3")); err != nil {
			return "", fmt.Errorf("%s does not name a directory with Synapse: %w", synapseEnv, err)
		}
		return filepath.Abs(root)
	}
	recipe := synapseRecipe()
	key := sha256.Sum256([]byte(strings.Join(recipe, "\n") + runtime.GOARCH))
	name := "synapse-" + synapseSuite + "-" + hex.EncodeToString(key[:6])
	root, err := cached(ctx, "Synapse", synapseEnv, name, func(path string) error {
		_, _ = fmt.Fprintf(progress, "installing Synapse from Debian %s, once; this takes a minute\n", synapseSuite)
		return debootstrap(ctx, append(recipe, path))
	})
	if err != nil {
		return "", err
	}
	version, err := os.ReadFile(filepath.Join(root, synapseVersionName))
	if err != nil {
		return "", err
	}
	_, _ = fmt.Fprintf(progress, "Synapse %s in %s\n", bytes.TrimSpace(version), root)
	return root, nil
}

// debootstrap runs mmdebstrap in namespaces of its own, so that all of its
// processes and mounts are gone with it, even if it is killed.
func debootstrap(ctx context.Context, args []string) error {
	for _, need := range []string{"unshare", "mmdebstrap"} {
		if _, err := exec.LookPath(need); err != nil {
			return fmt.Errorf("the homeserver Synapse is installed with %s, which is missing (apt install mmdebstrap, or set %s): %w",
				need, synapseEnv, err)
		}
	}
	args = append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "mmdebstrap"}, args...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.WaitDelay = 10 * time.Second
	var printed output
	cmd.Stdout, cmd.Stderr = &printed, &printed
	// What this program was started with is not meant for Debian's scripts.
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMPDIR=/tmp", "DEBIAN_FRONTEND=noninteractive")
	dieWithParent(cmd) // which is this thread
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the homeserver Synapse could not be installed from Debian %s (try again later: what is there changes daily; or set %s "+
			"to the root directory of a Debian that has it): %w\n%s", synapseSuite, synapseEnv, errors.Join(err, ctx.Err()), printed.String())
	}
	return nil
}
