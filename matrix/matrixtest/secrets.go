package matrixtest

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Secrets gives what is in a state directory and must be nowhere else: the
// access token, and the key that the device's keys are stored with.
func Secrets(t testing.TB, stateDir string) []string {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(stateDir, "matrix.key"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(stateDir, "matrix.db"), RawQuery: "mode=ro"}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var token string
	if err := db.QueryRowContext(t.Context(), "SELECT access_token FROM matrixfs_account").Scan(&token); err != nil {
		t.Fatal(err)
	}
	return []string{token, strings.TrimSpace(string(key))}
}
