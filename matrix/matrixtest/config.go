package matrixtest

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ServerName is the domain of all users and rooms: "@alice:localhost".
const ServerName = "localhost"

// Names in the server's directory.
const (
	configName = "dendrite.json"
	keyName    = "matrix_key.pem"
)

// Option changes how the server is run.
type Option func(*options)

type options struct {
	turn map[string]any
}

// WithTURN makes the server hand out these TURN servers with credentials made
// from a shared secret (as coturn's --use-auth-secret), valid for ttl.
func WithTURN(secret string, ttl time.Duration, uris ...string) Option {
	return func(o *options) {
		o.turn = map[string]any{"turn_user_lifetime": ttl.String(), "turn_uris": uris, "turn_shared_secret": secret}
	}
}

// writeConfig writes the configuration and, if there is none, the signing key
// into dir. The configuration is JSON, which YAML includes.
func writeConfig(dir, secret string, o options) error {
	database := func(name string) map[string]any {
		return map[string]any{"database": map[string]any{
			"connection_string": "file:" + name + ".db", "max_open_conns": 10, "max_idle_conns": 2, "conn_max_lifetime": -1,
		}}
	}
	client := map[string]any{
		"registration_disabled": true, "guests_disabled": true,
		"registration_shared_secret": secret, "rate_limiting": map[string]any{"enabled": false},
	}
	if o.turn != nil {
		client["turn"] = o.turn
	}
	users := map[string]any{"account_database": database("userapi")["database"], "bcrypt_cost": 4}
	media := database("mediaapi")
	media["base_path"] = "./media"
	syncing := database("syncapi")
	syncing["search"] = map[string]any{"enabled": false, "index_path": "./search"}
	text, err := json.MarshalIndent(map[string]any{
		"version": 2,
		"global": map[string]any{
			"server_name": ServerName, "private_key": keyName, "disable_federation": true,
			"jetstream": map[string]any{"storage_path": "./jetstream", "in_memory": true},
			"cache":     map[string]any{"max_size_estimated": "16mb", "max_age": "1h"},
		},
		"client_api":     client,
		"federation_api": database("federationapi"),
		"key_server":     database("keyserver"),
		"media_api":      media,
		"mscs":           database("mscs"),
		"relay_api":      database("relayapi"),
		"room_server":    database("roomserver"),
		"sync_api":       syncing,
		"user_api":       users,
		"logging":        []any{map[string]any{"type": "std", "level": "warn"}},
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, keyName)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, configName), text, 0o600)
}

// writeKey makes the key that the server signs events with, unless there is
// one from an earlier run.
func writeKey(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	seed := make([]byte, 32)
	_, _ = rand.Read(seed) // never fails
	block := &pem.Block{Type: "MATRIX PRIVATE KEY", Headers: map[string]string{"Key-ID": "ed25519:test"}, Bytes: seed}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}
