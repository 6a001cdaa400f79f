package matrix

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
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
		// Go does not tell these from the real names.
		{"a list in capitals", bobsMaster, strings.NewReplacer("master_keys", "MASTER_KEYS", `id":"@bob`, `id":"@mallory`).Replace(bobsMaster), "SU"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(bobsKeys, c.old, c.new, 1)
			if got, _ := readKeys(t, guardKeys([]byte(text))); got != c.want {
				t.Errorf("left are %q, want %q", got, c.want)
			}
		})
	}
}

// Nor does a second list in capitals add anything, be it of devices.
func TestGuardCapitals(t *testing.T) {
	text := strings.NewReplacer("device_keys", "DEVICE_KEYS", `"D"`, `"M"`).Replace(bobsKeys)
	if cross, device := readKeys(t, guardKeys([]byte(text))); device != "" && strings.Contains(cross, device) {
		t.Errorf("left are %q and %q", cross, device)
	}
	text = strings.Replace(bobsKeys, bobsMaster, bobsMaster+`,"MASTER_KEYS":{"@bob:localhost":{"keys":{"ed25519:X":"X"}}}`, 1)
	if cross, _ := readKeys(t, guardKeys([]byte(text))); strings.Contains(cross, "X") {
		t.Errorf("left are %q", cross)
	}
}

// answers answers each request with a status and a text.
type answers struct {
	status int
	text   string
}

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	recorder.WriteHeader(a.status)
	_, _ = io.WriteString(recorder, a.text)
	return recorder.Result(), nil
}

// mautrix reads an answer with any status that means success.
func TestKeyGuardStatus(t *testing.T) {
	wrong := strings.Replace(bobsKeys, `"ed25519:U":"U"`, `"ed25519:V":"U"`, 1)
	for _, status := range []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusIMUsed} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_matrix/client/v3/keys/query", nil)
		resp, err := keyGuard{answers{status, wrong}}.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if got, _ := readKeys(t, text); got != "MS" {
			t.Errorf("%d: left are %q", status, got)
		}
	}
}
