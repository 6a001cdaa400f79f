package matrixtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Names in the directory of a Synapse, and where the server sees it.
const (
	synapseConfigName = "synapse.json"
	synapseLogName    = "log.json"
	synapseDir        = "/srv"
)

// synapseScript mounts the data ($2) in the chroot ($1) and becomes Synapse. It
// runs in a mount namespace of its own, which is gone with the process: nothing
// stays mounted, however the process ends.
const synapseScript = `mount --bind "$2" "$1` + synapseDir + `" &&
exec chroot "$1" /usr/bin/python3 -m synapse.app.homeserver --config-path ` + synapseDir + "/" + synapseConfigName

// RunSynapse is Run with Synapse, the other homeserver that people use. It
// needs root, and makes a chroot the first time; see SynapseRoot.
func RunSynapse(ctx context.Context, dir string, progress io.Writer, opts ...Option) (*Homeserver, error) {
	root, err := SynapseRoot(ctx, progress)
	if err != nil {
		return nil, err
	}
	return run(ctx, synapse{root}, dir, opts)
}

// synapse is the software Synapse, in a chroot that all of its processes share.
type synapse struct{ root string }

func (synapse) name() string { return "Synapse" }

func (s synapse) command(dir, _ string) *exec.Cmd {
	// Each of these programs becomes the next: the process is Synapse's own.
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "--",
		"/bin/sh", "-c", synapseScript, "sh", s.root, dir)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	return cmd
}

// configure writes the configuration, as JSON, which YAML includes. Synapse
// makes the signing key itself.
func (synapse) configure(dir, address, secret string, o options) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	config := synapseLimits()
	if o.messageLimit {
		delete(config, "rc_message")
	}
	for name, value := range map[string]any{
		"server_name": o.name, "report_stats": false,
		"listeners": []any{map[string]any{
			"type": "http", "port": number, "bind_addresses": []string{"127.0.0.1"},
			"resources": []any{map[string]any{"names": []string{"client"}}},
		}},
		"database": map[string]any{
			"name": "sqlite3", "args": map[string]any{"database": synapseDir + "/homeserver.db"},
		},
		"signing_key_path": synapseDir + "/signing.key", "media_store_path": synapseDir + "/media",
		"pid_file": synapseDir + "/pid", "log_config": synapseDir + "/" + synapseLogName,
		"registration_shared_secret": secret, "macaroon_secret_key": rand.Text(), "form_secret": rand.Text(),
		"bcrypt_rounds":               4,
		"federation_domain_whitelist": []string{}, "trusted_key_servers": []string{}, // nobody
	} {
		config[name] = value
	}
	if o.turn != nil {
		config["turn_uris"], config["turn_shared_secret"] = o.turn.uris, o.turn.secret
		config["turn_user_lifetime"] = o.turn.ttl.Milliseconds()
	}
	if err := writeJSON(filepath.Join(dir, synapseConfigName), config); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, synapseLogName), map[string]any{
		"version": 1, "disable_existing_loggers": false,
		"formatters": map[string]any{"short": map[string]any{"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
		"handlers":   map[string]any{"console": map[string]any{"class": "logging.StreamHandler", "formatter": "short"}},
		"root":       map[string]any{"level": "WARNING", "handlers": []string{"console"}},
	})
}

// synapseLimits lifts the limits that tests meet: they make users, log in,
// invite and join faster than people do.
func synapseLimits() map[string]any {
	lifted := map[string]any{"per_second": 10000, "burst_count": 10000}
	return map[string]any{
		"rc_message": lifted, "rc_registration": lifted, "rc_joins_per_room": lifted, "rc_room_creation": lifted,
		"rc_login":   map[string]any{"address": lifted, "account": lifted, "failed_attempts": lifted},
		"rc_joins":   map[string]any{"local": lifted, "remote": lifted},
		"rc_invites": map[string]any{"per_room": lifted, "per_user": lifted, "per_issuer": lifted},
	}
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
