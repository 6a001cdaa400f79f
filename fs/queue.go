package fs

import "slices"

// maxSegments bounds into how many parts a program may cut a queue by filling
// its gaps.
const maxSegments = 1024

// queue is what has been accepted from a program and not been handed to the
// transfer: gaps, what was put into them, and what came with a WRITE that has
// given way.
type queue struct {
	segments []segment
	length   int64
	held     int // how much of that is no gap
}

// segment is a run of zeros, and then some bytes.
type segment struct {
	zeros int64
	data  []byte
}

func (g segment) length() int64 { return g.zeros + int64(len(g.data)) }

var zeros [piece]byte

// push appends g; it copies the data.
func (q *queue) push(g segment) {
	q.length += g.length()
	q.held += len(g.data)
	if last := len(q.segments) - 1; last >= 0 && g.zeros == 0 {
		q.segments[last].data = append(q.segments[last].data, g.data...)
		return
	}
	q.segments = append(q.segments, segment{g.zeros, slices.Clone(g.data)})
}

// next gives the first piece, or nil.
func (q *queue) next() []byte {
	if len(q.segments) == 0 {
		return nil
	}
	first := q.segments[0]
	if first.zeros > 0 {
		return zeros[:min(first.zeros, piece)]
	}
	return first.data[:min(len(first.data), piece)]
}

// pop removes n bytes of the piece that next gave.
func (q *queue) pop(n int) {
	q.length -= int64(n)
	first := &q.segments[0]
	if first.zeros > 0 {
		first.zeros -= int64(n)
	} else {
		first.data = first.data[n:]
		q.held -= n
	}
	if first.length() == 0 {
		q.segments = q.segments[1:]
	}
}

// read copies what is at the offset to p, as far as it goes, and returns how
// much that is.
func (q *queue) read(p []byte, at int64) (n int) {
	for _, g := range q.segments {
		if k := min(g.zeros-at, int64(len(p)-n)); k > 0 {
			clear(p[n : n+int(k)])
			n, at = n+int(k), at+k
		}
		if at >= g.zeros && at < g.length() {
			k := copy(p[n:], g.data[at-g.zeros:])
			n, at = n+k, at+int64(k)
		}
		if at -= g.length(); n == len(p) {
			break
		}
	}
	return n
}

// rewrite puts p at the offset; all of it must be within the queue. It reports
// false, and changes nothing, where that would take too much memory.
func (q *queue) rewrite(p []byte, at int64) bool {
	if len(p) == 0 || q.rewriteData(p, at) {
		return true
	}
	if q.held+len(p) > maxQueue || len(q.segments)+3 > maxSegments {
		return false
	}
	i := q.split(at)
	j := q.split(at + int64(len(p)))
	q.segments = slices.Replace(q.segments, i, j, segment{data: slices.Clone(p)})
	q.count()
	return true
}

// rewriteData does it where p takes the place of nothing but bytes of one
// segment.
func (q *queue) rewriteData(p []byte, at int64) bool {
	for _, g := range q.segments {
		if at < g.length() {
			if at < g.zeros || at+int64(len(p)) > g.length() {
				return false
			}
			copy(g.data[at-g.zeros:], p)
			return true
		}
		at -= g.length()
	}
	return false
}

// split makes a segment start at the offset, and gives its place in the list.
func (q *queue) split(at int64) int {
	for i, g := range q.segments {
		switch {
		case at == 0:
			return i
		case at >= g.length():
			at -= g.length()
			continue
		}
		front, back := segment{zeros: at}, segment{g.zeros - at, g.data}
		if k := at - g.zeros; k > 0 {
			front, back = segment{g.zeros, g.data[:k:k]}, segment{data: g.data[k:]}
		}
		q.segments = slices.Replace(q.segments, i, i+1, front, back)
		return i + 1
	}
	return len(q.segments)
}

// truncate cuts the queue off after n bytes.
func (q *queue) truncate(n int64) {
	q.segments = slices.Delete(q.segments, q.split(n), len(q.segments))
	q.length = n
	q.count()
}

// count counts what is no gap.
func (q *queue) count() {
	q.held = 0
	for _, g := range q.segments {
		q.held += len(g.data)
	}
}
