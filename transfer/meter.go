package transfer

import "time"

// meter measures the rate of a transfer over the last few seconds. The mutex
// of its transfer guards it.
type meter struct {
	marks [meterMarks]mark
	n     int
}

type mark struct {
	at    time.Time
	bytes int64
}

const (
	meterMarks = 16
	meterStep  = 250 * time.Millisecond
)

// note records that so many bytes have been moved in all.
func (m *meter) note(bytes int64, now time.Time) {
	if m.n > 0 && now.Sub(m.marks[(m.n-1)%meterMarks].at) < meterStep {
		return
	}
	m.marks[m.n%meterMarks] = mark{now, bytes}
	m.n++
}

// rate gives bytes per second from the oldest mark until now.
func (m *meter) rate(bytes int64, now time.Time) float64 {
	if m.n == 0 {
		return 0
	}
	oldest := m.marks[max(0, m.n-meterMarks)%meterMarks]
	span := now.Sub(oldest.at).Seconds()
	if span <= 0 {
		return 0
	}
	return float64(bytes-oldest.bytes) / span
}
