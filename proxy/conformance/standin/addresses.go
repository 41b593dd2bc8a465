package main

import (
	"fmt"
	"net/netip"
	"sync"
)

// addresses gives every Pod an address that no other Pod has had lately, so that a connection
// which a proxy keeps to a Pod that is gone cannot reach another one.
type addresses struct {
	pool  netip.Prefix
	mutex sync.Mutex
	last  netip.Addr
	taken map[netip.Addr]bool
}

func newAddresses(pool netip.Prefix) *addresses {
	pool = pool.Masked()
	return &addresses{pool: pool, last: pool.Addr(), taken: map[netip.Addr]bool{}}
}

func (a *addresses) take() (netip.Addr, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	begun := a.last
	for {
		a.last = a.last.Next()
		if !a.pool.Contains(a.last) {
			a.last = a.pool.Addr()
		} else if !a.taken[a.last] && a.last.As16()[15] != 0 && a.last.As16()[15] != 255 {
			a.taken[a.last] = true
			return a.last, nil
		}
		if a.last == begun {
			return netip.Addr{}, fmt.Errorf("every address of %s is taken: use a larger --pool", a.pool)
		}
	}
}

func (a *addresses) free(address netip.Addr) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.taken, address)
}
