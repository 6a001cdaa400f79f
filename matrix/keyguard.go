package matrix

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"maunium.net/go/mautrix/id"
)

// keyGuard lets through what a homeserver says of cross-signing keys only if it
// says it of the right user and for the right use. mautrix stores such keys
// without looking at that, and looks up their signatures one by one; so the
// homeserver could put together an identity for one user from the keys of
// another.
type keyGuard struct{ next http.RoundTripper }

var _ http.RoundTripper = keyGuard{}

// RoundTrip implements http.RoundTripper.
func (g keyGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(req)
	if err != nil || resp.StatusCode/100 != 2 || !strings.HasSuffix(req.URL.Path, "/keys/query") {
		return resp, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if len(text) <= maxResponse { // else mautrix refuses it
		text = guardKeys(text)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	resp.ContentLength = int64(len(text))
	resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return resp, nil
}

// CloseIdleConnections is called by http.Client.
func (g keyGuard) CloseIdleConnections() {
	if c, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// crossSigningLists are the parts of an answer to /keys/query with
// cross-signing keys, and what those are for.
var crossSigningLists = map[string]id.CrossSigningUsage{
	"master_keys": id.XSUsageMaster, "self_signing_keys": id.XSUsageSelfSigning, "user_signing_keys": id.XSUsageUserSigning,
}

// guardKeys takes out of an answer to /keys/query what is not as it should be.
// What can't be read at all is left to mautrix.
func guardKeys(text []byte) []byte {
	// Names are told apart as mautrix does, which is whatever their case.
	var read struct {
		Failures    json.RawMessage `json:"failures,omitempty"`
		Devices     json.RawMessage `json:"device_keys,omitempty"`
		Master      json.RawMessage `json:"master_keys,omitempty"`
		SelfSigning json.RawMessage `json:"self_signing_keys,omitempty"`
		UserSigning json.RawMessage `json:"user_signing_keys,omitempty"`
	}
	if json.Unmarshal(text, &read) != nil {
		return text
	}
	exact, err := json.Marshal(read)
	var answer map[string]json.RawMessage
	if err != nil || json.Unmarshal(exact, &answer) != nil {
		return []byte("{}")
	}
	lists := make(map[string]map[id.UserID]json.RawMessage)
	found := make(map[id.UserID]map[string]int) // how often a user has each key
	note := func(user id.UserID, key string) {
		if found[user] == nil {
			found[user] = make(map[string]int)
		}
		found[user][key]++
	}
	for name, usage := range crossSigningLists {
		list := make(map[id.UserID]json.RawMessage)
		if json.Unmarshal(answer[name], &list) != nil {
			list = nil
		}
		for user, object := range list {
			if key, ok := crossSigningKey(object, user, usage); ok {
				note(user, key)
			} else {
				delete(list, user)
			}
		}
		lists[name] = list
	}
	noteDevices(answer["device_keys"], note)
	for name, list := range lists {
		for user := range list {
			// A key with two uses lets what was signed for one count for the other.
			for _, times := range found[user] {
				if times > 1 {
					delete(list, user)
				}
			}
		}
		if guarded, err := json.Marshal(list); err == nil && answer[name] != nil {
			answer[name] = guarded
		}
	}
	guarded, err := json.Marshal(answer)
	if err != nil {
		return []byte("{}")
	}
	return guarded
}

// crossSigningKey gives the key of an object that describes one (client-server
// API, "CrossSigningKey"), if it is that of the user, for that use and no other.
func crossSigningKey(object json.RawMessage, user id.UserID, usage id.CrossSigningUsage) (string, bool) {
	var described struct {
		User  id.UserID              `json:"user_id"`
		Usage []id.CrossSigningUsage `json:"usage"`
		Keys  map[string]string      `json:"keys"`
	}
	if json.Unmarshal(object, &described) != nil || described.User != user || len(described.Keys) != 1 ||
		len(described.Usage) != 1 || described.Usage[0] != usage {
		return "", false
	}
	for name, key := range described.Keys {
		return key, name == "ed25519:"+key
	}
	return "", false
}

// noteDevices notes the signing keys of devices.
func noteDevices(text json.RawMessage, note func(id.UserID, string)) {
	var devices map[id.UserID]map[id.DeviceID]struct {
		Keys map[string]string `json:"keys"`
	}
	if json.Unmarshal(text, &devices) != nil {
		return
	}
	for user, list := range devices {
		for device, described := range list {
			note(user, described.Keys["ed25519:"+string(device)])
		}
	}
}
