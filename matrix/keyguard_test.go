package matrix

import (
	"encoding/json"
	"strings"
	"testing"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"
)

// An answer to /keys/query about bob, in parts.
const (
	bobsMaster      = `"master_keys":{"@bob:localhost":{"user_id":"@bob:localhost","usage":["master"],"keys":{"ed25519:M":"M"}}}`
	bobsSelfSigning = `"self_signing_keys":{"@bob:localhost":{"user_id":"@bob:localhost","usage":["self_signing"],"keys":{"ed25519:S":"S"}}}`
	bobsUserSigning = `"user_signing_keys":{"@bob:localhost":{"user_id":"@bob:localhost","usage":["user_signing"],"keys":{"ed25519:U":"U"}}}`
	bobsDevice      = `"device_keys":{"@bob:localhost":{"DEVICE":{"user_id":"@bob:localhost","device_id":"DEVICE","keys":{"ed25519:DEVICE":"D"}}}}`
	bobsKeys        = "{" + bobsDevice + "," + bobsMaster + "," + bobsSelfSigning + "," + bobsUserSigning + "}"
)

// readKeys gives what mautrix makes of an answer: bob's cross-signing keys, and
// the key of his device.
func readKeys(t *testing.T, text []byte) (cross, device string) {
	t.Helper()
	var answer mautrix.RespQueryKeys
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	bob := id.UserID("@bob:localhost")
	for _, list := range []map[id.UserID]mautrix.CrossSigningKeys{answer.MasterKeys, answer.SelfSigningKeys, answer.UserSigningKeys} {
		for _, key := range list[bob].Keys {
			cross += string(key)
		}
	}
	return cross, string(answer.DeviceKeys[bob]["DEVICE"].Keys.GetEd25519("DEVICE"))
}

// What is not as it should be is not there.
func TestGuardKeys(t *testing.T) {
	const whose = `"user_id":"@bob:localhost","usage":["master"]`
	for _, c := range []struct{ name, old, new, want string }{ // new is put in place of old
		{"right", "", "", "MSU"},
		{"of another user", whose, `"user_id":"@mallory:localhost","usage":["master"]`, "SU"},
		{"of nobody", whose, `"usage":["master"]`, "SU"},
		{"for another use", `["self_signing"]`, `["user_signing"]`, "MU"},
		{"for two uses", `["self_signing"]`, `["self_signing","user_signing"]`, "MU"},
		{"for no use", `["self_signing"]`, `[]`, "MU"},
		{"two keys", `"ed25519:U":"U"`, `"ed25519:U":"U","ed25519:V":"V"`, "MS"},
		{"no key", `"ed25519:U":"U"`, ``, "MS"},
		{"a key under another name", `"ed25519:U":"U"`, `"ed25519:V":"U"`, "MS"},
		{"a key that is used twice", `"ed25519:U":"U"`, `"ed25519:S":"S"`, ""},
		{"the key of a device", `"ed25519:M":"M"`, `"ed25519:D":"D"`, ""},
		{"something else than a list", bobsMaster, `"master_keys":7`, "SU"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(bobsKeys, c.old, c.new, 1)
			if got, _ := readKeys(t, guardKeys([]byte(text))); got != c.want {
				t.Errorf("left are %q, want %q", got, c.want)
			}
		})
	}
}
