package matrixtest

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

// Names in the directory of a Dendrite.
const (
	configName = "dendrite.json"
	keyName    = "matrix_key.pem"
)

// dendrite is the software Dendrite.
type dendrite struct{ binary string }

func (dendrite) name() string { return "Dendrite" }

func (d dendrite) command(dir, address string) *exec.Cmd {
	cmd := exec.Command(d.binary, "-config", configName, "-http-bind-address", address, "-https-bind-address", "")
	cmd.Dir = dir
	return cmd
}

// configure writes the configuration and, if there is none, the signing key
// into dir. The configuration is JSON, which YAML includes.
//
// Dendrite ignores the parameters of an SQLite address, but decodes its path, so
// they are in there. With SQLite's own journal, readers and writers get in each
// other's way, requests fail with "database is locked", and at times Dendrite
// ends. With a write-ahead log they don't, and all is several times faster.
func (dendrite) configure(dir, _, secret string, o options) error {
	if o.messageLimit {
		return fmt.Errorf("a limit on the events of each user needs Synapse: set %s=%s", serverEnv, serverSynapse)
	}
	database := func(name string) map[string]any {
		file := url.URL{Scheme: "file", Path: filepath.Join(dir, name+".db") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"}
		return map[string]any{"database": map[string]any{
			"connection_string": file.String(), "max_open_conns": 10, "max_idle_conns": 2, "conn_max_lifetime": -1,
		}}
	}
	client := map[string]any{
		"registration_disabled": true, "guests_disabled": true,
		"registration_shared_secret": secret, "rate_limiting": map[string]any{"enabled": false},
	}
	if o.turn != nil {
		client["turn"] = map[string]any{
			"turn_user_lifetime": o.turn.ttl.String(), "turn_uris": o.turn.uris, "turn_shared_secret": o.turn.secret,
		}
	}
	users := map[string]any{"account_database": database("userapi")["database"], "bcrypt_cost": 4}
	media := database("mediaapi")
	media["base_path"] = "./media"
	syncing := database("syncapi")
	syncing["search"] = map[string]any{"enabled": false, "index_path": "./search"}
	text, err := json.MarshalIndent(map[string]any{
		"version": 2,
		"global": map[string]any{
			"server_name": o.name, "private_key": keyName, "disable_federation": true,
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
