// Package cache holds values in the memory of this process. Each cache has room for a
// number of them. When it is full, the value that was not used for the longest time is
// dropped.
package cache

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// LRU returns a cache with room for size values. It panics if size is not positive.
func LRU[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err)
	}
	return c
}

// TTL holds each value for a time of its own. It is safe for concurrent use. Make it
// with [NewTTL].
type TTL[K comparable, V any] struct {
	values *lru.Cache[K, expiring[V]]
}

type expiring[V any] struct {
	value V
	until time.Time
}

// NewTTL returns a cache with room for size values.
func NewTTL[K comparable, V any](size int) TTL[K, V] {
	return TTL[K, V]{LRU[K, expiring[V]](size)}
}

// Put holds a value until ttl has passed.
func (m TTL[K, V]) Put(key K, value V, ttl time.Duration) {
	m.values.Add(key, expiring[V]{value, time.Now().Add(ttl)})
}

// Get returns false if there is no value, or its time has passed.
func (m TTL[K, V]) Get(key K) (value V, ok bool) {
	v, ok := m.values.Get(key)
	if !ok || !time.Now().Before(v.until) {
		return value, false
	}
	return v.value, true
}

// Remove drops a value.
func (m TTL[K, V]) Remove(key K) { m.values.Remove(key) }

// Len is the number of values that are held. It counts those whose time has passed, too.
func (m TTL[K, V]) Len() int { return m.values.Len() }
