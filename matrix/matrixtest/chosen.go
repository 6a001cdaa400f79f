package matrixtest

import (
	"context"
	"fmt"
	"io"
	"os"
)

// serverEnv chooses the homeserver of all tests.
const (
	serverEnv      = "MATRIXFS_TEST_SERVER"
	serverDendrite = "dendrite" // the default
	serverSynapse  = "synapse"
)

// RunChosen is Run, or RunSynapse if the environment variable
// MATRIXFS_TEST_SERVER is "synapse".
func RunChosen(ctx context.Context, dir string, progress io.Writer, opts ...Option) (*Homeserver, error) {
	switch name := os.Getenv(serverEnv); name {
	case "", serverDendrite:
		return Run(ctx, dir, progress, opts...)
	case serverSynapse:
		return RunSynapse(ctx, dir, progress, opts...)
	default:
		return nil, fmt.Errorf("%s is %q: set it to %s or %s", serverEnv, name, serverDendrite, serverSynapse)
	}
}
