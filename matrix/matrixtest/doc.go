// Package matrixtest runs a real homeserver, Dendrite, for tests and for the
// demo. It is built from source once and kept in the user's cache directory;
// the server runs as a child process on a free port of 127.0.0.1, with all of
// its data in one directory and no federation.
//
// Tests use Start, which fails the test, with a sentence that says why, where
// the server can't be built or run. Others use Run. A Proxy in front of the
// server makes it fail in chosen ways.
//
// Dendrite is built from a module of its own (the directory dendrite), because
// it can't be imported and its requirements are none of ours. The module's
// files are kept with the suffix ".txt", so that they are part of this package
// and a binary made from it, and are written out to be built.
package matrixtest
