// Package cache holds things in this process, so many of them at most: what was
// not used for longest makes room.
package cache

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// LRU returns a cache of a size that lru.New accepts.
func LRU[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return c
}

// Timed holds values for a time each. It is safe for concurrent use.
type TTL[K comparable, V any] struct {
	values *lru.Cache[K, expiring[V]]
}

type expiring[V any] struct {
	value V
	until time.Time
}

// NewTimed returns one for so many values.
func NewTTL[K comparable, V any](size int) TTL[K, V] {
	return TTL[K, V]{LRU[K, expiring[V]](size)}
}

// Put remembers a value until ttl has passed.
func (m TTL[K, V]) Put(key K, value V, ttl time.Duration) {
	m.values.Add(key, expiring[V]{value, time.Now().Add(ttl)})
}

// Get returns false where there is nothing, or its time is over.
func (m TTL[K, V]) Get(key K) (value V, ok bool) {
	v, ok := m.values.Get(key)
	if !ok || !time.Now().Before(v.until) {
		return value, false
	}
	return v.value, true
}

// Remove forgets a value.
func (m TTL[K, V]) Remove(key K) { m.values.Remove(key) }

// Len is how many are held, those whose time is over among them.
func (m TTL[K, V]) Len() int { return m.values.Len() }
