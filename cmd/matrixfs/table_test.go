package main

import (
	"strings"
	"testing"
	"time"

	"github.com/matrixfs/matrixfs/transfer"
)

func TestRenderStatus(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		what   string
		status transfer.Status
		want   []string
	}{
		{"half way", transfer.Status{Name: "a.iso", Size: 4 << 20, Bytes: 2 << 20, State: transfer.Streaming, Rate: 1 << 20, Path: "direct"},
			[]string{"out", "a.iso", "4.0 MiB", "#####-----  50%", "1.0 MiB/s", "0:02", "streaming, direct"}},
		{"size not known", transfer.Status{Direction: transfer.In, Name: "pipe", Size: -1, Bytes: 2048, State: transfer.Streaming},
			[]string{"in", "pipe", "?", "2.0 KiB"}},
		{"waiting", transfer.Status{Name: "a", Size: 1, State: transfer.Offered, Expires: now.Add(65 * time.Second)},
			[]string{"----------   0%", "1:05", "offered"}},
		{"empty file", transfer.Status{Name: "a", State: transfer.Delivered}, []string{"0 B", "########## 100%", "delivered"}},
		{"failed", transfer.Status{Name: "a", Size: 1, State: transfer.Failed, Err: "connection lost"}, []string{"failed: connection lost"}},
		{"more than announced", transfer.Status{Name: "a", Size: 1, Bytes: 99, State: transfer.Streaming, Rate: 1}, []string{"########## 100%"}},
		{"hours", transfer.Status{Name: "a", Size: 3661, State: transfer.Streaming, Rate: 1}, []string{"1:01:01"}},
		{"for ever", transfer.Status{Name: "a", Size: 1 << 62, State: transfer.Streaming, Rate: 1}, []string{"99:00:00"}},
		{"hostile", transfer.Status{Name: "a\x1b[2Jb", Size: 1, Room: "!r\n:x", Err: "\x9b31m", Peer: transfer.Peer{User: "@e\u202e:x"}},
			[]string{"\ufffd31m"}},
	} {
		got := renderStatus(report{User: "@a:x", Device: "D", Mountpoint: "/m", Online: true, Transfers: []transfer.Status{c.status}}, now)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", c.what, want, got)
			}
		}
		if strings.ContainsAny(got, "\x1b\u009b\u202e") || strings.Count(got, "\n") != 3 {
			t.Errorf("%s: %q", c.what, got)
		}
	}
}

func TestRenderStatusOffline(t *testing.T) {
	t.Parallel()
	got := renderStatus(report{User: "@a:x", Device: "D", Mountpoint: "/m\x1b"}, time.Now())
	if want := "@a:x (D) mounted at /m\ufffd, offline: the homeserver does not answer\nNo transfers yet.\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                "plain",
		"two\nlines\n":         "two; lines",
		"two\r\nlines":         "two; lines",
		"tab\tand\x00nul":      "tab\ufffdand\ufffdnul",
		"caf\u00e9 \U0001f600": "caf\u00e9 \U0001f600",
		"bad \xff utf-8":       "bad \ufffd utf-8",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", in, got, want)
		}
	}
	if got := safeText(strings.Repeat("\u00e9", maxText)); len(got) > maxText+3 {
		t.Errorf("safeText keeps %d bytes", len(got))
	}
}

func TestDefaultState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ xdg, home, want string }{
		{"", "/home/a", "/home/a/.local/state/matrixfs"},
		{"/x", "/home/a", "/x/matrixfs"},
		{"relative", "/home/a", "/home/a/.local/state/matrixfs"},
		{"", "", ""},
	} {
		env := map[string]string{"XDG_STATE_HOME": c.xdg, "HOME": c.home}
		if got := defaultState(func(name string) string { return env[name] }); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

func TestDefaultReaders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ xdg, home, want string }{
		{"", "/home/a", "/home/a/.config/matrixfs/readers.conf"},
		{"/x", "/home/a", "/x/matrixfs/readers.conf"},
		{"relative", "/home/a", "/home/a/.config/matrixfs/readers.conf"},
		{"", "", ""},
	} {
		env := map[string]string{"XDG_CONFIG_HOME": c.xdg, "HOME": c.home}
		if got := defaultReaders(func(name string) string { return env[name] }); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

func TestHomeserver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		given, url string
		loopback   bool
	}{
		{"example.org", "https://example.org", false},
		{"https://example.org/", "https://example.org/", false},
		{"http://127.0.0.1:8008", "http://127.0.0.1:8008", true},
		{"http://[::1]:8008", "http://[::1]:8008", true},
		{"localhost:8448", "https://localhost:8448", true},
		{"https://localhost.example.org", "https://localhost.example.org", false},
		{"192.168.0.1", "https://192.168.0.1", false},
	} {
		url := homeserverURL(c.given)
		if url != c.url || onLoopback(url) != c.loopback {
			t.Errorf("%s: %s, loopback %v", c.given, url, onLoopback(url))
		}
	}
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]byteSize{"4G": 4_000_000_000, "4GiB": 4 << 30, "500MB": 500_000_000, "100000000": 100_000_000} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "lots", "-1G", "1k", "99999999999G", "NaN", "1e30"} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}
