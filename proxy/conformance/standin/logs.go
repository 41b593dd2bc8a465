package main

import (
	"sync"
	"time"
)

// kept is how many lines of a container's log are kept.
const kept = 20000

type line struct {
	at   time.Time
	text string
}

// logs are the last lines that a container wrote.
type logs struct {
	mutex sync.Mutex
	lines []line
	// How many lines were forgotten.
	dropped int
	more    chan struct{}
}

func (l *logs) write(text string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.lines = append(l.lines, line{time.Now(), text})
	if len(l.lines) >= 2*kept {
		l.dropped += len(l.lines) - kept
		l.lines = append([]line(nil), l.lines[len(l.lines)-kept:]...)
	}
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

// from returns the lines after the first n ever written, how many have been written, and what
// is closed when there are more.
func (l *logs) from(n int) ([]line, int, <-chan struct{}) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.more == nil {
		l.more = make(chan struct{})
	}
	skip := min(max(n-l.dropped, 0), len(l.lines))
	return append([]line(nil), l.lines[skip:]...), l.dropped + len(l.lines), l.more
}
