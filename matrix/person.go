package matrix

import (
	"context"
	"time"
)

// Person is who logs in in a browser, and how to reach them.
type Person interface {
	// HasBrowser reports whether a browser of this machine can be opened.
	HasBrowser() bool
	// Show shows the person where to go. It does not wait.
	Show(v Visit)
	// Pasted waits until the person gives the address that their browser
	// ended at. The error is that of ctx, or that nobody can give one.
	Pasted(ctx context.Context) (string, error)
}

// Visit is what a person is to do in a browser. Everything in it but Comeback
// is from the network, with its length bounded.
type Visit struct {
	Address string // to go to
	// Code is to be entered there, or to be compared with what is shown there.
	// It is empty where the browser comes back by itself.
	Code string
	// Comeback is where the browser ends, without the secrets in it; empty if
	// there is a Code. The browser must be one of this machine for that, else
	// the person can paste that address.
	Comeback string
	// Wrong says that what was pasted is not that address.
	Wrong bool
}

// browserTimeout is how long a person gets in the browser. Servers give them
// less, mostly: a device code lives for 20 minutes in Matrix Authentication
// Service, an SSO session for 15 in Synapse.
const browserTimeout = 20 * time.Minute
