package stytchmigrate

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// memory holds sealed values in this process, for a time each. It is bounded:
// what was not used for longest makes room.
type memory struct {
	values *lru.Cache[string, memoryValue]
}

type memoryValue struct {
	value []byte
	until time.Time
}

func newMemory(size int) memory { return memory{newLRU[string, memoryValue](size)} }

func (m memory) put(key string, value []byte, ttl time.Duration) {
	m.values.Add(key, memoryValue{value, time.Now().Add(ttl)})
}

// get returns nil where there is nothing.
func (m memory) get(key string) []byte {
	v, ok := m.values.Get(key)
	if !ok || !time.Now().Before(v.until) {
		return nil
	}
	return v.value
}

func (m memory) remove(key string) { m.values.Remove(key) }
