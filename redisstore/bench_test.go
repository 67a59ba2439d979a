package redisstore_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// BenchmarkExchange is what one exchange asks a redis-server on this machine: Get,
// Claim, Get, Put.
func BenchmarkExchange(b *testing.B) {
	store := startServer(b).store(redis.Options{})
	ctx, value := b.Context(), bytes.Repeat([]byte("v"), 4<<10)
	for i := 0; b.Loop(); i++ {
		key := strconv.Itoa(i)
		_, _, err1 := store.Get(ctx, key)
		_, err2 := store.Claim(ctx, key, "owner", 15*time.Second)
		_, _, err3 := store.Get(ctx, key)
		stored, err4 := store.Put(ctx, key, "owner", value, time.Minute)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil || !stored {
			b.Fatal(err1, err2, err3, err4, stored)
		}
	}
}

// BenchmarkGet is what every later request with the old cookie asks, many at once.
func BenchmarkGet(b *testing.B) {
	store := startServer(b).store(redis.Options{})
	if _, err := store.Put(b.Context(), "key", "", bytes.Repeat([]byte("v"), 4<<10), time.Minute); err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, found, err := store.Get(b.Context(), "key"); err != nil || !found {
				b.Fatal(found, err)
			}
		}
	})
}
