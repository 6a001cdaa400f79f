package matrix

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"

	"github.com/rs/zerolog"
)

// logKeys are the fields of mautrix's log lines that are passed on. Request
// bodies are not among them: they hold session descriptions, whose passwords
// and addresses are nobody's business. The URL is cut down to its path.
var logKeys = []string{"method", "status_code", "duration", "error", "component"}

// slogWriter takes the log lines of mautrix, which logs with zerolog, and
// passes them on to a slog.Logger at debug level.
type slogWriter struct{ log *slog.Logger }

// newZerolog gives a zerolog.Logger for mautrix whose lines end up in log.
func newZerolog(log *slog.Logger) zerolog.Logger {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return zerolog.Nop()
	}
	return zerolog.New(slogWriter{log}).Level(zerolog.DebugLevel)
}

// Write implements io.Writer. p is one line of JSON.
func (w slogWriter) Write(p []byte) (int, error) {
	var line map[string]any
	if json.Unmarshal(p, &line) != nil {
		return len(p), nil
	}
	attrs := make([]slog.Attr, 0, len(logKeys)+1)
	for _, k := range logKeys {
		if v, ok := line[k]; ok {
			attrs = append(attrs, slog.Any(k, v))
		}
	}
	if s, ok := line["url"].(string); ok {
		if u, err := url.Parse(s); err == nil {
			attrs = append(attrs, slog.String("path", u.Path))
		}
	}
	message, _ := line["message"].(string)
	w.log.LogAttrs(context.Background(), slog.LevelDebug, "mautrix: "+message, attrs...)
	return len(p), nil
}
